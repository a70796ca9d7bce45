"""Keeps a loop alive: whatever it meets is said in the log and in a metric, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from jobreconciler.ports import Observer

log = structlog.get_logger("jobreconciler.loops")

LONGEST_PAUSE = 30.0
CALM_SECONDS = 60.0


class Supervisor:
    """Runs loops for ever. `failing` names those that are waiting to be started again."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.failing: dict[str, str] = {}

    async def keep(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Run `body` until it returns; after an error pause 0.5 s, doubling to 30 s, and repeat.

        A loop that then ran for a minute is taken as well again.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await body()
                return
            except Exception as error:
                failures = 1 if loop.time() - began > CALM_SECONDS else failures + 1
                self.failing[name] = f"{type(error).__name__}: {error}"
                self._observer.loop_error(name)
                log.exception("loop_failed", loop=name, failures=failures)
            await asyncio.sleep(min(0.25 * 2.0**failures, LONGEST_PAUSE))
            self.failing.pop(name, None)
