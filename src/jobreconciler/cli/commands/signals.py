"""`jobreconciler signals`: the database of the aggregation and advancement jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobreconciler.cli import signals_place
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import Cell, Column, Page, note, page, write, write_json
from jobreconciler.cli.words import count
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings

if TYPE_CHECKING:
    from jobreconciler.signals.database import Database

HELP = """Make, fill and look at the database of the signal jobs.

Its URL comes from --database, from SIGNALS_DATABASE_URL, from the secret signals-database-url, or
is a SQLite file in the state directory.

\b
Example:
  jobreconciler signals init && jobreconciler signals demo
"""

PLACE = ("state_dir", "secrets_dir")
Url = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="SQLite or PostgreSQL, as SQLAlchemy names it."),
]


@verb(*PLACE)
def init(settings: Settings, output: str, database: Url = None) -> int:
    """Create what is missing of the tables.

    The URL is left as a secret for the daemon.

    \b
    Example:
      jobreconciler signals init --database postgresql://app@db.internal/signals
    """
    from jobreconciler.app import make_state_dir

    make_state_dir(settings)
    url = signals_place.database_url(settings, database)
    with _opened(url) as opened:
        opened.create()
        name = opened.name
    written = signals_place.keep_secret(settings, url)
    secret = str(signals_place.secret_file(settings))
    if output == "json":
        write_json({"database": name, "secret": secret, "secretWritten": written})
    else:
        write(f"the tables are in {name}")
        note(f"the daemon finds it through {secret}")
    return FINE


@verb(*PLACE)
def demo(
    settings: Settings,
    output: str,
    documents: Annotated[int, typer.Option("--documents", metavar="N", min=1)] = 500,
    events: Annotated[int, typer.Option("--events", metavar="M", min=0)] = 20_000,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Same seed, same data.")] = 1,
    until: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="When events end; midnight UTC by default."),
    ] = None,
    database: Url = None,
) -> int:
    """Fill an empty database with reproducible documents and events.

    The events are of the 90 days before --until.

    \b
    Example:
      jobreconciler signals demo --documents 50000 --events 1000000 --seed 7
    """
    from jobreconciler.signals.demo import fill
    from jobreconciler.signals.instants import instant
    from jobreconciler.signals.periods import DAY

    with _opened(signals_place.database_url(settings, database)) as opened:
        opened.check()
        at = opened.now() // DAY * DAY if until is None else _micros(until)
        fill(opened, document_count=documents, event_count=events, seed=seed, until=at)
    if output == "json":
        write_json({"documents": documents, "events": events, "seed": seed, "until": instant(at)})
    else:
        write(f"{count(documents, 'document')}, {count(events, 'event')} up to {instant(at)}")
    return FINE


@verb(*PLACE)
def report(
    settings: Settings,
    output: str,
    newest: Annotated[
        int, typer.Option("-n", metavar="N", min=0, max=1000, help="How many advancements (10).")
    ] = 10,
    database: Url = None,
) -> int:
    """Show the tiers, how fresh the figures are, and who moved lately.

    \b
    Example:
      jobreconciler signals report -o json
    """
    from jobreconciler.signals.report import report as made

    with _opened(signals_place.database_url(settings, database)) as opened:
        found = made(opened, newest)
    if output == "json":
        write_json(found)
    else:
        write(report_text(found, page()))
    return FINE


VERBS = {"init": init, "demo": demo, "report": report}


def _opened(url: str) -> Database:
    from jobreconciler.signals.database import Database

    return Database(url)


def _micros(text: str) -> int:
    from datetime import datetime

    from jobreconciler.signals.instants import to_micros

    try:
        return to_micros(datetime.fromisoformat(text))
    except ValueError:
        raise Refused(f"--until {text}: expected an instant such as 2026-03-01T00:00:00Z") from None


# ----------------------------------------------------------------------------------------- text


def report_text(found: Mapping[str, Any], drawn: Page) -> str:
    """The report for people: values in, text out."""
    documents = Column("documents", right=True)
    tiers = [[each["tier"], f"{each['documents']:,}"] for each in found["tiers"]]
    eligible, waiting = Column("eligible", right=True), Column("waiting", right=True)
    periods = [_aggregation_row(each, drawn) for each in found["aggregations"]]
    parts = [
        drawn.table(["tier", documents], tiers),
        "",
        drawn.table(["period", documents, eligible, "as of", waiting], periods),
    ]
    if found["advancements"]:
        heads: list[Column | str] = [
            Column("document", shrinks=True, least=12),
            "moved",
            Column("by", shrinks=True, least=12),
            Column("when", right=True),
            "",
        ]
        rows = [_advancement_row(each, drawn) for each in found["advancements"]]
        parts += ["", drawn.table(heads, rows)]
    return "\n".join(parts)


def _aggregation_row(each: Mapping[str, Any], drawn: Page) -> list[Cell | str]:
    waiting = each["waiting"]
    return [
        each["period"],
        f"{each['documents']:,}",
        f"{each['eligible']:,}",
        drawn.ago(each["asOf"]),
        Cell(f"{waiting:,}", "warn" if waiting else "dim"),
    ]


def _advancement_row(each: Mapping[str, Any], drawn: Page) -> list[Cell | str]:
    if each["type"] == "bulk-rollback":
        who = count(each["restored"], "document")
        return [f"{who} back", _tiers(each), each["reason"] or "", drawn.ago(each["createdAt"]), ""]
    by = each["ruleId"] or each["type"]
    state = Cell("rolled back", "warn") if each["rolledBack"] else ""
    return [each["documentId"], _tiers(each), by, drawn.ago(each["createdAt"]), state]


def _tiers(each: Mapping[str, Any]) -> str:
    if each["fromTier"] is None:
        return "several tiers"
    return f"{each['fromTier']} → {each['toTier']}"
