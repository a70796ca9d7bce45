"""Reads of jobs: the compact index, single jobs with their state, and the filtered list."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, literal, or_, select

from jobreconciler.errors import Invalid
from jobreconciler.model.condition import Condition
from jobreconciler.model.job import IndexRow, PinnedJob, ScheduleRow, StoredJob
from jobreconciler.model.views import JobQuery, Page
from jobreconciler.store import tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.rows import instant, instant_or_none, object_or_none
from jobreconciler.store.sql import Row, Statement, Tx, chunks

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
).select_from(_JOINED)
_SCHEDULE = (
    select(
        _CONFIG.job_id,
        _CONFIG.generation,
        _CONFIG.expression,
        _CONFIG.timezone,
        _CONFIG.jitter_seconds,
        _CONFIG.catch_up,
        _CONFIG.starting_deadline_seconds,
        _STATE.watermark,
        _CONFIG.schedule_since,
    )
    .select_from(_JOINED)
    .where(
        _CONFIG.deleted_at.is_(None),
        _CONFIG.enabled,
        _CONFIG.schedule_enabled,
        _CONFIG.expression.is_not(None),
    )
)


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
        rows = tx.select(_SCHEDULE)
    else:
        rows = [
            row
            for chunk in chunks(job_ids)
            for row in tx.select(_SCHEDULE.where(_CONFIG.job_id.in_(chunk)))
        ]
    return [
        ScheduleRow._make((*rest, instant_or_none(watermark), instant(since)))
        for *rest, watermark, since in rows
    ]


def job(tx: Tx, job_id: str, deleted: bool) -> StoredJob | None:
    query = _JOB.where(_CONFIG.job_id == job_id)
    if not deleted:
        query = query.where(_CONFIG.deleted_at.is_(None))
    found = _stored_jobs(tx, tx.select(query))
    return found[0] if found else None


def pinned(tx: Tx, job_ids: Collection[str]) -> dict[str, PinnedJob]:
    """Live jobs only; one whose config is no JSON object any more is left out."""
    found: dict[str, PinnedJob] = {}
    for chunk in chunks(job_ids):
        query = select(
            _CONFIG.job_id, _CONFIG.revision, _CONFIG.generation, _CONFIG.digest, _CONFIG.config
        ).where(_CONFIG.job_id.in_(chunk), _CONFIG.deleted_at.is_(None))
        for id_, revision, generation, digest, text in tx.select(query):
            config = object_or_none(text)
            if config is not None:
                found[id_] = PinnedJob(id_, revision, generation, digest, config)
    return found


def held(tx: Tx) -> dict[str, Condition]:
    rows = tx.select(_conditions().where(_CONDITION.type == "Held", _CONDITION.status == "True"))
    return {row[0]: _condition(row) for row in rows}


def _stored_jobs(tx: Tx, rows: Sequence[Row]) -> list[StoredJob]:
    conditions: dict[str, list[Condition]] = {}
    for chunk in chunks(row[0] for row in rows):
        query = _conditions().where(_CONDITION.job_id.in_(chunk))
        for row in tx.select(query.order_by(_CONDITION.job_id, _CONDITION.type)):
            conditions.setdefault(row[0], []).append(_condition(row))
    return [_stored_job(row, tuple(conditions.get(row[0], ()))) for row in rows]


def _conditions() -> Select[Any]:
    return select(
        _CONDITION.job_id,
        _CONDITION.type,
        _CONDITION.status,
        _CONDITION.reason,
        _CONDITION.message,
        _CONDITION.since,
    )


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


def jobs(tx: Tx, wanted: JobQuery) -> Page[StoredJob]:
    """One page. Raises Invalid for an unknown filter value, sort or cursor.

    `trigger=manual` are jobs that nothing else starts. Sort `next` puts scheduled jobs first, by
    name: when they run next is not stored. Sort `last` is newest first.
    """
    limit = max(1, wanted.limit)
    rank = _rank(wanted.sort)
    query = _JOB.add_columns(rank).where(*_filters(wanted)).order_by(rank, _CONFIG.job_id)
    kind = f"jobs:{wanted.sort}"
    if wanted.cursor is not None:
        at, id_ = read_cursor(wanted.cursor, kind, (int, str))
        query = query.where(or_(rank > at, and_(rank == at, _CONFIG.job_id > id_)))
    rows = tx.select(query.limit(limit + 1))
    items = tuple(_stored_jobs(tx, [row[:-1] for row in rows[:limit]]))
    more = len(rows) > limit
    return Page(items, write_cursor(kind, rows[limit - 1][-1], items[-1].job_id) if more else None)


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
        # The literals are spelt as in the partial index, so that it is used.
        _EXECUTION.status.in_([literal("queued"), literal("running")]),
        _EXECUTION.status == status,
    )


def _filters(wanted: JobQuery) -> list[ColumnElement[bool]]:
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
        filters.append(_in_state(wanted.state))
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


def _in_state(state: str) -> ColumnElement[bool]:
    nowhere = literal(1) == literal(0)
    choices = {
        "enabled": _CONFIG.enabled.is_(True),
        "disabled": _CONFIG.enabled.is_(False),
        "suspended": nowhere,
        "held": _is_held(),
        "running": _has_execution("running"),
        "failing": _STATE.consecutive_failures > 0,
        "late": nowhere,
    }
    if state not in choices:
        raise _unknown("state", state, tuple(choices))
    return choices[state]


def _unknown(what: str, value: str, known: Sequence[str]) -> Invalid:
    return Invalid(f"{what} {value!r} is not known; it is one of {', '.join(known)}")
