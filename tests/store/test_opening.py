"""Opening: one writer at a time, nothing newer, nothing foreign, and cheap when all is well."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from jobreconciler import __version__
from jobreconciler.errors import JobReconcilerError, NotFound, Refused, Stalled
from jobreconciler.store.engine import locate
from jobreconciler.store.migrations import HEAD
from jobreconciler.store.opening import has_writer, open_store

from .conftest import Place
from .made import NOW, FixedClock, add, desired


def test_a_store_belongs_to_one_daemon(place: Place) -> None:
    first = place.open(instance="host-a")
    with pytest.raises(Refused, match="in use by") as caught:
        place.open()
    assert caught.value.reason == "StoreInUse"
    assert str(os.getpid()) in caught.value.message
    first.close()
    place.open().close()


def test_another_state_directory_does_not_help(place: Place, tmp_path: Path) -> None:
    first = place.open(instance="host-a")
    url = place.url or f"sqlite:///{place.file}"
    with pytest.raises(Refused, match="in use by"):
        open_store(url, tmp_path / "elsewhere", FixedClock())
    first.close()


def test_whether_a_daemon_has_the_store_is_seen_without_touching_it(
    place: Place, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    url = place.url or f"sqlite:///{place.file}"
    assert not has_writer(place.url, place.state_dir)
    daemon = place.open()
    assert has_writer(place.url, place.state_dir)
    assert has_writer(url, elsewhere), "by another state directory"
    assert not elsewhere.exists()
    daemon.close()
    assert not has_writer(place.url, place.state_dir)
    reader = place.open(read_only=True)
    assert not has_writer(place.url, place.state_dir), "a reader is none"
    reader.close()


def test_a_daemon_that_was_killed_has_its_store_no_more(sqlite_place: Place) -> None:
    sqlite_place.open().close()
    (sqlite_place.state_dir / "lock").write_text("4242\n")
    assert not has_writer(None, sqlite_place.state_dir)
    sqlite_place.open().close()


def test_beside_a_daemon_one_may_read_and_make_tokens(place: Place) -> None:
    daemon = place.open()
    add(daemon, desired())
    beside = place.open(shared=True)
    token = beside.create_token("ci", "reader").result()
    assert daemon.check_token(token) == "reader"
    reader = place.open(read_only=True)
    assert reader.index().keys() == {"nightly"}
    with pytest.raises(Refused, match="read only"):
        reader.approve("r", "a", NOW).result()
    for opened in (reader, beside, daemon):
        opened.close()


def test_what_was_written_is_there_after_opening_again(place: Place) -> None:
    store = place.open()
    add(store, desired())
    store.close()
    store = place.open()
    assert store.index().keys() == {"nightly"}
    store.close()


def test_reading_creates_nothing(sqlite_place: Place) -> None:
    with pytest.raises(NotFound, match="there is no store at"):
        sqlite_place.open(read_only=True)
    assert not sqlite_place.state_dir.exists()


def test_the_files_are_for_their_owner_alone(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    add(store, desired())
    for path in (sqlite_place.state_dir, *sqlite_place.state_dir.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()


@pytest.mark.parametrize("given", [{}, {"shared": True}, {"read_only": True}], ids=str)
def test_a_store_of_a_later_version_is_refused_by_name(
    place: Place, given: dict[str, bool]
) -> None:
    place.open().close()
    place.sql("UPDATE alembic_version SET version_num = '0999'")
    place.sql("UPDATE store_meta SET program_version = '9.8.7'")
    try:
        with pytest.raises(Refused) as caught:
            place.open(**given)
    finally:
        place.sql(f"UPDATE alembic_version SET version_num = '{HEAD}'")
        place.sql(f"UPDATE store_meta SET program_version = '{__version__}'")
    assert "written by jobreconciler 9.8.7 (schema 0999)" in caught.value.message
    assert f"this is {__version__}" in caught.value.message
    assert "9.8.7 or later" in caught.value.hint
    place.open(**given).close()


def test_a_database_of_something_else_is_left_alone(sqlite_place: Place) -> None:
    sqlite_place.state_dir.mkdir()
    sqlite_place.sql("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(Refused, match="something else"):
        sqlite_place.open()
    assert sqlite_place.sql("SELECT name FROM sqlite_master") == [("customers",)]


def test_a_postgresql_of_something_else_is_left_alone(postgresql_place: Place) -> None:
    postgresql_place.sql("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(Refused, match="something else"):
        postgresql_place.open()


def test_an_empty_postgresql_waits_for_migrate(postgresql_place: Place) -> None:
    with pytest.raises(Refused, match="no tables yet") as caught:
        postgresql_place.open()
    assert "migrate up" in caught.value.hint


def test_a_file_that_is_no_database_is_refused(sqlite_place: Place) -> None:
    sqlite_place.state_dir.mkdir()
    sqlite_place.file.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(Stalled) as caught:
        sqlite_place.open()
    assert caught.value.reason == "StoreDamaged"


def test_an_empty_file_becomes_a_store(sqlite_place: Place) -> None:
    sqlite_place.state_dir.mkdir()
    sqlite_place.file.touch()
    store = sqlite_place.open()
    add(store, desired())
    store.close()


def test_a_failed_opening_leaves_the_lock_free(sqlite_place: Place) -> None:
    sqlite_place.state_dir.mkdir()
    sqlite_place.file.write_bytes(b"x" * 4096)
    for _ in range(2):
        with pytest.raises(Stalled):
            sqlite_place.open()
    sqlite_place.file.unlink()
    sqlite_place.open().close()


URLS = [
    ("no URL at all", "store", "not a URL"),
    ("another database", "mysql://root@localhost/x", "not supported"),
    ("a store in memory", "sqlite://", "no file"),
    ("a store in memory, spelt out", "sqlite:///:memory:", "no file"),
]


@pytest.mark.parametrize(("url", "reason"), [row[1:] for row in URLS], ids=[r[0] for r in URLS])
def test_urls_that_name_no_store(url: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        locate(url, tmp_path)
    assert "sqlite:////absolute" in caught.value.hint


def test_a_url_is_shown_without_its_password(tmp_path: Path) -> None:
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        shown = str(locate(f"{scheme}://jr:secret@db.example.org/jobs", tmp_path))
        assert shown == "postgresql://jr:***@db.example.org/jobs"
    shown = str(locate("postgresql://jr@db/jobs?password=secret&sslpassword=secret", tmp_path))
    assert shown == "postgresql://jr@db/jobs"


def test_a_server_that_does_not_answer_is_worth_another_try(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/none?host={tmp_path}"
    with pytest.raises(JobReconcilerError) as caught:
        open_store(url, tmp_path / "state", FixedClock())
    assert caught.value.reason == "StoreUnreachable"


def test_a_file_elsewhere_has_a_lock_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "data" / "jobs with spaces?.db"
    url = f"sqlite:///{str(file).replace('?', '%3F').replace(' ', '%20')}"
    store = open_store(url, tmp_path / "state", FixedClock())
    add(store, desired())
    store.close()
    located = locate(url, tmp_path).path
    assert located is not None
    assert located.with_name(located.name + ".lock").exists()
    with closing(sqlite3.connect(located)) as connection:
        assert connection.execute("SELECT job_id FROM job_configs").fetchall() == [("nightly",)]


def test_opening_a_current_store_imports_neither_alembic_nor_psycopg(
    sqlite_place: Place,
) -> None:
    sqlite_place.open().close()
    code = (
        "import sys; from pathlib import Path; from jobreconciler.clock import SystemClock\n"
        "from jobreconciler.store.opening import open_store\n"
        "open_store(None, Path(sys.argv[1]), SystemClock()).close()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'alembic', 'psycopg', 'mako', 'fastapi'}))\n"
        "print('sqlalchemy.dialects.postgresql' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sqlite_place.state_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_a_lock_that_a_killed_process_held_is_free(place: Place) -> None:
    code = (
        "import sys, time; from pathlib import Path; from jobreconciler.clock import SystemClock\n"
        "from jobreconciler.store.opening import open_store\n"
        "store = open_store(sys.argv[1] or None, Path(sys.argv[2]), SystemClock())\n"
        "print('open', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, place.url or "", str(place.state_dir)],
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(Refused, match=rf"\b{holder.pid}\b"):
            place.open()
        holder.kill()
        holder.wait()
    place.open().close()
