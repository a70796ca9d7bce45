"""The signals a supervisor listens to. Standard library only."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PLAIN = vars(sys.modules["_signal"])
handler_of: Callable[[int], Any] = _PLAIN["getsignal"]
set_handler: Callable[[int, Any], Any] = _PLAIN["signal"]
DEFAULT, IGNORE = _PLAIN["SIG_DFL"], _PLAIN["SIG_IGN"]
"""Not those of `signal`, which make enum members of all they are given and return: a short Python
job took a third longer."""
HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)


class Signals:
    """The signals of one supervisor process, which blocked them until now.

    They wake the poll through a pipe, so that none is lost between check and sleep. SIGUSR1 says:
    look whether your run is to be stopped; one that comes too late for its run means nothing to
    the next. `called`: one came since that was last set to False. SIGTERM comes from outside, at a
    shutdown of the machine for one.
    """

    def __init__(self) -> None:
        self.look = self.called = False
        self.told_to_end = False
        self.idle = False
        self.wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGUSR1, self._on_look)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def _on_look(self, *_: object) -> None:
        self.look = self.called = True

    def _on_term(self, *_: object) -> None:
        if self.idle:
            os._exit(0)
        self.told_to_end = True


def _nothing(*_: object) -> None:
    """A handler, since an ignored signal would wake nobody."""
