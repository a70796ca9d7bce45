"""The changelog: one row per applied change, each hashed together with the row before it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from jobreconciler.core.audit import GENESIS, canonical_instant, hash_content
from jobreconciler.model.change import AppliedChange, ChangelogRow, FieldChange, ReconcileRecord
from jobreconciler.model.desired import Commit
from jobreconciler.model.views import Page
from jobreconciler.store import tables
from jobreconciler.store.cursors import read_cursor, write_cursor
from jobreconciler.store.rows import instant, storable, storable_or_none, to_json
from jobreconciler.store.sql import Row, Statement, Tx, chunks, columns, insert

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
    table = tables.changelog.c
    newest = select(table.job_id, func.max(table.generation)).group_by(table.job_id)
    return {
        job_id: generation
        for chunk in chunks(job_ids)
        for job_id, generation in tx.select(newest.where(table.job_id.in_(chunk)))
    }


def append(
    tx: Tx, changes: Sequence[tuple[AppliedChange, int]], *, instance: str, at: int
) -> tuple[ChangelogRow, ...]:
    """Write changes with the generations they led to, chained to the newest row."""
    if not changes:
        return ()
    sequence, previous_hash = head(tx)
    applied_at = instant(at)
    shared = {"appliedAt": canonical_instant(applied_at), "instance": storable(instance)}
    rows: list[dict[str, Any]] = []
    written: list[ChangelogRow] = []
    for change, generation in changes:
        sequence += 1
        content = {
            **_content(change, generation),
            **shared,
            "sequence": sequence,
            "previousHash": previous_hash,
        }
        digest = hash_content(content)
        rows.append(_columns_of(content, at, digest))
        written.append(_as_row(change, content, applied_at, digest))
        previous_hash = digest
    tx.many(_INSERT, rows)
    return tuple(written)


def _content(change: AppliedChange, generation: int) -> dict[str, Any]:
    """What the hash covers (see core/audit.py), as it will be read back."""
    provenance = change.provenance
    decisive: Commit | None = provenance.commits[0] if provenance.commits else None
    return {
        "action": change.action,
        "actor": storable(change.actor),
        "author": decisive.author_json() if decisive else {},
        "commits": [commit.revision for commit in provenance.commits],
        "committer": decisive.committer_json() if decisive else {},
        "fields": [field.to_json() for field in change.fields],
        "file": storable(change.file),
        "generation": generation,
        "jobId": change.job_id,
        "message": storable(decisive.message) if decisive else "",
        "pullRequest": storable_or_none(provenance.pull_request),
        "reviewers": list(provenance.reviewers),
        "revision": change.revision,
        "signature": storable_or_none(decisive.signature) if decisive else None,
    }


def _columns_of(content: dict[str, Any], at: int, digest: str) -> dict[str, Any]:
    return {
        "sequence": content["sequence"],
        "job_id": content["jobId"],
        "action": content["action"],
        "generation": content["generation"],
        "file": content["file"],
        "revision": content["revision"],
        "message": content["message"],
        "pull_request": content["pullRequest"],
        "signature": content["signature"],
        "applied_at": at,
        "actor": content["actor"],
        "instance": content["instance"],
        "hash": digest,
        "previous_hash": content["previousHash"],
        **{name: to_json(content[name]) for name in _JSON_COLUMNS},
    }


def _as_row(
    change: AppliedChange, content: dict[str, Any], applied_at: Any, digest: str
) -> ChangelogRow:
    return ChangelogRow(
        sequence=content["sequence"],
        job_id=content["jobId"],
        action=content["action"],
        generation=content["generation"],
        file=content["file"],
        revision=content["revision"],
        commits=tuple(content["commits"]),
        author=content["author"],
        committer=content["committer"],
        message=content["message"],
        pull_request=content["pullRequest"],
        reviewers=tuple(content["reviewers"]),
        signature=content["signature"],
        fields=change.fields,
        applied_at=applied_at,
        actor=content["actor"],
        instance=content["instance"],
        hash=digest,
        previous_hash=content["previousHash"],
    )


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
