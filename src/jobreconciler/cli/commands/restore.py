"""`jobreconciler restore`: put a backup in the store's place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import STATE, verb
from jobreconciler.cli.output import note, write, write_json
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


@verb(*STATE)
def command(
    settings: Settings,
    output: str,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="Let slots since the backup count as missed.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace a PostgreSQL database without a copy of it.")
    ] = False,
) -> int:
    """Replace the store by a backup. Refused while a daemon runs.

    Slots between the backup and now are taken as handled, so that nothing runs twice, unless
    --catch-up. The replaced SQLite file is kept beside the new one.

    \b
    Example:
      jobreconciler restore /mnt/backups/jobs.db
    """
    from jobreconciler.clock import SystemClock
    from jobreconciler.upkeep import is_sqlite, restore

    if not yes and not is_sqlite(settings):
        raise Refused(
            "this replaces everything in the PostgreSQL database, and keeps no copy of it",
            hint="run `jobreconciler backup` first, then repeat with --yes",
        )
    done = restore(settings, file, SystemClock().now(), catch_up=catch_up)
    if output == "json":
        write_json(
            {
                "restored": str(done.backup.path),
                "kept": str(done.kept) if done.kept is not None else None,
                "jobs": done.backup.jobs,
                "executions": done.backup.executions,
            }
        )
        return FINE
    write(f"restored {done.backup.path}")
    if done.kept is not None:
        note(f"what was there before is kept as {done.kept}")
    return FINE
