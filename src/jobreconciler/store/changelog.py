"""The changelog: one row per applied change, each hashed together with the row before it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from jobreconciler.core.audit import GENESIS, CanonicalRow, canonical_instant
from jobreconciler.model.change import (
    AppliedChange,
    ChangelogRow,
    FieldChange,
    Provenance,
    ReconcileRecord,
)
from jobreconciler.model.desired import Commit
from jobreconciler.model.views import Page
from jobreconciler.store import tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.rows import instant, quoted, storable, storable_or_none, to_json
from jobreconciler.store.sql import Row, Statement, Tx, columns, insert

_HEAD = Statement("SELECT sequence, hash FROM changelog ORDER BY sequence DESC LIMIT 1")
_INSERT = insert(tables.changelog)
_COLUMNS = columns(tables.changelog)
_PAGE = Statement(
    f"SELECT {_COLUMNS} FROM changelog WHERE sequence < :before ORDER BY sequence DESC LIMIT :limit"
)
_PAGE_OF_JOB = Statement(
    f"SELECT {_COLUMNS} FROM changelog WHERE job_id = :job_id AND sequence < :before "
    "ORDER BY sequence DESC LIMIT :limit"
)
_AFTER = Statement(
    f"SELECT {_COLUMNS} FROM changelog WHERE sequence > :after ORDER BY sequence LIMIT :limit"
)
_RECONCILES = Statement(
    "SELECT id, revision, started_at, finished_at, result, trigger, summary, error "
    "FROM reconciles WHERE id < :before ORDER BY id DESC LIMIT :limit"
)
_GENERATIONS = Statement(
    "SELECT job_id, max(generation) FROM changelog WHERE job_id IN {ids} GROUP BY job_id"
)
_NEWEST = 2**62
_JSON_COLUMNS = ("commits", "author", "committer", "reviewers", "fields")


def head(tx: Tx) -> tuple[int, str]:
    """Sequence and hash of the newest row."""
    row = tx.one(_HEAD)
    return (0, GENESIS) if row is None else (row[0], row[1])


def last_generations(tx: Tx, job_ids: Collection[str]) -> dict[str, int]:
    """The last generation of jobs that once were here, also when their rows are gone."""
    if not job_ids or head(tx)[0] == 0:
        return {}
    return dict(tx.all(_GENERATIONS, {"ids": tx.ids(job_ids)}))


def append(
    tx: Tx, changes: Sequence[tuple[AppliedChange, int]], *, instance: str, at: int
) -> tuple[ChangelogRow, ...]:
    """Write changes with the generations they led to, chained to the newest row."""
    if not changes:
        return ()
    sequence, previous_hash = head(tx)
    batch = _Batch(instance, at)
    for change, generation in changes:
        sequence += 1
        previous_hash = batch.add(change, generation, sequence, previous_hash)
    tx.many(_INSERT, batch.rows)
    return tuple(batch.written)


class _Batch:
    """Rows that are written together. What many of them share is rendered once."""

    def __init__(self, instance: str, at: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self.written: list[ChangelogRow] = []
        self._instance = storable(instance)
        self._at = at
        self._applied_at = instant(at)
        self._canonical_instance = quoted(self._instance)
        self._canonical_at = quoted(canonical_instant(self._applied_at))
        self._parts: dict[int, _Parts] = {}

    def add(self, change: AppliedChange, generation: int, sequence: int, previous: str) -> str:
        """The new row's hash."""
        parts = self._parts.get(id(change.provenance))
        if parts is None:
            parts = self._parts[id(change.provenance)] = _parts(change.provenance)
        own = _Own(
            sequence,
            change.job_id,
            change.action,
            generation,
            storable(change.file),
            change.revision,
            storable(change.actor),
            to_json([field.to_json() for field in change.fields]) if change.fields else "[]",
            previous,
        )
        digest = self._canonical(own, parts).hash()
        mine = {"applied_at": self._at, "instance": self._instance, "hash": digest}
        self.rows.append({**parts.columns, **own._asdict(), **mine})
        self.written.append(self._value(own, parts.values, change, digest))
        return digest

    def _canonical(self, own: _Own, parts: _Parts) -> CanonicalRow:
        return CanonicalRow(
            quoted(own.action),
            quoted(own.actor),
            self._canonical_at,
            parts.columns["author"],
            parts.columns["commits"],
            parts.columns["committer"],
            own.fields,
            quoted(own.file),
            str(own.generation),
            self._canonical_instance,
            quoted(own.job_id),
            parts.message,
            quoted(own.previous_hash),
            parts.pull_request,
            parts.columns["reviewers"],
            quoted(own.revision),
            str(own.sequence),
            parts.signature,
        )

    def _value(
        self, own: _Own, shared: dict[str, Any], change: AppliedChange, digest: str
    ) -> ChangelogRow:
        return ChangelogRow(
            own.sequence,
            own.job_id,
            own.action,
            own.generation,
            own.file,
            own.revision,
            shared["commits"],
            shared["author"],
            shared["committer"],
            shared["message"],
            shared["pull_request"],
            shared["reviewers"],
            shared["signature"],
            change.fields,
            self._applied_at,
            own.actor,
            self._instance,
            digest,
            own.previous_hash,
        )


class _Own(NamedTuple):
    """What only this row has, as its columns."""

    sequence: int
    job_id: str
    action: str
    generation: int
    file: str
    revision: str
    actor: str
    fields: str
    previous_hash: str


class _Parts(NamedTuple):
    """What all changes of one provenance share: as values, as columns, as canonical JSON."""

    values: dict[str, Any]
    columns: dict[str, Any]
    message: str
    pull_request: str
    signature: str


def _parts(provenance: Provenance) -> _Parts:
    decisive: Commit | None = provenance.commits[0] if provenance.commits else None
    values = {
        "commits": tuple(commit.revision for commit in provenance.commits),
        "author": decisive.author_json() if decisive else {},
        "committer": decisive.committer_json() if decisive else {},
        "message": storable(decisive.message) if decisive else "",
        "pull_request": storable_or_none(provenance.pull_request),
        "reviewers": tuple(provenance.reviewers),
        "signature": storable_or_none(decisive.signature) if decisive else None,
    }
    packed = {name: to_json(values[name]) for name in _JSON_COLUMNS if name in values}
    texts = (to_json(values[name]) for name in ("message", "pull_request", "signature"))
    return _Parts(values, {**values, **packed}, *texts)


def page(tx: Tx, job_id: str | None, limit: int, cursor: str | None) -> Page[ChangelogRow]:
    """Newest first."""
    (before,) = read_cursor(cursor, "changelog", (int,)) if cursor else (_NEWEST,)
    wanted = {"before": before, "limit": limit + 1}
    rows = (
        tx.all(_PAGE, wanted)
        if job_id is None
        else tx.all(_PAGE_OF_JOB, {**wanted, "job_id": job_id})
    )
    items = tuple(_read(row) for row in rows[:limit])
    more = len(rows) > limit and bool(items)
    return Page(items, write_cursor("changelog", items[-1].sequence) if more else None)


def walk(tx: Tx, after: int = 0, at_once: int = 1000) -> Iterator[ChangelogRow]:
    """Every row after a sequence, oldest first, without holding them all."""
    while rows := tx.all(_AFTER, {"after": after, "limit": at_once}):
        for row in rows:
            yield _read(row)
        after = rows[-1][0]


def _read(row: Row) -> ChangelogRow:
    named = dict(zip(_NAMES, row, strict=True))
    for name in _JSON_COLUMNS:
        named[name] = json.loads(named[name])
    for name in ("commits", "reviewers"):
        named[name] = tuple(named[name])
    named["fields"] = tuple(FieldChange(**field) for field in named["fields"])
    named["applied_at"] = instant(named["applied_at"])
    return ChangelogRow(**named)


_NAMES = tuple(column.name for column in tables.changelog.columns)


def reconciles(tx: Tx, limit: int, cursor: str | None) -> Page[ReconcileRecord]:
    """Newest first."""
    (before,) = read_cursor(cursor, "reconciles", (int,)) if cursor else (_NEWEST,)
    rows = tx.all(_RECONCILES, {"before": before, "limit": limit + 1})
    items = tuple(
        ReconcileRecord(
            revision=revision,
            started_at=instant(started_at),
            finished_at=instant(finished_at),
            result=result,
            trigger=trigger,
            summary=json.loads(summary),
            error=error,
        )
        for _, revision, started_at, finished_at, result, trigger, summary, error in rows[:limit]
    )
    more = len(rows) > limit and bool(items)
    return Page(items, write_cursor("reconciles", rows[limit - 1][0]) if more else None)
