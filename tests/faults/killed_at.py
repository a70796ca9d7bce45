"""A daemon that kills itself with SIGKILL at a boundary: `killed_at.py NAME COUNT run …`."""

from __future__ import annotations

import os
import signal
import sys

from jobreconciler import boundaries
from jobreconciler.cli.main import main


class KillAt:
    """Kills when `name` is passed for the `count`th time."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.left = count

    def __call__(self, passed: str) -> None:
        if passed == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    boundaries.hook = KillAt(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
