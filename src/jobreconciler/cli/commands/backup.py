"""`jobreconciler backup`: a whole copy of the store, made while it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import STATE, verb
from jobreconciler.cli.output import write, write_json
from jobreconciler.cli.words import count
from jobreconciler.settings import Settings


@verb(*STATE)
def command(
    settings: Settings,
    output: str,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where; STATE_DIR/backups/….")
    ] = None,
) -> int:
    """Copy the store to a new file. Works beside a daemon and without one.

    The copy is of one moment and is checked. It holds neither output of runs nor secrets.

    \b
    Example:
      jobreconciler backup /mnt/backups/jobs.db
    """
    from jobreconciler.clock import SystemClock
    from jobreconciler.upkeep import back_up

    made = back_up(settings, file, SystemClock().now())
    if output == "json":
        write_json(
            {
                "file": str(made.path),
                "kind": made.kind,
                "schema": made.schema,
                "jobs": made.jobs,
                "executions": made.executions,
            }
        )
        return FINE
    figures = ""
    if made.jobs is not None and made.executions is not None:
        figures = f": {count(made.jobs, 'job')}, {count(made.executions, 'execution')}"
    write(f"wrote {made.path}{figures}")
    return FINE
