"""`jobreconciler approve-prune`: let one commit delete what the prune guard keeps."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from jobreconciler.cli.answers import has_store
from jobreconciler.cli.client import Client, actor
from jobreconciler.cli.errors import FINE, Unreachable
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import write, write_json
from jobreconciler.errors import NotFound, Refused
from jobreconciler.model.views import SourceState
from jobreconciler.settings import Settings

_REVISION = re.compile(r"[0-9a-f]{7,64}")
_FULL = (40, 64)


@verb(*DAEMON, "store")
def command(
    settings: Settings,
    output: str,
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="The commit; 7 characters or more of its id.")
    ],
) -> int:
    """Approve the deletions of one commit. The approval is recorded and holds for no other commit.

    `status` names the commit that is blocked. Works without a daemon, for `apply`.

    \b
    Example:
      jobreconciler approve-prune 1a2b3c4d5e6f
    """
    if not _REVISION.fullmatch(revision):
        raise Refused(f"{revision!r} is not a commit id", hint="`jobreconciler status` shows it")
    client = Client(settings)
    try:
        observed = client.get("/api/v1/status", limit=1)["state"]["fleet"]["source"]
        full = _full(revision, observed.get("observedRevision"))
        client.post("/api/v1/prune-approvals", {"revision": full})
    except Unreachable:
        if not has_store(settings):
            raise
        full = _without_daemon(settings, revision)
    if output == "json":
        write_json({"revision": full})
    else:
        write(f"approved {full}; the next reconcile applies it")
    return FINE


def _full(revision: str, observed: str | None) -> str:
    """The whole id: as given, or that of the newest commit seen if it begins like this."""
    if len(revision) in _FULL:
        return revision
    if observed and observed.startswith(revision):
        return observed
    raise NotFound(
        f"the newest commit that was seen is {observed or 'none'}, not {revision}",
        hint="give the whole commit id",
    )


def _without_daemon(settings: Settings, revision: str) -> str:
    from jobreconciler.app import open_store
    from jobreconciler.clock import SystemClock

    store = open_store(settings, shared=True)
    try:
        state: SourceState | None = store.source_state()
        full = _full(revision, state.observed_revision if state else None)
        store.approve(full, actor(), SystemClock().now()).result()
    finally:
        store.close()
    return full
