"""Backups: whole while writes go on, refused when damaged, and back again."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from jobreconciler.errors import Invalid, NotFound, Refused, Stalled
from jobreconciler.store.backup import inspect
from jobreconciler.store.migrations import HEAD
from jobreconciler.upkeep import Restored, back_up, migrate, restore

from .conftest import Place
from .made import NOW, FixedClock, add, after, change, change_set, desired, execution


def needs_tools(place: Place) -> None:
    if place.url is not None and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed (apt-get install postgresql-client)")


def restored(place: Place, copy: Path, *, catch_up: bool = False) -> Restored:
    """As `jobreconciler restore` does it."""
    return restore(place.settings, copy, place.clock.now(), catch_up=catch_up)


def test_a_backup_made_while_writes_go_on_is_one_state_of_the_store(
    place: Place, tmp_path: Path
) -> None:
    needs_tools(place)
    store = place.open()
    add(store, *(desired(f"job-{n}", parameters={"argv": ["x" * 2000]}) for n in range(300)))
    stop = threading.Event()

    def keep_writing() -> None:
        n = 0
        while not stop.is_set():
            job = desired(f"job-{n % 300}", priority=n % 100)
            store.apply(change_set(change("updated", job))).result()
            n += 1

    writing = threading.Thread(target=keep_writing)
    writing.start()
    try:
        store.backup(tmp_path / "copy")
        length = len(store.changelog(limit=100_000).items)
    finally:
        stop.set()
        writing.join()
    store.close()
    restored(place, tmp_path / "copy")
    store = place.open()
    assert store.audit_break() is None
    assert store.drifted() == []
    rows = store.changelog(limit=100_000).items
    assert 300 <= len(rows) <= length
    latest = {row.job_id: row.generation for row in reversed(rows)}
    jobs = {job_id: store.job(job_id) for job_id in latest}
    assert {job_id: job.generation for job_id, job in jobs.items() if job} == latest
    store.close()


@pytest.mark.parametrize(("catch_up", "watermark"), [(False, after(hours=9)), (True, NOW)])
def test_a_restored_store_owes_nothing_unless_told_to_catch_up(
    place: Place, tmp_path: Path, catch_up: bool, watermark: object
) -> None:
    needs_tools(place)
    store = place.open()
    add(store, desired(), desired("new"))
    store.release(execution(slot=NOW), {}).result()
    store.backup(tmp_path / "copy")
    add(store, desired("later"))
    store.close()
    place.clock.at = after(hours=9)
    done = restored(place, tmp_path / "copy", catch_up=catch_up)
    store = place.open()
    assert store.index().keys() == {"nightly", "new"}
    watermarks = {row.job_id: row.watermark for row in store.schedules()}
    assert watermarks["nightly"] == watermark
    assert watermarks["new"] == (None if catch_up else watermark)
    store.close()
    if place.url is None:
        assert (done.backup.jobs, done.backup.schema) == (2, HEAD)
        assert done.kept is not None
        assert inspect(done.kept).jobs == 3
    else:
        assert done.backup.kind == "postgresql"
        assert done.kept is None


def test_a_backup_never_overwrites(sqlite_place: Place, tmp_path: Path) -> None:
    store = sqlite_place.open()
    (tmp_path / "copy").write_text("precious")
    with pytest.raises(Refused, match="exists already"):
        store.backup(tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"
    store.close()


def test_a_backup_that_cannot_be_written_leaves_nothing(
    sqlite_place: Place, tmp_path: Path
) -> None:
    store = sqlite_place.open()
    with pytest.raises(Stalled, match="cannot be written"):
        store.backup(tmp_path / "nowhere" / "copy")
    store.close()
    assert list(tmp_path.glob("**/*copy*")) == []


def test_a_store_in_use_is_not_replaced(sqlite_place: Place, tmp_path: Path) -> None:
    store = sqlite_place.open()
    store.backup(tmp_path / "copy")
    with pytest.raises(Refused, match="in use by"):
        restored(sqlite_place, tmp_path / "copy")
    store.close()


def test_a_missing_pg_dump_is_said(
    shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Place("postgresql", shared_url, tmp_path / "state", FixedClock()).open()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="pg_dump is not installed"):
        store.backup(tmp_path / "copy")
    store.close()


class Program:
    """Stands in for one of PostgreSQL's programs: notes what it is given, then does what it is
    told to instead, or is that program."""

    def __init__(self, folder: Path, name: str, instead: str = "") -> None:
        self._noted = folder / f"{name}.noted"
        real = shutil.which(name)
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(
            "#!/bin/sh\n"
            f'printf "%s\\n" "$@" "PGPASSWORD=$PGPASSWORD" >"{self._noted}"\n'
            f'{instead or f"exec {real}"} "$@"\n'
        )
        (folder / name).chmod(0o755)

    def noted(self) -> list[str]:
        """Its arguments, then the password in its environment."""
        return self._noted.read_text().splitlines()


PASSWORDS = [
    ("before the host", "postgresql://postgres:{}@/", "&"),
    ("among the options", "postgresql://postgres@/", "&password={}&"),
]


@pytest.mark.parametrize(
    ("begins", "options"), [row[1:] for row in PASSWORDS], ids=[row[0] for row in PASSWORDS]
)
def test_no_password_is_an_argument_that_every_user_of_the_machine_sees(
    postgresql_place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begins: str,
    options: str,
) -> None:
    needs_tools(postgresql_place)
    programs = [Program(tmp_path / "bin", name) for name in ("pg_dump", "pg_restore")]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert postgresql_place.url is not None
    database, _, host = postgresql_place.url.partition("@/")[2].partition("?")
    url = f"{begins}{database}?{options}{host}".format("s3cr%25et")
    place = replace(postgresql_place, url=url)
    migrate(place.settings, "up", None, NOW)
    place.open().close()
    back_up(place.settings, tmp_path / "copy", NOW)
    restored(place, tmp_path / "copy")
    for program in programs:
        *arguments, password = program.noted()
        assert password == "PGPASSWORD=s3cr%et"
        assert f"--dbname=postgresql://postgres@/{database}?{host.replace('/', '%2F')}" in arguments
        assert "s3cr" not in "".join(arguments)


def test_a_secret_that_could_only_be_an_argument_is_none(shared_url: str, tmp_path: Path) -> None:
    place = Place(
        "postgresql", f"{shared_url}&sslpassword=s3cret", tmp_path / "state", FixedClock()
    )
    needs_tools(place)
    store = place.open()
    with pytest.raises(Refused, match="sslpassword") as caught:
        store.backup(tmp_path / "copy")
    assert "s3cret" not in f"{caught.value.message}{caught.value.hint}"
    store.close()
    assert not list(tmp_path.glob("copy*"))


def test_a_dump_is_for_its_owner_only_and_is_whole_or_not_there(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_tools(place)
    store = place.open()
    store.backup(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    if place.url is not None:
        write_half = (
            'for given; do case "$given" in --file=*) echo half >"${given#*=}";; esac; done'
        )
        Program(tmp_path / "bin", "pg_dump", f"{write_half}; exit 1 #")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        with pytest.raises(Stalled, match="pg_dump failed"):
            store.backup(tmp_path / "second")
        assert not list(tmp_path.glob("second*"))
    store.close()


def test_where_no_store_is_a_backup_makes_nothing(sqlite_place: Place) -> None:
    with pytest.raises(NotFound, match="no store"):
        back_up(sqlite_place.settings, None, NOW)
    assert not sqlite_place.state_dir.exists()


def test_a_backup_without_a_name_lies_where_only_its_owner_looks(
    place: Place, tmp_path: Path
) -> None:
    needs_tools(place)
    place.open().close()
    shutil.rmtree(tmp_path / "state") if place.url is not None else None
    made = back_up(place.settings, None, NOW).path
    assert made.parent == place.state_dir / "backups"
    for folder in (made.parent, place.state_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def backup_of(place: Place, target: Path) -> Path:
    store = place.open()
    add(store, *(desired(f"job-{n}") for n in range(50)))
    store.backup(target)
    store.close()
    return target


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8192])


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    path.write_bytes(bytes(content))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (id INTEGER)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as later:
        later.execute("UPDATE alembic_version SET version_num = '0999'")
        later.execute("UPDATE store_meta SET program_version = '9.8.7'")


SPOILT = [
    ("cut off", truncated, "damaged"),
    ("overwritten in the middle", scribbled, "damaged"),
    ("empty", emptied, "no backup"),
    ("of another program", foreign, "no store"),
    ("of a later version", newer, "written by jobreconciler 9.8.7"),
]


@pytest.mark.parametrize(
    ("spoil", "reason"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT]
)
def test_a_backup_that_is_not_whole_is_refused_and_the_store_stays(
    sqlite_place: Place, tmp_path: Path, spoil: object, reason: str
) -> None:
    copy = backup_of(sqlite_place, tmp_path / "copy")
    spoil(copy)  # type: ignore[operator]
    with pytest.raises(Invalid, match=reason):
        restored(sqlite_place, copy)
    store = sqlite_place.open()
    assert len(store.index()) == 50
    store.close()


def test_a_backup_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        inspect(tmp_path / "copy")


def test_a_backup_of_one_database_is_not_restored_into_the_other(
    place: Place, tmp_path: Path
) -> None:
    place.open().close()
    copy = tmp_path / "copy"
    if place.url is None:
        copy.write_bytes(b"PGDMP and more that is not looked at")
    else:
        backup_of(Place("sqlite", None, tmp_path / "other", place.clock), copy)
    with pytest.raises(Refused, match="is a backup of"):
        restored(place, copy)
