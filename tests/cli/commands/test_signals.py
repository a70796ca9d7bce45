"""`signals init`, `demo` and `report`: in the state directory, or where they are told."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.calling import Answer, Cli
from jobreconciler.cli.commands.signals import report_text
from jobreconciler.cli.output import Page
from jobreconciler.signals.advance import advance
from jobreconciler.signals.aggregate import aggregate
from jobreconciler.signals.database import Database
from jobreconciler.signals.instants import instant
from jobreconciler.signals.periods import ALL_TIME
from jobreconciler.signals.rollback import Scope, rollback
from jobreconciler.signals.rules import Criterion, Rule
from postgres import Cluster
from signals.made import Context

STATE = Path(".jobreconciler")
SECRET = STATE / "secrets" / "signals-database-url"
ALWAYS = Rule("seed-to-sprout", "seed", "sprout", (Criterion("view_count", ">=", 0),))


def demo(cli: Cli, *more: str) -> Answer:
    return cli("signals", "demo", "--documents", "30", "--events", "900", *more)


def test_init_makes_the_tables_and_leaves_their_url_as_a_secret(cli: Cli, workplace: Path) -> None:
    answer = cli("signals", "init", "-o", "json")
    assert answer.code == 0, answer.err
    path = workplace / STATE / "signals.db"
    assert answer.json == {"database": str(path), "secret": str(SECRET), "secretWritten": True}
    assert SECRET.read_text() == f"sqlite:///{path}\n"
    assert stat.S_IMODE(SECRET.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = cli("signals", "init", "-o", "json")
    assert (again.code, again.json["secretWritten"]) == (0, False)


def test_demo_gives_the_same_rows_for_the_same_numbers(cli: Cli) -> None:
    until = ("--until", "2026-03-01T00:00:00Z")
    rows = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        state = ("--state-dir", name)
        assert cli("signals", "init", *state).code == 0
        answer = demo(cli, "--seed", seed, *until, *state)
        assert answer.code == 0, answer.err
        assert answer.out == "30 documents, 900 events up to 2026-03-01T00:00:00Z\n"
        with closing(sqlite3.connect(Path(name) / "signals.db")) as connection:
            rows.append(connection.execute("SELECT * FROM usage_events ORDER BY id").fetchall())
    assert rows[0] == rows[1] != rows[2]
    assert len(rows[0]) == 900


def test_a_second_demo_is_refused(cli: Cli) -> None:
    cli("signals", "init")
    assert demo(cli).code == 0
    answer = demo(cli)
    assert answer.code == 1
    assert answer.err.startswith("error: the database holds documents already\nhint: ")


def test_the_report_in_text_and_json(cli: Cli, workplace: Path) -> None:
    cli("signals", "init")
    demo(cli)
    with Database(f"sqlite:///{workplace / STATE / 'signals.db'}") as database:
        aggregate(database, ALL_TIME, Context())
        advance(database, ALL_TIME, Context(), [ALWAYS], max_errors=0)
        rollback(database, Context(), Scope("seed-to-sprout", None, "tried it out"))
    answer = cli("signals", "report", "-n", "2", "-o", "json")
    assert answer.code == 0, answer.err
    report = answer.json
    assert sum(each["documents"] for each in report["tiers"]) == 30
    assert [each["tier"] for each in report["tiers"]] == [
        "seed", "sprout", "sapling", "tree", "grove",
    ]  # fmt: skip
    first, *others = report["aggregations"]
    assert (first["period"], first["documents"], first["waiting"]) == ("all_time", 30, 0)
    assert [each["asOf"] for each in others] == [None, None]
    back, moved = report["advancements"]
    assert (back["type"], back["reason"], back["documentId"]) == (
        "bulk-rollback",
        "tried it out",
        None,
    )
    assert back["restored"] > 1
    assert (moved["ruleId"], moved["rolledBack"]) == ("seed-to-sprout", True)

    answer = cli("signals", "report")
    assert answer.widest <= 80
    assert "seed-to-sprout" in answer.out and "rolled back" in answer.out
    assert f"{back['restored']} documents back" in answer.out


def test_a_report_of_long_names_fits_80_columns() -> None:
    advancement = {
        "id": 1, "type": "auto-advancement", "documentId": "d" * 90, "ruleId": "r" * 63,
        "fromTier": "sprout", "toTier": "sapling", "reason": None, "rolledBack": True,
        "restored": 0, "executionId": "e", "createdAt": "2026-03-01T00:00:00Z",
    }  # fmt: skip
    found = {
        "tiers": [{"tier": "seed", "documents": 10**9}],
        "aggregations": [
            {"period": "all_time", "documents": 10**9, "eligible": 10**9,
             "asOf": "2026-03-01T00:00:00Z", "waiting": 10**9}
        ],
        "advancements": [advancement],
    }  # fmt: skip
    text = report_text(found, Page(datetime(2026, 3, 2, tzinfo=UTC)))
    assert max(map(len, text.splitlines())) <= 80


WRONG = {
    "no database yet": (["report"], 1, "error: the database is not there"),
    "a URL that is none": (["init", "--database", "x"], 1, "error: the URL of the signals'"),
    "an instant that is none": (["demo", "--until", "soon"], 2, "error: --until soon: expected"),
    "fewer than no events": (["demo", "--events", "-1"], 2, "error: invalid value"),
    "another action": (["drop"], 2, "error: no such command 'drop'"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_done_is_said(cli: Cli, case: tuple[list[str], int, str]) -> None:
    words, code, said = case
    if "--until" in words:
        cli("signals", "init")
    answer = cli("signals", *words)
    assert answer.code == code
    assert answer.err.startswith(said), answer.err
    assert answer.out == ""


def test_another_database_than_the_jobs_use_is_not_slipped_in(cli: Cli, workplace: Path) -> None:
    assert cli("signals", "init").code == 0
    kept = SECRET.read_text()
    answer = cli("signals", "init", "--database", f"sqlite:///{workplace}/other.db")
    assert answer.code == 2
    assert answer.err.startswith(f"error: {SECRET} names another database")
    assert SECRET.read_text() == kept


def test_postgresql_named_by_the_environment_and_never_shown_with_its_password(
    cli: Cli, postgresql: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.create().replace("postgres@", "postgres:pass-word@")
    monkeypatch.setenv("SIGNALS_DATABASE_URL", url)
    said = [cli("signals", "init"), demo(cli), cli("signals", "report", "-o", "json")]
    assert [answer.code for answer in said] == [0, 0, 0], said
    assert json.loads(said[2].out)["tiers"][0]["documents"] > 0
    assert all("pass-word" not in answer.out + answer.err for answer in said)
    assert SECRET.read_text() == f"{url}\n", "the daemon needs no variable"
    monkeypatch.delenv("SIGNALS_DATABASE_URL")
    assert cli("signals", "report").code == 0


def test_instants_are_shown_in_utc_to_the_second() -> None:
    assert instant(1_767_225_600_999_999) == "2026-01-01T00:00:00Z"
    assert instant(None) is None
