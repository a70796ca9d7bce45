"""Stored jobs: what the database holds of a job's config and of its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from jobreconciler.model.condition import Condition
from jobreconciler.model.suspension import Suspension


class IndexRow(NamedTuple):
    """What the planner needs of one stored job, small enough to keep 100,000 of them."""

    job_id: str
    path: str
    blob: str
    defaults_blob: str
    digest: str
    enabled: bool
    depends_on: tuple[str, ...]
    deleted: bool = False


class ScheduleRow(NamedTuple):
    """What the schedule loop needs of one job. Slots up to `owed_from` are never owed."""

    job_id: str
    generation: int
    expression: str
    timezone: str
    jitter_seconds: int
    catch_up: str
    starting_deadline_seconds: int | None
    watermark: datetime | None
    owed_from: datetime


@dataclass(frozen=True, slots=True)
class PinnedJob:
    """What a run executes: fixed when it is queued, whatever is applied afterwards."""

    job_id: str
    revision: str
    generation: int
    digest: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job as applied. `config` is the parsed normalised config (see DesiredJob.config)."""

    job_id: str
    path: str
    blob: str
    defaults_blob: str
    revision: str
    generation: int
    observed_generation: int
    digest: str
    config: dict[str, Any]
    conditions: tuple[Condition, ...]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    watermark: datetime | None = None
    last_execution_id: str | None = None
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None
    last_status: str | None = None
    consecutive_failures: int = 0
    suspension: Suspension | None = None
