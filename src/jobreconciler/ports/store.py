"""What remembers.

Every write returns a future that resolves after the commit, or fails with its error. Every read is
synchronous, uses a connection of its own, and is safe from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from jobreconciler.core.dependency import Ended
    from jobreconciler.core.expectations import Unmet
    from jobreconciler.core.retention import Output, PastExecution
    from jobreconciler.model.change import (
        AppliedChange,
        ChangelogRow,
        ReconcileRecord,
    )
    from jobreconciler.model.condition import Condition
    from jobreconciler.model.desired import DesiredJob
    from jobreconciler.model.execution import Attempt, Execution, Missed, Outcome
    from jobreconciler.model.job import IndexRow, PinnedJob, ScheduleRow, StoredJob
    from jobreconciler.model.notice import Notice, Occurrence
    from jobreconciler.model.problem import Problem
    from jobreconciler.model.suspension import Suspension, SuspensionScope
    from jobreconciler.model.views import FleetCounts, JobQuery, JobStats, Page, SourceState
    from jobreconciler.ports.execution import LeftRunning


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Everything one reconcile writes, in one transaction.

    `seen` take new blob ids and path without a new generation. `problems` replaces all stored
    file problems when `problems_complete`, else only those of the paths in `considered`.
    """

    source: SourceState
    changes: tuple[AppliedChange, ...] = ()
    seen: tuple[DesiredJob, ...] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    considered: frozenset[str] = frozenset()
    problems_complete: bool = False
    held: Mapping[str, Condition] = field(default_factory=dict)
    released: frozenset[str] = frozenset()
    record: ReconcileRecord | None = None
    applied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DriftedRow:
    """A job whose stored config no longer hashes to its digest, or differs from its blobs."""

    job_id: str
    config: str
    digest: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A name that a sender gave a request, within `scope`. `since`: older ones don't count."""

    scope: str
    key: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dependent:
    """A job that waits for others. `live`: declared and enabled."""

    job_id: str
    upstream: tuple[str, ...]
    live: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an execution's last attempt, and what is told of in the same transaction."""

    execution_id: str
    attempt: int
    outcome: Outcome
    told: Occurrence | None = None


class Store(Protocol):
    # reads: configs
    def index(self) -> dict[str, IndexRow]: ...
    def source_state(self) -> SourceState | None: ...
    def file_problems(self) -> dict[str, tuple[Problem, ...]]: ...
    def held(self) -> dict[str, Condition]:
        """Held conditions by job id."""

    def job(self, job_id: str, *, deleted: bool = False) -> StoredJob | None: ...
    def pinned(self, job_ids: Collection[str]) -> dict[str, PinnedJob]:
        """What a run of each of these live jobs would execute now."""

    def configs(self, job_ids: Collection[str]) -> dict[str, dict[str, Any]]: ...
    def config_versions(self, digests: Collection[str]) -> dict[str, dict[str, Any]]:
        """What executions were pinned to, by digest."""

    def jobs(
        self, query: JobQuery, next_slots: Mapping[str, datetime] | None = None
    ) -> Page[StoredJob]:
        """`next_slots` are what sort `next` goes by."""

    def schedules(self, job_ids: Collection[str] | None = None) -> list[ScheduleRow]: ...
    def stats(self, job_ids: Collection[str] | None = None) -> list[JobStats]:
        """Figures of these live jobs, None: of all."""

    def fleet_counts(self) -> FleetCounts: ...
    def unmet(self, now: datetime) -> tuple[list[Unmet], datetime | None]:
        """Expectations that are not met now, and when the next limit will be passed."""

    def blobs(self, ids: Collection[str]) -> dict[str, bytes]: ...
    def drifted(self) -> list[DriftedRow]: ...
    def approved(self, revision: str) -> bool:
        """Whether somebody lets this commit delete jobs, and it was not applied with that yet."""

    def dependents(self, job_ids: Collection[str] | None = None) -> list[Dependent]:
        """Jobs that wait for others; all, or those among these ids."""

    def upstream_outcomes(
        self, job_id: str, upstream: Sequence[str]
    ) -> tuple[dict[str, Ended], dict[str, str]]:
        """Each upstream's latest outcome, and up to which execution releases used them up."""

    # reads: history
    def seen(self, delivery: Delivery) -> str | None:
        """The execution that this delivery released before."""

    def execution(self, execution_id: str) -> Execution | None: ...
    def executions(
        self,
        job_id: str | None = None,
        *,
        limit: int = 50,
        cursor: str | None = None,
        statuses: Collection[str] | None = None,
    ) -> Page[Execution]: ...
    def latest_executions(self, job_ids: Collection[str]) -> dict[str, Execution]:
        """Each job's newest execution that ran, runs or waits to, by job id."""

    def unfinished(self) -> list[Execution]:
        """Oldest first: what a daemon that starts has to take over."""

    def left_running(self) -> list[LeftRunning]:
        """What of that is running, without all that is known of it: a tenth of the time."""

    def changelog(
        self, job_id: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ChangelogRow]: ...
    def reconciles(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ReconcileRecord]: ...

    # writes: configs
    def apply(self, change_set: ChangeSet) -> Future[tuple[ChangelogRow, ...]]: ...
    def set_drifted(self, drifted: Mapping[str, Condition]) -> Future[None]:
        """These jobs have a Drifted condition, by their ids, and no others."""

    def set_source(self, source: SourceState) -> Future[None]: ...
    def approve(self, revision: str, actor: str, at: datetime) -> Future[None]: ...

    # writes: executions
    def release(
        self, execution: Execution, config: Mapping[str, Any], *, told: Occurrence | None = None
    ) -> Future[bool]:
        """Insert a queued (or finished, for skipped and missed) execution, pin its config, and
        move the job's watermark to its slot, or to its missed slots' last. False: that slot was
        already handled, nothing was written. `told` is told of in the same transaction."""

    def release_all(
        self, released: Sequence[tuple[Execution, Mapping[str, Any], Attempt | None]]
    ) -> Future[list[bool]]:
        """`release` for each, and where there is an attempt its start as well, in one transaction:
        where one fails, none is written."""

    def release_once(
        self, execution: Execution, config: Mapping[str, Any], deliveries: Sequence[Delivery]
    ) -> Future[str]:
        """Release it unless one of the deliveries was seen before. The id of the execution that
        stands for them: this one's, or the first one's, and then nothing was written."""

    def release_dependent(
        self,
        execution: Execution,
        config: Mapping[str, Any],
        before: Mapping[str, str],
        after: Mapping[str, str],
    ) -> Future[bool]:
        """Release it and use up its upstreams' outcomes, from `before` to `after` (executions by
        upstream). False: another release used them up meanwhile, nothing was written."""

    def settle_dependency(self, job_id: str, upstream: Sequence[str]) -> Future[None]:
        """Owe nothing to what ended before the job waited for it: upstreams that are new to the
        job count from the job's last change on, others are forgotten; all, where none is named."""

    def observed(self, job_ids: Collection[str] | None) -> Future[None]:
        """The schedule loop now acts on the stored generation of these jobs; None: of all."""

    def start_attempts(self, begun: Sequence[tuple[str, Attempt]]) -> Future[list[bool]]:
        """queued → running, for each in one transaction: where one fails, none is written. False
        where it was no longer queued."""

    def unclaim_all(self, claimed: Sequence[tuple[str, int]]) -> Future[list[bool]]:
        """running → queued, for each execution whose attempt of that number nobody ever took up:
        the attempt goes. False where it runs another one or none."""

    def finish_all(self, ends: Sequence[Ending]) -> Future[list[bool]]:
        """running → the outcome's status, with the job's last-run figures and what is told of it,
        for each in its turn and all in one transaction: where one fails, none is written. False
        where that attempt was not running."""

    def retry_later(
        self, execution_id: str, attempt: int, outcome: Outcome, not_before: datetime
    ) -> Future[bool]:
        """running → queued until `not_before`, the attempt's outcome kept. False if not running."""

    def skip_slots(
        self, execution: Execution, config: Mapping[str, Any], since: datetime
    ) -> Future[bool]:
        """Like `release`, for slots that a stop which began at `since` keeps from starting: one
        row for all of them, which grows. False: those slots were handled already."""

    def miss_queued(
        self,
        execution_id: str,
        at: datetime,
        missed: Missed,
        *,
        told: Occurrence | None = None,
    ) -> Future[bool]:
        """queued → missed: its time was over before it could start. False if not queued. `told`
        is told of in the same transaction."""

    def skip_queued(
        self, execution_id: str, at: datetime, error: str, missed: Missed | None
    ) -> Future[bool]:
        """queued → skipped, as if its slot had been skipped at once: `missed` is what its row says
        of a slot that a stop kept from starting. False: it was not queued."""

    def cancel_queued(self, execution_id: str, at: datetime, reason: str) -> Future[bool]: ...

    # operators' stops
    def suspensions(self) -> tuple[Suspension, ...]:
        """Those that hold now, oldest first."""

    def audit_head(self) -> str:
        """The changelog's newest hash; of no rows, that which the first one follows."""

    def past_suspensions(self, *, limit: int = 50, cursor: str | None = None) -> Page[Suspension]:
        """Every one there ever was, also those that hold, newest first."""

    def remembered_suspensions(self) -> tuple[Suspension, ...]:
        """Those that hold, and those that ended not long ago."""

    def suspend(self, suspension: Suspension) -> Future[Suspension]:
        """Store it in the place of one that holds for the same target, and in the changelog where
        it is a job's own. Raises NotFound for a job that is not declared."""

    def lift(self, scope: SuspensionScope, target: str, actor: str, at: datetime) -> Future[int]:
        """How many held and were lifted."""

    # notifications
    def tell(self, occurrence: Occurrence) -> Future[int]:
        """Write the notices it leads to (core/notices.py decides); how many they are."""

    def calm(self, job_id: str, events: Collection[str]) -> Future[bool]:
        """These states of a job (`late`, …) are over: their next beginning is told anew."""

    def due_channels(self) -> dict[str, datetime]:
        """Every channel with notices to send, and when its first is to be sent."""

    def next_notice(self, channel: str, now: datetime) -> Notice | None: ...
    def notice_delivered(self, notice_id: str, at: datetime) -> Future[bool]: ...
    def notice_failed(self, notice_id: str, error: str, again: datetime | None) -> Future[bool]:
        """Not sent; to be sent again at `again`, or never (None)."""

    def lasting(self, event: str, before: datetime) -> list[str]:
        """Jobs in a state that people were told of, but not since `before`."""

    def told(self) -> dict[tuple[str, str], datetime]:
        """Every state (job, event) that people were told of and that stands, and when last."""

    def forget_notices(self, before: datetime) -> Future[int]:
        """Drop those made before it with which nothing is left to do."""

    # upkeep
    def backup(self, target: Path) -> None: ...
    def close(self) -> None: ...


class HistoryStore(Protocol):
    """The part of the store that forgets the past. Lists of ids hold at most 500 at a time."""

    def unfinished(self) -> list[Execution]: ...
    def jobs_with_old_executions(self, before: datetime) -> list[str]: ...
    def ended_executions(self, job_id: str) -> list[PastExecution]:
        """All of a job's, newest first."""

    def forget_executions(self, ids: Collection[str]) -> Future[int]:
        """How many went, their attempts with them. Never an unfinished one, never a watermark."""

    def old_deliveries(self, before: datetime) -> list[tuple[str, str]]: ...
    def forget_deliveries(self, keys: Collection[tuple[str, str]]) -> Future[int]: ...
    def watch_pins(self) -> Future[int]:
        """To be asked before `unused_versions`; `forget_versions` takes the answer."""

    def unused_versions(self) -> list[str]: ...
    def forget_versions(self, digests: Collection[str], watched: int) -> Future[int]: ...
    def unused_blobs(self) -> list[str]: ...
    def forget_blobs(self, blobs: Collection[str]) -> Future[int]: ...


class OutputSpool(Protocol):
    """What executions left on disk. Blocks: for threads."""

    def outputs(self) -> Iterable[Output]: ...
    def forget(self, execution_id: str) -> None: ...
