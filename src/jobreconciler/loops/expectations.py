"""Late and Overrunning → outbox: told when they begin, once a day while they last, never polled.

One look asks the store for all jobs at once what their expectations come to now, and when the next
of them will fail. Which states people were told of stands in the store, so a restart tells nothing
twice and forgets no end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, cast

import structlog

from jobreconciler.core import suspension
from jobreconciler.core.expectations import Unmet
from jobreconciler.core.notices import REPEAT, of_state, wanted
from jobreconciler.errors import JobReconcilerError
from jobreconciler.loops.stops import Stops
from jobreconciler.model.execution import Execution
from jobreconciler.ports import Clock, Observer, Store

log = structlog.get_logger("jobreconciler.expectations")

EVENTS = ("late", "overrunning")
LONGEST_SLEEP = 60.0
"""Seconds; a run that begins, or a job that is changed, may have an earlier limit by then."""
SHORTEST_SLEEP = 1.0
SHARE = 200
"""A look over a large fleet takes a while: so many times that passes before the next one."""

State = tuple[str, str]
"""A job's id and `late` or `overrunning`."""


class ExpectationLoop:
    """Runs on the event loop. `on_notices` hears that something was written to the outbox."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observer: Observer,
        stops: Stops,
        on_notices: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._stops = stops
        self._on_notices = on_notices

    async def run(self) -> None:
        """Look, then sleep until the next limit is passed."""
        while True:
            began = self._clock.monotonic()
            try:
                coming = await self.look()
            except JobReconcilerError as error:
                log.error("expectations_not_checked", reason=error.reason, error=error.message)
                self._observer.loop_error("expectations")
                coming = None
            took = self._clock.monotonic() - began
            await asyncio.sleep(_pause(coming, self._clock.now(), took))

    async def look(self) -> datetime | None:
        """Tell what is new or has lasted for a day, and end what is over. When to look again."""
        now = self._clock.now()
        (unmet, coming), told = await asyncio.to_thread(
            lambda: (self._store.unmet(now), self._store.told())
        )
        holding: dict[State, Unmet] = {(each.job_id, _event(each)): each for each in unmet}
        for job_id, event in told:
            if event in EVENTS and (job_id, event) not in holding:
                await asyncio.wrap_future(self._store.calm(job_id, [event]))
        written = 0
        for state in _due(holding, told, now):
            written += await self._tell(holding[state], now)
        if written:
            self._on_notices()
        return coming

    async def _tell(self, unmet: Unmet, now: datetime) -> int:
        condition, event = unmet.condition, _event(unmet)
        message = condition.message
        stop = self._stops.over(unmet.job_id, unmet.config)
        if stop is not None:
            message += f" ({suspension.sentence(stop)})"
        execution = None
        if event == "overrunning":
            execution = await asyncio.to_thread(self._longest, unmet.job_id)
        occurrence = of_state(
            unmet.job_id,
            event,
            unmet.config,
            now,
            message,
            since=condition.since,
            execution=execution,
        )
        if occurrence is None:
            return 0
        log.warning(event, job=unmet.job_id, since=condition.since.isoformat())
        return await asyncio.wrap_future(self._store.tell(occurrence))

    def _longest(self, job_id: str) -> Execution | None:
        running = self._store.executions(job_id, limit=500, statuses=["running"]).items
        return min(running, key=lambda each: each.started_at or each.queued_at, default=None)


def _event(unmet: Unmet) -> Literal["late", "overrunning"]:
    return cast(Literal["late", "overrunning"], unmet.condition.type.lower())


def _due(
    holding: Mapping[State, Unmet], told: Mapping[State, datetime], now: datetime
) -> list[State]:
    """Those somebody wants to hear of and has not heard of for a day."""
    return [
        state
        for state, unmet in sorted(holding.items(), key=lambda item: item[0])
        if (wanted(unmet.config) or {}).get("onMissed")
        and (state not in told or now - told[state] >= REPEAT)
    ]


def _pause(coming: datetime | None, now: datetime, took: float) -> float:
    """Seconds to sleep, so that a limit is noticed within a second and looking costs little."""
    left = LONGEST_SLEEP if coming is None else (coming - now).total_seconds()
    return min(max(left, SHORTEST_SLEEP, SHARE * took), LONGEST_SLEEP)
