"""Faults, each a real one: locks, full disks, read-only stores, kills between two commits."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from jobreconciler.errors import Stalled, Transient
from jobreconciler.model.views import SourceState
from jobreconciler.store import engine
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW, SOURCE, FixedClock, add, after, change, change_set, desired, execution

WRITER = Path(__file__).with_name("killed_writer.py")
KILLS = 4


def megabyte(name: str = "big") -> dict[str, bytes]:
    return {name: os.urandom(1 << 20)}


def assert_works(store: SqlStore) -> None:
    """It goes on as if nothing had been."""
    store.apply(change_set(change("updated", desired(priority=1)))).result()
    assert store.release(execution("after-the-fault"), {}).result()
    assert store.audit_break() is None
    assert store.drifted() == []


def test_a_store_that_somebody_locks_is_busy_and_nothing_is_lost(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    store = sqlite_place.open()
    add(store, desired())
    with closing(sqlite3.connect(sqlite_place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked by another process") as caught:
            store.release(execution(), {}).result()
        assert caught.value.reason == "StoreBusy"
        assert store.job("nightly") is not None
        other.execute("ROLLBACK")
    assert store.executions().items == ()
    assert_works(store)
    store.close()


def test_a_table_that_somebody_locks_is_busy_and_nothing_is_lost(
    shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    place = Place("postgresql", shared_url, tmp_path / "state", FixedClock())
    place.sql("TRUNCATE job_configs, job_states, job_executions, changelog CASCADE")
    store = place.open()
    add(store, desired())
    with psycopg.connect(shared_url) as other:
        other.execute("LOCK TABLE job_states IN EXCLUSIVE MODE")
        with pytest.raises(Transient, match="locked by another session") as caught:
            store.release(execution(slot=NOW), {}).result()
        assert caught.value.reason == "StoreBusy"
        other.rollback()
    assert store.executions().items == ()
    assert_works(store)
    store.close()


def test_a_store_that_may_not_grow_is_full_and_goes_on_once_it_may(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    add(store, desired())
    store.submit(lambda tx: tx.command("PRAGMA max_page_count = 1")).result()
    with pytest.raises(Transient, match="no space is left") as caught:
        store.apply(change_set(change("deleted", "nightly"), blobs=megabyte())).result()
    assert caught.value.reason == "DiskFull"
    assert store.job("nightly") is not None
    store.submit(lambda tx: tx.command("PRAGMA max_page_count = 1000000")).result()
    assert_works(store)
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of eight megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount a small file system")
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path) -> None:
    place = Place("sqlite", None, small_disk / "state", FixedClock())
    store = place.open()
    add(store, desired())
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (4 << 20))
    futures = [store.apply(change_set(blobs=megabyte(f"big-{n}"))) for n in range(12)]
    failures = [future.exception() for future in futures]
    assert any(isinstance(failure, Transient | Stalled) for failure in failures)
    assert {failure.reason for failure in failures if isinstance(failure, Transient | Stalled)} == {
        "DiskFull"
    }
    ballast.unlink()
    assert_works(store)
    store.close()
    store = place.open()
    assert store.audit_break() is None
    store.close()


def test_a_read_only_file_system_is_said_when_opening(small_disk: Path) -> None:
    place = Place("sqlite", None, small_disk / "state", FixedClock())
    place.open().close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Stalled, match="cannot be written") as caught:
        place.open()
    assert caught.value.reason == "StoreReadOnly"
    assert "--state-dir" in caught.value.hint
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    place.open().close()


READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
}


def test_a_store_that_became_read_only_stalls_and_can_still_be_read(
    store: SqlStore, place: Place
) -> None:
    add(store, desired())
    store.submit(lambda tx: tx.command(READ_ONLY[place.kind])).result()
    with pytest.raises(Stalled, match="cannot be written") as caught:
        store.set_source(SOURCE).result()
    assert caught.value.reason == "StoreReadOnly"
    assert store.job("nightly") is not None


def test_a_damaged_store_is_said_to_be(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    add(store, *(desired(f"job-{n}") for n in range(200)))
    store.close()
    content = bytearray(sqlite_place.file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    sqlite_place.file.write_bytes(bytes(content))
    with pytest.raises(Stalled, match="damaged") as caught:
        sqlite_place.open()
    assert caught.value.reason == "StoreDamaged"
    assert "restore" in caught.value.hint


def test_killed_at_any_moment_it_keeps_what_it_acknowledged(place: Place) -> None:
    acknowledged = -1
    for kill in range(KILLS):
        first = acknowledged + 1 + 100_000 * kill
        with subprocess.Popen(
            [sys.executable, str(WRITER), place.url or "", str(place.state_dir), str(first)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            for _ in range(5 + 9 * kill):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        store = place.open()
        last = store.execution(f"e{acknowledged:08}")
        assert last is not None
        assert last.status == "failed"
        (row,) = store.schedules()
        newest = store.executions(limit=1).items[0]
        assert row.watermark == newest.trigger.slot
        assert row.watermark is not None
        assert row.watermark >= after(seconds=acknowledged)
        ended = store.executions(limit=1_000_000, statuses=["failed"]).items
        job = store.job("nightly")
        assert job is not None
        assert job.consecutive_failures == len(ended)
        assert store.changelog(limit=1).items[0].generation == job.generation
        assert store.audit_break() is None
        assert store.drifted() == []
        assert all(len(e.attempts) == (e.status != "queued") for e in store.unfinished())
        store.close()


def test_futures_of_a_locked_store_all_resolve(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    store = sqlite_place.open()
    with closing(sqlite3.connect(sqlite_place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        state = SourceState("r", "r", None, "1")
        futures: list[Future[None]] = [store.set_source(state) for _ in range(20)]
        reasons = {getattr(future.exception(60), "reason", None) for future in futures}
        other.execute("ROLLBACK")
    assert reasons == {"StoreBusy"}
    store.close()
