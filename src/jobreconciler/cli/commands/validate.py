"""`jobreconciler validate`: every mistake of every job file, each with its place and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from jobreconciler.cli import problems
from jobreconciler.cli.declared import read_declared
from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import coloured, width, write, write_json
from jobreconciler.cli.places import local_root
from jobreconciler.cli.problems import FEW, Checked
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.settings import Settings
from jobreconciler.source.load import YamlLoader

if TYPE_CHECKING:
    import typer

_FORMS = {
    "github": problems.as_github,
    "gitlab": problems.as_gitlab,
    "sarif": problems.as_sarif,
    "junit": problems.as_junit,
}


@verb(
    "repo",
    "jobs_dir",
    output=("text", "json", *_FORMS),
    words="paths",
    leaves_nothing=True,
)
def command(
    settings: Settings,
    output: str,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATHS", help="Files or directories; the jobs directory."),
    ] = None,
) -> int:
    """Check job files as the daemon would. Reports every mistake, not only the first.

    Reads the working files, committed or not, and needs no daemon. Named files are also held
    against the rest of the jobs directory: ids, dependencies, cycles. Exits with 1 when something
    is wrong.

    \b
    Example:
      jobreconciler validate jobs.d/nightly-report.yaml -o github
    """
    loader = YamlLoader(load_job_types(), configs=False)
    declared = read_declared(local_root(settings), settings.jobs_dir, paths or [], loader)
    found = Checked(declared.names, len(declared.valid), declared.problems, declared.lines())
    if output == "json":
        write_json(problems.as_json(found))
    elif output == "text":
        excerpts = sys.stdout.isatty() or len(found.problems) <= FEW
        limit = width() if found.problems else 0
        write(problems.as_text(found, excerpts=excerpts, colour=coloured(), limit=limit))
    else:
        write(_FORMS[output](found))
    return NO if found.problems else FINE
