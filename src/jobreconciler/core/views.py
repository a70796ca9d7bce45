"""The public JSON of jobs, executions and changes: one shape for HTTP and for the CLI.

Keys are camelCase and always present, null where there is no value; instants are RFC 3339 in UTC
with `Z`. Pure: model values in, plain dicts out, ready for `json.dumps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from jobreconciler.core.suspension import suspension_json
from jobreconciler.model.change import ChangelogRow, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.execution import Attempt, Execution, Missed, Trigger
from jobreconciler.model.job import StoredJob
from jobreconciler.model.views import FleetCounts, Live, Page, SourceState

Json = dict[str, Any]
T = TypeVar("T")


def instant(at: datetime) -> str:
    """RFC 3339 in UTC with `Z`; a fraction only where there is one."""
    text = at.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z"


def instant_or_none(at: datetime | None) -> str | None:
    return None if at is None else instant(at)


def condition_json(condition: Condition) -> Json:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "since": instant(condition.since),
    }


def _reason(trigger: Trigger) -> str | None:
    spite = trigger.in_spite_of and f"in spite of: {trigger.in_spite_of}"
    return "; ".join(filter(None, (trigger.reason, spite))) or None


def trigger_json(trigger: Trigger) -> Json:
    """`parameters` are those the trigger set, under the names that the job's file allows; secrets
    stand in none, only references to them."""
    return {
        "type": trigger.type,
        "slot": instant_or_none(trigger.slot),
        "actor": trigger.actor,
        "reason": _reason(trigger),
        "deliveryId": trigger.delivery_id,
        "upstream": list(trigger.upstream),
        "parameters": trigger.parameters,
    }


def attempt_json(attempt: Attempt) -> Json:
    return {
        "number": attempt.number,
        "startedAt": instant(attempt.started_at),
        "finishedAt": instant_or_none(attempt.finished_at),
        "exitCode": attempt.exit_code,
        "signal": attempt.signal,
        "error": attempt.error,
    }


def missed_json(missed: Missed) -> Json:
    return {
        "from": instant(missed.first),
        "to": instant(missed.last),
        "count": missed.count,
        "reason": missed.reason,
    }


def execution_json(
    execution: Execution, live: Live | None = None, waits_for: str | None = None
) -> Json:
    """One execution. `live` replaces progress and metrics of an attempt that is running now;
    `waits_for` is what a daemon knows to keep it from starting."""
    progress, metrics = execution.progress, execution.metrics
    if live is not None:
        progress = live.progress or progress
        metrics = live.metrics or metrics
    return {
        "id": execution.id,
        "jobId": execution.job_id,
        "status": execution.status,
        "trigger": trigger_json(execution.trigger),
        "retryOf": execution.retry_of,
        "missed": None if execution.missed is None else missed_json(execution.missed),
        "revision": execution.revision,
        "generation": execution.generation,
        "configDigest": execution.config_digest,
        "queuedAt": instant(execution.queued_at),
        "notBefore": instant_or_none(execution.not_before),
        "waitsFor": waits_for,
        "startedAt": instant_or_none(execution.started_at),
        "finishedAt": instant_or_none(execution.finished_at),
        "exitCode": execution.exit_code,
        "signal": execution.signal,
        "error": execution.error,
        "attempts": [attempt_json(attempt) for attempt in execution.attempts],
        "progress": None if progress is None else {"done": progress[0], "total": progress[1]},
        "metrics": metrics,
        "result": execution.result,
        "dryRun": execution.dry_run,
    }


def job_json(
    job: StoredJob,
    *,
    last_execution: Execution | None = None,
    next_slot: datetime | None = None,
) -> Json:
    """One job. Its config holds secret references as they stand in the file, never values."""
    return {
        "jobId": job.job_id,
        "config": job.config,
        "generation": job.generation,
        "observedGeneration": job.observed_generation,
        "revision": job.revision,
        "file": job.path,
        "conditions": [condition_json(condition) for condition in job.conditions],
        "lastExecution": None if last_execution is None else execution_json(last_execution),
        "nextSlot": instant_or_none(next_slot),
        "suspension": None if job.suspension is None else suspension_json(job.suspension),
        "deletedAt": instant_or_none(job.deleted_at),
    }


def change_json(row: ChangelogRow) -> Json:
    return {
        "sequence": row.sequence,
        "jobId": row.job_id,
        "action": row.action,
        "generation": row.generation,
        "file": row.file,
        "revision": row.revision,
        "commits": list(row.commits),
        "author": row.author,
        "committer": row.committer,
        "message": row.message,
        "pullRequest": row.pull_request,
        "reviewers": list(row.reviewers),
        "signature": row.signature,
        "fields": [field.to_json() for field in row.fields],
        "appliedAt": instant(row.applied_at),
        "actor": row.actor,
        "instance": row.instance,
        "hash": row.hash,
        "previousHash": row.previous_hash,
    }


def reconcile_json(record: ReconcileRecord) -> Json:
    return {
        "revision": record.revision,
        "startedAt": instant(record.started_at),
        "finishedAt": instant(record.finished_at),
        "result": record.result,
        "trigger": record.trigger,
        "summary": record.summary,
        "error": record.error,
    }


def output_bytes(data: bytes, skipped: int) -> bytes:
    """A piece of an output as it is shown: what was cut out before it is said in its place."""
    cut = f"\n[{skipped} bytes were left out here]\n".encode() if skipped else b""
    return cut + data


def counts_json(counts: FleetCounts) -> Json:
    return {
        "jobs": counts.jobs,
        "enabled": counts.enabled,
        "disabled": counts.disabled,
        "suspended": counts.suspended,
        "held": counts.held,
        "failing": counts.failing,
        "running": counts.running,
        "queued": counts.queued,
        "invalidFiles": counts.invalid_files,
    }


def source_json(source: SourceState | None) -> Json:
    """Where the source stands; a daemon that has not read its repository yet is not healthy."""
    if source is None:
        source = SourceState(
            revision=None, observed_revision=None, environment=None, reader_version=""
        )
    return {
        "revision": source.revision,
        "observedRevision": source.observed_revision,
        "environment": source.environment,
        "author": source.author,
        "message": source.message,
        "committedAt": source.committed_at,
        "lastSuccessAt": instant_or_none(source.last_success_at),
        "healthy": source_healthy(source),
        "conditions": [condition_json(condition) for condition in source.conditions],
    }


def source_healthy(source: SourceState) -> bool:
    """A revision is applied, and no condition says that something is wrong with the source."""
    bad = {("SourceReady", "False"), ("Ready", "False"), ("Stalled", "True")}
    return source.revision is not None and not any(
        (condition.type, condition.status) in bad for condition in source.conditions
    )


def slot_json(at: datetime, local: datetime, note: str = "") -> Json:
    """One coming slot: the instant, the same as the job's wall clock shows it, and a remark."""
    return {"utc": instant(at), "local": local.isoformat(), "note": note}


def next_json(slots: Iterable[tuple[str, Sequence[Json]]]) -> Json:
    """`slots` are pairs of a job's id and its coming slots as `slot_json` gives them."""
    return {"jobs": [{"jobId": job_id, "slots": list(coming)} for job_id, coming in slots]}


def page_json(name: str, page: Page[T], item: Callable[[T], Json]) -> Json:
    """The envelope of every list: `{name: […], nextCursor}`."""
    return {name: [item(each) for each in page.items], "nextCursor": page.next_cursor}


def executions_json(
    page: Page[Execution], view: Callable[[Execution], Json] = execution_json
) -> Json:
    return page_json("executions", page, view)


def changes_json(page: Page[ChangelogRow]) -> Json:
    return page_json("changes", page, change_json)


def reconciles_json(page: Page[ReconcileRecord]) -> Json:
    return page_json("reconciles", page, reconcile_json)
