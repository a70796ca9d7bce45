"""The series that exist once a job, written as Prometheus text in slices.

With 10,000 jobs these are about 90,000 samples. prometheus-client would write them in one go and
stop the event loop for a third of a second, so they are kept out of its registry. Each line is kept
as bytes and written anew only when its job's figures changed: what a scrape costs goes with what
happened since the last one. The loop is given back after every slice.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from functools import lru_cache
from itertools import islice
from threading import Lock
from typing import Final, TypeVar

import structlog

from jobreconciler.model.views import JobStats

T = TypeVar("T")
Stats = Callable[[Collection[str] | None], Sequence[JobStats]]
"""Reads the figures of these live jobs, None: of all. Blocks."""

log = structlog.get_logger(__name__)

SLICE: Final = 100
"""Jobs written anew before the loop gets its turn: about a millisecond."""
PIECE: Final = 1_000
"""Lines of one piece of the answer: a tenth of a millisecond."""

_FAMILIES: Final = {
    "job_info": ("What the job is.", "gauge"),
    "job_enabled": ("1 where the job may be started at all.", "gauge"),
    "job_suspended": ("1 where an operator stops the job.", "gauge"),
    "job_last_run_timestamp_seconds": (
        "When the job's last run ended, whatever its outcome.",
        "gauge",
    ),
    "job_last_success_timestamp_seconds": ("When the job last succeeded.", "gauge"),
    "job_consecutive_failures": ("Failed runs since the job last succeeded.", "gauge"),
    "job_next_run_timestamp_seconds": ("The job's next slot.", "gauge"),
    "job_late": ("1 where the job has not succeeded for too long.", "gauge"),
    "job_overrunning": ("1 where what runs of the job takes too long.", "gauge"),
    "executions_total": ("Finished executions, by outcome.", "counter"),
    "slots_missed_total": ("Slots that passed and never ran.", "counter"),
    "slots_skipped_total": ("Slots that were skipped, by reason.", "counter"),
}


_FIGURES: Final = {
    "job_enabled": "enabled",
    "job_suspended": "suspended",
    "job_last_run_timestamp_seconds": "last_run",
    "job_last_success_timestamp_seconds": "last_success",
    "job_consecutive_failures": "consecutive_failures",
}
"""Families that are a field of the job's figures as it is."""


@lru_cache(maxsize=1024)
def escape(value: str) -> str:
    """A label's value as the text format wants it."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def number(value: float) -> str:
    """Shortest text of a figure; whole numbers without a fraction."""
    return repr(int(value)) if value == int(value) else repr(value)


class PerJobSeries:
    """Counters and lines of every live job. Counting is thread-safe; two scrapes at once take turns
    until each has its lines."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = Lock()
        self._turn = asyncio.Lock()
        self._executions: dict[str, dict[str, int]] = {}
        self._missed: dict[str, int] = {}
        self._skipped: dict[str, dict[str, int]] = {}
        self._all_stale = True
        self._changed: set[str] = set()
        self._fleet = _Fleet(prefix)

    # ----------------------------------------------------------------------------------- counting

    def executed(self, job_id: str, status: str) -> None:
        with self._lock:
            _count(self._executions.setdefault(job_id, {}), status)
            self._changed.add(job_id)

    def missed(self, job_id: str, count: int) -> None:
        with self._lock:
            self._missed[job_id] = self._missed.get(job_id, 0) + max(count, 0)
            self._changed.add(job_id)

    def skipped(self, job_id: str, reason: str) -> None:
        with self._lock:
            _count(self._skipped.setdefault(job_id, {}), reason)
            self._changed.add(job_id)

    def stale(self, job_ids: Collection[str] | None = None) -> None:
        """The stored figures of these jobs changed; None: of all, or there are other jobs now."""
        with self._lock:
            if job_ids is None:
                self._all_stale = True
            else:
                self._changed.update(job_ids)

    # ---------------------------------------------------------------------------------- rendering

    async def render(
        self, stats: Stats, next_slots: Callable[[], Mapping[str, datetime]], now: datetime
    ) -> AsyncIterator[bytes]:
        async with self._turn:
            await self._refresh(stats)
            fleet = self._fleet
            for part in _slices(fleet.labels, PIECE):
                fleet.show_slots(part, next_slots())
                await asyncio.sleep(0)
            for expecting in _slices(fleet.expecting.values(), SLICE):
                fleet.show_expectations(expecting, now.timestamp())
                await asyncio.sleep(0)
            shown: dict[str, list[bytes]] = {}
            for name, lines_of in fleet.lines.items():
                shown[name] = [*lines_of.values()]
                await asyncio.sleep(0)
        for name, lines in shown.items():
            text, kind = _FAMILIES[name]
            full = f"{self._prefix}_{name}"
            head = f"# HELP {full} {text}\n# TYPE {full} {kind}\n".encode()
            for each in _slices(lines, PIECE):  # a family without a sample is not mentioned
                yield head + b"".join(each)
                head = b""
                await asyncio.sleep(0)

    async def _refresh(self, stats: Stats) -> None:
        """Read again, and write again, what changed since the last time."""
        with self._lock:
            whole, self._all_stale = self._all_stale, False
            changed, self._changed = self._changed, set()
        if not whole and not changed:
            return
        try:
            rows = await asyncio.to_thread(stats, None if whole else changed)
        except Exception as error:
            with self._lock:
                self._all_stale |= whole
                self._changed |= changed
            log.warning("per-job metrics are not fresh: the store gave none", error=str(error))
            return
        fleet = _Fleet(self._prefix) if whole else self._fleet
        for part in _slices(rows, SLICE):
            fleet.show(part)
            with self._lock:
                fleet.show_counts(part, self._executions, self._missed, self._skipped)
            await asyncio.sleep(0)
        if whole:
            self._fleet = fleet
            await self._forget_others(fleet.labels)
        else:
            fleet.forget(changed.difference(row.job_id for row in rows))

    async def _forget_others(self, live: Mapping[str, str]) -> None:
        """Jobs that are gone take their counters with them, or ids would pile up for ever."""
        for counts in (self._executions, self._missed, self._skipped):
            with self._lock:
                gone = [job_id for job_id in counts if job_id not in live]
                for job_id in gone:
                    counts.pop(job_id, None)
            await asyncio.sleep(0)


class _Fleet:
    """Every line of every live job, by family and job. Used on the event loop only."""

    def __init__(self, prefix: str) -> None:
        self.lines: dict[str, dict[str, bytes]] = {name: {} for name in _FAMILIES}
        self.labels: dict[str, str] = {}
        self._prefix = prefix
        self._slots: dict[str, datetime] = {}
        self._late: dict[str, dict[str, bool]] = {"job_late": {}, "job_overrunning": {}}
        self.expecting: dict[str, JobStats] = {}

    def show(self, rows: Sequence[JobStats]) -> None:
        for row in rows:
            self.labels[row.job_id] = f'{{job="{escape(row.job_id)}"'
            if row.late_after is not None or row.overrun_after is not None:
                self.expecting[row.job_id] = row
            elif row.job_id in self.expecting:
                self._forget_expectations(row.job_id)
        name, labels = f"{self._prefix}_job_info", self.labels
        self.lines["job_info"].update(
            (
                row.job_id,
                f'{name}{labels[row.job_id]},job_type="{escape(row.job_type)}",'
                f'owner="{escape(row.owner)}"}} 1\n'.encode(),
            )
            for row in rows
        )
        for family, field in _FIGURES.items():
            name, lines = f"{self._prefix}_{family}", self.lines[family]
            for row in rows:
                job_id, value = row.job_id, getattr(row, field)
                if value is not None:
                    lines[job_id] = f"{name}{labels[job_id]}}} {number(value)}\n".encode()
                elif job_id in lines:
                    del lines[job_id]

    def show_counts(
        self,
        rows: Sequence[JobStats],
        executions: Mapping[str, Mapping[str, int]],
        missed: Mapping[str, int],
        skipped: Mapping[str, Mapping[str, int]],
    ) -> None:
        name, lines = f"{self._prefix}_slots_missed_total", self.lines["slots_missed_total"]
        counted, ends = f"{self._prefix}_executions_total", self.lines["executions_total"]
        for row in rows:
            job_id = row.job_id
            label = self.labels[job_id]
            lines[job_id] = f"{name}{label}}} {missed.get(job_id, 0)}\n".encode()
            if job_id in executions:
                counts = {"succeeded": 0, "failed": 0, **executions[job_id]}
                ends[job_id] = _counted(f"{counted}{label},status=", counts)
            else:  # from zero on, so that `increase()` sees the first one too
                of = f"{counted}{label},status="
                ends[job_id] = f'{of}"succeeded"}} 0\n{of}"failed"}} 0\n'.encode()
            if job_id in skipped:
                of = f"{self._prefix}_slots_skipped_total{label},reason="
                self.lines["slots_skipped_total"][job_id] = _counted(of, skipped[job_id])

    def forget(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._forget_expectations(job_id)
            self.labels.pop(job_id, None)
            self._slots.pop(job_id, None)
            for lines in self.lines.values():
                lines.pop(job_id, None)

    def _forget_expectations(self, job_id: str) -> None:
        self.expecting.pop(job_id, None)
        for name, late in self._late.items():
            late.pop(job_id, None)
            self.lines[name].pop(job_id, None)

    def show_slots(self, job_ids: Iterable[str], slots: Mapping[str, datetime]) -> None:
        """Most have the slot that is shown already."""
        shown = self._slots
        for job_id in job_ids:
            slot = slots.get(job_id)
            if slot is shown.get(job_id):
                continue
            at = None if slot is None else slot.timestamp()
            self._set("job_next_run_timestamp_seconds", job_id, f"{self.labels[job_id]}}}", at)
            if slot is None:
                del shown[job_id]
            else:
                shown[job_id] = slot

    def show_expectations(self, rows: Iterable[JobStats], now: float) -> None:
        """Whether a job is late changes with the time alone, and seldom."""
        for row in rows:
            job_id = row.job_id
            limits = {"job_late": row.late_after, "job_overrunning": row.overrun_after}
            for name, after in limits.items():
                late = None if after is None else now > after
                if late == self._late[name].get(job_id):
                    continue
                self._set(name, job_id, f"{self.labels[job_id]}}}", late)
                if late is None:
                    del self._late[name][job_id]
                else:
                    self._late[name][job_id] = late

    def _set(self, name: str, job_id: str, labels: str, value: float | None) -> None:
        if value is None:
            self.lines[name].pop(job_id, None)
        else:
            line = f"{self._prefix}_{name}{labels} {number(value)}\n"
            self.lines[name][job_id] = line.encode()


def _counted(labels: str, counts: Mapping[str, int]) -> bytes:
    """Samples that differ in their last label."""
    lines = (f'{labels}"{escape(label)}"}} {count}\n' for label, count in counts.items())
    return "".join(lines).encode()


def _count(counts: dict[str, int], label: str) -> None:
    counts[label] = counts.get(label, 0) + 1


def _slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
