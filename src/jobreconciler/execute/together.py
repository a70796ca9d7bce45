"""Several short runs that a worker goes through by itself, its supervisor looking on.

The server hands runs of Python jobs out together while such runs are short (see pace.py). They
still run one after another, each with its own claim, which is made when it begins, and its own
result. The worker records those that succeed without a word. Everything else is the supervisor's:
as soon as a run prints or reports anything, fails, leaves a process, takes longer than TICK or is
to be stopped, the worker is halted behind it and the supervisor sees that run through as any other.
Standard library only.
"""

from __future__ import annotations

import os
import select
import time

from jobreconciler.execute import frames, processes, spool
from jobreconciler.execute.shared import DONE, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

    from jobreconciler.execute.answers import Answers
    from jobreconciler.execute.signals import Signals

TICK = 0.01
"""Seconds that one of several runs may take, more or less."""
SETTLES_WITHIN = 5.0
"""Seconds that a worker has to come to its next run; a stopped one never would."""
_LOOK_AGAIN = 0.001


class Together:
    """One handing over of `launches`: number and body each."""

    def __init__(
        self,
        launches: deque[tuple[int, frames.Buffer]],
        signals: Signals,
        starter: Any,
        answers: Answers,
    ) -> None:
        self._launches = launches
        self._signals = signals
        self._starter = starter
        self._answers = answers
        self._ended = 0
        self._verdict = b""
        self._gone = False

    def start(self) -> bool:
        """Hands them to a worker. False where there is none: nothing was begun then."""
        try:
            self._starter.start_several(self._launches)
        except OSError:
            return False
        return True

    def run(self) -> tuple[bool, bool]:
        """Takes from the front of the launches those that need nothing more. Whether the first one
        left has begun, and whether it is over but for its output; the worker waits behind it."""
        _, output, report = self._starter.given
        poll = select.poll()
        for descriptor in (self._signals.wake, self._starter.channel, output, report):
            poll.register(descriptor, select.POLLIN)
        position, since = None, float("inf")
        while not self._is_settled():
            ready = [descriptor for descriptor, _ in poll.poll(TICK * 1000)]
            if self._signals.wake in ready:
                os.read(self._signals.wake, 512)
            if self._starter.channel in ready:
                self._hear()
            before, position = position, self._starter.shared.position
            now = time.monotonic()
            if position != before:
                since = now
            # By the clock: what a job orphans may wake this process as often as it likes.
            stuck = now - since >= TICK
            if output in ready or report in ready or stuck or self._is_called():
                return self._halt()
        return self._state()

    def _is_called(self) -> bool:
        return self._signals.called or self._signals.told_to_end

    def _is_settled(self) -> bool:
        return bool(self._gone or self._verdict or not self._launches)

    def _hear(self) -> None:
        said = self._starter.hear()
        if said is None:
            self._gone = True
            return
        for number, body in said:
            if number:
                self._end(body)
            else:
                self._verdict = body
        self._answers.send()

    def _end(self, result: bytes) -> None:
        number, _ = self._launches.popleft()
        self._ended += 1
        self._answers.add(number, result)

    def _halt(self) -> tuple[bool, bool]:
        """Waits, for moments, until it is clear which run the worker goes no further than."""
        shared, channel = self._starter.shared, select.poll()
        channel.register(self._starter.channel, select.POLLIN)
        give_up = time.monotonic() + SETTLES_WITHIN
        shared.halt()
        while not self._is_settled():
            if channel.poll(0):
                self._hear()
                continue
            index, phase = shared.position
            if phase == RUNNING and not channel.poll(0):
                while self._ended < index:  # recorded, and not told of yet
                    self._end(b"")
                self._answers.send()
                return True, False
            if time.monotonic() > give_up:
                self._starter.kill()
            channel.poll(_LOOK_AGAIN * 1000)
        return self._state()

    def _state(self) -> tuple[bool, bool]:
        """After the worker's last word, or its end."""
        if not self._gone:
            return bool(self._launches) and self._verdict == DONE, True
        self._bring_to_rest()
        while self._launches and spool.has_result(self._directory()):
            self._end(b"")
        self._answers.send()
        if self._launches and self._has_claimed():
            return True, False
        self._starter.dismiss()
        return False, False

    def _bring_to_rest(self) -> None:
        """Nobody hears the worker any more: it has ended, or a job closed what it speaks through.
        Waits until it goes no further than the run it is at, or has ended."""
        give_up = time.monotonic() + SETTLES_WITHIN
        self._starter.shared.halt()
        while not self._starter.is_dead() and self._starter.shared.position[1] != RUNNING:
            if time.monotonic() > give_up:
                self._starter.kill()
            time.sleep(_LOOK_AGAIN)

    def _has_claimed(self) -> bool:
        """Whether the worker began the first of those that are left."""
        holder = spool.claimed(self._directory())
        return holder is not None and holder[1:] == processes.own_identity()

    def _directory(self) -> str:
        directory: str = frames.request_of(self._launches[0][1])["directory"]
        return directory
