"""Reads of jobs: the compact index, single jobs with their state, their schedules and limits."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import case, select

from jobreconciler.core import expectations, suspension
from jobreconciler.model.condition import Condition
from jobreconciler.model.job import IndexRow, PinnedJob, ScheduleRow, StoredJob
from jobreconciler.model.suspension import Suspension
from jobreconciler.store import suspensions, tables
from jobreconciler.store.rows import instant, instant_or_none, object_or_none
from jobreconciler.store.sql import Row, Statement, Tx

_CONFIG = tables.job_configs.c
_STATE = tables.job_states.c

_INDEX = Statement(
    "SELECT job_id, path, blob, defaults_blob, digest, enabled, depends_on, deleted_at "
    "FROM job_configs"
)
JOINED = tables.job_configs.outerjoin(
    tables.job_states, tables.job_states.c.job_id == tables.job_configs.c.job_id
)
JOB = select(
    _CONFIG.job_id,
    _CONFIG.path,
    _CONFIG.blob,
    _CONFIG.defaults_blob,
    _CONFIG.revision,
    _CONFIG.generation,
    _CONFIG.observed_generation,
    _CONFIG.digest,
    _CONFIG.config,
    _CONFIG.created_at,
    _CONFIG.updated_at,
    _CONFIG.deleted_at,
    _STATE.watermark,
    _STATE.last_execution_id,
    _STATE.last_run_at,
    _STATE.last_success_at,
    _STATE.last_status,
    _STATE.consecutive_failures,
    case((_CONFIG.schedule_enabled, _CONFIG.schedule_since), else_=_CONFIG.created_at),
).select_from(JOINED)
"""What `stored_jobs` reads a job from."""
_SCHEDULES_SQL = (
    "SELECT c.job_id, c.generation, c.expression, c.timezone, c.jitter_seconds, c.catch_up, "
    "c.starting_deadline_seconds, s.watermark, c.schedule_since "
    "FROM job_configs c LEFT JOIN job_states s ON s.job_id = c.job_id "
    "WHERE c.deleted_at IS NULL AND c.enabled AND c.schedule_enabled AND c.expression IS NOT NULL"
)
_SCHEDULES = Statement(_SCHEDULES_SQL)
_SCHEDULES_OF = Statement(f"{_SCHEDULES_SQL} AND c.job_id IN {{ids}}")
_PINNED = Statement(
    "SELECT job_id, revision, generation, digest, config FROM job_configs "
    "WHERE job_id IN {ids} AND deleted_at IS NULL"
)
_CONDITIONS_SQL = "SELECT job_id, type, status, reason, message, since FROM job_conditions"
_CONDITIONS_OF = Statement(f"{_CONDITIONS_SQL} WHERE job_id IN {{ids}} ORDER BY job_id, type")
_RUNNING_SINCE = Statement(
    "SELECT job_id, min(started_at) FROM job_executions "
    "WHERE status = 'running' AND started_at IS NOT NULL GROUP BY job_id"
)
_EXPECTING_SQL = (
    "SELECT c.job_id, c.config, s.last_success_at, "
    "CASE WHEN c.schedule_enabled THEN c.schedule_since ELSE c.created_at END FROM job_configs c "
    "LEFT JOIN job_states s ON s.job_id = c.job_id "
    'WHERE c.deleted_at IS NULL AND c.config LIKE \'%"expect":{"%\''
)
_EXPECTING = Statement(_EXPECTING_SQL)
_EXPECTING_OF = Statement(f"{_EXPECTING_SQL} AND c.job_id IN {{ids}}")
_HELD = Statement(f"{_CONDITIONS_SQL} WHERE type = 'Held' AND status = 'True'")


def index(tx: Tx) -> dict[str, IndexRow]:
    """Every job by id, deleted ones marked. Built without a Python call a row."""
    new = tuple.__new__
    return {
        id_: new(
            IndexRow,
            (
                id_,
                path,
                blob,
                defaults,
                digest,
                enabled == 1,
                () if depends == "[]" else tuple(json.loads(depends)),
                deleted is not None,
            ),
        )
        for id_, path, blob, defaults, digest, enabled, depends, deleted in tx.all(_INDEX)
    }


def schedules(tx: Tx, job_ids: Collection[str] | None) -> list[ScheduleRow]:
    """Live, enabled jobs whose schedule is on; all of them, or those among `job_ids`."""
    if job_ids is None:
        rows = tx.all(_SCHEDULES)
    else:
        rows = tx.all(_SCHEDULES_OF, {"ids": tx.ids(job_ids)})
    return [
        ScheduleRow._make((*rest, instant_or_none(watermark), instant(since)))
        for *rest, watermark, since in rows
    ]


def job(tx: Tx, job_id: str, deleted: bool, now: datetime) -> StoredJob | None:
    query = JOB.where(_CONFIG.job_id == job_id)
    if not deleted:
        query = query.where(_CONFIG.deleted_at.is_(None))
    found = stored_jobs(tx, tx.select(query), now)
    return found[0] if found else None


def pinned(tx: Tx, job_ids: Collection[str]) -> dict[str, PinnedJob]:
    """Live jobs only; one whose config is no JSON object any more is left out."""
    found: dict[str, PinnedJob] = {}
    rows = tx.all(_PINNED, {"ids": tx.ids(job_ids)})
    for id_, revision, generation, digest, text in rows:
        config = object_or_none(text)
        if config is not None:
            found[id_] = PinnedJob(id_, revision, generation, digest, config)
    return found


def held(tx: Tx) -> dict[str, Condition]:
    return {row[0]: _condition(row) for row in tx.all(_HELD)}


def expecting(tx: Tx, job_ids: Collection[str] | None = None) -> dict[str, expectations.Limits]:
    """The limits of these live jobs (None: of all), where they have expectations, whatever has
    become of them."""
    return {id_: limits for id_, limits, _ in _expecting(tx, job_ids)}


def unmet(tx: Tx, now: datetime) -> tuple[list[expectations.Unmet], datetime | None]:
    """See ports.Store.unmet."""
    found: list[expectations.Unmet] = []
    coming: datetime | None = None
    for id_, limits, config in _expecting(tx):
        for condition in expectations.conditions(limits, now):
            found.append(expectations.Unmet(id_, condition, config))
        end = expectations.next_end(limits, now)
        coming = end if coming is None else min(coming, end or coming)
    return found, coming


def _expecting(
    tx: Tx, job_ids: Collection[str] | None = None
) -> Iterator[tuple[str, expectations.Limits, dict[str, Any]]]:
    rows = (
        tx.all(_EXPECTING) if job_ids is None else tx.all(_EXPECTING_OF, {"ids": tx.ids(job_ids)})
    )
    running = _running_since(tx) if rows else {}
    for id_, text, success, since in rows:
        config = object_or_none(text)
        if config is not None:
            limits = expectations.limits(
                config,
                last_success=instant_or_none(success),
                known_since=instant(since),
                running_since=running.get(id_),
            )
            yield id_, limits, config


def _running_since(tx: Tx) -> dict[str, datetime]:
    return {id_: instant(at) for id_, at in tx.all(_RUNNING_SINCE)}


def _as_of(
    job: StoredJob,
    stops: Sequence[Suspension],
    running: dict[str, datetime],
    since: datetime,
    now: datetime,
) -> StoredJob:
    """The job with what time and operators make of it: Suspended, Late, Overrunning."""
    if job.deleted_at is not None:
        return job
    stop = suspension.holding(stops, suspension.subject_of(job.job_id, job.config), now)
    limits = expectations.limits(
        job.config,
        last_success=job.last_success_at,
        known_since=since,
        running_since=running.get(job.job_id),
    )
    more = list(expectations.conditions(limits, now))
    if stop is not None:
        more.append(suspension.condition(stop))
    if not more:
        return job
    return replace(job, suspension=stop, conditions=(*job.conditions, *more))


def stored_jobs(tx: Tx, rows: Sequence[Row], now: datetime) -> list[StoredJob]:
    """The jobs of these rows of `JOB`, with their conditions as they are at `now`."""
    conditions: dict[str, list[Condition]] = {}
    found = tx.all(_CONDITIONS_OF, {"ids": tx.ids(row[0] for row in rows)}) if rows else ()
    for row in found:
        conditions.setdefault(row[0], []).append(_condition(row))
    made = [_stored_job(row[:-1], tuple(conditions.get(row[0], ()))) for row in rows]
    if not made:
        return made
    stops = suspensions.active(tx, now)
    running = _running_since(tx) if any(_expects(job) for job in made) else {}
    return [
        _as_of(job, stops, running, instant(row[-1]), now)
        for row, job in zip(rows, made, strict=True)
    ]


def _expects(job: StoredJob) -> bool:
    return bool((job.config.get("payload") or {}).get("expect"))


def _condition(row: Row) -> Condition:
    _, type_, status, reason, message, since = row
    return Condition(type_, status, reason, message, instant(since))


def _stored_job(row: Row, conditions: tuple[Condition, ...]) -> StoredJob:
    id_, path, blob, defaults, revision, generation, observed, digest, text, *rest = row
    created, updated, deleted, watermark, last_id, last_run, last_success, status, failures = rest
    return StoredJob(
        job_id=id_,
        path=path,
        blob=blob,
        defaults_blob=defaults,
        revision=revision,
        generation=generation,
        observed_generation=observed,
        digest=digest,
        # A config that somebody broke must not break the list of all others.
        config=object_or_none(text) or {"meta": {"id": id_}, "payload": {}},
        conditions=conditions,
        created_at=instant(created),
        updated_at=instant(updated),
        deleted_at=instant_or_none(deleted),
        watermark=instant_or_none(watermark),
        last_execution_id=last_id,
        last_run_at=instant_or_none(last_run),
        last_success_at=instant_or_none(last_success),
        last_status=status,
        consecutive_failures=failures or 0,
    )
