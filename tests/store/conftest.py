"""Each test that takes `place` or `store` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobreconciler.settings import Settings
from jobreconciler.store.engine import Database, locate
from jobreconciler.store.opening import open_store
from jobreconciler.store.schema import create
from jobreconciler.store.store import SqlStore
from jobreconciler.store.tables import metadata
from postgres import Cluster

from .made import NOW, FixedClock


@dataclass
class Place:
    """Where a store lies, and the back door to it."""

    kind: str
    url: str | None
    state_dir: Path
    clock: FixedClock

    def open(self, **given: Any) -> SqlStore:
        return open_store(self.url, self.state_dir, self.clock, **{"instance": "test", **given})

    def database(self) -> Database:
        return Database(locate(self.url, self.state_dir))

    @property
    def settings(self) -> Settings:
        """As a command that is told of this store has them."""
        return Settings(store=self.url, state_dir=self.state_dir)

    @property
    def file(self) -> Path:
        return self.state_dir / "store.db"

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL behind the program's back, as a person with a shell would."""
        if self.url is None:
            with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(self.url, autocommit=True) as session:
            cursor = session.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def shared_url(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL database with the schema, emptied for each test: making one takes longer."""
    url = postgresql.create()
    database = Database(locate(url, tmp_path_factory.mktemp("shared")))
    create(database, NOW)
    database.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place("sqlite", None, tmp_path / "state", FixedClock())
    url: str = request.getfixturevalue("shared_url")
    found = Place("postgresql", url, tmp_path / "state", FixedClock())
    emptied = sorted(name for name in metadata.tables if name != "store_meta")
    found.sql(f"TRUNCATE {', '.join(emptied)} RESTART IDENTITY CASCADE")
    return found


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    return Place("sqlite", None, tmp_path / "state", FixedClock())


@pytest.fixture
def postgresql_place(postgresql: Cluster, tmp_path: Path) -> Place:
    """An empty database of its own, without the schema."""
    return Place("postgresql", postgresql.create(), tmp_path / "state", FixedClock())


@pytest.fixture
def store(place: Place) -> Iterator[SqlStore]:
    opened = place.open()
    yield opened
    with suppress(Exception):
        opened.close()
