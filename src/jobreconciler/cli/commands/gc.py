"""`jobreconciler gc`: forget now what the daemon would forget within a day."""

from __future__ import annotations

from typing import Annotated

import typer

from jobreconciler.cli.answers import Json, has_store
from jobreconciler.cli.client import Client
from jobreconciler.cli.errors import FINE, Unreachable
from jobreconciler.cli.options import DAEMON, STATE, verb
from jobreconciler.cli.output import note, width, write, write_json
from jobreconciler.cli.words import count, wrap
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings

_KEEP = ("keep_executions", "keep_executions_per_job", "keep_output", "keep_output_gib")
PATIENCE_SECONDS = 3600.0


@verb(*STATE, *DAEMON, *_KEEP)
def command(
    settings: Settings,
    output: str,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; also beside a daemon.")
    ] = False,
) -> int:
    """Forget old executions and output, and what nothing refers to; also while a daemon runs.

    A daemon does the same once a day. Kept are 30 days of executions and each job's last 20,
    7 days and 10 GiB of output, unless the --keep settings say otherwise; the changelog for
    ever, and everything unfinished. Where a daemon has the store, it sweeps, by its own settings.

    \b
    Example:
      jobreconciler gc --dry-run
    """
    swept = _sweep(settings, dry_run)
    if output == "json":
        write_json(swept)
        return FINE
    said = "would forget" if dry_run else "forgot"
    mib = f"{swept['outputBytes'] / 2**20:.1f} MiB"
    text = (
        f"{said} {count(swept['executions'], 'execution')}, "
        f"the output of {swept['outputs']} ({mib}), "
        f"{count(swept['configVersions'], 'pinned config')}, "
        f"{count(swept['blobs'], 'file version')}, "
        f"{count(swept['deliveries'], 'delivery', 'deliveries')}"
    )
    write("\n".join(wrap(text, width())))
    return FINE


def _sweep(settings: Settings, dry_run: bool) -> Json:
    """Sweep the store here if nobody has it; otherwise the daemon that has it does."""
    if not has_store(settings):
        return _ask(settings, dry_run)
    if dry_run:
        return _would_sweep(settings)
    try:
        return _sweep_here(settings, dry_run=False)
    except Refused as refused:
        if refused.reason != "StoreInUse":
            raise
        try:
            return _ask(settings, dry_run=False)
        except Unreachable:
            raise refused from None


def _would_sweep(settings: Settings) -> Json:
    """Reading is nobody's alone, but what a daemon will forget only that daemon's settings say."""
    from jobreconciler.app import store_in_use

    if store_in_use(settings):
        try:
            return _ask(settings, dry_run=True)
        except Refused as refused:
            note(f"{refused.message}; counted by the --keep settings of this command")
    return _sweep_here(settings, dry_run=True)


def _sweep_here(settings: Settings, *, dry_run: bool) -> Json:
    from jobreconciler.app import sweep_once
    from jobreconciler.loops.retention import as_json

    return {**as_json(sweep_once(settings, dry_run=dry_run)), "dryRun": dry_run}


def _ask(settings: Settings, dry_run: bool) -> Json:
    client = Client(settings, timeout=PATIENCE_SECONDS)
    swept: Json = client.post("/api/v1/gc", {"dryRun": dry_run})
    if settings.model_fields_set.intersection(_KEEP):
        note("the daemon goes by its own --keep settings")
    return swept
