"""What one reconcile writes: jobs, their changelog, the source's state, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from jobreconciler.model.change import AppliedChange, ChangelogRow, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.desired import DesiredJob
from jobreconciler.model.views import SourceState
from jobreconciler.ports import ChangeSet
from jobreconciler.store import changelog, tables
from jobreconciler.store.digests import row_digest
from jobreconciler.store.rows import (
    conditions_json,
    micros,
    micros_or_none,
    problems_json,
    storable,
    storable_or_none,
    to_json,
)
from jobreconciler.store.sql import Statement, Tx, insert, overwrite

_UPSERT = overwrite(tables.job_configs, "job_id", keep=("observed_generation", "created_at"))
_NEW_STATES = Statement(
    "INSERT INTO job_states (job_id, consecutive_failures) "
    "SELECT job_id, 0 FROM job_configs WHERE job_id IN {ids} ON CONFLICT DO NOTHING"
)
_STORED = Statement(
    "SELECT job_id, generation, digest, revision, deleted_at, enabled, schedule_enabled, "
    "expression, timezone, schedule_since FROM job_configs WHERE job_id IN {ids}"
)
_DELETE = Statement(
    "UPDATE job_configs SET deleted_at = :at, updated_at = :at, revision = :revision, "
    "generation = :generation, row_digest = '' WHERE job_id = :job_id"
)
_FORGET_CONDITIONS = Statement("DELETE FROM job_conditions WHERE job_id = :job_id")
_RELEASE = Statement("DELETE FROM job_conditions WHERE job_id = :job_id AND type = 'Held'")
_NONE_DRIFTED = Statement("DELETE FROM job_conditions WHERE type = 'Drifted'")
_NOT_DRIFTED = Statement("DELETE FROM job_conditions WHERE type = 'Drifted' AND job_id IN {ids}")
_OTHERS_NOT_DRIFTED = Statement(
    "DELETE FROM job_conditions WHERE type = 'Drifted' AND job_id NOT IN {ids}"
)
_SET_CONDITION = insert(
    tables.job_conditions,
    "ON CONFLICT (job_id, type) DO UPDATE SET status = excluded.status, "
    "reason = excluded.reason, message = excluded.message, "
    "since = CASE WHEN job_conditions.status = excluded.status "
    "AND job_conditions.reason = excluded.reason "
    "THEN job_conditions.since ELSE excluded.since END",
)
_KEEP_BLOB = insert(tables.blobs, "ON CONFLICT DO NOTHING")
_CLEAR_PROBLEMS = Statement("DELETE FROM file_problems")
_CLEAR_PROBLEM = Statement("DELETE FROM file_problems WHERE path = :path")
_SET_PROBLEM = overwrite(tables.file_problems, "path")
_SET_SOURCE = overwrite(tables.source_state, "id")
_ADD_RECONCILE = insert(tables.reconciles, leave_out=("id",))
_APPROVE = overwrite(tables.prune_approvals, "revision", keep=("revision",))
_OBSERVE_ALL = (
    "UPDATE job_configs SET observed_generation = generation "
    "WHERE observed_generation <> generation"
)
_OBSERVE = Statement(f"{_OBSERVE_ALL} AND job_id = :job_id")


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the next version of a row depends on."""

    generation: int
    digest: str
    revision: str
    deleted: bool
    active: bool
    expression: str | None
    timezone: str | None
    schedule_since: int


def apply(tx: Tx, change_set: ChangeSet, *, instance: str, at: int) -> tuple[ChangelogRow, ...]:
    """Write the whole change set. `at` stands where it carries no instant of its own."""
    if change_set.applied_at is not None:
        at = micros(change_set.applied_at)
    log = _apply_changes(tx, change_set, instance, at)
    _apply_conditions(tx, change_set)
    tx.many(_KEEP_BLOB, [{"blob": id, "text": text} for id, text in change_set.blobs.items()])
    _apply_problems(tx, change_set)
    set_source(tx, change_set.source)
    if change_set.record is not None:
        _add_record(tx, change_set.record)
    return log


def _apply_changes(
    tx: Tx, change_set: ChangeSet, instance: str, at: int
) -> tuple[ChangelogRow, ...]:
    touched = [change.job_id for change in change_set.changes]
    stored = _stored(tx, {*touched, *(job.job_id for job in change_set.seen)})
    upserts: list[dict[str, Any]] = []
    deletes: list[dict[str, Any]] = []
    logged: list[tuple[AppliedChange, int]] = []
    new = set(touched) - stored.keys()
    last = changelog.last_generations(tx, new)
    for change in change_set.changes:
        old = stored.get(change.job_id)
        if change.desired is not None:
            before = old.generation if old is not None else last.get(change.job_id, 0)
            generation = before + _rises(change, old)
            row = _config_row(change.desired, change.revision, generation, old, at)
            upserts.append(row)
            stored[change.job_id] = _as_stored(row)
        elif old is not None and not old.deleted:
            generation = old.generation + 1
            deletes.append(
                {
                    "job_id": change.job_id,
                    "at": at,
                    "revision": change.revision,
                    "generation": generation,
                }
            )
            stored[change.job_id] = replace(old, generation=generation, deleted=True)
        else:
            continue
        logged.append((change, generation))
    for job in change_set.seen:
        old = stored.get(job.job_id)
        if old is not None and not old.deleted:
            upserts.append(_config_row(job, old.revision, old.generation, old, at))
    tx.many(_UPSERT, upserts)
    if upserts:
        tx.run(_NOT_DRIFTED, {"ids": tx.ids(row["job_id"] for row in upserts)})
    if new:
        tx.run(_NEW_STATES, {"ids": tx.ids(sorted(new))})
    tx.many(_DELETE, deletes)
    tx.many(_FORGET_CONDITIONS, [{"job_id": row["job_id"]} for row in deletes])
    return changelog.append(tx, logged, instance=instance, at=at)


def _rises(change: AppliedChange, old: _Stored | None) -> int:
    """1 where the change gives the job another version of its config to act on."""
    if old is None or old.deleted or change.action in ("restored", "healed"):
        return 1
    return int(change.desired is not None and change.desired.digest != old.digest)


def _config_row(
    job: DesiredJob, revision: str, generation: int, old: _Stored | None, at: int
) -> dict[str, Any]:
    config = from_json(job.config)
    meta, payload = config.get("meta") or {}, config.get("payload") or {}
    schedule = payload.get("schedule") or {}
    row: dict[str, Any] = {
        "job_id": job.job_id,
        "path": storable(job.path),
        "blob": job.blob,
        "defaults_blob": job.defaults_blob,
        "digest": job.digest,
        "enabled": job.enabled,
        "depends_on": to_json(job.depends_on) if job.depends_on else "[]",
        "deleted_at": None,
        "revision": revision,
        "generation": generation,
        "observed_generation": 0,
        "job_type": storable(job.job_type),
        "title": storable_or_none(meta.get("title")),
        "owner": storable_or_none(meta.get("owner")),
        "tags": _tags_json(tuple(meta.get("tags") or ())),
        "schedule_enabled": bool(schedule) and schedule.get("isEnabled", True),
        "expression": storable_or_none(schedule.get("cronExpression")),
        "timezone": storable(schedule.get("timezone", "UTC")) if schedule else None,
        "jitter_seconds": schedule.get("jitterSeconds", 0),
        "catch_up": schedule.get("catchUp", "latest"),
        "starting_deadline_seconds": schedule.get("startingDeadlineSeconds"),
        "has_webhook": bool(payload.get("webhook")),
        "created_at": at,
        "updated_at": at,
        "config": job.config,
    }
    row["schedule_since"] = _schedule_since(row, old, at)
    row["row_digest"] = row_digest(row)
    return row


@lru_cache(maxsize=1024)
def _tags_json(tags: tuple[str, ...]) -> str:
    return to_json(tags)


def _schedule_since(row: Mapping[str, Any], old: _Stored | None, at: int) -> int:
    """Slots up to here are not owed: the schedule was another one, was off, or wasn't there."""
    if old is None or old.deleted or not old.active:
        return at
    same = (row["expression"], row["timezone"]) == (old.expression, old.timezone)
    return old.schedule_since if same else at


def _as_stored(row: Mapping[str, Any]) -> _Stored:
    return _Stored(
        generation=row["generation"],
        digest=row["digest"],
        revision=row["revision"],
        deleted=False,
        active=row["enabled"] and row["schedule_enabled"],
        expression=row["expression"],
        timezone=row["timezone"],
        schedule_since=row["schedule_since"],
    )


def _stored(tx: Tx, job_ids: Iterable[str]) -> dict[str, _Stored]:
    found: dict[str, _Stored] = {}
    for id_, generation, digest, revision, deleted, on, scheduled, *when in tx.all(
        _STORED, {"ids": tx.ids(job_ids)}
    ):
        active = bool(on) and bool(scheduled)
        found[id_] = _Stored(generation, digest, revision, deleted is not None, active, *when)
    return found


def _apply_conditions(tx: Tx, change_set: ChangeSet) -> None:
    tx.many(_RELEASE, [{"job_id": job_id} for job_id in sorted(change_set.released)])
    _set_conditions(tx, change_set.held)


def set_drifted(tx: Tx, drifted: Mapping[str, Condition]) -> None:
    """These jobs are drifted, and no others. One that lasts keeps its instant."""
    if drifted:
        tx.run(_OTHERS_NOT_DRIFTED, {"ids": tx.ids(sorted(drifted))})
    else:
        tx.run(_NONE_DRIFTED)
    _set_conditions(tx, drifted)


def _set_conditions(tx: Tx, conditions: Mapping[str, Condition]) -> None:
    known = _stored(tx, conditions)
    tx.many(
        _SET_CONDITION,
        [
            _condition_row(job_id, condition)
            for job_id, condition in sorted(conditions.items())
            if job_id in known
        ],
    )


def _condition_row(job_id: str, condition: Condition) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": storable(condition.message),
        "since": micros(condition.since),
    }


def _apply_problems(tx: Tx, change_set: ChangeSet) -> None:
    if change_set.problems_complete:
        tx.run(_CLEAR_PROBLEMS)
    else:
        tx.many(_CLEAR_PROBLEM, [{"path": path} for path in sorted(change_set.considered)])
    tx.many(
        _SET_PROBLEM,
        [
            {"path": storable(path), "problems": problems_json(problems)}
            for path, problems in change_set.problems.items()
            if problems
        ],
    )


def set_source(tx: Tx, source: SourceState) -> None:
    tx.run(
        _SET_SOURCE,
        {
            "id": 1,
            "revision": source.revision,
            "observed_revision": source.observed_revision,
            "base_revision": source.base_revision,
            "environment": source.environment,
            "reader_version": source.reader_version,
            "conditions": conditions_json(source.conditions),
            "last_success_at": micros_or_none(source.last_success_at),
            "author": storable(source.author),
            "message": storable(source.message),
            "committed_at": source.committed_at,
        },
    )


def _add_record(tx: Tx, record: ReconcileRecord) -> None:
    tx.run(
        _ADD_RECONCILE,
        {
            "revision": record.revision,
            "started_at": micros(record.started_at),
            "finished_at": micros(record.finished_at),
            "result": record.result,
            "trigger": record.trigger,
            "summary": to_json(record.summary),
            "error": storable(record.error),
        },
    )


def approve(tx: Tx, revision: str, actor: str, at: int) -> None:
    tx.run(_APPROVE, {"revision": revision, "actor": storable(actor), "approved_at": at})


def observed(tx: Tx, job_ids: Collection[str] | None) -> None:
    if job_ids is None:
        tx.command(_OBSERVE_ALL)
    else:
        tx.many(_OBSERVE, [{"job_id": job_id} for job_id in sorted(job_ids)])
