"""The one writer: a thread that runs units of work and commits many of them at once.

A unit's future resolves after its commit and not before. A unit that fails is rolled back alone.
When the writer itself cannot go on, every pending and later future fails and `on_death` is called:
the daemon exits rather than run jobs it cannot record.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from jobreconciler import boundaries
from jobreconciler.errors import Stalled
from jobreconciler.store.faults import is_lost_connection, translate
from jobreconciler.store.sql import Tx

T = TypeVar("T")
Unit = Callable[[Tx], T]

BATCH = 512
"""Units a commit at most, so that the first of them does not wait for ever."""


class _Work(Generic[T]):
    __slots__ = ("error", "future", "unit", "value")

    def __init__(self, unit: Unit[T]) -> None:
        self.unit = unit
        self.future: Future[T] = Future()
        self.error: BaseException | None = None
        self.value: T | None = None


def _take(waiting: deque[_Work[Any]], most: int) -> list[_Work[Any]]:
    return [waiting.popleft() for _ in range(min(most, len(waiting)))]


def _passing(when: str, batch: list[_Work[Any]]) -> None:
    """Named by who submitted the unit: `before release` is SqlStore.release's commit."""
    if boundaries.hook is not None:
        for work in batch:
            name: str = getattr(work.unit, "__qualname__", "")
            boundaries.passing(f"{when} {name.partition('.<locals>')[0].rpartition('.')[2]}")


class Writer:
    """Owns `connection` and closes it. `on_rollback` forgets what only the lost batch knew."""

    def __init__(
        self,
        connection: Any,
        tx: Tx,
        *,
        on_death: Callable[[BaseException], None] | None = None,
        on_rollback: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._tx = tx
        self._begin = "BEGIN IMMEDIATE" if tx.is_sqlite else "BEGIN"
        self._on_death = on_death
        self._on_rollback = on_rollback
        self._waiting: deque[_Work[Any]] = deque()
        self._patient: deque[_Work[Any]] = deque()
        self._made_to_wait = False
        self._wake = threading.Condition(threading.Lock())
        self._closing = False
        self._dead: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Unit[T], *, patient: bool = False) -> Future[T]:
        """Run `unit` in a transaction soon. Neither blocks nor raises: the future fails instead.

        A patient one lets others pass, for one transaction at most.
        """
        work = _Work(unit)
        with self._wake:
            if self._dead is None and not self._closing:
                (self._patient if patient else self._waiting).append(work)
                self._wake.notify()
                return work.future
        work.future.set_exception(self._gone())
        return work.future

    def close(self) -> None:
        """Finish what was submitted, then end. Further units fail."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _gone(self) -> Stalled:
        if self._dead is None:
            return Stalled("the store is closed", reason="StoreClosed")
        error = Stalled(
            f"the store's writer has ended: {self._dead}",
            reason="StoreWriterEnded",
            hint="the daemon exits and must be started again; nothing that was committed is lost",
        )
        error.__cause__ = self._dead
        return error

    def _run(self) -> None:
        batch: list[_Work[Any]] = []
        try:
            while batch := self._next_batch():
                self._commit(batch)
        except BaseException as error:
            self._die(translate(error), batch)
        finally:
            self._connection.close()

    def _next_batch(self) -> list[_Work[Any]]:
        """What waits now, waiting for the first. Empty: closed and nothing is left."""
        while True:
            with self._wake:
                while not self._waiting and not self._patient and not self._closing:
                    self._wake.wait()
                taken = _take(self._waiting, BATCH)
                self._made_to_wait = bool(taken and self._patient) and not self._made_to_wait
                if not self._made_to_wait:
                    taken += _take(self._patient, BATCH - len(taken))
            wanted = [work for work in taken if work.future.set_running_or_notify_cancel()]
            if wanted or not taken:
                return wanted

    def _commit(self, batch: list[_Work[Any]]) -> None:
        """Almost no unit fails, so the batch is first run without savepoints. Where one does, all
        is rolled back and run again, each in a savepoint of its own."""
        if not self._in_transaction(batch, self._together):
            self._in_transaction(batch, self._apart)
        for work in batch:
            if work.error is None:
                work.future.set_result(work.value)
            else:
                work.future.set_exception(work.error)

    def _together(self, batch: list[_Work[Any]]) -> None:
        for work in batch:
            work.value = work.unit(self._tx)

    def _apart(self, batch: list[_Work[Any]]) -> None:
        for work in batch:
            self._tx.command("SAVEPOINT unit")
            try:
                work.value = work.unit(self._tx)
            except Exception as error:
                work.error = translate(error)
                self._undo_unit(error)
            else:
                self._tx.command("RELEASE SAVEPOINT unit")

    def _undo_unit(self, cause: Exception) -> None:
        try:
            self._tx.command("ROLLBACK TO SAVEPOINT unit")
            self._tx.command("RELEASE SAVEPOINT unit")
        except Exception:
            # The database ended the whole transaction, not only the unit that failed.
            raise cause from None
        if self._on_rollback is not None:
            self._on_rollback()

    def _in_transaction(
        self, batch: list[_Work[Any]], run: Callable[[list[_Work[Any]]], None]
    ) -> bool:
        """False where a unit failed that others shouldn't fail with. Raises a lost connection."""
        began = ran = False
        try:
            self._tx.command(self._begin)
            began = True
            run(batch)
            ran = True
            _passing("before", batch)
            self._tx.command("COMMIT")
            _passing("after", batch)
            return True
        except Exception as error:
            self._roll_back()
            if is_lost_connection(error):
                raise
            if began and not ran and len(batch) > 1 and run == self._together:
                return False
            for work in batch:
                work.error = work.error or translate(error)
            return True

    def _roll_back(self) -> None:
        if self._on_rollback is not None:
            self._on_rollback()
        try:
            if not self._tx.is_sqlite or self._connection.in_transaction:
                self._tx.command("ROLLBACK")
        except Exception as error:
            if not is_lost_connection(error):
                raise

    def _die(self, error: BaseException, batch: list[_Work[Any]]) -> None:
        with self._wake:
            self._dead = error
            left = [*batch, *self._waiting, *self._patient]
            self._waiting.clear()
            self._patient.clear()
        for work in left:
            if not work.future.done():
                work.future.set_exception(self._gone())
        if self._on_death is not None:
            self._on_death(error)
