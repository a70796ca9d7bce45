"""Executions as rows and back, and the lists of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import and_, or_, select

from jobreconciler.model.execution import Attempt, Execution, Missed, Outcome, Trigger
from jobreconciler.model.views import Page
from jobreconciler.ports import LeftRunning
from jobreconciler.store import tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.rows import (
    instant,
    instant_or_none,
    micros,
    micros_or_none,
    read_json,
    storable_or_none,
    to_json,
)
from jobreconciler.store.sql import Row, Statement, Tx

_rest = attrgetter(*(field.name for field in fields(Trigger) if field.name not in ("type", "slot")))
_NOTHING_ELSE = _rest(Trigger("schedule"))
_NAMES = (
    "id, job_id, status, trigger_type, trigger, queued_at, revision, generation, config_digest, "
    "not_before, started_at, finished_at, retry_of, missed_count, missed_from, missed_to, "
    "missed_reason, exit_code, signal, error, progress, metrics, result, dry_run"
)
"""What `_read` takes, in its order."""
_SELECT = f"SELECT {_NAMES} FROM job_executions"
_ONE = Statement(f"{_SELECT} WHERE id = :id")
_UNFINISHED = Statement(f"{_SELECT} WHERE status IN ('queued', 'running') ORDER BY queued_at, id")
_LEFT_RUNNING = Statement("SELECT id, attempt FROM job_executions WHERE status = 'running'")
_LATEST = Statement(
    f"{_SELECT} WHERE id IN "
    "(SELECT last_execution_id FROM job_states WHERE job_states.job_id IN {ids})"
)
_ATTEMPTS = Statement(
    "SELECT execution_id, number, started_at, finished_at, exit_code, signal, error "
    "FROM execution_attempts WHERE execution_id IN {ids} "
    "ORDER BY execution_id, number"
)


def execution_row(execution: Execution) -> dict[str, Any]:
    missed, trigger = execution.missed, execution.trigger
    # A slot that was skipped or missed stays free, so that a backfill may still run it.
    # A retry knows the slot it is about, which the first execution holds.
    ran = execution.status not in ("missed", "skipped") and execution.retry_of is None
    return {
        "id": execution.id,
        "job_id": execution.job_id,
        "slot": micros_or_none(trigger.slot) if ran else None,
        "status": execution.status,
        "trigger_type": trigger.type,
        "trigger": _trigger_json(trigger),
        "retry_of": execution.retry_of,
        "missed_from": None if missed is None else micros(missed.first),
        "missed_to": None if missed is None else micros(missed.last),
        "missed_count": None if missed is None else missed.count,
        "missed_reason": None if missed is None else storable_or_none(missed.reason),
        "revision": execution.revision,
        "generation": execution.generation,
        "config_digest": execution.config_digest,
        "queued_at": micros(execution.queued_at),
        "not_before": micros_or_none(execution.not_before),
        "started_at": micros_or_none(execution.started_at),
        "finished_at": micros_or_none(execution.finished_at),
        "attempt": len(execution.attempts),
        "exit_code": execution.exit_code,
        "signal": execution.signal,
        "error": storable_or_none(execution.error),
        "progress": _progress_json(execution.progress),
        "metrics": to_json(execution.metrics) if execution.metrics else None,
        "result": None if execution.result is None else to_json(execution.result),
        "dry_run": execution.dry_run,
    }


def outcome_columns(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "finished_at": micros(outcome.finished_at),
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "error": storable_or_none(outcome.error),
        "progress": _progress_json(outcome.progress),
        "metrics": to_json(outcome.metrics) if outcome.metrics else None,
        "result": None if outcome.result is None else to_json(outcome.result),
        "output_bytes": outcome.output_bytes,
        "output_dropped": outcome.output_dropped,
    }


def _progress_json(progress: tuple[int, int] | None) -> str | None:
    return None if progress is None else to_json(progress)


def _trigger_json(trigger: Trigger) -> str:
    """What is set of it; the type and the slot have columns, the slot of a skipped row has not."""
    if _rest(trigger) == _NOTHING_ELSE:  # a slot's, as nearly all are
        return "{}" if trigger.slot is None else f'{{"slot":{micros(trigger.slot)}}}'
    optional = {
        "slot": micros_or_none(trigger.slot),
        "actor": trigger.actor,
        "reason": trigger.reason,
        "deliveryId": trigger.delivery_id,
        "upstream": list(trigger.upstream),
        "parameters": trigger.parameters,
        "override": trigger.override or None,
        "inSpiteOf": trigger.in_spite_of,
        "caughtUp": trigger.caught_up or None,
    }
    return to_json({key: value for key, value in optional.items() if value not in (None, [], {})})


def _read_trigger(type_: Any, packed: str) -> Trigger:
    found = read_json(packed)
    slot = instant_or_none(found.pop("slot", None))
    if not found:  # of most of them nothing else is set
        return Trigger(type_, slot)
    return Trigger(
        type=type_,
        slot=slot,
        actor=found.get("actor"),
        reason=found.get("reason"),
        delivery_id=found.get("deliveryId"),
        upstream=tuple(found.get("upstream", ())),
        parameters=found.get("parameters", {}),
        override=found.get("override", False),
        in_spite_of=found.get("inSpiteOf"),
        caught_up=found.get("caughtUp", False),
    )


def _read(row: Row, attempts: tuple[Attempt, ...]) -> Execution:
    """A daemon that starts reads a thousand of them before it looks after their processes."""
    (
        id_,
        job_id,
        status,
        trigger_type,
        trigger,
        queued_at,
        revision,
        generation,
        config_digest,
        not_before,
        started_at,
        finished_at,
        retry_of,
        missed_count,
        missed_from,
        missed_to,
        missed_reason,
        exit_code,
        signal,
        error,
        progress,
        metrics,
        result,
        dry_run,
    ) = row
    missed = None
    if missed_count is not None:
        missed = Missed(instant(missed_from), instant(missed_to), missed_count, missed_reason)
    return Execution(
        id_,
        job_id,
        status,
        _read_trigger(trigger_type, trigger),
        instant(queued_at),
        revision,
        generation,
        config_digest,
        instant_or_none(not_before),
        instant_or_none(started_at),
        instant_or_none(finished_at),
        retry_of,
        missed,
        exit_code,
        signal,
        error,
        attempts,
        None if progress is None else _pair(progress),
        read_json(metrics) if metrics else {},
        None if result is None else read_json(result),
        bool(dry_run),
    )


def _pair(packed: str) -> tuple[int, int]:
    done, total = read_json(packed)
    return done, total


def _with_attempts(tx: Tx, rows: Sequence[Row]) -> list[Execution]:
    attempts: dict[str, tuple[Attempt, ...]] = {}
    found = tx.all(_ATTEMPTS, {"ids": tx.ids(row[0] for row in rows)}) if rows else ()
    for id_, number, started, finished, *rest in found:
        attempt = Attempt(number, instant(started), instant_or_none(finished), *rest)
        if id_ in attempts:
            attempts[id_] += (attempt,)
        else:
            attempts[id_] = (attempt,)
    return [_read(row, attempts.get(row[0], ())) for row in rows]


def execution(tx: Tx, execution_id: str) -> Execution | None:
    found = _with_attempts(tx, tx.all(_ONE, {"id": execution_id}))
    return found[0] if found else None


def unfinished(tx: Tx) -> list[Execution]:
    """Oldest first: what a daemon that starts has to take over."""
    return _with_attempts(tx, tx.all(_UNFINISHED))


def left_running(tx: Tx) -> list[LeftRunning]:
    return [*map(LeftRunning._make, tx.all(_LEFT_RUNNING))]


def latest(tx: Tx, job_ids: Collection[str]) -> dict[str, Execution]:
    """Each job's newest execution that ran, runs or waits to, by job id."""
    rows = tx.all(_LATEST, {"ids": tx.ids(job_ids)})
    return {execution.job_id: execution for execution in _with_attempts(tx, rows)}


def executions(
    tx: Tx,
    job_id: str | None,
    limit: int,
    cursor: str | None,
    statuses: Collection[str] | None,
) -> Page[Execution]:
    """Newest first."""
    table = tables.job_executions
    named = (table.c[name] for name in _NAMES.split(", "))
    query = select(*named).order_by(table.c.queued_at.desc(), table.c.id.desc()).limit(limit + 1)
    if job_id is not None:
        query = query.where(table.c.job_id == job_id)
    if statuses is not None:
        query = query.where(table.c.status.in_(sorted(statuses)))
    if cursor is not None:
        at, id_ = read_cursor(cursor, "executions", (int, str))
        older = and_(table.c.queued_at == at, table.c.id < id_)
        query = query.where(table.c.queued_at <= at, or_(table.c.queued_at < at, older))
    rows = tx.select(query)
    items = tuple(_with_attempts(tx, rows[:limit]))
    if len(rows) <= limit or not items:
        return Page(items)
    last: datetime = items[-1].queued_at
    return Page(items, write_cursor("executions", micros(last), items[-1].id))
