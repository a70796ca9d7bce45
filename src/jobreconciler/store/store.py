"""`SqlStore`: the Store port on SQLite and PostgreSQL. Writes go through one writer thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jobreconciler.core import audit
from jobreconciler.core.dependency import Ended
from jobreconciler.core.expectations import Unmet
from jobreconciler.core.retention import PastExecution
from jobreconciler.errors import Refused
from jobreconciler.model.change import ChangelogRow, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.execution import Attempt, Execution, Missed, Outcome
from jobreconciler.model.job import IndexRow, PinnedJob, ScheduleRow, StoredJob
from jobreconciler.model.notice import Notice, Occurrence
from jobreconciler.model.problem import Problem
from jobreconciler.model.suspension import Suspension, SuspensionScope
from jobreconciler.model.views import FleetCounts, JobQuery, JobStats, Page, SourceState
from jobreconciler.ports import (
    ChangeSet,
    Clock,
    Delivery,
    Dependent,
    DriftedRow,
    Ending,
    LeftRunning,
)
from jobreconciler.store import (
    changelog,
    configs,
    execution_rows,
    executions,
    job_lists,
    jobs,
    outbox,
    reads,
    retention,
    suspensions,
    tokens,
    triggers,
)
from jobreconciler.store.backup import backup
from jobreconciler.store.engine import Database
from jobreconciler.store.rows import micros
from jobreconciler.store.tokens import TokenRow
from jobreconciler.store.writer import Unit, Writer

T = TypeVar("T")


class SqlStore:
    """See ports.Store. Made by opening.open_store."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        instance: str,
        writer: Writer | None,
        pinned: executions.Pinned,
        resources: ExitStack,
    ) -> None:
        self._database = database
        self._clock = clock
        self._instance = instance
        self._writer = writer
        self._pinned = pinned
        self._resources = resources

    def submit(self, unit: Unit[T], *, patient: bool = False) -> Future[T]:
        """Run `unit` in the writer's next transaction; see writer.py."""
        if self._writer is not None:
            return self._writer.submit(unit, patient=patient)
        refused: Future[T] = Future()
        refused.set_exception(Refused("the store was opened to be read only"))
        return refused

    def _read(self, query: Callable[..., T], *arguments: Any) -> T:
        with self._database.reading() as tx:
            return query(tx, *arguments)

    # ----------------------------------------------------------------------- reads: configs

    def index(self) -> dict[str, IndexRow]:
        return self._read(jobs.index)

    def source_state(self) -> SourceState | None:
        return self._read(reads.source_state)

    def file_problems(self) -> dict[str, tuple[Problem, ...]]:
        return self._read(reads.file_problems)

    def held(self) -> dict[str, Condition]:
        return self._read(jobs.held)

    def job(self, job_id: str, *, deleted: bool = False) -> StoredJob | None:
        return self._read(jobs.job, job_id, deleted, self._clock.now())

    def pinned(self, job_ids: Collection[str]) -> dict[str, PinnedJob]:
        return self._read(jobs.pinned, job_ids)

    def configs(self, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        return self._read(reads.configs, job_ids)

    def config_versions(self, digests: Collection[str]) -> dict[str, dict[str, Any]]:
        return self._read(reads.config_versions, digests)

    def jobs(
        self, query: JobQuery, next_slots: Mapping[str, datetime] | None = None
    ) -> Page[StoredJob]:
        return self._read(job_lists.jobs, query, self._clock.now(), next_slots)

    def schedules(self, job_ids: Collection[str] | None = None) -> list[ScheduleRow]:
        return self._read(jobs.schedules, job_ids)

    def stats(self, job_ids: Collection[str] | None = None) -> list[JobStats]:
        return self._read(reads.stats, self._clock.now(), job_ids)

    def fleet_counts(self) -> FleetCounts:
        return self._read(reads.fleet_counts, self._clock.now())

    def unmet(self, now: datetime) -> tuple[list[Unmet], datetime | None]:
        return self._read(jobs.unmet, now)

    def blobs(self, ids: Collection[str]) -> dict[str, bytes]:
        return self._read(reads.blobs, ids)

    def drifted(self) -> list[DriftedRow]:
        """Rows changed behind the daemon's back. A row that is gone has config and digest ''."""
        return self._read(reads.drifted)

    def approved(self, revision: str) -> bool:
        return self._read(reads.approved, revision)

    def dependents(self, job_ids: Collection[str] | None = None) -> list[Dependent]:
        return self._read(triggers.dependents, job_ids)

    def upstream_outcomes(
        self, job_id: str, upstream: Sequence[str]
    ) -> tuple[dict[str, Ended], dict[str, str]]:
        return self._read(triggers.outcomes, job_id, upstream)

    # ----------------------------------------------------------------------- reads: history

    def seen(self, delivery: Delivery) -> str | None:
        return self._read(triggers.seen, delivery)

    def execution(self, execution_id: str) -> Execution | None:
        return self._read(execution_rows.execution, execution_id)

    def executions(
        self,
        job_id: str | None = None,
        *,
        limit: int = 50,
        cursor: str | None = None,
        statuses: Collection[str] | None = None,
    ) -> Page[Execution]:
        return self._read(execution_rows.executions, job_id, max(1, limit), cursor, statuses)

    def latest_executions(self, job_ids: Collection[str]) -> dict[str, Execution]:
        return self._read(execution_rows.latest, job_ids)

    def unfinished(self) -> list[Execution]:
        return self._read(execution_rows.unfinished)

    def left_running(self) -> list[LeftRunning]:
        return self._read(execution_rows.left_running)

    def changelog(
        self, job_id: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ChangelogRow]:
        return self._read(changelog.page, job_id, max(1, limit), cursor)

    def changelog_since(self, sequence: int = 0) -> Iterator[ChangelogRow]:
        """Every later row, oldest first, as `audit verify` walks them."""
        with self._database.reading() as tx:
            yield from changelog.walk(tx, sequence)

    def audit_head(self) -> str:
        """The newest row's hash, for somebody outside to keep."""
        return self._read(changelog.head)[1]

    def audit_break(self) -> audit.ChainBreak | None:
        """Where the changelog's chain doesn't hold; None where it does."""
        return audit.first_break(self.changelog_since())

    def reconciles(self, *, limit: int = 50, cursor: str | None = None) -> Page[ReconcileRecord]:
        return self._read(changelog.reconciles, max(1, limit), cursor)

    # ---------------------------------------------------------------------- writes: configs

    def apply(self, change_set: ChangeSet) -> Future[tuple[ChangelogRow, ...]]:
        at = micros(change_set.applied_at or self._clock.now())
        return self.submit(lambda tx: configs.apply(tx, change_set, instance=self._instance, at=at))

    def set_drifted(self, drifted: Mapping[str, Condition]) -> Future[None]:
        return self.submit(lambda tx: configs.set_drifted(tx, drifted))

    def set_source(self, source: SourceState) -> Future[None]:
        return self.submit(lambda tx: configs.set_source(tx, source))

    def approve(self, revision: str, actor: str, at: datetime) -> Future[None]:
        return self.submit(lambda tx: configs.approve(tx, revision, actor, micros(at)))

    # ------------------------------------------------------------------- writes: executions

    def release(
        self, execution: Execution, config: Mapping[str, Any], *, told: Occurrence | None = None
    ) -> Future[bool]:
        return self.submit(lambda tx: executions.release(tx, execution, config, self._pinned, told))

    def release_all(
        self, released: Sequence[tuple[Execution, Mapping[str, Any], Attempt | None]]
    ) -> Future[list[bool]]:
        return self.submit(lambda tx: executions.release_all(tx, released, self._pinned))

    def release_once(
        self, execution: Execution, config: Mapping[str, Any], deliveries: Sequence[Delivery]
    ) -> Future[str]:
        return self.submit(
            lambda tx: triggers.release_once(tx, execution, config, self._pinned, deliveries)
        )

    def release_dependent(
        self,
        execution: Execution,
        config: Mapping[str, Any],
        before: Mapping[str, str],
        after: Mapping[str, str],
    ) -> Future[bool]:
        return self.submit(
            lambda tx: triggers.release_dependent(
                tx, execution, config, self._pinned, before, after
            )
        )

    def settle_dependency(self, job_id: str, upstream: Sequence[str]) -> Future[None]:
        at = micros(self._clock.now())
        return self.submit(lambda tx: triggers.settle(tx, job_id, upstream, at))

    def observed(self, job_ids: Collection[str] | None) -> Future[None]:
        return self.submit(lambda tx: configs.observed(tx, job_ids))

    def start_attempts(self, begun: Sequence[tuple[str, Attempt]]) -> Future[list[bool]]:
        return self.submit(lambda tx: executions.start_attempts(tx, begun))

    def unclaim_all(self, claimed: Sequence[tuple[str, int]]) -> Future[list[bool]]:
        return self.submit(lambda tx: [executions.unclaim(tx, *one) for one in claimed])

    def finish_all(self, ends: Sequence[Ending]) -> Future[list[bool]]:
        return self.submit(lambda tx: executions.finish_all(tx, ends), patient=True)

    def retry_later(
        self, execution_id: str, attempt: int, outcome: Outcome, not_before: datetime
    ) -> Future[bool]:
        return self.submit(
            lambda tx: executions.retry_later(tx, execution_id, attempt, outcome, not_before)
        )

    def skip_slots(
        self, execution: Execution, config: Mapping[str, Any], since: datetime
    ) -> Future[bool]:
        return self.submit(
            lambda tx: executions.skip_slots(tx, execution, config, self._pinned, since)
        )

    def miss_queued(
        self,
        execution_id: str,
        at: datetime,
        missed: Missed,
        *,
        told: Occurrence | None = None,
    ) -> Future[bool]:
        return self.submit(lambda tx: executions.miss_queued(tx, execution_id, at, missed, told))

    def skip_queued(
        self, execution_id: str, at: datetime, error: str, missed: Missed | None
    ) -> Future[bool]:
        return self.submit(lambda tx: executions.skip_queued(tx, execution_id, at, error, missed))

    def cancel_queued(self, execution_id: str, at: datetime, reason: str) -> Future[bool]:
        return self.submit(lambda tx: executions.cancel_queued(tx, execution_id, at, reason))

    # ---------------------------------------------------------------------------- retention

    def jobs_with_old_executions(self, before: datetime) -> list[str]:
        return self._read(retention.jobs_with_old_executions, micros(before))

    def ended_executions(self, job_id: str) -> list[PastExecution]:
        return self._read(retention.ended, job_id)

    def forget_executions(self, ids: Collection[str]) -> Future[int]:
        return self.submit(lambda tx: retention.forget_executions(tx, ids))

    def old_deliveries(self, before: datetime) -> list[tuple[str, str]]:
        return self._read(retention.old_deliveries, micros(before))

    def forget_deliveries(self, keys: Collection[tuple[str, str]]) -> Future[int]:
        return self.submit(lambda tx: retention.forget_deliveries(tx, keys))

    def watch_pins(self) -> Future[int]:
        return self.submit(lambda tx: retention.watch_pins(tx, self._pinned))

    def unused_versions(self) -> list[str]:
        return self._read(retention.unused_versions)

    def forget_versions(self, digests: Collection[str], watched: int) -> Future[int]:
        return self.submit(lambda tx: retention.forget_versions(tx, digests, self._pinned, watched))

    def unused_blobs(self) -> list[str]:
        return self._read(retention.unused_blobs)

    def forget_blobs(self, blobs: Collection[str]) -> Future[int]:
        return self.submit(lambda tx: retention.forget_blobs(tx, blobs))

    # ----------------------------------------------------------------------- notifications

    def tell(self, occurrence: Occurrence) -> Future[int]:
        return self.submit(lambda tx: outbox.tell(tx, occurrence))

    def calm(self, job_id: str, events: Collection[str]) -> Future[bool]:
        return self.submit(lambda tx: outbox.calm(tx, job_id, events))

    def due_channels(self) -> dict[str, datetime]:
        return self._read(outbox.due_channels)

    def next_notice(self, channel: str, now: datetime) -> Notice | None:
        return self._read(outbox.next_notice, channel, now)

    def notice_delivered(self, notice_id: str, at: datetime) -> Future[bool]:
        return self.submit(lambda tx: outbox.delivered(tx, notice_id, at))

    def notice_failed(self, notice_id: str, error: str, again: datetime | None) -> Future[bool]:
        return self.submit(lambda tx: outbox.failed(tx, notice_id, error, again))

    def lasting(self, event: str, before: datetime) -> list[str]:
        return self._read(outbox.lasting, event, before)

    def told(self) -> dict[tuple[str, str], datetime]:
        return self._read(outbox.told)

    def forget_notices(self, before: datetime) -> Future[int]:
        return self.submit(lambda tx: outbox.forget(tx, before))

    # -------------------------------------------------------------------------- suspensions

    def suspensions(self) -> tuple[Suspension, ...]:
        """Those that hold now, oldest first."""
        return self._read(suspensions.active, self._clock.now())

    def past_suspensions(self, *, limit: int = 50, cursor: str | None = None) -> Page[Suspension]:
        return self._read(suspensions.history, max(1, limit), cursor)

    def remembered_suspensions(self) -> tuple[Suspension, ...]:
        return self._read(suspensions.remembered, self._clock.now())

    def suspend(self, suspension: Suspension) -> Future[Suspension]:
        return self.submit(lambda tx: suspensions.add(tx, suspension, instance=self._instance))

    def lift(self, scope: SuspensionScope, target: str, actor: str, at: datetime) -> Future[int]:
        return self.submit(
            lambda tx: suspensions.lift(tx, scope, target, actor, at, instance=self._instance)
        )

    # ------------------------------------------------------------------------------- tokens

    def create_token(self, name: str, role: str, *, first_start: bool = False) -> Future[str]:
        """The new token's text, which is stored nowhere. Fails with Invalid: role, name taken."""
        at = micros(self._clock.now())
        return self.submit(lambda tx: tokens.create(tx, name, role, first_start, at))

    def revoke_token(self, name: str) -> Future[bool]:
        at = micros(self._clock.now())
        return self.submit(lambda tx: tokens.revoke(tx, name, at))

    def list_tokens(self) -> list[TokenRow]:
        return self._read(tokens.list_all)

    def has_tokens(self) -> bool:
        """Whether a valid token was made on purpose; the first-start one doesn't count."""
        return any(t.revoked_at is None and not t.first_start for t in self.list_tokens())

    def check_token(self, token: str) -> str | None:
        """Its role; None for one that never was or was revoked."""
        return self._read(tokens.role_of, token)

    # ------------------------------------------------------------------------------- upkeep

    def backup(self, target: Path) -> None:
        """Copy the store to a new file while writes go on. Blocks; call it in a thread."""
        backup(self._database.location, target)

    def close(self) -> None:
        """Finish what was submitted, release the lock."""
        self._resources.close()
        self._database.dispose()
