"""`jobreconciler run`: the daemon, in the foreground, until a signal ends it."""

from __future__ import annotations

import gc

from jobreconciler.cli.options import FLAGS, verb
from jobreconciler.settings import Settings

_OURS = tuple(name for name in FLAGS if name not in {"config", "server", "token"})


@verb(*_OURS, "concurrency_groups", output=())
def command(settings: Settings) -> int:
    """Run the daemon: follow the repository, start jobs when they are due, serve HTTP.

    SIGTERM ends it within seconds and leaves running jobs alone: the next start takes them over.

    \b
    Example:
      jobreconciler run --repo . --working-tree --state-dir /tmp/try
    """
    # Starting makes many objects and little garbage; the daemon collects again once it is ready.
    gc.disable()
    from jobreconciler.daemon import run

    return run(settings)
