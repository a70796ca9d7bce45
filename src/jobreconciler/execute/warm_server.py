"""The server for Python jobs: what they need is imported once, then its supervisors are forked.

Started by the daemon as `python -I warm_server.py SOCKET NOFILE_SOFT FOLDER MODULES SYS_PATH...`
at the first Python run; ends with the daemon, or after STAY_SECONDS without a run. It is of one
version: a daemon that was upgraded starts its own, and this one's workers end with their runs.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

sys.path[:0] = [entry for entry in sys.argv[5:] if entry not in sys.path]

from jobreconciler.execute.at_fork import AtFork

AT_FORK = AtFork()
AT_FORK.take_over()  # before anything else is imported

from jobreconciler.execute import supervisor_server, warming
from jobreconciler.execute.warm import WarmStarter
from jobreconciler.execute.worker import Marker

IDLE_SECONDS = 120.0
STAY_SECONDS = 600.0
_filled: list[bytes] = []


def preload(modules: str) -> None:
    """Imports the job types' modules; one that fails says why in the run that needs it."""
    for module in filter(None, modules.split(",")):
        try:
            importlib.import_module(module)
        except Exception:
            continue


def _warm_up(starter: WarmStarter, folder: str) -> None:
    global _filled
    try:
        warming.python(starter, folder)
        gc.collect()  # what that frees would be gaps again
        _filled = warming.full_pools()
    finally:
        AT_FORK.wanted = False  # supervisors are still to be forked from here


def main() -> None:
    preload(sys.argv[4])
    AT_FORK.give_back()
    umask = os.umask(0o077)
    os.umask(umask)
    marker = Marker()
    supervisor_server.serve(
        lambda: WarmStarter(marker, umask, AT_FORK),
        _warm_up,
        idle_seconds=IDLE_SECONDS,
        stay_seconds=STAY_SECONDS,
    )


if __name__ == "__main__":
    main()
