"""What a supervisor process does all its life: runs one after another, as they are handed to it.

Standard library only.
"""

from __future__ import annotations

import gc
from collections import deque

from jobreconciler.execute import frames
from jobreconciler.execute.answers import Answers
from jobreconciler.execute.supervisor import Supervisor
from jobreconciler.execute.together import TICK, Together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jobreconciler.execute.signals import Signals

_COLLECT_EVERY = 50


class Lane:
    """One supervisor process's runs; `starter` makes the processes that run them."""

    def __init__(self, channel: int, signals: Signals, starter: Any) -> None:
        self._directory = ""
        self._channel = channel
        self._signals = signals
        self._starter = starter
        self._answers = Answers(channel)
        self._waiting: deque[tuple[int, frames.Buffer]] = deque()
        self._runs = 0

    @property
    def directory(self) -> str:
        """That of the run it is at, or would be at next; empty where there is none."""
        if self._directory or not self._waiting:
            return self._directory
        first: str = frames.request_of(self._waiting[0][1])["directory"]
        return first

    def live(self, launches: Sequence[tuple[int, frames.Buffer]] | None) -> None:
        """Until the server wants nothing more, or this process can take no other run."""
        while launches is not None:
            self._signals.idle = False
            self._waiting.extend(launches)
            if not self._go_through():
                self._give_back()
                break
            self._signals.idle = True
            self._collect(len(launches))
            launches = self._next()
        self._starter.dismiss()

    def _next(self) -> Sequence[tuple[int, frames.Buffer]] | None:
        self._answers.send()
        if self._answers.unheard:
            return None
        try:
            body = frames.receive(self._channel)
        except OSError:
            return None
        return None if body is None else frames.apart(body)

    def _collect(self, runs: int) -> None:
        before, self._runs = self._runs, self._runs + runs
        if before // _COLLECT_EVERY != self._runs // _COLLECT_EVERY:
            gc.collect()

    def _go_through(self) -> bool:
        """False where this process can take no other run."""
        alone = 0
        while self._waiting:
            if self._signals.called:  # one of those that wait may be the one to be stopped
                self._signals.called = False
                alone = len(self._waiting)
            if alone or len(self._waiting) == 1:
                alone = max(0, alone - 1)
                if not self._see_to(begun=False, over=False):
                    return False
                continue
            together = Together(self._waiting, self._signals, self._starter, self._answers)
            begun, over = together.run() if together.start() else (False, False)
            if begun and not self._see_to(begun=True, over=over):
                return False
            alone = max(alone, int(not begun))
        return True

    def _see_to(self, *, begun: bool, over: bool) -> bool:
        """The first of those that wait, as any run. False where this process can take no other."""
        if not over:
            self._answers.send()
        number, body = self._waiting.popleft()
        request = frames.request_of(body)
        self._directory = request["directory"]
        supervisor = Supervisor(request, self._signals, self._starter)
        if self._waiting:
            supervisor.when_long(TICK, self._give_back)
        if begun:
            given, began = self._starter.given, self._starter.shared.began
            goes_on = supervisor.take_over(given, began, over=over)
        else:
            goes_on = supervisor.run()
        if goes_on:
            self._answers.add(number, supervisor.result)
        self._directory = ""
        return goes_on

    def _give_back(self) -> None:
        """Nothing is to wait behind a long run. Without a server nobody takes it: a daemon finds
        that it was not begun, and decides anew whether it may start."""
        for number, _ in self._waiting:
            self._answers.give_back(number)
        self._answers.send()
        self._waiting.clear()
