"""Each test that takes `world` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from postgres import Cluster

from .made import World


@pytest.fixture(scope="session")
def postgresql_world(postgresql: Cluster) -> Iterator[World]:
    with closing(World(postgresql.create())) as world:
        yield world


@pytest.fixture(scope="session")
def sqlite_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("signals") / "signals.db"
    with closing(World(f"sqlite:///{path}")) as world:
        yield world


@pytest.fixture(params=["sqlite", "postgresql"], scope="session")
def shared(request: pytest.FixtureRequest) -> World:
    """The same database for every test: whoever takes it empties it."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found


@pytest.fixture
def world(shared: World) -> World:
    return shared.empty()
