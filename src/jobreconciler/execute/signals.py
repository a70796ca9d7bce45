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
set_mask: Callable[[int, Any], Any] = _PLAIN["pthread_sigmask"]
_TERM, _LOOK, _CHILD = HANDLED = tuple(
    int(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
)
BLOCK, UNBLOCK = int(signal.SIG_BLOCK), int(signal.SIG_UNBLOCK)
SET_MASK = int(signal.SIG_SETMASK)


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
        self.wake, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        set_handler(_CHILD, _nothing)
        set_handler(_LOOK, self._on_look)
        set_handler(_TERM, self._on_term)
        set_mask(UNBLOCK, HANDLED)

    def close(self) -> None:
        """Blocks them again, and forgets what was to be done about them."""
        set_mask(BLOCK, HANDLED)
        for number in HANDLED:
            set_handler(number, DEFAULT)
        signal.set_wakeup_fd(-1)
        os.close(self.wake)
        os.close(self._write)

    def _on_look(self, *_: object) -> None:
        self.look = self.called = True

    def _on_term(self, *_: object) -> None:
        if self.idle:
            os._exit(0)
        self.told_to_end = True


def _nothing(*_: object) -> None:
    """A handler, since an ignored signal would wake nobody."""
