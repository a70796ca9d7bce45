"""Notices on their way: written with what they tell of, and kept until they are delivered.

`next_at` is when a notice is to be sent (again); without it nothing is left to do: it was
delivered (`delivered_at`) or given up (`error`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import cast

from jobreconciler.core.notices import decide
from jobreconciler.model.notice import Notice, NoticeEvent, Occurrence, Standing
from jobreconciler.store import tables
from jobreconciler.store.rows import instant, micros, object_or_none, storable, to_json
from jobreconciler.store.sql import Row, Statement, Tx, insert

_STANDING = Statement("SELECT event, since, last_at FROM notified WHERE job_id = :job_id")
_STAND = insert(
    tables.notified, "ON CONFLICT (job_id, event) DO UPDATE SET last_at = excluded.last_at"
)
_CALM = Statement("DELETE FROM notified WHERE job_id = :job_id AND event = :event")
_FAILING = Statement("SELECT consecutive_failures FROM job_states WHERE job_id = :job_id")
_WRITE = insert(tables.outbox, "ON CONFLICT (id) DO NOTHING")
_DUE = Statement(
    "SELECT channel, min(next_at) FROM outbox WHERE next_at IS NOT NULL GROUP BY channel"
)
_NEXT = Statement(
    "SELECT id, job_id, event, channel, content, created_at, execution_id, attempts FROM outbox "
    "WHERE next_at <= :now AND channel = :channel ORDER BY next_at, id LIMIT 1"
)
_DELIVERED = Statement(
    "UPDATE outbox SET attempts = attempts + 1, next_at = NULL, delivered_at = :at, error = NULL "
    "WHERE id = :id AND next_at IS NOT NULL"
)
_FAILED = Statement(
    "UPDATE outbox SET attempts = attempts + 1, next_at = :next_at, error = :error "
    "WHERE id = :id AND next_at IS NOT NULL"
)
_LASTING = Statement(
    "SELECT job_id FROM notified WHERE event = :event AND last_at <= :before ORDER BY job_id"
)
_TOLD = Statement("SELECT job_id, event, last_at FROM notified")
_FORGET = Statement("DELETE FROM outbox WHERE next_at IS NULL AND created_at < :before")


def tell(tx: Tx, occurrence: Occurrence) -> int:
    """Write the notices an occurrence leads to; how many. Call it before the job's figures move:
    whether the run before this one failed is read from them."""
    job_id = occurrence.job_id
    standing = {
        event: Standing(instant(since), instant(last_at))
        for event, since, last_at in tx.all(_STANDING, {"job_id": job_id})
    }
    figures = tx.one(_FAILING, {"job_id": job_id})
    decision = decide(occurrence, standing, failing=bool(figures and figures[0]))
    for event, state in decision.standing.items():
        since, last_at = micros(state.since), micros(state.last_at)
        tx.run(_STAND, {"job_id": job_id, "event": event, "since": since, "last_at": last_at})
    for event in decision.ended:
        tx.run(_CALM, {"job_id": job_id, "event": event})
    return sum(_write(tx, notice) for notice in decision.notices)


def _write(tx: Tx, notice: Notice) -> int:
    row = {
        "id": notice.id,
        "job_id": notice.job_id,
        "execution_id": notice.execution_id,
        "event": notice.event,
        "channel": notice.channel,
        "content": to_json(notice.content),
        "created_at": micros(notice.created_at),
        "attempts": 0,
        "next_at": micros(notice.created_at),
        "delivered_at": None,
        "error": None,
    }
    return tx.run(_WRITE, row)


def calm(tx: Tx, job_id: str, events: Collection[str]) -> bool:
    """These states of a job are over; the next time they begin, it is told anew."""
    return bool(sum(tx.run(_CALM, {"job_id": job_id, "event": event}) for event in events))


def due_channels(tx: Tx) -> dict[str, datetime]:
    """Every channel that has something to send, and from when on."""
    return {channel: instant(at) for channel, at in tx.all(_DUE)}


def next_notice(tx: Tx, channel: str, now: datetime) -> Notice | None:
    row = tx.one(_NEXT, {"now": micros(now), "channel": channel})
    return None if row is None else _read(row)


def _read(row: Row) -> Notice | None:
    id_, job_id, event, channel, content, created_at, execution_id, attempts = row
    facts = object_or_none(content) or {}
    known = cast(NoticeEvent, event)
    return Notice(id_, job_id, known, channel, facts, instant(created_at), execution_id, attempts)


def delivered(tx: Tx, notice_id: str, at: datetime) -> bool:
    return tx.run(_DELIVERED, {"id": notice_id, "at": micros(at)}) == 1


def failed(tx: Tx, notice_id: str, error: str, again: datetime | None) -> bool:
    next_at = None if again is None else micros(again)
    return tx.run(_FAILED, {"id": notice_id, "error": storable(error), "next_at": next_at}) == 1


def lasting(tx: Tx, event: str, before: datetime) -> list[str]:
    """Jobs whose state was told of last at or before `before`."""
    return [job_id for (job_id,) in tx.all(_LASTING, {"event": event, "before": micros(before)})]


def told(tx: Tx) -> dict[tuple[str, str], datetime]:
    """See ports.Store.told."""
    return {(job_id, event): instant(at) for job_id, event, at in tx.all(_TOLD)}


def forget(tx: Tx, before: datetime) -> int:
    """Drop what is settled and older."""
    return tx.run(_FORGET, {"before": micros(before)})
