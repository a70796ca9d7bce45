"""Outbox → receivers. Every channel has a queue of its own, so that a dead one delays no other.

At least once: a notice counts as delivered when that is stored, so a crash in between sends it
again, with the same id. What can't be sent is tried again after 30 s, doubling to an hour, for a
day. Nothing here is waited for by a job.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog

from jobreconciler.core.notice_text import LOG_BYTES, compose, log_tail
from jobreconciler.core.notices import REPEAT, still_failing, try_again_at
from jobreconciler.errors import JobReconcilerError, Transient
from jobreconciler.model.execution import FAILED_STATUSES
from jobreconciler.model.notice import Message, Notice
from jobreconciler.ports import Clock, Executor, Observer, Sender, Store

log = structlog.get_logger("jobreconciler.notify")

LONGEST_SLEEP = 30.0
REMIND_SECONDS = 60.0
FORGET_EVERY = 1440
PATIENCE_SECONDS = 60.0
"""A delivery that takes longer has failed; its channel is free again when it really ends."""
MOST_AT_ONCE = 64
KEEP = timedelta(days=30)


class NotifyLoop:
    """Runs on the event loop; everything that blocks runs in threads.

    `next_slots` is asked when a message is written.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        sender: Sender,
        clock: Clock,
        observer: Observer,
        next_slots: Callable[[], Mapping[str, datetime]],
    ) -> None:
        self._store = store
        self._executor = executor
        self._sender = sender
        self._clock = clock
        self._observer = observer
        self._next_slots = next_slots
        self._wake = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self.failing: dict[str, str] = {}
        """Channels whose last delivery failed, and why."""

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Send what is due, then sleep until something is, or was added."""
        try:
            while True:
                self._wake.clear()
                pause = await self._begin_due()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _begin_due(self) -> float:
        """Seconds until the next one is due."""
        channels = await asyncio.to_thread(self._store.due_channels)
        now = self._clock.now()
        pause = LONGEST_SLEEP
        for channel, at in sorted(channels.items(), key=lambda item: item[1]):
            if channel in self._busy:
                continue
            if at > now:
                pause = min(pause, (at - now).total_seconds())
            elif len(self._busy) < MOST_AT_ONCE:
                task = asyncio.create_task(self._drain(channel))
                self._busy[channel] = task
                task.add_done_callback(lambda _, channel=channel: self._free(channel))  # type: ignore[misc]
        return pause

    def _free(self, channel: str) -> None:
        del self._busy[channel]
        self._wake.set()

    async def _drain(self, channel: str) -> None:
        """One channel's due notices, one after the other, oldest first."""
        while True:
            try:
                notice = await asyncio.to_thread(
                    self._store.next_notice, channel, self._clock.now()
                )
                if notice is None:
                    return
                await self._deliver(notice)
            except JobReconcilerError as error:
                log.error("outbox_not_read", reason=error.reason, error=error.message)
                self._observer.loop_error("notify")
                await asyncio.sleep(LONGEST_SLEEP)
            except Exception:
                log.exception("notice_crashed", channel=channel)
                self._observer.loop_error("notify")
                await asyncio.sleep(LONGEST_SLEEP)

    async def _deliver(self, notice: Notice) -> None:
        definition = notice.content.get("channel") or {}
        message = await asyncio.to_thread(self._compose, notice)
        sending = _in_thread(lambda: self._sender.send(_plain(definition), message))
        error: JobReconcilerError | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.shield(sending)
        except TimeoutError:
            error = Transient("the receiver did not answer in time", reason="NotDelivered")
        except JobReconcilerError as raised:
            error = raised
        await self._settle(notice, definition, error)
        with suppress(JobReconcilerError):
            await sending

    async def _settle(
        self, notice: Notice, definition: Mapping[str, Any], error: JobReconcilerError | None
    ) -> None:
        kind, now = str(definition.get("type", "unknown")), self._clock.now()
        said = log.bind(
            job=notice.job_id, channel=definition.get("name"), notice=notice.id, type=kind
        )
        if error is None:
            await asyncio.wrap_future(self._store.notice_delivered(notice.id, now))
            self._observer.notification(kind, "delivered")
            self.failing.pop(notice.channel, None)
            said.info("notified", event_kind=notice.event)
            return
        again = try_again_at(notice, now)
        await asyncio.wrap_future(self._store.notice_failed(notice.id, error.message, again))
        self._observer.notification(kind, "failed" if again else "given_up")
        self.failing[notice.channel] = error.message
        said.warning(
            "notification_failed" if again else "notification_given_up",
            attempt=notice.attempts + 1,
            reason=error.reason,
            error=error.message,
            **({"hint": error.hint} if error.hint else {}),
            **({"again_at": again.isoformat()} if again else {}),
        )

    # -------------------------------------------------------------------------- in a thread

    def _compose(self, notice: Notice) -> Message:
        return compose(
            notice,
            author=self._author(notice),
            next_slot=self._next_slots().get(notice.job_id),
            log=self._log_of(notice),
        )

    def _author(self, notice: Notice) -> str | None:
        """Who wrote the revision that ran, if the job's newest changes tell."""
        revision = notice.content.get("revision")
        with suppress(JobReconcilerError):
            for row in self._store.changelog(notice.job_id, limit=20).items:
                if row.revision == revision:
                    return str(row.author.get("name") or "") or None
        return None

    def _log_of(self, notice: Notice) -> str:
        """The last lines of what the last attempt printed, as the spool holds it: masked."""
        facts = notice.content
        attempt, size = facts.get("attempt"), facts.get("outputBytes")
        if not facts.get("includeLogs") or notice.execution_id is None or not attempt or not size:
            return ""
        start = max(0, int(size) - LOG_BYTES)
        try:
            piece = self._executor.read_output(notice.execution_id, attempt, start, LOG_BYTES)
        except (OSError, ValueError, JobReconcilerError):
            return ""
        return log_tail(piece.data, whole=start == 0)

    # ---------------------------------------------------------------------------- reminders

    async def keep_reminding(self) -> None:
        """Say once a day that a job still fails, also while it does not run; drop old notices."""
        while True:
            await asyncio.wrap_future(self._store.forget_notices(self._clock.now() - KEEP))
            for _ in range(FORGET_EVERY):
                if await self.remind():
                    self.wake()
                await asyncio.sleep(REMIND_SECONDS)

    async def remind(self) -> int:
        """How many notices that made."""
        now = self._clock.now()
        job_ids = await asyncio.to_thread(self._store.lasting, "failure", now - REPEAT)
        return sum([await self._remind_of(job_id, now) for job_id in job_ids])

    async def _remind_of(self, job_id: str, now: datetime) -> int:
        job = await asyncio.to_thread(self._store.job, job_id)
        enabled = job is not None and job.config["payload"].get("isEnabled", True)
        if job is None or not job.consecutive_failures or not enabled:
            await asyncio.wrap_future(self._store.calm(job_id, ["failure"]))
            return 0
        failed = await asyncio.to_thread(
            lambda: self._store.executions(job_id, limit=1, statuses=FAILED_STATUSES).items
        )
        told = still_failing(failed[0], job.config, now) if failed else None
        if told is None:
            await asyncio.wrap_future(self._store.calm(job_id, ["failure"]))
            return 0
        return await asyncio.wrap_future(self._store.tell(told))


def _plain(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if name != "name"}


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """A thread of its own: the shared ones serve the store, and none of these may hold up an
    exit."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="notify", daemon=True).start()
    return asyncio.wrap_future(future)
