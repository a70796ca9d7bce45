"""Fixtures: a daemon's HTTP side over a real store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from jobreconciler.observe.metrics import Metrics
from jobreconciler.store.opening import open_store
from jobreconciler.store.store import SqlStore
from jobreconciler.web.app import create_app
from jobreconciler.web.auth import Access

from .daemon import Client, Daemon, FixedClock, Spool


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory whose store has its tables; making them for each test takes long."""
    state = tmp_path_factory.mktemp("empty") / "state"
    open_store(None, state, FixedClock()).close()
    return state


@pytest.fixture
def store(tmp_path: Path, clock: FixedClock, empty_store: Path) -> Iterator[SqlStore]:
    shutil.copytree(empty_store, tmp_path / "state")
    opened = open_store(None, tmp_path / "state", clock)
    yield opened
    opened.close()


@pytest.fixture
def daemon(store: SqlStore, clock: FixedClock, tmp_path: Path) -> Daemon:
    return Daemon(store, clock, Spool(tmp_path / "runs"))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0")


@pytest.fixture
def operator(store: SqlStore) -> dict[str, str]:
    """The headers of somebody who holds the first-start token."""
    token = store.create_token("first start", "operator", first_start=True).result(timeout=60)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def app(daemon: Daemon, metrics: Metrics, store: SqlStore) -> FastAPI:
    return create_app(daemon, metrics, Access(store, loopback=True))


@pytest.fixture
def client(app: FastAPI) -> Client:
    return Client(app)
