"""Operators' stops: added, lifted, never changed otherwise and never deleted, so that they tell
who stopped what, when and why. A job's own also stand in its changelog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from jobreconciler.core.suspension import is_active, suspension_json
from jobreconciler.errors import NotFound
from jobreconciler.model.change import AppliedChange, FieldChange, LogAction, Provenance
from jobreconciler.model.suspension import Suspension, SuspensionScope
from jobreconciler.model.views import Page
from jobreconciler.store import changelog, tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.rows import (
    instant,
    instant_or_none,
    micros,
    micros_or_none,
    storable,
    storable_or_none,
)
from jobreconciler.store.sql import Row, Statement, Tx, columns, insert

REMEMBERED = timedelta(days=31)
"""How long an ended one is still told to a daemon that starts: slots it stopped while no daemon
ran are not caught up."""

_KIND = "suspensions"
_NEWEST = 2**63 - 1

_COLUMNS = columns(tables.suspensions)
_INSERT = insert(tables.suspensions, leave_out=("id",))
_ACTIVE = Statement(
    f"SELECT {_COLUMNS} FROM suspensions WHERE lifted_at IS NULL "
    "AND (until IS NULL OR until > :now) ORDER BY id"
)
_SINCE = Statement(
    f"SELECT {_COLUMNS} FROM suspensions WHERE coalesce(lifted_at, until, :since) >= :since "
    "ORDER BY id"
)
_HISTORY = Statement(
    f"SELECT {_COLUMNS} FROM suspensions WHERE id < :before ORDER BY id DESC LIMIT :limit"
)
_LIFT = Statement(
    "UPDATE suspensions SET lifted_at = :at, lifted_by = :actor WHERE scope = :scope "
    "AND target = :target AND lifted_at IS NULL AND (until IS NULL OR until > :at)"
)
_JOB = Statement(
    "SELECT path, revision, generation FROM job_configs "
    "WHERE job_id = :job_id AND deleted_at IS NULL"
)


def active(tx: Tx, now: datetime) -> tuple[Suspension, ...]:
    """Those that hold at `now`, oldest first."""
    return tuple(_read(row) for row in tx.all(_ACTIVE, {"now": micros(now)}))


def remembered(tx: Tx, now: datetime) -> tuple[Suspension, ...]:
    """Those that hold, and those that ended in the last 31 days."""
    return tuple(_read(row) for row in tx.all(_SINCE, {"since": micros(now - REMEMBERED)}))


def history(tx: Tx, limit: int, cursor: str | None) -> Page[Suspension]:
    """Every one there ever was, newest first. Raises Invalid for another list's cursor."""
    (before,) = read_cursor(cursor, _KIND, (int,)) if cursor else (_NEWEST,)
    rows = tx.all(_HISTORY, {"before": before, "limit": limit + 1})
    items = tuple(_read(row) for row in rows[:limit])
    return Page(items, write_cursor(_KIND, items[-1].id) if len(rows) > limit else None)


def add(tx: Tx, wanted: Suspension, *, instance: str) -> Suspension:
    """Store it in the place of one that holds for the same target. Raises NotFound for a job that
    is not declared."""
    at = wanted.created_at
    before = _of(active(tx, at), wanted.scope, wanted.target)
    tx.run(_LIFT, _lifting(wanted.scope, wanted.target, wanted.actor, at))
    tx.run(_INSERT, _row(wanted))
    stored = _of(active(tx, at), wanted.scope, wanted.target)
    # What has ended before it began (`until` in the past) is stored, and holds for nobody.
    after = stored[-1] if stored else wanted
    if wanted.scope == "job":
        _log(tx, "suspended", wanted.target, before, (after,), wanted.actor, at, instance)
    return after


def lift(
    tx: Tx, scope: SuspensionScope, target: str, actor: str, at: datetime, *, instance: str
) -> int:
    """How many were lifted; none where none held. Raises NotFound for a job not declared."""
    before = _of(active(tx, at), scope, target)
    count = tx.run(_LIFT, _lifting(scope, target, actor, at))
    if scope == "job" and count:
        _log(tx, "resumed", target, before, (), actor, at, instance)
    return count


def _of(found: Sequence[Suspension], scope: SuspensionScope, target: str) -> tuple[Suspension, ...]:
    return tuple(each for each in found if (each.scope, each.target) == (scope, target))


def _lifting(scope: str, target: str, actor: str, at: datetime) -> dict[str, Any]:
    return {
        "scope": scope,
        "target": storable(target),
        "actor": storable(actor),
        "at": micros(at),
    }


def _log(
    tx: Tx,
    action: LogAction,
    job_id: str,
    before: Sequence[Suspension],
    after: Sequence[Suspension],
    actor: str,
    at: datetime,
    instance: str,
) -> None:
    job = tx.one(_JOB, {"job_id": job_id})
    if job is None:
        if action == "resumed":
            return  # It was deleted while suspended; the suspension's own row tells of the end.
        raise NotFound(f"there is no job {job_id}", hint="`jobreconciler jobs` lists them")
    path, revision, generation = job
    old, new = (_shown(each, at) for each in (before, after))
    change = AppliedChange(
        job_id,
        action,
        path,
        revision,
        Provenance(revision, ()),
        (FieldChange("suspension", old, new),),
        actor=actor,
    )
    changelog.append(tx, [(change, generation)], instance=instance, at=micros(at))


def _shown(found: Sequence[Suspension], at: datetime) -> dict[str, Any] | None:
    held = [each for each in found if is_active(replace(each, lifted_at=None), at)]
    return suspension_json(held[-1]) if held else None


def _row(suspension: Suspension) -> dict[str, Any]:
    return {
        "scope": suspension.scope,
        "target": storable(suspension.target),
        "actor": storable(suspension.actor),
        "reason": storable_or_none(suspension.reason),
        "created_at": micros(suspension.created_at),
        "until": micros_or_none(suspension.until),
        "lifted_at": None,
        "lifted_by": None,
    }


def _read(row: Row) -> Suspension:
    id_, scope, target, actor, reason, created_at, until, lifted_at, lifted_by = row
    return Suspension(
        scope=scope,
        target=target,
        actor=actor,
        created_at=instant(created_at),
        reason=reason,
        until=instant_or_none(until),
        lifted_at=instant_or_none(lifted_at),
        lifted_by=lifted_by,
        id=id_,
    )
