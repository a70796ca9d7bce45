"""`jobreconciler migrate`: the store's tables to another version of their schema."""

from __future__ import annotations

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
    direction: Annotated[
        str, typer.Argument(metavar="up|down", help="To the newest, or one version back.")
    ] = "up",
    to: Annotated[
        str | None, typer.Option(metavar="SCHEMA", help="To this version instead.")
    ] = None,
) -> int:
    """Bring the store's tables to this program's version, or back. Refused while a daemon runs.

    SQLite is copied first, and is also migrated by `run`; PostgreSQL only here.

    \b
    Example:
      jobreconciler migrate up --store postgresql://jobs@db/jobs
    """
    if direction not in ("up", "down"):
        raise Refused(f"{direction!r} is no direction", hint="`migrate up` or `migrate down`")
    from jobreconciler.clock import SystemClock
    from jobreconciler.upkeep import migrate

    done = migrate(settings, direction, to, SystemClock().now())
    if output == "json":
        write_json(
            {
                "before": done.before,
                "after": done.after,
                "backup": str(done.backup) if done.backup is not None else None,
            }
        )
        return FINE
    if done.before == done.after:
        write(f"the schema is {done.after} already")
        return FINE
    write(f"migrated from {done.before or 'an empty database'} to {done.after}")
    if done.backup is not None:
        note(f"a copy from before is {done.backup}")
    return FINE
