"""The series that exist once a job, written as Prometheus text in slices.

With 10,000 jobs these are about 90,000 samples. prometheus-client would write them in one go and
stop the event loop for a third of a second, so they are kept out of its registry: the loop is
given back after every slice, and lines that have not changed are kept as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import Final, TypeVar

import structlog

from jobreconciler.model.views import JobStats

T = TypeVar("T")
Lines = Iterator[tuple[str, str]]
"""A sample's labels in braces, and its figure."""
Family = tuple[str, str, str, Lines]
"""Name without prefix, help, type, samples."""

log = structlog.get_logger(__name__)

SLICE: Final = 400
"""Lines, or jobs, worked on before the loop gets its turn: about a millisecond."""

_PRESET_STATUSES: Final = ("succeeded", "failed")
"""Counted from zero, so that `increase()` sees the first one too."""


def escape(value: str) -> str:
    """A label's value as the text format wants it."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def number(value: float) -> str:
    """Shortest text of a figure; whole numbers without a fraction."""
    return repr(int(value)) if value == int(value) else repr(value)


class PerJobSeries:
    """Counters and cached lines of every live job. Counting is thread-safe; rendering is not
    re-entrant by itself, so two scrapes at once take turns."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = Lock()
        self._turn = asyncio.Lock()
        self._executions: dict[tuple[str, str], int] = {}
        self._missed: dict[str, int] = {}
        self._skipped: dict[tuple[str, str], int] = {}
        self._stale = True
        self._labels: dict[str, str] = {}
        self._cached: list[bytes] = []
        self._expecting: list[JobStats] = []

    # ----------------------------------------------------------------------------------- counting

    def executed(self, job_id: str, status: str) -> None:
        with self._lock:
            key = (job_id, status)
            self._executions[key] = self._executions.get(key, 0) + 1
            self._stale = True

    def missed(self, job_id: str, count: int) -> None:
        with self._lock:
            self._missed[job_id] = self._missed.get(job_id, 0) + max(count, 0)

    def skipped(self, job_id: str, reason: str) -> None:
        with self._lock:
            key = (job_id, reason)
            self._skipped[key] = self._skipped.get(key, 0) + 1

    def stale(self) -> None:
        self._stale = True

    # ---------------------------------------------------------------------------------- rendering

    async def render(
        self,
        stats: Callable[[], Sequence[JobStats]],
        next_slots: Callable[[], Mapping[str, datetime]],
        now: datetime,
    ) -> AsyncIterator[bytes]:
        async with self._turn:
            if self._stale:
                await self._refresh(stats)
            cached, labels, expecting = self._cached, self._labels, self._expecting
        for piece in cached:
            yield piece
            await asyncio.sleep(0)
        executions, missed, skipped = self._counts()
        for name, text, kind, lines in (
            _next_family(labels, next_slots()),
            _late_family(labels, expecting, now),
            _overrunning_family(labels, expecting, now),
            _executions_family(labels, executions),
            _missed_family(labels, missed),
            _skipped_family(labels, skipped),
        ):
            async for piece in _family(f"{self._prefix}_{name}", text, kind, lines):
                yield piece

    async def _refresh(self, stats: Callable[[], Sequence[JobStats]]) -> None:
        """Read the fleet's figures again and write the families that depend on nothing else."""
        self._stale = False
        try:
            rows = await asyncio.to_thread(stats)
        except Exception as error:
            self._stale = True
            log.warning("per-job metrics are not fresh: the store gave none", error=str(error))
            return
        labels: dict[str, str] = {}
        for part in _slices(rows):
            labels.update((row.job_id, f'{{job="{escape(row.job_id)}"') for row in part)
            await asyncio.sleep(0)
        cached: list[bytes] = []
        for name, text, lines in _stored_families(rows, labels):
            async for piece in _family(f"{self._prefix}_{name}", text, "gauge", lines):
                cached.append(piece)
        self._labels, self._cached = labels, cached
        self._expecting = [
            row for row in rows if row.late_after is not None or row.overrun_after is not None
        ]
        await self._forget_others(labels)

    async def _forget_others(self, live: Mapping[str, str]) -> None:
        """Jobs that are gone take their counters with them, or ids would pile up for ever."""
        executions, missed, skipped = self._counts()
        for part in _slices(executions):
            for execution in part:
                if execution[0] not in live:
                    self._executions.pop(execution, None)
            await asyncio.sleep(0)
        for job_id in missed:
            if job_id not in live:
                self._missed.pop(job_id, None)
        for skip in skipped:
            if skip[0] not in live:
                self._skipped.pop(skip, None)

    def _counts(
        self,
    ) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[tuple[str, str], int]]:
        with self._lock:
            return dict(self._executions), dict(self._missed), dict(self._skipped)


def _next_family(labels: Mapping[str, str], slots: Mapping[str, datetime]) -> Family:
    lines = (
        (f"{label}}}", number(slots[job_id].timestamp()))
        for job_id, label in labels.items()
        if job_id in slots
    )
    return "job_next_run_timestamp_seconds", "The job's next slot.", "gauge", lines


def _late_family(labels: Mapping[str, str], expecting: Sequence[JobStats], now: datetime) -> Family:
    at = now.timestamp()
    lines = (
        (f"{labels[row.job_id]}}}", str(int(at > row.late_after)))
        for row in expecting
        if row.late_after is not None
    )
    return "job_late", "1 where the job has not succeeded for too long.", "gauge", lines


def _overrunning_family(
    labels: Mapping[str, str], expecting: Sequence[JobStats], now: datetime
) -> Family:
    at = now.timestamp()
    lines = (
        (f"{labels[row.job_id]}}}", str(int(at > row.overrun_after)))
        for row in expecting
        if row.overrun_after is not None
    )
    return "job_overrunning", "1 where what runs of the job takes too long.", "gauge", lines


def _executions_family(labels: Mapping[str, str], counts: dict[tuple[str, str], int]) -> Family:
    def lines() -> Lines:
        for job_id, label in labels.items():
            for status in _PRESET_STATUSES:
                count = counts.pop((job_id, status), 0)
                yield f'{label},status="{status}"}}', str(count)
        for (job_id, status), count in counts.items():
            if job_id in labels:
                yield f'{labels[job_id]},status="{escape(status)}"}}', str(count)

    return "executions_total", "Finished executions, by outcome.", "counter", lines()


def _missed_family(labels: Mapping[str, str], counts: Mapping[str, int]) -> Family:
    lines = ((f"{label}}}", str(counts.get(job_id, 0))) for job_id, label in labels.items())
    return "slots_missed_total", "Slots that passed and never ran.", "counter", lines


def _skipped_family(labels: Mapping[str, str], counts: Mapping[tuple[str, str], int]) -> Family:
    lines = (
        (f'{labels[job_id]},reason="{escape(reason)}"}}', str(count))
        for (job_id, reason), count in counts.items()
        if job_id in labels
    )
    return "slots_skipped_total", "Slots that were skipped, by reason.", "counter", lines


def _stored_families(
    rows: Sequence[JobStats], labels: Mapping[str, str]
) -> Iterator[tuple[str, str, Lines]]:
    """Families that hold for as long as the stored figures do: (name, help, lines)."""

    def each(pick: Callable[[JobStats], float | None]) -> Lines:
        for row in rows:
            value = pick(row)
            if value is not None:
                yield f"{labels[row.job_id]}}}", number(value)

    def described() -> Lines:
        for row in rows:
            kind, owner = escape(row.job_type), escape(row.owner)
            yield f'{labels[row.job_id]},job_type="{kind}",owner="{owner}"}}', "1"

    yield "job_info", "What the job is.", described()
    yield "job_enabled", "1 where the job may be started at all.", each(lambda row: row.enabled)
    yield "job_suspended", "1 where an operator stops the job.", each(lambda row: row.suspended)
    yield (
        "job_last_run_timestamp_seconds",
        "When the job's last run ended, whatever its outcome.",
        each(lambda row: row.last_run),
    )
    yield (
        "job_last_success_timestamp_seconds",
        "When the job last succeeded.",
        each(lambda row: row.last_success),
    )
    yield (
        "job_consecutive_failures",
        "Failed runs since the job last succeeded.",
        each(lambda row: row.consecutive_failures),
    )


def _slices(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, SLICE)):
        yield part


async def _family(name: str, text: str, kind: str, lines: Lines) -> AsyncIterator[bytes]:
    """One family's text, a slice at a time; a family without a sample is not mentioned."""
    head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for part in _slices(lines):
        yield (head + "".join(f"{name}{labels} {value}\n" for labels, value in part)).encode()
        head = ""
        await asyncio.sleep(0)
