"""The schema: migrations add up to the tables, both ways, on both databases, losing nothing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from jobreconciler.errors import Invalid, JobReconcilerError, NotFound, Refused
from jobreconciler.store import migrations, schema
from jobreconciler.store.migrations import HEAD, REVISIONS
from jobreconciler.store.tables import SQLITE_INDEXES, metadata
from jobreconciler.store.upgrade import EMPTY, Migrated, run, step
from jobreconciler.upkeep import migrate

from .conftest import Place
from .made import NOW, add, desired


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A database with nothing in it."""
    place: Place = request.getfixturevalue(f"{request.param}_place")
    place.state_dir.mkdir()
    if place.url is None:
        place.file.touch()
    return place


def to(place: Place, before: str | None, target: str) -> None:
    database = place.database()
    run(database, before, target, NOW)
    database.dispose()


def migrated(place: Place, direction: str = "up") -> Migrated:
    """As `jobreconciler migrate` does it."""
    return migrate(place.settings, direction, None, place.clock.now())


def shape(place: Place) -> Any:
    """Everything the database says of its tables and indexes, in an order of its own."""
    if place.url is None:
        rows = place.sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return [(name, re.sub(r"\s+|(?<=\()|(?=\))", " ", sql).split()) for name, sql in rows]
    return [
        place.sql(statement)
        for statement in (
            "SELECT table_name, column_name, data_type, is_nullable, column_default, "
            "collation_name, character_maximum_length FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
            "SELECT tablename, indexname, indexdef FROM pg_indexes "
            "WHERE schemaname = 'public' ORDER BY indexname",
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY conname",
        )
    ]


def test_the_constant_names_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == HEAD
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def everything(place: Place) -> Any:
    """What is compared: all of it, but for the indexes that only SQLite gets."""
    left_out = frozenset() if place.url is None else SQLITE_INDEXES
    return lambda _, name, *_rest: name not in left_out


def test_the_migrations_add_up_to_the_tables(empty: Place) -> None:
    to(empty, None, HEAD)
    summed = shape(empty)
    to(empty, HEAD, EMPTY)
    if empty.url is None:
        empty.file.unlink()
    else:
        empty.sql("DROP TABLE alembic_version")
    database = empty.database()
    schema.create(database, NOW)
    assert shape(empty) == summed
    with schema.ddl(database) as connection:
        context = MigrationContext.configure(connection, opts={"include_object": everything(empty)})
        assert compare_metadata(context, metadata) == []
    database.dispose()


def test_every_step_down_is_undone_by_the_step_up(empty: Place) -> None:
    shapes = []
    for before, after in zip((None, *REVISIONS), REVISIONS, strict=False):
        to(empty, before, after)
        shapes.append(shape(empty))
    for n in range(len(REVISIONS) - 1, 0, -1):
        to(empty, REVISIONS[n], REVISIONS[n - 1])
        assert shape(empty) == shapes[n - 1]
        to(empty, REVISIONS[n - 1], REVISIONS[n])
        assert shape(empty) == shapes[n]
        to(empty, REVISIONS[n], REVISIONS[n - 1])
    to(empty, REVISIONS[0], EMPTY)
    names = [row[0] for row in shape(empty)] if empty.url is None else shape(empty)[1]
    assert [name for name in names if "alembic" not in str(name)] == []


def test_rows_survive_the_way_down_and_up(empty: Place) -> None:
    to(empty, None, HEAD)
    store = empty.open()
    add(store, desired())
    row = store.job("nightly")
    store.close()
    down = migrated(empty, "down")
    assert (down.before, down.after) == (HEAD, REVISIONS[-2])
    up = migrated(empty)
    assert (up.before, up.after) == (REVISIONS[-2], HEAD)
    store = empty.open()
    assert store.job("nightly") == row
    assert store.drifted() == []
    assert store.audit_break() is None
    store.close()


def test_an_older_sqlite_is_copied_and_migrated_when_the_daemon_starts(
    sqlite_place: Place,
) -> None:
    store = sqlite_place.open()
    add(store, desired())
    store.close()
    to(sqlite_place, HEAD, REVISIONS[0])
    for given in ({"read_only": True}, {"shared": True}):
        with pytest.raises(Refused, match="earlier version"):
            sqlite_place.open(**given)
    store = sqlite_place.open()
    assert store.index().keys() == {"nightly"}
    store.close()
    (copy,) = (sqlite_place.state_dir / "backups").iterdir()
    with closing(sqlite3.connect(copy)) as kept:
        assert kept.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (REVISIONS[0],)
        ]
        assert kept.execute("SELECT job_id FROM job_configs").fetchall() == [("nightly",)]


def test_an_older_postgresql_waits_for_migrate(postgresql_place: Place) -> None:
    to(postgresql_place, None, REVISIONS[0])
    with pytest.raises(Refused, match="earlier version") as caught:
        postgresql_place.open()
    assert "migrate up" in caught.value.hint
    assert migrated(postgresql_place).after == HEAD
    postgresql_place.open().close()


def test_a_migration_that_fails_changes_nothing(empty: Place) -> None:
    to(empty, None, REVISIONS[0])
    empty.sql("CREATE TABLE tokens (x INTEGER)")
    before = shape(empty)
    with pytest.raises((JobReconcilerError, Exception), match="tokens"):
        to(empty, REVISIONS[0], HEAD)
    assert shape(empty) == before
    assert empty.sql("SELECT version_num FROM alembic_version") == [(REVISIONS[0],)]


def test_a_running_daemon_is_not_migrated_under_its_feet(place: Place) -> None:
    daemon = place.open()
    with pytest.raises(Refused, match="in use by"):
        migrated(place, "down")
    daemon.close()


def test_there_is_nothing_to_migrate_where_nothing_is(sqlite_place: Place) -> None:
    with pytest.raises(NotFound):
        migrated(sqlite_place)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_newer_store_is_not_migrated(sqlite_place: Place, direction: str) -> None:
    sqlite_place.open().close()
    sqlite_place.sql("UPDATE alembic_version SET version_num = '0999'")
    sqlite_place.sql("UPDATE store_meta SET program_version = '9.8.7'")
    with pytest.raises(
        Refused, match=r"written by jobreconciler 9\.8\.7 \(schema 0999\)"
    ) as caught:
        migrated(sqlite_place, direction)
    assert "install jobreconciler 9.8.7 or later" in caught.value.hint


STEPS = [
    ("up from nothing", None, "up", None, HEAD),
    ("up from the first", REVISIONS[0], "up", None, HEAD),
    ("up where it is", HEAD, "up", None, HEAD),
    ("down by one", HEAD, "down", None, REVISIONS[-2]),
    ("down to one named", HEAD, "down", REVISIONS[0], REVISIONS[0]),
    ("up to one named", None, "up", REVISIONS[0], REVISIONS[0]),
    ("down below the first", REVISIONS[0], "down", None, Refused),
    ("up to an older one", HEAD, "up", REVISIONS[0], Invalid),
    ("down to a newer one", REVISIONS[0], "down", HEAD, Invalid),
    ("to one unknown", HEAD, "down", "0999", Invalid),
]


@pytest.mark.parametrize(
    ("found", "direction", "named", "expected"),
    [row[1:] for row in STEPS],
    ids=[row[0] for row in STEPS],
)
def test_steps(found: str | None, direction: str, named: str | None, expected: Any) -> None:
    if isinstance(expected, str):
        assert step(found, direction, named) == expected
    else:
        with pytest.raises(expected):
            step(found, direction, named)
