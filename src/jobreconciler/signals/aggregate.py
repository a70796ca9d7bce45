"""Rolls usage events up into one row a document and period.

A pass first queues the documents whose row may have changed and remembers, in the same
transaction, how far it has looked: up to which event, and where the window began. Then it takes
batches off the queue, each with its rows in one transaction. So the queue is the progress: a run
that was killed leaves behind exactly what is still to do, and the next one goes on with it.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from jobreconciler.errors import Stalled
from jobreconciler.ports import JobContext
from jobreconciler.signals import statements
from jobreconciler.signals.database import Database, said
from jobreconciler.signals.instants import instant
from jobreconciler.signals.periods import Period
from jobreconciler.signals.tables import aggregation_passes as passes
from jobreconciler.signals.tally import Listed, Tally

BATCH_SIZE = 1_000
"""Documents a transaction, where the job says nothing else."""

SETTLE_SECONDS = 5.0
_SETTLE_STEP = 0.02


def aggregate(
    database: Database, period: Period, context: JobContext, *, full: bool = False
) -> dict[str, Any]:
    """One pass over what changed since the last; over every document if `full` or the first.

    Returns the run's result. Raises NotFound without tables, Transient, and Stalled where not one
    document could be computed.
    """
    database.check()
    if context.dry_run:
        return _explain(database, period, context, full=full)
    left = _queue(database, period, context, full=full)
    tally = _drain(database, period, context)
    with database.writing() as connection:
        if not context.cancelled():
            connection.execute(
                passes.update()
                .where(passes.c.period == period.name)
                .values(finished_as_of=passes.c.as_of)
            )
        pass_ = connection.execute(select(passes).where(passes.c.period == period.name)).one()
        waiting = connection.scalar(statements.QUEUED, {"period": period.name})
    context.log("info", "aggregated", period=period.name, documents=tally.succeeded)
    context.metric("events_seen", pass_.events_seen, "1")
    result = tally.result(
        period=period.name,
        full=full,
        asOf=instant(pass_.as_of),
        takenOver=left,
        waiting=waiting,
    )
    if tally.failed and not tally.succeeded:
        raise Stalled(
            f"all {tally.failed} documents failed; the first: {tally.errors[0]['error']}",
            reason="AllFailed",
        )
    return result


# --------------------------------------------------------------------------- what is to be done


def _queue(database: Database, period: Period, context: JobContext, *, full: bool) -> int:
    """Queue what changed; returns how many documents an earlier run had left in the queue."""
    settled = _settled(database, context)
    now = database.now()
    named = {"period": period.name}
    with database.writing() as connection:
        before = _locked(connection, period)
        left = connection.scalar(statements.QUEUED, named) or 0
        for name, which in _candidates(before, full=full).items():
            values = {**named, **_bounds(period, before, now)}
            queued = connection.execute(text(statements.ENQUEUE.format(which=which)), values)
            context.log("debug", "queued", why=name, documents=queued.rowcount)
        seen = before.events_seen if before is not None else 0
        _remember(connection, period, max(seen, settled) if settled is not None else seen, now)
    if left:
        context.log("info", "taking over what an earlier run left", documents=left)
    return int(left)


def _candidates(before: Any, *, full: bool) -> dict[str, str]:
    """Which documents to compute, by why."""
    if before is None or full:
        return {"every document": statements.EVERY_DOCUMENT}
    return {
        "new events": statements.WITH_NEW_EVENTS,
        "events left the window": statements.CROSSED_THE_EDGE,
        "no row yet": statements.WITHOUT_A_ROW,
    }


def _bounds(period: Period, before: Any, now: int) -> dict[str, int]:
    if before is None:
        return {}
    start, stop = period.crossed(before.as_of, now)
    return {"events_seen": before.events_seen, "crossed_from": start, "crossed_to": stop}


def _locked(connection: Connection, period: Period) -> Any:
    """The period's pass, kept from other runs of it until this transaction ends; None: none."""
    query = select(passes).where(passes.c.period == period.name).with_for_update()
    return connection.execute(query).one_or_none()


def _remember(connection: Connection, period: Period, events_seen: int, now: int) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {"events_seen": events_seen, "as_of": now}
    insert = dialect.insert(passes).values(period=period.name, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["period"], set_=values))


def _settled(database: Database, context: JobContext) -> int | None:
    """The number up to which every event there will ever be can be seen; None: nobody knows yet.

    PostgreSQL gives numbers before transactions commit, so one below the newest may still come.
    Whoever may hold such a number is waited for, a little; nobody is kept from writing. Without an
    answer the same events are looked at again by the next pass, which costs time and nothing else.
    """
    with database.reading() as connection:
        newest = int(connection.scalar(statements.NEWEST_EVENT) or 0)
    if database.is_sqlite:
        return newest
    deadline = time.monotonic() + SETTLE_SECONDS
    waited_for: set[str] | None = None
    while True:
        with database.reading() as connection:
            writing = set(connection.scalars(statements.WRITERS))
        waited_for = writing if waited_for is None else waited_for & writing
        if not waited_for:
            return newest
        if time.monotonic() > deadline:
            context.log(
                "warn",
                "transactions that write events go on; new events are counted again next time",
                transactions=len(waited_for),
            )
            return None
        time.sleep(_SETTLE_STEP)


# ------------------------------------------------------------------------------------- doing it


def _drain(database: Database, period: Period, context: JobContext) -> Tally:
    size = context.batch_size or BATCH_SIZE
    with database.reading() as connection:
        total = connection.scalar(statements.QUEUED, {"period": period.name})
    tally = Tally(context, int(total or 0))
    tally.report()
    after = ""
    while not context.cancelled():
        with database.reading() as connection:
            values = {"period": period.name, "after": after, "size": size}
            batch = list(connection.scalars(statements.NEXT_BATCH, values))
        if not batch:
            break
        try:
            _compute(database, period, after, batch[-1])
            tally.done(len(batch))
        except (DBAPIError, ValueError) as error:
            context.log("warn", "batch failed; its documents follow one by one", error=said(error))
            _one_by_one(database, period, after, batch, tally)
        after = batch[-1]
        tally.report()
    return tally


def _compute(database: Database, period: Period, after: str, last: str) -> None:
    """The rows of the queued documents after `after` up to `last`, and off the queue with them."""
    with database.writing() as connection:
        pass_ = _locked(connection, period)
        span = {"period": period.name, "after": after, "last": last}
        values = {**span, "as_of": pass_.as_of, "start": period.start(pass_.as_of)}
        connection.execute(statements.recompute(sqlite=database.is_sqlite), values)
        connection.execute(statements.DEQUEUE, span)


def _one_by_one(
    database: Database, period: Period, after: str, batch: list[str], tally: Tally
) -> None:
    """What fails stays in the queue, so that the next run tries it again."""
    for document_id in batch:
        try:
            with database.writing() as connection:
                values = {"period": period.name, "last": document_id}
                connection.execute(statements.DEQUEUE_GONE, values)
            _compute(database, period, after, document_id)
            tally.done(1)
        except DBAPIError as error:
            tally.fail(document_id, said(error))
        after = document_id


# ------------------------------------------------------------------------------------- a dry run


def _explain(
    database: Database, period: Period, context: JobContext, *, full: bool
) -> dict[str, Any]:
    """What a pass would compute, and why each document; nothing is written."""
    now = database.now()
    listed = Listed()
    reasons: dict[str, list[str]] = {}
    named = {"period": period.name}
    with database.reading() as connection:
        before = connection.execute(select(passes).where(passes.c.period == period.name)).first()
        queued = text("SELECT document_id FROM aggregation_queue WHERE period = :period")
        for document_id in connection.scalars(queued, named):
            reasons.setdefault(document_id, []).append("left by an earlier run")
        for name, which in _candidates(before, full=full).items():
            values = {**named, **_bounds(period, before, now)}
            there = text(statements.SELECT.format(which=which))
            for document_id in connection.scalars(there, values):
                reasons.setdefault(document_id, []).append(name)
    tally = Tally(context, len(reasons))
    for document_id, why in sorted(reasons.items()):
        context.log("info", "would compute", document=document_id, because=", ".join(why))
        listed.add({"documentId": document_id, "because": why})
        tally.done(1)
    tally.report()
    return tally.result(
        period=period.name,
        full=full,
        asOf=instant(now),
        dryRun=True,
        documents=listed.items,
        documentsNotListed=listed.left_out,
    )
