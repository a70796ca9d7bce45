"""The jobs over signals as the daemon runs them: a worker, a secret, a report, a result."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from execute.arena import ENVIRON, Arena
from jobreconciler.model.execution import Outcome, Trigger
from jobreconciler.signals import demo
from jobreconciler.signals.database import Database

PARAMETERS: dict[str, Any] = {"database": {"file": "url"}}
RULES = [
    {
        "id": "seed-to-sprout",
        "fromTier": "seed",
        "toTier": "sprout",
        "criteria": [{"signal": "view_count", "operator": ">=", "threshold": 5}],
    }
]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A database with 40 documents; its URL is the secret `url`."""
    path = tmp_path / "signals.db"
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "url").write_text(f"sqlite:///{path}\n")
    with Database(f"sqlite:///{path}") as database:
        database.create()
        now = database.now()
        demo.fill(database, document_count=40, event_count=2000, seed=3, until=now)
    yield path


def run(arena: Arena, path: Path, job_type: str, **parameters: Any) -> Outcome:
    limits = {name: parameters.pop(name) for name in ("batchSize", "trigger", "dry_run")
              if name in parameters}  # fmt: skip
    outcome = arena.once(
        {**PARAMETERS, **parameters},
        job_type=job_type,
        secrets_dir=path.parent / "secrets",
        **limits,
    )
    assert isinstance(outcome, Outcome)
    return outcome


def column(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(sql)]


def test_aggregation_and_advancement_end_to_end(arena: Arena, path: Path) -> None:
    for period, name in (("all_time", "all"), ("last_7d", "7d"), ("last_30d", "30d")):
        outcome = run(arena, path, f"signal-aggregation-{name}", batchSize=15)
        assert outcome.error is None
        assert outcome.result is not None and outcome.result["itemsSucceeded"] == 40
        assert outcome.progress == (40, 40)
        assert outcome.metrics["documents"]["value"] == 40
        counted = "SELECT count(*) FROM signal_aggregations WHERE period = "
        assert column(path, f"{counted}'{period}'") == [40]
    assert str(path) not in arena.output()

    outcome = run(arena, path, "advancement-batch", rules=RULES, dry_run=True)
    assert outcome.result is not None and outcome.result["metadata"]["dryRun"] is True
    moves = outcome.result["metadata"]["moves"]
    assert moves and column(path, "SELECT count(*) FROM advancement_events") == [0]

    outcome = run(arena, path, "advancement-batch", rules=RULES)
    assert outcome.result is not None
    assert outcome.result["metadata"]["byRule"] == {"seed-to-sprout": len(moves)}
    [revision] = set(column(path, "SELECT config_revision FROM advancement_events"))
    assert revision == "f" * 40

    outcome = run(arena, path, "advancement-rollback", ruleId="seed-to-sprout", reason="a test")
    assert outcome.result is not None
    assert outcome.result["metadata"]["restored"] == len(moves)
    reasons = "SELECT reason FROM advancement_events WHERE event_type = 'bulk-rollback'"
    assert column(path, reasons) == ["a test"]


def test_a_rollback_is_started_by_hand_alone(arena: Arena, path: Path) -> None:
    outcome = run(
        arena, path, "advancement-rollback", ruleId="r", reason="x", trigger=Trigger("schedule")
    )
    assert (outcome.status, outcome.error) == (
        "failed",
        "a rollback is started by hand, not by schedule",
    )


def test_a_database_that_is_not_there_is_a_sentence_without_its_url(
    arena: Arena, path: Path
) -> None:
    path.unlink()
    outcome = run(arena, path, "signal-aggregation-all")
    assert (outcome.status, outcome.error) == ("failed", "the database is not there")
    text = arena.output()
    assert "`jobreconciler signals init` makes it" in text
    assert "Traceback" not in text and str(path) not in text


def test_a_server_that_does_not_answer_is_a_sentence_without_its_password(arena: Arena) -> None:
    url = "postgresql://somebody:pass-word-of-db@127.0.0.1:9/signals"
    outcome = arena.once(
        {"database": {"env": "URL"}},
        job_type="signal-aggregation-all",
        environ={**ENVIRON, "URL": url},
    )
    assert outcome.status == "failed"
    assert outcome.error is not None and outcome.error.startswith("the database refused: ")
    assert "pass-word-of-db" not in outcome.error + arena.output()
    assert "Traceback" not in arena.output()
