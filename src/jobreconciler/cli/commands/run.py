"""`jobreconciler run`: the daemon, in the foreground, until a signal ends it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
    if os.getpid() == 1:
        from jobreconciler.cli.first_process import stay_behind

        code = stay_behind()
        if code is not None:
            return code
    # Starting makes many objects and little garbage; the daemon collects again once it is ready.
    gc.disable()
    with _without_rich():
        from jobreconciler.daemon import run

    return run(settings)


@contextmanager
def _without_rich() -> Iterator[None]:
    """structlog imports rich where there is one, to draw tracebacks that the daemon never draws:
    a twentieth of the time that a restart takes."""
    unwanted = "rich" not in sys.modules
    if unwanted:
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if unwanted:
            del sys.modules["rich"]
