"""Takes advancements back: newest first, where the document has not moved since.

One event of type bulk-rollback stands for the whole run; each advancement that was taken back is
marked and points to it. A document that moved again, by a rule or by hand, keeps its tier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select
from sqlalchemy.exc import DBAPIError

from jobreconciler.ports import JobContext
from jobreconciler.signals.database import Database, said
from jobreconciler.signals.instants import instant
from jobreconciler.signals.tables import advancement_events as events
from jobreconciler.signals.tables import documents
from jobreconciler.signals.tally import Listed, Tally

BATCH_SIZE = 100
_NEWEST = 2**62


@dataclass(frozen=True, slots=True)
class Scope:
    """Which advancements: of a rule, from an instant on (included), or both."""

    rule_id: str | None
    since: int | None
    reason: str

    def of(self, query: Select[Any]) -> Select[Any]:
        query = query.where(events.c.event_type == "auto-advancement", ~events.c.rolled_back)
        if self.rule_id is not None:
            query = query.where(events.c.rule_id == self.rule_id)
        return query if self.since is None else query.where(events.c.created_at >= self.since)


@dataclass(slots=True)
class Rollback:
    """One run and what has come of it so far."""

    database: Database
    context: JobContext
    scope: Scope
    dry_run: bool
    now: int
    tally: Tally
    event_id: int | None = None
    restored: int = 0
    undone: set[int] = field(default_factory=set)
    """In a dry run: events that would be taken back, so that the one before is judged rightly."""
    tiers: dict[str, str] = field(default_factory=dict)
    listed: Listed = field(default_factory=Listed)
    moved_since: Listed = field(default_factory=Listed)


def rollback(
    database: Database, context: JobContext, scope: Scope, *, dry_run: bool = False
) -> dict[str, Any]:
    """One run. Returns its result. Raises NotFound without tables, and Transient."""
    database.check()
    now = database.now()
    run = Rollback(database, context, scope, dry_run or context.dry_run, now, Tally(context, 0))
    with database.reading() as connection:
        total = connection.scalar(scope.of(select(func.count()).select_from(events)))
    run.tally.total = int(total or 0)
    run.tally.report()
    for ids in _batches(run):
        _take(run, ids)
        run.tally.report()
    metadata: dict[str, Any] = {
        "ruleId": scope.rule_id,
        "since": instant(scope.since),
        "reason": scope.reason,
        "dryRun": run.dry_run,
        "restored": run.restored,
        "rollbackEventId": run.event_id,
        "movedSince": run.moved_since.items,
        "movedSinceNotListed": run.moved_since.left_out,
    }
    if run.dry_run:
        metadata |= {"moves": run.listed.items, "movesNotListed": run.listed.left_out}
    said = "would go back in all" if run.dry_run else "went back"
    run.context.log("info", said, documents=run.restored)
    run.context.metric("restored", 0 if run.dry_run else run.restored, "1")
    return run.tally.result(**metadata)


def _batches(run: Rollback) -> Iterator[list[int]]:
    """Ids of advancements, newest first."""
    size = run.context.batch_size or BATCH_SIZE
    query = run.scope.of(select(events.c.id)).order_by(events.c.id.desc()).limit(size)
    before = _NEWEST
    while not run.context.cancelled():
        with run.database.reading() as connection:
            ids = list(connection.scalars(query.where(events.c.id < before)))
        if not ids:
            return
        yield ids
        before = ids[-1]


def _take(run: Rollback, ids: Sequence[int]) -> None:
    if run.dry_run:
        with run.database.reading() as connection:
            rows = connection.execute(_advancements(ids)).all()
        _count(run, *_divide(rows, run.undone, run.tiers))
        return
    try:
        _restore(run, ids)
    except DBAPIError as error:
        run.context.log("warn", "batch failed; its documents follow one by one", error=said(error))
        for event_id in ids:
            _restore_alone(run, event_id)


def _restore_alone(run: Rollback, event_id: int) -> None:
    try:
        _restore(run, [event_id])
    except DBAPIError as error:
        with run.database.reading() as connection:
            owner = connection.scalar(select(events.c.document_id).where(events.c.id == event_id))
        run.tally.fail(str(owner), said(error))


def _restore(run: Rollback, ids: Sequence[int]) -> None:
    """Tiers, marks and, the first time, the event of the rollback: all or none of them."""
    event_id = run.event_id
    with run.database.writing() as connection:
        locked = _advancements(ids).with_for_update(of=documents)
        back, moved = _divide(connection.execute(locked).all(), set(), {})
        if back:
            event_id = event_id or _record(run, connection)
            connection.execute(
                documents.update()
                .where(documents.c.id == bindparam("document"))
                .values(tier=bindparam("back_to"), updated_at=run.now),
                [{"document": row.document_id, "back_to": row.from_tier} for row in back],
            )
            connection.execute(
                events.update()
                .where(events.c.id.in_([row.id for row in back]))
                .values(rolled_back=True, rollback_event_id=event_id)
            )
    run.event_id = event_id
    _count(run, back, moved)


def _advancements(ids: Sequence[int]) -> Select[Any]:
    """Newest first, each with its document's tier and the next event that still holds."""
    later = events.alias("later")
    next_id = (
        select(func.min(later.c.id))
        .where(
            later.c.document_id == events.c.document_id,
            later.c.id > events.c.id,
            ~later.c.rolled_back,
        )
        .scalar_subquery()
    )
    columns = (events.c.id, events.c.document_id, events.c.rule_id, events.c.from_tier)
    return (
        select(*columns, events.c.to_tier, documents.c.tier, next_id.label("next_id"))
        .join(documents, documents.c.id == events.c.document_id)
        .where(events.c.id.in_(ids))
        .order_by(events.c.id.desc())
    )


def _divide(
    rows: Sequence[Row[Any]], undone: set[int], tiers: dict[str, str]
) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Advancements to take back, and those of documents that moved since.

    `undone` and `tiers` are what was taken back before and how documents stand since; both grow.
    """
    back, moved = [], []
    for row in rows:
        stands = tiers.get(row.document_id, row.tier)
        if (row.next_id is None or row.next_id in undone) and stands == row.to_tier:
            undone.add(row.id)
            tiers[row.document_id] = row.from_tier
            back.append(row)
        else:
            moved.append(row)
    return back, moved


def _record(run: Rollback, connection: Connection) -> int:
    """The event of the rollback. Its tiers are given where all advancements have the same."""
    pairs = connection.execute(
        run.scope.of(select(events.c.from_tier, events.c.to_tier).distinct()).limit(2)
    ).all()
    from_tier, to_tier = (pairs[0].to_tier, pairs[0].from_tier) if len(pairs) == 1 else (None, None)
    made = connection.execute(
        events.insert().values(
            rule_id=run.scope.rule_id,
            from_tier=from_tier,
            to_tier=to_tier,
            criteria_met=[],
            signal_values={},
            event_type="bulk-rollback",
            reason=run.scope.reason,
            execution_id=run.context.execution_id,
            config_revision=run.context.config_revision,
            created_at=run.now,
        )
    )
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def _count(run: Rollback, back: Sequence[Row[Any]], moved: Sequence[Row[Any]]) -> None:
    for row in moved:
        run.context.log("info", "moved since", document=row.document_id, tier=row.tier)
        run.moved_since.add({"documentId": row.document_id, "tier": row.tier})
    if run.dry_run:
        for row in back:
            move = {"documentId": row.document_id, "fromTier": row.to_tier, "toTier": row.from_tier}
            run.context.log(
                "info", "would go back", document=row.document_id, to=row.from_tier,
                because=f"advancement {row.id} by {row.rule_id}, and it has not moved since",
            )  # fmt: skip
            run.listed.add(move)
    run.restored += len(back)
    run.tally.done(len(back) + len(moved))
