"""Read models: what lists, metrics and the status tree are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from jobreconciler.model.condition import Condition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `next_cursor` is opaque, None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Filters and order of a list of declared jobs; None means any. See choices.py."""

    type: str | None = None
    trigger: str | None = None
    state: str | None = None
    tag: str | None = None
    owner: str | None = None
    q: str | None = None
    sort: str = "name"
    limit: int = 50
    cursor: str | None = None


class JobStats(NamedTuple):
    """One live job's figures for `/metrics`, whole fleet at a time. Times are epoch seconds.

    `late_after` and `overrun_after` are when it becomes Late and Overrunning, None where it has
    no such expectation or nothing runs.
    """

    job_id: str
    job_type: str
    owner: str
    enabled: bool
    schedule_on: bool
    generation: int
    revision: str
    last_run: float | None
    last_success: float | None
    last_status: str | None
    consecutive_failures: int
    suspended: bool = False
    late_after: float | None = None
    overrun_after: float | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """How far the source has got; one row, written with every reconcile that wrote anything.

    `revision` is the last commit that was applied, `observed_revision` the last one seen, and
    `base_revision` the last one that was applied with nothing held or blocked: the next reconcile
    looks at everything that differs from it, so that what was held is looked at again.
    `reader_version` names the rules that read the files; another one means re-reading all.
    """

    revision: str | None
    observed_revision: str | None
    environment: str | None
    reader_version: str
    base_revision: str | None = None
    conditions: tuple[Condition, ...] = ()
    last_success_at: datetime | None = None
    author: str = ""
    message: str = ""
    committed_at: str = ""


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Counts for the fleet summary. `running` and `queued` count executions, the rest jobs."""

    jobs: int = 0
    enabled: int = 0
    disabled: int = 0
    suspended: int = 0
    held: int = 0
    failing: int = 0
    running: int = 0
    queued: int = 0
    invalid_files: int = 0


class Printed(NamedTuple):
    """The newest bytes of what an attempt printed, and when the last of them came."""

    data: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Live:
    """What a running attempt has reported so far."""

    progress: tuple[int, int] | None = None
    metrics: dict[str, Any] | None = None
