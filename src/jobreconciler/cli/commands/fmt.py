"""`jobreconciler fmt`: job files with their keys in canonical order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import note, write, write_json
from jobreconciler.cli.places import local_root
from jobreconciler.cli.problems import one_line
from jobreconciler.cli.words import clean, count
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


@verb("repo", "jobs_dir")
def command(
    settings: Settings,
    output: str,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATHS", help="Files or directories; the jobs directory."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where a file would change.")
    ] = False,
) -> int:
    """Put the keys of job files in the order of the documentation.

    Each key takes its comments along; nothing else of a file changes. A file that is no YAML is
    reported and left as it is.

    \b
    Example:
      jobreconciler fmt --check
    """
    from jobreconciler.jobtypes.registry import load_job_types
    from jobreconciler.source.canonical import format_file
    from jobreconciler.source.files import load_directory

    root = local_root(settings)
    working = load_directory(
        root, [path.absolute() for path in paths or []], jobs_dir=settings.jobs_dir
    )
    entries = list(working.entries)
    if working.defaults is not None and not paths:
        entries.append(working.defaults)
    types = load_job_types()
    problems, changed = list(working.refused), []
    for entry in sorted(entries, key=lambda each: each.path):
        before = working.contents[entry.blob]
        made = format_file(entry.path, before, types)
        problems += made.problems
        if made.data != before:
            changed.append(entry.path)
            if not check:
                _replace(root / entry.path, made.data)
    if output == "json":
        errors = [problem.to_json() for problem in problems]
        write_json({"files": len(entries), "changed": changed, "errors": errors})
    else:
        for problem in problems:
            write(one_line(problem))
        for path in changed:
            write(clean(f"{'would change' if check else 'changed'} {path}"))
        note(f"{count(len(entries), 'file')}, {count(len(changed), 'change')}")
    return NO if problems or (check and changed) else FINE


def _replace(path: Path, data: bytes) -> None:
    """The whole file at once, with the mode it had."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_bytes(data)
        scratch.chmod(path.stat().st_mode & 0o7777)
        scratch.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from None
