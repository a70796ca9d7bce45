"""Lists of jobs: filters and orders that hold across pages, the same in both databases."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, collate, exists, func, literal, or_, select

from jobreconciler.core import expectations
from jobreconciler.errors import Invalid
from jobreconciler.model.choices import SORTS, STATES, TRIGGERS
from jobreconciler.model.job import StoredJob
from jobreconciler.model.suspension import Suspension
from jobreconciler.model.views import JobQuery, Page
from jobreconciler.store import suspensions, tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.jobs import JOB, JOINED, expecting, stored_jobs
from jobreconciler.store.rows import micros
from jobreconciler.store.sql import Tx

_CONFIG = tables.job_configs.c
_STATE = tables.job_states.c
_CONDITION = tables.job_conditions.c
_EXECUTION = tables.job_executions.c
_TEXTS = (_CONFIG.job_id, _CONFIG.title, _CONFIG.owner, _CONFIG.tags, _CONFIG.path)

_NO_TAG = frozenset('[]",')


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
    query = JOB.add_columns(rank).where(*_filters(tx, wanted, now)).order_by(rank, _CONFIG.job_id)
    kind = f"jobs:{wanted.sort}"
    if wanted.cursor is not None:
        at, id_ = read_cursor(wanted.cursor, kind, (int, str))
        query = query.where(or_(rank > at, and_(rank == at, _CONFIG.job_id > id_)))
    rows = tx.select(query.limit(limit + 1))
    items = tuple(stored_jobs(tx, [row[:-1] for row in rows[:limit]], now))
    more = len(rows) > limit
    return Page(items, write_cursor(kind, rows[limit - 1][-1], items[-1].job_id) if more else None)


def _by_next(
    tx: Tx, wanted: JobQuery, now: datetime, next_slots: Mapping[str, datetime], limit: int
) -> Page[StoredJob]:
    """The one that runs next first; those that no slot is known of last, by name."""
    kind = "jobs:next-slot"
    ids = tx.select(select(_CONFIG.job_id).select_from(JOINED).where(*_filters(tx, wanted, now)))
    order = sorted((_until(next_slots.get(id_)), id_) for (id_,) in ids)
    if wanted.cursor is not None:
        last = read_cursor(wanted.cursor, kind, (int, str))
        order = order[bisect_right(order, last) :]
    shown = order[:limit]
    rows = tx.select(JOB.where(_CONFIG.job_id.in_([id_ for _, id_ in shown])))
    found = {job.job_id: job for job in stored_jobs(tx, rows, now)}
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
    raise _unknown("sort", sort, SORTS)


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
    filters: list[ColumnElement[bool]] = [_CONFIG.deleted_at.is_(None)]
    if wanted.type is not None:
        filters.append(_CONFIG.job_type == wanted.type)
    if wanted.owner is not None:
        filters.append(_CONFIG.owner == wanted.owner)
    if wanted.tag is not None:
        filters.append(_tagged(tx, wanted.tag))
    if wanted.trigger is not None:
        filters.append(_triggered_by(wanted.trigger))
    if wanted.state is not None:
        filters.append(_in_state(tx, wanted.state, now))
    if wanted.q:
        filters.append(_says(tx, wanted.q))
    return filters


def _tagged(tx: Tx, tag: str) -> ColumnElement[bool]:
    """Tags are compared as the scheduler does: letter by letter, in their case."""
    return _position(tx, _CONFIG.tags, literal(json.dumps(tag))) > 0


def _says(tx: Tx, text: str) -> ColumnElement[bool]:
    """Whatever the case of either. The database lowers both: what it takes for one letter in two
    cases is its own business."""
    # No tag holds these, but the list of them does.
    texts = [column for column in _TEXTS if column is not _CONFIG.tags or not _NO_TAG & set(text)]
    if tx.is_sqlite and text.isascii():
        # LIKE takes both cases of these letters for one, many times as fast as a call of ours.
        return or_(*(column.contains(text, autoescape=True) for column in texts))
    lowered = func.lower(literal(text))
    columns = texts if tx.is_sqlite else [collate(column, "default") for column in texts]
    return or_(*(_position(tx, func.lower(column), lowered) > 0 for column in columns))


def _position(tx: Tx, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[int]:
    """Where `part` begins in `text`, from 1 on; 0: nowhere. No letter of it is a mark."""
    return func.instr(text, part) if tx.is_sqlite else func.strpos(text, part)


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
        raise _unknown("trigger", trigger, TRIGGERS)
    return choices[trigger]


def _in_state(tx: Tx, state: str, now: datetime) -> ColumnElement[bool]:
    if state == "suspended":
        return or_(_NOWHERE, *(_covered(tx, stop) for stop in suspensions.active(tx, now)))
    if state in _LIMITS:
        passed = _LIMITS[state]
        over = [id_ for id_, found in expecting(tx).items() if _is_past(passed(found), now)]
        return tx.among(_CONFIG.job_id, over)
    choices = {
        "enabled": _CONFIG.enabled.is_(True),
        "disabled": _CONFIG.enabled.is_(False),
        "held": _is_held(),
        "running": _has_execution("running"),
        "failing": _STATE.consecutive_failures > 0,
    }
    if state not in choices:
        raise _unknown("state", state, STATES)
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
    covered = or_(*(_covered(tx, stop) for stop in stops))
    query = select(func.count()).select_from(tables.job_configs)
    [(count,)] = tx.select(query.where(_CONFIG.deleted_at.is_(None), covered))
    return int(count)


def _is_past(limit: datetime | None, now: datetime) -> bool:
    return limit is not None and now > limit


def _covered(tx: Tx, stop: Suspension) -> ColumnElement[bool]:
    if stop.scope == "fleet":
        return literal(1) == literal(1)
    if stop.scope == "job":
        return _CONFIG.job_id == stop.target
    if stop.scope == "owner":
        return _CONFIG.owner == stop.target
    return _tagged(tx, stop.target)


def _unknown(what: str, value: str, known: Sequence[str]) -> Invalid:
    return Invalid(f"{what} {value!r} is not known; it is one of {', '.join(known)}")
