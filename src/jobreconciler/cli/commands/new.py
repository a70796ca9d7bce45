"""`jobreconciler new`: a job file to start from, valid as it stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import note, write, write_json
from jobreconciler.cli.places import local_jobs_dir
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


@verb("repo", "jobs_dir")
def command(
    settings: Settings,
    output: str,
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="A type of `job-types`.")],
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id, for ever.")],
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the file instead of writing it.")
    ] = False,
) -> int:
    """Scaffold JOBS_DIR/ID.yaml with every common key and a comment on each.

    \b
    Example:
      jobreconciler new command nightly-report
    """
    if print_only and output == "json":
        raise Refused("--print prints the file itself, not JSON", hint="leave one of them out")
    from jobreconciler.jobtypes.registry import load_job_types
    from jobreconciler.source.scaffold import scaffold

    text = scaffold(load_job_types().get(job_type), job_id)
    if print_only:
        write(text, end="")
        return FINE
    path = local_jobs_dir(settings) / f"{job_id}.yaml"
    _write_new(path, text)
    if output == "json":
        write_json({"file": str(path), "jobId": job_id, "jobType": job_type})
    else:
        write(f"wrote {path}")
        note(f"edit it, then `jobreconciler validate {path}`")
    return FINE


def _write_new(path: Path, text: str) -> None:
    """Never over a file that is there, not even one that appears meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise Refused(f"{path} exists already", hint="choose another id, or use --print") from None
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
