"""What the layers below `app` may know of each other: nothing but these protocols.

Every store write returns a future that resolves after the commit, or fails with its error. Every
read is synchronous, uses a connection of its own, and is safe from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    # For annotations only: making all these values costs `validate` a tenth of its time.
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from pydantic import BaseModel

    from jobreconciler.core.dependency import Ended
    from jobreconciler.core.expectations import Unmet
    from jobreconciler.core.retention import Output, PastExecution
    from jobreconciler.model.change import (
        AppliedChange,
        ChangelogRow,
        Provenance,
        ReconcileRecord,
    )
    from jobreconciler.model.condition import Condition
    from jobreconciler.model.desired import Commit, DesiredFile, DesiredJob, Entry
    from jobreconciler.model.execution import Attempt, Execution, Launch, Missed, Outcome
    from jobreconciler.model.job import IndexRow, PinnedJob, ScheduleRow, StoredJob
    from jobreconciler.model.notice import Message, Notice, Occurrence
    from jobreconciler.model.problem import Problem
    from jobreconciler.model.suspension import Suspension, SuspensionScope
    from jobreconciler.model.views import FleetCounts, JobQuery, JobStats, Live, Page, SourceState


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""


# ---------------------------------------------------------------------------------------- source


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every job file of one commit. `refused` names symlinks, submodules and the like."""

    revision: str
    entries: tuple[Entry, ...]
    refused: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """What differs between two commits below the jobs directory."""

    base: str
    revision: str
    changed: tuple[Entry, ...]
    gone: tuple[str, ...]
    refused: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Commits after a base up to a revision, newest first, and which paths each touched.

    `merges` are, by path, the merge commits that brought its commits in: they did not write the
    file, but their message often names the pull request.
    """

    commits: tuple[Commit, ...]
    by_path: Mapping[str, tuple[int, ...]]
    merges: Mapping[str, tuple[Commit, ...]] = field(default_factory=dict)

    def of(self, *paths: str | None) -> tuple[Commit, ...]:
        wanted = sorted({n for path in paths if path for n in self.by_path.get(path, ())})
        return tuple(self.commits[n] for n in wanted)

    def merged(self, *paths: str | None) -> tuple[Commit, ...]:
        return tuple(c for path in paths if path for c in self.merges.get(path, ()))


class Source(Protocol):
    """A git repository, read without a work tree. Raises Transient, Stalled; never partial."""

    def resolve(self) -> str:
        """The full id of the commit the ref names now. For a remote: after one look at it."""

    def lookup(self, name: str) -> str:
        """The full id of the commit a branch, tag or (short) id names. Raises NotFound, Refused."""

    def snapshot(self, revision: str) -> Snapshot: ...

    def diff(self, base: str, revision: str) -> TreeDiff | None:
        """None where `base` is not there any more, so that a whole snapshot is needed."""

    def entry(self, revision: str, path: str) -> Entry | None:
        """The file at `path` in `revision`, or None. No spawn, no whole listing."""

    def read(self, blobs: Sequence[str]) -> dict[str, bytes]: ...

    def commit(self, revision: str) -> Commit: ...

    def history(self, base: str | None, revision: str, paths: Collection[str]) -> History:
        """Without a base: for each path the newest commit that touched it."""

    def is_ancestor(self, base: str, revision: str) -> bool: ...

    def watch_paths(self) -> tuple[Path, ...]:
        """Directories whose events may mean a moved ref; empty for a remote."""

    def close(self) -> None: ...


class Trees(Protocol):
    """The repository's own files, in directories that nobody writes to."""

    def path(self, revision: str) -> Path:
        """Where the whole tree of a commit lies, written there first if need be. Blocks.

        Raises Invalid where there is no such commit (any more), Transient, Stalled.
        """

    def keep(self, needed: Callable[[], Collection[str]]) -> list[str]:
        """Remove all trees but those of the revisions that are `needed`; which were removed."""

    def close(self) -> None:
        """End what is being written."""


class Provenancer(Protocol):
    """Reads who, why and by which pull request out of commits. Pure."""

    def build(
        self, revision: str, commits: Sequence[Commit], merges: Sequence[Commit] = ()
    ) -> Provenance: ...

    def allows_prune(self, message: str) -> bool: ...


class Loader(Protocol):
    """Reads job files. Pure work: may run in a child process."""

    @property
    def version(self) -> str:
        """Another one means that the same bytes may be read differently."""

    def load(
        self, entries: Sequence[Entry], contents: Mapping[str, bytes], defaults: Entry | None
    ) -> list[DesiredFile]: ...


# ------------------------------------------------------------------------------------- job types


class JobContext(Protocol):
    """What a job type's `run` is given, inside the child process.

    `timeout_seconds` is the run's limits.timeoutSeconds. `networks` are the private ones that
    the daemon lets jobs of type `http` reach.
    """

    parameters: BaseModel
    batch_size: int | None
    timeout_seconds: int
    networks: tuple[str, ...]
    dry_run: bool
    execution_id: str
    attempt: int
    slot: datetime | None
    trigger: str
    config_revision: str

    def progress(self, done: int, total: int) -> None: ...
    def metric(self, name: str, value: float, unit: str = "") -> None: ...
    def log(self, level: str, message: str, **fields: Any) -> None: ...
    def cancelled(self) -> bool: ...
    def secret(self, reference: Any) -> str:
        """The value behind a secret reference that stands in `parameters`."""


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A program to start. `env` values are literals or secret references, still unresolved."""

    argv: tuple[str, ...]
    env: Mapping[str, Any] = field(default_factory=dict)
    cwd: str | Mapping[str, Any] | None = None
    success_exit_codes: tuple[int, ...] = (0,)


class JobType(Protocol):
    """A registered type. It runs either as a program of its own or as Python in a child."""

    name: str
    description: str
    batches: bool
    dry_runs: bool
    parameters: type[BaseModel]

    def program(self, parameters: BaseModel) -> ExecSpec | None:
        """The program to start, or None where `run` is to be called in a Python child."""

    def run(self, context: JobContext) -> dict[str, Any] | None: ...


class JobTypes(Protocol):
    def names(self) -> tuple[str, ...]: ...

    def get(self, name: str) -> JobType:
        """Raises NotFound."""

    def broken(self) -> Mapping[str, str]:
        """Types that could not be loaded, and why."""


# ------------------------------------------------------------------------------------- execution


@dataclass(frozen=True, slots=True)
class Started:
    """One process that now runs an attempt."""

    execution_id: str
    attempt: int
    started_at: datetime
    pid: int
    pid_started: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt that has ended."""

    execution_id: str
    attempt: int
    outcome: Outcome


class OutputPiece(Protocol):
    """A part of an attempt's output. `offset` (in bytes of all that was printed) is where to go
    on; `skipped` bytes before it were cut out; `ended`: nothing follows."""

    data: bytes
    offset: int
    skipped: int
    ended: bool


class Executor(Protocol):
    """Starts attempts and reports their ends. `start` raises Invalid where none can begin."""

    async def start(self, launch: Launch) -> Started: ...

    async def stop(self, execution_id: str, status: str) -> bool:
        """TERM, grace, KILL; its outcome will carry `status`. False where it isn't running."""

    def finished(self) -> AsyncIterator[Finished]: ...

    def more_finished(self) -> list[Finished]:
        """What `finished` would give next without waiting; it no longer gives them."""

    def live(self, execution_id: str) -> Live | None: ...

    def read_output(
        self, execution_id: str, attempt: int, offset: int = 0, limit: int = 262_144
    ) -> OutputPiece:
        """What an attempt printed from `offset`, while it runs and afterwards. Blocks."""

    def was_begun(self, execution_id: str, attempt: int) -> bool:
        """Whether anybody ever took up this attempt. Where not, `start` may be called for it."""

    async def adopt(self, unfinished: Sequence[Execution]) -> list[str]:
        """Take over what an earlier daemon left; ids of executions that are still running.

        Those that ended meanwhile, or whose supervisor is gone (`lost`), come from `finished`.
        """

    def running(self) -> int: ...

    async def close(self, *, drain: bool = False) -> None: ...


# ----------------------------------------------------------------------------------------- store


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
    def config_version(self, digest: str) -> dict[str, Any] | None: ...
    def jobs(self, query: JobQuery) -> Page[StoredJob]: ...
    def schedules(self, job_ids: Collection[str] | None = None) -> list[ScheduleRow]: ...
    def stats(self) -> list[JobStats]: ...
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

    def unfinished(self) -> list[Execution]: ...
    def changelog(
        self, job_id: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ChangelogRow]: ...
    def reconciles(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ReconcileRecord]: ...

    # writes: configs
    def apply(self, change_set: ChangeSet) -> Future[tuple[ChangelogRow, ...]]: ...
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

    def start_attempt(self, execution_id: str, attempt: Attempt) -> Future[bool]:
        """queued → running. False where it was no longer queued."""

    def finish(
        self,
        execution_id: str,
        attempt: int,
        outcome: Outcome,
        *,
        told: Occurrence | None = None,
    ) -> Future[bool]:
        """running → the outcome's status, with the job's last-run figures. False if not running.
        `told` is told of in the same transaction."""

    def start_attempts(self, begun: Sequence[tuple[str, Attempt]]) -> Future[list[bool]]:
        """`start_attempt` for each, in one transaction: where one fails, none is written."""

    def finish_all(self, ends: Sequence[Ending]) -> Future[list[bool]]:
        """`finish` for each, in one transaction: where one fails, none is written."""

    def retry_later(
        self, execution_id: str, attempt: int, outcome: Outcome, not_before: datetime
    ) -> Future[bool]:
        """running → queued until `not_before`, the attempt's outcome kept. False if not running."""

    def skip_slots(
        self, execution: Execution, config: Mapping[str, Any], since: datetime
    ) -> Future[bool]:
        """Like `release`, for slots that a stop which began at `since` keeps from starting: one
        row for all of them, which grows. False: those slots were handled already."""

    def miss_queued(self, execution_id: str, at: datetime, missed: Missed) -> Future[bool]:
        """queued → missed: its time was over before it could start. False if not queued."""

    def cancel_queued(self, execution_id: str, at: datetime, reason: str) -> Future[bool]: ...

    # operators' stops
    def suspensions(self) -> tuple[Suspension, ...]:
        """Those that hold now, oldest first."""

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


# ------------------------------------------------------------------------------------- retention


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


# ---------------------------------------------------------------------------------- observation


class Sender(Protocol):
    """Sends messages. Implemented by observe/notify.py."""

    def send(self, channel: Mapping[str, Any], message: Message) -> None:
        """Blocks until the receiver took it. `channel` is its definition, as in the job file.

        Raises Invalid (a secret is missing or no address), Transient. No error text ever holds
        a secret or an address.
        """


class Observer(Protocol):
    """Where loops report figures. Implemented by observe/metrics.py; never raises."""

    def reconcile_finished(self, result: str, seconds: float) -> None: ...
    def commit_applied(self, seconds: float) -> None: ...
    def config_changed(self, action: str, count: int = 1) -> None: ...
    def invalid_files(self, count: int) -> None: ...
    def held_jobs(self, count: int) -> None: ...
    def drift_healed(self, count: int) -> None: ...
    def source_seen(self, revision: str, at: datetime) -> None:
        """The source answered and names this commit now."""

    def source_applied(self, revision: str) -> None: ...
    def git_operation(self, operation: str, result: str) -> None: ...
    def audit_head(self, digest: str) -> None: ...
    def execution_finished(
        self, job_id: str, job_type: str, status: str, seconds: float
    ) -> None: ...
    def slot_missed(self, job_id: str, count: int) -> None: ...
    def slot_skipped(self, job_id: str, reason: str) -> None: ...
    def lateness(self, seconds: float) -> None: ...
    def clock_parted(self, seconds: float) -> None:
        """The wall clock is so far ahead of (negative: behind) where it should be; 0: agrees."""

    def loop_error(self, loop: str) -> None: ...
    def notification(self, channel_type: str, result: str) -> None:
        """`delivered`, `failed` (to be tried again) or `given_up`."""

    def running(self, count: int) -> None: ...
    def waiting(self, count: int) -> None: ...
    def jobs_changed(self) -> None:
        """Per-job figures or their jobs changed; cached lines are stale."""


# --------------------------------------------------------------------------- what the web may ask


@dataclass(frozen=True, slots=True)
class Received:
    """What a webhook released; `repeated`: it, or one like it, came before and released this."""

    execution_id: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Backfilled:
    """Executions of past slots, oldest first, and the slots that had run before."""

    executions: tuple[Execution, ...]
    ran_before: tuple[datetime, ...]


class Service(Protocol):
    """The running daemon as the HTTP layer sees it."""

    @property
    def store(self) -> Store: ...
    @property
    def executor(self) -> Executor: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def job_types(self) -> JobTypes: ...

    def ready(self) -> tuple[bool, str]: ...
    def next_slots(self, job_ids: Iterable[str]) -> dict[str, datetime]: ...
    def all_next_slots(self) -> Mapping[str, datetime]: ...
    async def trigger(
        self,
        job_id: str,
        *,
        actor: str,
        reason: str | None = None,
        dry_run: bool = False,
        parameters: Mapping[str, Any] | None = None,
        key: str | None = None,
        override: bool = False,
    ) -> Execution:
        """The same actor's `key` again gives the same execution for a day. `override` starts it
        in spite of a suspension. Raises NotFound, Stalled (disabled, suspended), Invalid (unknown
        parameter, key used for another request)."""

    async def webhook(self, job_id: str, headers: Mapping[str, str], body: bytes) -> Received:
        """`headers` have lower-case names. Raises Refused (not proven, or no such job), Stalled
        (disabled), Invalid (body, parameters), Transient."""

    async def retry(
        self, execution_id: str, *, actor: str, reason: str | None, key: str | None
    ) -> Execution:
        """A new execution. Raises NotFound, Stalled (not ended, never ran, disabled), Invalid."""

    async def cancel(self, execution_id: str, *, actor: str, reason: str | None) -> Execution:
        """Returns when it was asked to stop. Raises NotFound, Stalled (has ended)."""

    async def backfill(
        self,
        job_id: str,
        first: datetime,
        last: datetime,
        *,
        actor: str,
        reason: str | None,
        limit: int | None,
    ) -> Backfilled:
        """Raises NotFound, Stalled (disabled), Invalid (span, no schedule, too many slots)."""

    async def suspend(
        self,
        scope: SuspensionScope,
        target: str,
        *,
        actor: str,
        reason: str | None,
        until: datetime | None,
    ) -> Suspension:
        """Stop a job, a tag's or an owner's jobs, or the fleet (target ''). Raises NotFound,
        Invalid (`until` is past)."""

    async def lift(self, scope: SuspensionScope, target: str, *, actor: str) -> int:
        """How many were lifted; none where nothing held."""

    def confirm_clock(self, actor: str) -> bool:
        """The wall clock is right, whatever the monotonic one says. False: nobody doubted it."""

    async def reconcile_now(self, actor: str) -> dict[str, Any]:
        """Wake the loop, wait for that pass; its record as JSON."""

    async def approve_prune(self, revision: str, actor: str) -> None: ...


Wake = Callable[[str], None]
"""Wakes a loop early; the text says why and is only logged."""
