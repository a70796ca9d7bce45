"""Operators' stops, as the loops ask for them: in memory, read from the store, never from git.

The store's rows decide; what is held here is read again after every change, so a stop that was
put while this daemon was away holds as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from jobreconciler.core import suspension
from jobreconciler.errors import Invalid
from jobreconciler.model.suspension import Suspension, SuspensionScope
from jobreconciler.ports import Clock, Observer, Store

log = structlog.get_logger("jobreconciler.stops")

LONGEST_SLEEP = 30.0
"""Seconds; short enough to notice that the wall clock was set while one waits for an end."""


class Stops:
    """Which suspensions and pauses hold. Used on the event loop only."""

    def __init__(self, store: Store, clock: Clock, observer: Observer) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._known: tuple[Suspension, ...] = ()
        self._told: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()

    def on_changed(self, told: Callable[[], None]) -> None:
        """Call `told` whenever one began or ended."""
        self._told.append(told)

    async def load(self) -> None:
        """One look after the other: the last one to end is to be the last one that began."""
        async with self._reading:
            self._known, head = await asyncio.to_thread(self._read)
        self._observer.audit_head(head)
        self._changed()

    def _read(self) -> tuple[tuple[Suspension, ...], str]:
        """In a thread: what holds or held, and the changelog's head, which each stop may move."""
        return self._store.remembered_suspensions(), self._store.audit_head()

    def over(self, job_id: str, config: Mapping[str, Any]) -> Suspension | None:
        """The stop that holds for this job now."""
        if not self._known:
            return None
        subject = suspension.subject_of(job_id, config)
        return suspension.holding(self._known, subject, self._clock.now())

    def ended(self, job_id: str, config: Mapping[str, Any], after: datetime) -> Suspension | None:
        """The last stop of this job that ended after `after`."""
        if not self._known:
            return None
        subject = suspension.subject_of(job_id, config)
        return suspension.last_ended(self._known, subject, after, self._clock.now())

    async def put(
        self,
        scope: SuspensionScope,
        target: str,
        *,
        actor: str,
        reason: str | None,
        until: datetime | None,
    ) -> Suspension:
        """Stop at once. Raises Invalid for an end that is past, NotFound for an unknown job."""
        now = self._clock.now()
        if until is not None and until <= now:
            raise Invalid(
                "the suspension would have ended already", hint="give an instant that is to come"
            )
        wanted = Suspension(scope, target, actor, now, reason, until)
        made = await asyncio.wrap_future(self._store.suspend(wanted))
        log.warning("stopped", scope=scope, target=target, actor=actor, reason=reason, until=until)
        await self.load()
        return made

    async def lift(self, scope: SuspensionScope, target: str, *, actor: str) -> int:
        """How many were lifted; none where nothing held."""
        count = await asyncio.wrap_future(self._store.lift(scope, target, actor, self._clock.now()))
        if count:
            log.warning("stop_lifted", scope=scope, target=target, actor=actor)
            await self.load()
        return count

    async def run(self) -> None:
        """Tell when one ends by itself."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            end = suspension.next_end(self._known, now)
            if end is None:
                await self._wake.wait()
                continue
            left = (end - now).total_seconds()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LONGEST_SLEEP)):
                    await self._wake.wait()
            if self._clock.now() >= end:
                log.info("stop_ended", until=end.isoformat())
                self._changed()

    def _changed(self) -> None:
        self._observer.jobs_changed()
        self._wake.set()
        for told in self._told:
            told()
