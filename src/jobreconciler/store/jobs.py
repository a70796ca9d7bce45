"""Reads of jobs: the compact index, single jobs with their state, and the filtered list."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select

from jobreconciler.core import expectations, suspension
from jobreconciler.errors import Invalid
from jobreconciler.model.condition import Condition
from jobreconciler.model.job import IndexRow, PinnedJob, ScheduleRow, StoredJob
from jobreconciler.model.suspension import Suspension
from jobreconciler.model.views import JobQuery, Page
from jobreconciler.store import suspensions, tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.rows import instant, instant_or_none, micros, object_or_none
from jobreconciler.store.sql import Row, Statement, Tx

_CONFIG = tables.job_configs.c
_STATE = tables.job_states.c
_CONDITION = tables.job_conditions.c
_EXECUTION = tables.job_executions.c

_INDEX = Statement(
    "SELECT job_id, path, blob, defaults_blob, digest, enabled, depends_on, deleted_at "
    "FROM job_configs"
)
_JOINED = tables.job_configs.outerjoin(
    tables.job_states, tables.job_states.c.job_id == tables.job_configs.c.job_id
)
_JOB = select(
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
).select_from(_JOINED)
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
    query = _JOB.where(_CONFIG.job_id == job_id)
    if not deleted:
        query = query.where(_CONFIG.deleted_at.is_(None))
    found = _stored_jobs(tx, tx.select(query), now)
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


def _stored_jobs(tx: Tx, rows: Sequence[Row], now: datetime) -> list[StoredJob]:
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


def jobs(
    tx: Tx, wanted: JobQuery, now: datetime, next_slots: Mapping[str, datetime] | None = None
) -> Page[StoredJob]:
    """One page. Raises Invalid for an unknown filter value, sort or cursor.

    `trigger=manual` are jobs that nothing else starts. Sort `last` is newest first. When jobs run
    next is not stored: without `next_slots`, sort `next` puts scheduled ones first, by name.
    """
    limit = max(1, wanted.limit)
    if wanted.sort == "next" and next_slots is not None:
        return _by_next(tx, wanted, now, next_slots, limit)
    rank = _rank(wanted.sort)
    query = _JOB.add_columns(rank).where(*_filters(tx, wanted, now)).order_by(rank, _CONFIG.job_id)
    kind = f"jobs:{wanted.sort}"
    if wanted.cursor is not None:
        at, id_ = read_cursor(wanted.cursor, kind, (int, str))
        query = query.where(or_(rank > at, and_(rank == at, _CONFIG.job_id > id_)))
    rows = tx.select(query.limit(limit + 1))
    items = tuple(_stored_jobs(tx, [row[:-1] for row in rows[:limit]], now))
    more = len(rows) > limit
    return Page(items, write_cursor(kind, rows[limit - 1][-1], items[-1].job_id) if more else None)


def _by_next(
    tx: Tx, wanted: JobQuery, now: datetime, next_slots: Mapping[str, datetime], limit: int
) -> Page[StoredJob]:
    """The one that runs next first; those that no slot is known of last, by name."""
    kind = "jobs:next-slot"
    ids = tx.select(select(_CONFIG.job_id).select_from(_JOINED).where(*_filters(tx, wanted, now)))
    order = sorted((_until(next_slots.get(id_)), id_) for (id_,) in ids)
    if wanted.cursor is not None:
        last = read_cursor(wanted.cursor, kind, (int, str))
        order = order[bisect_right(order, last) :]
    shown = order[:limit]
    rows = tx.select(_JOB.where(_CONFIG.job_id.in_([id_ for _, id_ in shown])))
    found = {job.job_id: job for job in _stored_jobs(tx, rows, now)}
    items = tuple(found[id_] for _, id_ in shown if id_ in found)  # deleted since, perhaps
    return Page(items, write_cursor(kind, *shown[-1]) if len(order) > limit else None)


def _until(slot: datetime | None) -> int:
    return _NEVER if slot is None else micros(slot)


_NEVER = 2**62


def _rank(sort: str) -> ColumnElement[int]:
    """What a list is ordered by before the job id: an integer, smallest first."""
    if sort == "name":
        return literal(0)
    if sort == "last":
        return -func.coalesce(_STATE.last_run_at, 0)
    if sort == "next":
        return case((and_(_CONFIG.enabled, _CONFIG.schedule_enabled), 0), else_=1)
    if sort == "attention":
        return case(
            (and_(_CONFIG.enabled, _STATE.consecutive_failures > 0), 0),
            (_is_held(), 1),
            (_has_execution("running"), 2),
            (_has_execution("queued"), 3),
            (_CONFIG.enabled, 4),
            else_=5,
        )
    raise _unknown("sort", sort, ("attention", "next", "last", "name"))


def _is_held() -> ColumnElement[bool]:
    return exists().where(
        _CONDITION.job_id == _CONFIG.job_id,
        _CONDITION.type == "Held",
        _CONDITION.status == "True",
    )


def _has_execution(status: str) -> ColumnElement[bool]:
    return exists().where(
        _EXECUTION.job_id == _CONFIG.job_id,
        _EXECUTION.status == status,
    )


def _filters(tx: Tx, wanted: JobQuery, now: datetime) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if not wanted.include_deleted:
        filters.append(_CONFIG.deleted_at.is_(None))
    if wanted.type is not None:
        filters.append(_CONFIG.job_type == wanted.type)
    if wanted.owner is not None:
        filters.append(_CONFIG.owner == wanted.owner)
    if wanted.tag is not None:
        filters.append(_CONFIG.tags.contains(json.dumps(wanted.tag), autoescape=True))
    if wanted.trigger is not None:
        filters.append(_triggered_by(wanted.trigger))
    if wanted.state is not None:
        filters.append(_in_state(tx, wanted.state, now))
    if wanted.q:
        text = wanted.q.lower()
        columns = (_CONFIG.job_id, _CONFIG.title, _CONFIG.owner, _CONFIG.tags, _CONFIG.path)
        filters.append(or_(*(func.lower(c).contains(text, autoescape=True) for c in columns)))
    return filters


def _triggered_by(trigger: str) -> ColumnElement[bool]:
    choices = {
        "schedule": _CONFIG.expression.is_not(None),
        "webhook": _CONFIG.has_webhook.is_(True),
        "dependency": _CONFIG.depends_on != "[]",
    }
    choices["manual"] = and_(
        _CONFIG.expression.is_(None), _CONFIG.has_webhook.is_(False), _CONFIG.depends_on == "[]"
    )
    if trigger not in choices:
        raise _unknown("trigger", trigger, tuple(choices))
    return choices[trigger]


def _in_state(tx: Tx, state: str, now: datetime) -> ColumnElement[bool]:
    if state == "suspended":
        return or_(_NOWHERE, *(_covered(stop) for stop in suspensions.active(tx, now)))
    if state in _LIMITS:
        passed = _LIMITS[state]
        over = (id_ for id_, found in expecting(tx).items() if _is_past(passed(found), now))
        return _CONFIG.job_id.in_(sorted(over))
    choices = {
        "enabled": _CONFIG.enabled.is_(True),
        "disabled": _CONFIG.enabled.is_(False),
        "held": _is_held(),
        "running": _has_execution("running"),
        "failing": _STATE.consecutive_failures > 0,
    }
    if state not in choices:
        raise _unknown("state", state, (*choices, "suspended", *_LIMITS))
    return choices[state]


_NOWHERE = literal(1) == literal(0)
_LIMITS: dict[str, Callable[[expectations.Limits], datetime | None]] = {
    "late": lambda found: found.late_after,
    "overrunning": lambda found: found.overrun_after,
}


def suspended(tx: Tx, now: datetime) -> int:
    """How many live jobs an operator's stop covers now."""
    stops = suspensions.active(tx, now)
    if not stops:
        return 0
    covered = or_(*(_covered(stop) for stop in stops))
    query = select(func.count()).select_from(tables.job_configs)
    [(count,)] = tx.select(query.where(_CONFIG.deleted_at.is_(None), covered))
    return int(count)


def _is_past(limit: datetime | None, now: datetime) -> bool:
    return limit is not None and now > limit


def _covered(stop: Suspension) -> ColumnElement[bool]:
    if stop.scope == "fleet":
        return literal(1) == literal(1)
    if stop.scope == "job":
        return _CONFIG.job_id == stop.target
    if stop.scope == "owner":
        return _CONFIG.owner == stop.target
    return _CONFIG.tags.contains(json.dumps(stop.target), autoescape=True)


def _unknown(what: str, value: str, known: Sequence[str]) -> Invalid:
    return Invalid(f"{what} {value!r} is not known; it is one of {', '.join(known)}")
