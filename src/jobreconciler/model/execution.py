"""Executions: one per trigger, with the attempts that were made under its retry policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

ExecutionStatus = Literal[
    "queued",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "lost",
    "missed",
    "skipped",
]
FINAL_STATUSES = frozenset(
    {"succeeded", "failed", "timed_out", "cancelled", "lost", "missed", "skipped"}
)
RAN_STATUSES = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost"})
FAILED_STATUSES = frozenset({"failed", "timed_out", "lost"})

TriggerType = Literal["schedule", "webhook", "manual", "dependency", "backfill"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why an execution exists.

    `override`: an operator starts it in spite of a suspension, `in_spite_of` says of which.
    `caught_up`: its slot had passed and is run with all others that had (`catchUp: all`).
    """

    type: TriggerType
    slot: datetime | None = None
    actor: str | None = None
    reason: str | None = None
    delivery_id: str | None = None
    upstream: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    override: bool = False
    in_spite_of: str | None = None
    caught_up: bool = False

    @property
    def in_turn(self) -> bool:
        """Slots of the past that are run on purpose: each of them, one after another, whatever
        the job's overlap says."""
        return self.type == "backfill" or self.caught_up


@dataclass(frozen=True, slots=True)
class Missed:
    """Slots that never ran, held in one row: the first, the last, how many, and why."""

    first: datetime
    last: datetime
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try."""

    number: int
    started_at: datetime
    finished_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended, as its executor reports it."""

    status: ExecutionStatus
    finished_at: datetime
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    result: dict[str, Any] | None = None
    progress: tuple[int, int] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    output_bytes: int = 0
    output_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as stored. `progress` is (done, total)."""

    id: str
    job_id: str
    status: ExecutionStatus
    trigger: Trigger
    queued_at: datetime
    revision: str
    generation: int
    config_digest: str
    not_before: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_of: str | None = None
    missed: Missed | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    attempts: tuple[Attempt, ...] = ()
    progress: tuple[int, int] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything an executor needs to start one attempt; nothing is looked up afterwards.

    `config` is the pinned normalised config. `parameters` are the config's, with what the trigger
    was allowed to override merged in; `config_digest` names the two where nothing was. `again`: an
    earlier launch of this attempt may have been given up.
    """

    execution_id: str
    job_id: str
    attempt: int
    config: dict[str, Any]
    parameters: dict[str, Any]
    trigger: Trigger
    revision: str
    dry_run: bool = False
    config_digest: str | None = None
    again: bool = True
