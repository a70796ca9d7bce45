"""Moves documents up a tier where a rule's criteria hold: by id, each at most one tier a run.

A document's new tier and the event that says why are one transaction. A batch is written as a
whole; if the database refuses it, its documents follow one by one, so that one of them cannot keep
the others from moving. A run that was killed is safe to start again: documents it moved carry its
execution in their event and are left alone by the next attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError

from jobreconciler.errors import Stalled
from jobreconciler.ports import JobContext
from jobreconciler.signals.database import Database, said
from jobreconciler.signals.instants import instant
from jobreconciler.signals.periods import DAY, Period
from jobreconciler.signals.rules import FIGURES, Rule, Signals, Verdict, by_tier, judge, signals_of
from jobreconciler.signals.tables import advancement_events as events
from jobreconciler.signals.tables import aggregation_passes as passes
from jobreconciler.signals.tables import documents
from jobreconciler.signals.tables import signal_aggregations as aggregations
from jobreconciler.signals.tally import Listed, Tally

BATCH_SIZE = 100
"""Documents a transaction, where the job says nothing else."""

OLD = DAY
"""Aggregations from before that are still used, and the run says so."""

_MOVE = text(
    "UPDATE documents SET tier = e.to_tier, updated_at = :now FROM advancement_events e "
    "WHERE e.execution_id = :execution AND e.event_type = 'auto-advancement' "
    "AND e.document_id = documents.id AND documents.tier = e.from_tier "
    "AND documents.id >= :first AND documents.id <= :last"
)


class _MovedMeanwhile(Exception):
    """Somebody else changed the tier of a document since it was judged."""


@dataclass(frozen=True, slots=True)
class Move:
    """One document that a rule moves."""

    document_id: str
    rule: Rule
    verdict: Verdict
    signals: Signals

    def as_json(self) -> dict[str, Any]:
        return {
            "documentId": self.document_id,
            "fromTier": self.rule.from_tier,
            "toTier": self.rule.to_tier,
            "ruleId": self.rule.id,
            "criteria": [check.as_json() for check in self.verdict.checks],
        }


@dataclass(slots=True)
class Advancement:
    """One run: what it was told, and what has come of it so far."""

    database: Database
    context: JobContext
    period: Period
    rules: Mapping[str, tuple[Rule, ...]]
    max_errors: int
    dry_run: bool
    now: int
    tally: Tally
    by_rule: Counter[str] = field(default_factory=Counter)
    moves: Listed = field(default_factory=Listed)
    moved_meanwhile: int = 0

    def fail(self, document_id: str, error: BaseException) -> None:
        """Raises Stalled where this document is one too many."""
        self.tally.fail(document_id, said(error))
        if self.tally.failed > self.max_errors:
            self.tally.report()
            first = self.tally.errors[0]
            raise Stalled(
                f"{self.tally.failed} documents failed, more than maxErrors ({self.max_errors}); "
                f"the first: {first['documentId']}: {first['error']}",
                reason="TooManyErrors",
                hint="what moved stays moved, and the next run goes on",
            )


def advance(
    database: Database,
    period: Period,
    context: JobContext,
    rules: Sequence[Rule],
    *,
    max_errors: int,
    dry_run: bool = False,
) -> dict[str, Any]:
    """One run over every document for which there is a rule. Returns the run's result.

    Raises NotFound without tables, Transient, and Stalled past `max_errors`.
    """
    database.check()
    run = Advancement(
        database,
        context,
        period,
        by_tier(rules),
        max_errors,
        dry_run or context.dry_run,
        database.now(),
        Tally(context, 0),
    )
    aggregated_at = _say_how_old(run)
    with database.reading() as connection:
        run.tally.total = connection.scalar(_candidates(run, select(func.count()))) or 0
    run.tally.report()
    for page in _pages(run):
        moves = _judge(run, page)
        if run.dry_run:
            for move in moves:
                run.moves.add(move.as_json())
            _count(run, moves)
        elif moves:
            _write(run, moves)
        run.tally.report()
    return _result(run, aggregated_at)


def _result(run: Advancement, aggregated_at: int | None) -> dict[str, Any]:
    advanced = run.by_rule.total()
    metadata: dict[str, Any] = {
        "signalPeriod": run.period.name,
        "dryRun": run.dry_run,
        "advanced": advanced,
        "byRule": dict(sorted(run.by_rule.items())),
        "aggregatedAt": instant(aggregated_at),
        "aggregationsAreOld": _are_old(run, aggregated_at),
    }
    if run.moved_meanwhile:
        metadata["movedMeanwhile"] = run.moved_meanwhile
    if run.dry_run:
        metadata |= {"moves": run.moves.items, "movesNotListed": run.moves.left_out}
    said = "would advance in all" if run.dry_run else "advanced"
    run.context.log("info", said, documents=advanced, **run.by_rule)
    run.context.metric("advanced", 0 if run.dry_run else advanced, "1")
    return run.tally.result(**metadata)


def _say_how_old(run: Advancement) -> int | None:
    """The instant the aggregations are of; None where there are none."""
    name = run.period.name
    with run.database.reading() as connection:
        of_pass = select(passes.c.finished_as_of).where(passes.c.period == name)
        newest = select(func.max(aggregations.c.computed_at)).where(aggregations.c.period == name)
        at: int | None = connection.scalar(of_pass) or connection.scalar(newest)
    if at is None:
        run.context.log("warn", "nothing is aggregated yet, so no criterion is met", period=name)
    elif _are_old(run, at):
        run.context.log(
            "warn", "the aggregations are older than a day", period=name, aggregatedAt=instant(at)
        )
    return at


def _are_old(run: Advancement, aggregated_at: int | None) -> bool:
    return aggregated_at is not None and run.now - aggregated_at > OLD


# -------------------------------------------------------------------------------------- reading


def _candidates(run: Advancement, query: Select[Any]) -> Select[Any]:
    """Documents a rule could move, but those that an earlier attempt of this run moved."""
    moved = select(events.c.id).where(
        events.c.execution_id == run.context.execution_id,
        events.c.event_type == text("'auto-advancement'"),
        events.c.document_id == documents.c.id,
    )
    return query.select_from(documents).where(
        documents.c.tier.in_(sorted(run.rules)), ~moved.exists()
    )


def _pages(run: Advancement) -> Iterator[Sequence[Row[Any]]]:
    """Candidates by id, with their figures, a batch at a time."""
    size = run.context.batch_size or BATCH_SIZE
    of_document = and_(
        aggregations.c.document_id == documents.c.id, aggregations.c.period == run.period.name
    )
    columns = [documents.c.id, documents.c.tier, aggregations.c.document_id.label("has_figures")]
    query = _candidates(run, select(*columns, *(aggregations.c[name] for name in FIGURES)))
    query = query.outerjoin_from(documents, aggregations, of_document)
    query = query.where(documents.c.id > bindparam("after")).order_by(documents.c.id).limit(size)
    after = ""
    while not run.context.cancelled():
        with run.database.reading() as connection:
            page = connection.execute(query, {"after": after}).all()
        if not page:
            return
        yield page
        after = page[-1].id


def _judge(run: Advancement, page: Sequence[Row[Any]]) -> list[Move]:
    """The documents of the page that a rule moves. The others are done with."""
    moves = []
    for row in page:
        try:
            figures: dict[str, Any] = dict(zip(FIGURES, row[3:], strict=True))
            signals = signals_of(figures if row.has_figures is not None else None)
            verdict = judge(run.rules[row.tier], signals)
        except (TypeError, ValueError) as error:
            run.fail(row.id, error)
            continue
        if run.dry_run:
            _explain(run, row, verdict)
        if verdict.rule is not None:
            moves.append(Move(row.id, verdict.rule, verdict, signals))
        else:
            run.tally.done(1)
    return moves


def _explain(run: Advancement, row: Row[Any], verdict: Verdict) -> None:
    said = {"document": row.id, "tier": row.tier}
    if verdict.rule is not None:
        said["to"] = verdict.rule.to_tier
    what = "would stay" if verdict.rule is None else "would advance"
    run.context.log("info", what, **said, because=verdict.because())


# -------------------------------------------------------------------------------------- writing


def _write(run: Advancement, moves: Sequence[Move]) -> None:
    try:
        _move(run, moves)
    except _MovedMeanwhile:
        pass
    except DBAPIError as error:
        run.context.log("warn", "batch failed; its documents follow one by one", error=said(error))
    else:
        _count(run, moves)
        return
    for move in moves:
        try:
            _move(run, [move])
        except _MovedMeanwhile:
            run.context.log("warn", "moved meanwhile", document=move.document_id)
            run.moved_meanwhile += 1
            run.tally.done(1)
        except DBAPIError as error:
            run.fail(move.document_id, error)
        else:
            _count(run, [move])


def _move(run: Advancement, moves: Sequence[Move]) -> None:
    """The events and the tiers they speak of, all or none of them."""
    with run.database.writing() as connection:
        connection.execute(events.insert(), [_event(run, move) for move in moves])
        moved = connection.execute(
            _MOVE,
            {
                "execution": run.context.execution_id,
                "first": moves[0].document_id,
                "last": moves[-1].document_id,
                "now": run.now,
            },
        )
        if moved.rowcount != len(moves):
            raise _MovedMeanwhile


def _event(run: Advancement, move: Move) -> dict[str, Any]:
    return {
        "document_id": move.document_id,
        "rule_id": move.rule.id,
        "from_tier": move.rule.from_tier,
        "to_tier": move.rule.to_tier,
        "criteria_met": [check.as_json() for check in move.verdict.checks],
        "signal_values": dict(move.signals),
        "event_type": "auto-advancement",
        "execution_id": run.context.execution_id,
        "config_revision": run.context.config_revision,
        "created_at": run.now,
    }


def _count(run: Advancement, moves: Sequence[Move]) -> None:
    run.by_rule.update(move.rule.id for move in moves)
    run.tally.done(len(moves))
