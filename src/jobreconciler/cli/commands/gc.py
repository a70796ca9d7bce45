"""`jobreconciler gc`: forget now what the daemon would forget within a day."""

from __future__ import annotations

from typing import Annotated

import typer

from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import STATE, verb
from jobreconciler.cli.output import write, write_json
from jobreconciler.cli.words import count
from jobreconciler.settings import Settings

_KEEP = ("keep_executions", "keep_executions_per_job", "keep_output", "keep_output_gib")


@verb(*STATE, *_KEEP)
def command(
    settings: Settings,
    output: str,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; also beside a daemon.")
    ] = False,
) -> int:
    """Forget old executions and output, and what nothing refers to. Refused while a daemon runs.

    A daemon does the same once a day. Kept are 30 days of executions and each job's last 20,
    7 days and 10 GiB of output, unless the --keep settings say otherwise; the changelog for
    ever, and everything unfinished.

    \b
    Example:
      jobreconciler gc --dry-run
    """
    from jobreconciler.app import sweep_once
    from jobreconciler.loops.retention import as_json

    swept = sweep_once(settings, dry_run=dry_run)
    if output == "json":
        write_json({**as_json(swept), "dryRun": dry_run})
        return FINE
    said = "would forget" if dry_run else "forgot"
    mib = f"{swept.output_bytes / 2**20:.1f} MiB"
    write(
        f"{said} {count(swept.executions, 'execution')}, the output of {swept.outputs} ({mib}), "
        f"{count(swept.config_versions, 'pinned config')}, {count(swept.blobs, 'file version')}, "
        f"{count(swept.deliveries, 'delivery', 'deliveries')}"
    )
    return FINE
