"""Drives reconcile passes: by the watch, the poll, a webhook, a person, or a retry after an error.

An event only wakes the loop; what to do is decided by the pass from the state it reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from jobreconciler.core.verdict import retry_delay
from jobreconciler.errors import JobReconcilerError, Transient
from jobreconciler.loops.reconcile import PassResult, Reconciler

log = structlog.get_logger("jobreconciler.reconcile")

HEAL_SECONDS = 600.0


class ReconcileLoop:
    """One pass at a time, the newest commit always; `applied` is told which jobs changed, and told
    again until it has taken it: what was stored is not to wait for the next commit."""

    def __init__(
        self,
        reconciler: Reconciler,
        applied: Callable[[frozenset[str]], Awaitable[None]],
        *,
        poll_seconds: float,
        instance: str,
    ) -> None:
        self._reconciler = reconciler
        self._applied = applied
        self._poll_seconds = poll_seconds
        self._instance = instance
        self._wake = asyncio.Event()
        self._reason = "start"
        self._waiters: list[asyncio.Future[PassResult]] = []
        self._served: list[asyncio.Future[PassResult]] = []
        self._closed = False
        self._untold: frozenset[str] = frozenset()
        self._failures = 0
        self._last_error: JobReconcilerError | None = None

    def wake(self, reason: str) -> None:
        """Look soon. Any number of wakes before the next pass are one."""
        self._reason = reason
        self._wake.set()

    async def now(self, reason: str) -> PassResult:
        """A pass that begins after this call, and its result; also when nothing moved.

        Raises Transient (Closing) where the daemon ends before that pass does.
        """
        if self._closed:
            raise _closing()
        waiter: asyncio.Future[PassResult] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self.wake(reason)
        return await waiter

    async def first(self, within: float) -> PassResult | None:
        """The start-up pass. None: the source takes longer than `within` seconds; it goes on."""
        waiter = asyncio.ensure_future(self.now("start"))
        try:
            done, _ = await asyncio.wait({waiter}, timeout=within)
        finally:
            waiter.cancel()  # does nothing to one that is done
        return waiter.result() if done else None

    def close(self) -> None:
        """The daemon ends: nobody waits any longer for a pass that may never end, or begin."""
        self._closed = True
        self._fail([*self._served, *self._waiters], _closing())

    async def run(self) -> None:
        """Pass after pass, for ever."""
        while True:
            if self._untold:
                await self._tell(self._untold)
            await self._sleep()
            self._wake.clear()
            self._served, self._waiters = self._waiters, []
            try:
                result = await asyncio.to_thread(
                    self._reconciler.reconcile, self._reason, force=bool(self._served)
                )
                self._failures = self._failures + 1 if result.error is not None else 0
                if result.changed:
                    await self._tell(result.changed)
            except Exception as error:
                self._fail(self._served, error)
                raise
            for waiter in self._served:
                if not waiter.done():
                    waiter.set_result(result)
            self._last_error = result.error

    def _fail(self, waiters: list[asyncio.Future[PassResult]], error: Exception) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    async def _tell(self, changed: frozenset[str]) -> None:
        told = self._untold = self._untold | changed
        try:
            await self._applied(told)
        except BaseException:
            self._wake.set()
            raise
        self._untold -= told

    async def _sleep(self) -> None:
        pause = self._poll_seconds
        if self._failures:
            pause = retry_delay(self._failures, self._last_error, self._instance)
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            self._reason = "retry" if self._failures else "poll"

    async def keep_healing(self) -> None:
        """At start and every ten minutes: put back what was changed behind the daemon's back."""
        while True:
            healed = await asyncio.to_thread(self._reconciler.heal)
            if healed:
                await self._tell(healed)
            await asyncio.sleep(HEAL_SECONDS)


def _closing() -> Transient:
    return Transient(
        "the daemon is ending, and nobody waits for that pass any longer",
        reason="Closing",
        hint="the next start looks at the repository by itself",
    )
