"""`jobreconciler schema`: the JSON Schemas that editors and reviewers read job files by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import note, write, write_json
from jobreconciler.cli.words import count
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


@verb("repo")
def command(
    settings: Settings,
    output: str,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where; REPO/schemas.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where files are stale.")
    ] = False,
) -> int:
    """Write the JSON Schemas of job files, defaults, job types and status trees.

    Commit them; `--check` in CI fails when they no longer fit the program.

    \b
    Example:
      jobreconciler schema --check
    """
    from jobreconciler.core.catalog import render_tree_schema
    from jobreconciler.jobtypes.registry import load_job_types
    from jobreconciler.schema import files

    if "://" in settings.repo and directory is None:
        raise Refused("schemas are written beside local files", hint="name a directory with --dir")
    target = directory or Path(settings.repo) / "schemas"
    rendered = files.render_schemas(
        load_job_types(), {"render-tree.schema.json": render_tree_schema()}
    )
    stale = files.check(target, rendered) if check else files.write(target, rendered)
    if output == "json":
        write_json({"directory": str(target), "files": sorted(rendered), "stale": stale})
        return NO if check and stale else FINE
    for name in stale:
        write(f"{'stale' if check else 'wrote'} {target / name}")
    if not check:
        write(f"{count(len(rendered), 'schema')}, {len(stale)} changed")
    elif stale:
        note("hint: `jobreconciler schema` writes them; commit the result")
    else:
        write(f"{count(len(rendered), 'schema')}, all up to date")
    return NO if check and stale else FINE
