"""The `sql` type on real databases, in its real worker."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from pydantic import ValidationError

import postgres
from execute.arena import ENVIRON, Arena, eventually, next_end, within
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.execution import Outcome

PASSWORD = "c0rrect/horse:battery"

SETUP = [
    "CREATE TABLE sessions (id INTEGER PRIMARY KEY, age INTEGER NOT NULL)",
    "INSERT INTO sessions (id, age) VALUES (1, 10), (2, 20), (3, 30)",
]


class Base:
    """A database, the URL a job is given, and what is in it."""

    def __init__(self, url: str, ask: Callable[[str], list[Any]]) -> None:
        self.url = url
        self.ask = ask

    def ids(self) -> list[int]:
        return [row[0] for row in self.ask("SELECT id FROM sessions ORDER BY id")]


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    found = sqlite_base(tmp_path) if request.param == "sqlite" else postgres_base(request)
    for statement in SETUP:
        found.ask(statement)
    return found


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Base:
    """PostgreSQL, for what SQLite does not have."""
    found = postgres_base(request)
    for statement in SETUP:
        found.ask(statement)
    return found


def sqlite_base(tmp_path: Path) -> Base:
    path = tmp_path / "app.db"

    def ask(sql: str) -> list[Any]:
        with sqlite3.connect(path) as connection:
            rows = connection.execute(sql).fetchall()
        connection.close()
        return rows

    return Base(f"sqlite:///{path}", ask)


def postgres_base(request: pytest.FixtureRequest) -> Base:
    cluster: postgres.Cluster = request.getfixturevalue("postgresql")
    url = cluster.create()

    def ask(sql: str) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    # Trusted connections take any password: what counts here is that it shows up nowhere.
    return Base(url.replace("postgres@", f"postgres:{quote(PASSWORD, safe='')}@"), ask)


def run(arena: Arena, url: str, *statements: str, **kw: Any) -> Outcome:
    parameters = {"database": {"env": "APP_DB"}, "statements": list(statements)}
    parameters |= kw.pop("parameters", {})
    environ = {**ENVIRON, "APP_DB": url}
    outcome: Outcome = arena.once(parameters, job_type="sql", environ=environ, **kw)
    return outcome


def test_statements_are_run_and_their_rows_counted(arena: Arena, base: Base) -> None:
    outcome = run(
        arena,
        base.url,
        "DELETE FROM sessions WHERE age >= 20",
        "UPDATE sessions SET age = age + 1;",
        "SELECT id FROM sessions UNION ALL SELECT 7",
        "CREATE TABLE done (id INTEGER)",
    )
    assert outcome.error is None
    assert outcome.result == {"rows": [2, 1, 2, 0], "total": 5, "dryRun": False}
    assert outcome.metrics["rows"] == {"value": 5, "unit": "rows"}
    assert outcome.metrics["statement_1_rows"]["value"] == 2
    assert outcome.progress == (4, 4)
    assert base.ids() == [1]
    assert base.ask("SELECT count(*) FROM done") == [(0,)]


def test_a_dry_run_takes_everything_back_tables_too(arena: Arena, base: Base) -> None:
    statements = ("CREATE TABLE extra (id INTEGER)", "DELETE FROM sessions")
    outcome = run(arena, base.url, *statements, dry_run=True)
    assert outcome.error is None
    assert outcome.result == {"rows": [0, 3], "total": 3, "dryRun": True}
    assert base.ids() == [1, 2, 3]
    assert run(arena, base.url, "SELECT 1 FROM extra").status == "failed"


def test_a_statement_that_fails_takes_back_those_before_it(arena: Arena, base: Base) -> None:
    bad = "INSERT INTO sessions (id, age) VALUES (9, NULL)"
    outcome = run(arena, base.url, "CREATE TABLE extra (id INTEGER)", "DELETE FROM sessions", bad)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert outcome.error is not None
    assert outcome.error.startswith("statement 3: ")
    assert "null" in outcome.error.lower()
    assert base.ids() == [1, 2, 3]


def test_placeholders_of_any_driver_are_plain_text(arena: Arena, base: Base) -> None:
    text = "UPDATE sessions SET age = 1 WHERE 'a%s :b ?' LIKE 'a%' AND '10:30' <> '%(x)s'"
    assert run(arena, base.url, text).result == {"rows": [3], "total": 3, "dryRun": False}


def test_two_statements_in_one_entry_are_refused_by_the_database(arena: Arena, base: Base) -> None:
    outcome = run(arena, base.url, "DELETE FROM sessions; COMMIT")
    assert outcome.status == "failed"
    assert base.ids() == [1, 2, 3]


def test_a_statement_that_ends_the_transaction_after_all_is_told_of(
    arena: Arena, tmp_path: Path
) -> None:
    # SQLite takes a byte order mark for a blank.
    base = sqlite_base(tmp_path)
    outcome = run(arena, base.url, "CREATE TABLE a (id INTEGER)", "\ufeffCOMMIT", dry_run=True)
    assert outcome.error == (
        "statement 2 ended the transaction: what came before it cannot be taken back any more"
    )


def test_a_constraint_that_waits_for_the_commit_fails_the_run(arena: Arena, server: Base) -> None:
    deferred = "REFERENCES sessions (id) DEFERRABLE INITIALLY DEFERRED"
    server.ask(f"CREATE TABLE child (id INTEGER {deferred})")
    outcome = run(arena, server.url, "INSERT INTO child VALUES (99)")
    assert outcome.error is not None
    assert outcome.error.startswith("the commit: ")
    assert server.ask("SELECT count(*) FROM child") == [(0,)]


def test_a_lock_that_is_held_is_worth_another_try(arena: Arena, base: Base) -> None:
    if base.url.startswith("sqlite"):
        holder: Any = sqlite3.connect(base.url.removeprefix("sqlite:///"), isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        url = f"{base.url}?timeout=0.05"
        said = "the database of {env: APP_DB}: database is locked"
    else:
        holder = psycopg.connect(base.url)
        holder.execute("LOCK TABLE sessions")
        url = f"{base.url}&options=-c%20lock_timeout%3D50"
        said = "statement 1: canceling statement due to lock timeout"
    try:
        outcome = run(arena, url, "DELETE FROM sessions")
    finally:
        holder.close()
    assert outcome.error is not None
    assert outcome.error.startswith(said)
    assert outcome.exit_code == 75


SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
}


def slow(base: Base) -> str:
    return SLOW[base.url.partition(":")[0]]


def test_the_database_gives_up_a_statement_that_takes_too_long(arena: Arena, base: Base) -> None:
    limit = {"statementTimeoutSeconds": 1}
    outcome = run(arena, base.url, "DELETE FROM sessions", slow(base), parameters=limit)
    assert (outcome.status, outcome.exit_code) == ("failed", 75)
    assert outcome.error is not None
    assert outcome.error.startswith("statement 2")
    assert base.ids() == [1, 2, 3]


@pytest.mark.parametrize("how", ["stopped by hand", "timed out"])
def test_a_run_that_is_stopped_leaves_nothing_at_work(arena: Arena, base: Base, how: str) -> None:
    limits = {"timeoutSeconds": 2} if how == "timed out" else {}

    async def stop() -> Outcome:
        async with arena.executor(environ={**ENVIRON, "APP_DB": base.url}) as executor:
            parameters = {
                "database": {"env": "APP_DB"},
                "statements": ["DELETE FROM sessions", slow(base)],
            }
            launch = arena.launch(parameters, job_type="sql", killGraceSeconds=60, **limits)
            await executor.start(launch)
            await eventually(
                lambda: (live := executor.live(launch.execution_id)) and live.progress == (1, 2)
            )
            if how == "stopped by hand":
                await executor.stop(launch.execution_id, "cancelled")
            return await next_end(executor)

    outcome = within(stop())
    assert outcome.status == ("cancelled" if how == "stopped by hand" else "timed_out")
    assert base.ids() == [1, 2, 3]
    if base.url.startswith("postgresql"):
        busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(600)%' AND "
        assert base.ask(f"{busy} pid <> pg_backend_pid() AND state = 'active'") == [(0,)]


WRONG_URLS = {
    "no URL": (
        f"not a url {PASSWORD}",
        "the database of {env: APP_DB}: that secret is no SQLAlchemy URL",
    ),
    "a dialect nobody has": (
        f"oracle9://u:{quote(PASSWORD, safe='')}@h/d",
        "the database of {env: APP_DB}: there is no dialect 'oracle9'",
    ),
    "a driver that is not installed": (
        f"mysql+pymysql://u:{quote(PASSWORD, safe='')}@h/d",
        "the database of {env: APP_DB} needs the Python module 'pymysql', which is not installed",
    ),
    "a server that is not there": (
        f"postgresql://u:{quote(PASSWORD, safe='')}@127.0.0.1:1/d",
        "the database of {env: APP_DB}: connection failed: connection to server at "
        '"127.0.0.1", port 1 failed: Connection refused',
    ),
    "a file whose directory is not there": (
        "sqlite:////no/such/place/app.db",
        "the database of {env: APP_DB}: unable to open database file",
    ),
}


@pytest.mark.parametrize("case", WRONG_URLS.values(), ids=WRONG_URLS.keys())
def test_a_wrong_url_is_explained_without_its_password(arena: Arena, case: tuple[str, str]) -> None:
    url, said = case
    outcome = run(arena, url, "SELECT 1")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith(said)
    for text in (outcome.error, arena.output()):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
    assert "Traceback" not in arena.output()


def test_a_password_that_the_database_repeats_is_masked(arena: Arena, server: Base) -> None:
    outcome = run(arena, server.url, f"SELECT '{PASSWORD}'::integer")
    assert outcome.error is not None
    assert PASSWORD not in outcome.error + arena.output()
    assert "***" in outcome.error


def test_a_program_that_prints_its_database_s_password_prints_stars(arena: Arena) -> None:
    url = f"postgresql://app:{quote(PASSWORD, safe='')}@db/app"
    script = f"echo '{PASSWORD}' '{quote(PASSWORD, safe='')}' $URL"
    parameters = {"shell": script, "env": {"URL": {"env": "APP_DB"}}}
    arena.once(parameters, environ={**ENVIRON, "APP_DB": url})
    assert arena.output() == "*** *** ***\n"


ACCEPTED = {
    "several statements": ["SELECT 1", "DELETE FROM a"],
    "a word that begins like another": ["ENDLESS", "Commitments"],
    "a comment that speaks of it": ["-- then COMMIT\nSELECT 1"],
    "a trigger with BEGIN in it": ["CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END"],
}
REFUSED = {
    "no statement": [],
    "an empty one": ["  \n"],
    "a COMMIT": ["COMMIT"],
    "a small one with a comment before it": ["/* now ** */ -- well\n ; commit ;"],
    "a BEGIN": ["begin immediate"],
    "START TRANSACTION": ["Start  Transaction"],
    "an END": ["END;"],
    "a ROLLBACK": ["ROLLBACK TO a"],
    "a prepared transaction": ["PREPARE\nTRANSACTION 'x'"],
    "a number": [1],
}


@pytest.mark.parametrize(
    ("statements", "valid"),
    [*((each, True) for each in ACCEPTED.values()), *((each, False) for each in REFUSED.values())],
    ids=[*ACCEPTED, *REFUSED],
)
def test_what_statements_may_be_is_the_same_to_model_and_schema(
    statements: list[Any], valid: bool
) -> None:
    import jsonschema

    from jobreconciler.schema import parameters_schema

    job_type = load_job_types().get("sql")
    parameters = {"database": {"env": "A"}, "statements": statements}
    assert (
        jsonschema.Draft202012Validator(parameters_schema(job_type)).is_valid(parameters) is valid
    )
    if valid:
        job_type.parameters.model_validate(parameters)
    else:
        with pytest.raises(ValidationError):
            job_type.parameters.model_validate(parameters)
