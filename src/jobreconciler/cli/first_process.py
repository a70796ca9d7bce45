"""Process 1 of a container, where the daemon would be it: passes signals on and reaps.

Whatever loses its parent becomes a child of process 1, and stays a zombie until that waits for it.
The daemon cannot: waiting for any child would take the ends of its own from those who wait for
them. So it runs as a child of a process that does nothing else.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_PASSED_ON = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}


def stay_behind() -> int | None:
    """Fork: None in the child; in the parent the child's exit code, once it has ended.

    To be called before there are threads.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None
    while True:
        number = signal.sigwait(_PASSED_ON | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            os.kill(child, number)
        elif (code := _reap(child)) is not None:
            return code


def _reap(child: int) -> int | None:
    """Wait for all that have ended; the code of `child` if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                # A shell says it like this: 128 and the number of the signal.
                found = code if code >= 0 else 128 - code
    return found
