"""Configs, changes and executions for the store's tests, made the way the loops make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobreconciler.model.change import AppliedChange, FieldChange, LogAction, Provenance
from jobreconciler.model.desired import Commit, DesiredJob
from jobreconciler.model.execution import Attempt, Execution, ExecutionStatus, Outcome, Trigger
from jobreconciler.model.notice import Occurrence
from jobreconciler.model.views import SourceState
from jobreconciler.ports import ChangeSet, Ending
from jobreconciler.store.store import SqlStore

NOW = datetime(2026, 3, 14, 9, 30, 0, 123456, tzinfo=UTC)
REVISION = "c0ffee" + "0" * 34
SOURCE = SourceState(REVISION, REVISION, None, "reader-1", REVISION)


class FixedClock:
    """A clock that stands until it is moved."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOW).total_seconds()


def after(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


def commit(revision: str = REVISION, message: str = "Add jobs", author: str = "Ada") -> Commit:
    at = NOW.isoformat()
    email = f"{author.lower()}@example.org"
    return Commit(revision, (), author, email, at, author, email, at, message)


def desired(
    job_id: str = "nightly",
    *,
    schedule: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    path: str | None = None,
    blob: str | None = None,
    **payload: Any,
) -> DesiredJob:
    """A valid job file as the loader hands it over. `schedule={}` is a job without one."""
    full = {
        "jobType": "command",
        "isEnabled": True,
        "schedule": {
            "cronExpression": "0 2 * * *",
            "timezone": "UTC",
            "isEnabled": True,
            "catchUp": "latest",
            "jitterSeconds": 0,
            **(schedule or {}),
        },
        "parameters": {"argv": ["true"]},
        **payload,
    }
    if schedule is not None and not schedule:
        del full["schedule"]
    whole = {"meta": {"id": job_id, "tags": [], **(meta or {})}, "payload": full}
    config = json.dumps(whole, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return DesiredJob(
        job_id=job_id,
        path=path or f"jobs.d/{job_id}.yaml",
        blob=blob or hashlib.sha1(config.encode()).hexdigest(),
        defaults_blob="",
        config=config,
        digest=hashlib.sha256(config.encode()).hexdigest(),
        job_type=full["jobType"],
        environments=(),
        enabled=full["isEnabled"],
        depends_on=tuple(full.get("dependency", {}).get("jobs", ())),
    )


def change(action: LogAction, job: DesiredJob | str, **given: Any) -> AppliedChange:
    job_id = job if isinstance(job, str) else job.job_id
    made = AppliedChange(
        job_id=job_id,
        action=action,
        file=f"jobs.d/{job_id}.yaml" if isinstance(job, str) else job.path,
        revision=REVISION,
        provenance=Provenance(REVISION, (commit(),)),
        fields=(FieldChange("payload.priority", 50, None),),
        desired=None if isinstance(job, str) else job,
    )
    return replace(made, **given)


def change_set(*changes: AppliedChange, at: datetime = NOW, **given: Any) -> ChangeSet:
    return ChangeSet(**{"source": SOURCE, "changes": changes, "applied_at": at, **given})


def add(store: SqlStore, *jobs: DesiredJob, at: datetime = NOW) -> None:
    """Apply new jobs."""
    store.apply(change_set(*(change("created", job) for job in jobs), at=at)).result()


def execution(
    id_: str = "e1",
    job_id: str = "nightly",
    *,
    slot: datetime | None = None,
    status: ExecutionStatus = "queued",
    trigger: Trigger | None = None,
    **given: Any,
) -> Execution:
    """Scheduled if it has a slot, else started by hand."""
    if trigger is None:
        trigger = Trigger("schedule", slot=slot) if slot else Trigger("manual", actor="ada")
    made = Execution(
        id=id_,
        job_id=job_id,
        status=status,
        trigger=trigger,
        queued_at=NOW,
        revision=REVISION,
        generation=1,
        config_digest="d" * 64,
    )
    return replace(made, **given)


def outcome(status: ExecutionStatus = "succeeded", at: datetime = NOW, **given: Any) -> Outcome:
    return Outcome(status, at, **given)


def begin(store: SqlStore, execution_id: str, attempt: Attempt) -> bool:
    """queued → running. False where it was not queued."""
    (begun,) = store.start_attempts([(execution_id, attempt)]).result()
    return begun


def end(
    store: SqlStore,
    execution_id: str,
    attempt: int,
    outcome: Outcome,
    *,
    told: Occurrence | None = None,
) -> bool:
    """running → the outcome's status. False where that attempt was not running."""
    (ended,) = store.finish_all([Ending(execution_id, attempt, outcome, told)]).result()
    return ended
