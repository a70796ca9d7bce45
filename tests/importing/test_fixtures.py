"""Whole files as people have them: every job they give is valid, and nothing of them is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from importing.reading import FIXTURES, checked, findings, texts, timer_file
from jobreconciler.importing.cronjob import read_cronjobs
from jobreconciler.importing.crontab import read_crontab
from jobreconciler.importing.report import Imported


def _crontab(path: Path) -> Imported:
    return read_crontab(str(path), path.read_bytes())


def _cronjob(path: Path) -> Imported:
    return read_cronjobs(str(path), path.read_bytes())


ALL: list[tuple[str, Callable[[Path], Imported], list[str]]] = [
    ("etc/crontab", _crontab, ["cron-hourly", "cron-daily", "cron-weekly", "cron-monthly"]),
    ("etc/cron.d/shop", _crontab,
     ["digest", "artisan", "reindex", "warm-cache", "mail", "poll", "nightly", "digest-2"]),
    ("crontabs/alice", _crontab,
     ["backup", "http-server", "curl", "echo", "date", "job", "cat", "never"]),
    ("cronjobs/report.yaml", _cronjob, ["report-daily", "cleanup", "test-cleanup"]),
    ("cronjobs/list.json", _cronjob, ["hello", "every"]),
    ("systemd/backup.timer", timer_file, ["backup", "backup-2"]),
    ("systemd/mail@daily.timer", timer_file, ["mail-daily"]),
    ("systemd/interval.timer", timer_file, ["interval"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "read", "ids"), ALL, ids=[row[0] for row in ALL])
def test_every_imported_file_is_valid(
    name: str, read: Callable[[Path], Imported], ids: list[str]
) -> None:
    assert list(checked(read(FIXTURES / name))) == ids


@pytest.mark.parametrize(("name", "read", "_ids"), ALL, ids=[row[0] for row in ALL])
def test_importing_twice_gives_the_same_files(
    name: str, read: Callable[[Path], Imported], _ids: list[str]
) -> None:
    assert texts(read(FIXTURES / name)) == texts(read(FIXTURES / name))


@pytest.mark.parametrize(("name", "read", "_ids"), ALL, ids=[row[0] for row in ALL])
def test_what_concerns_a_job_stands_in_its_file_too(
    name: str, read: Callable[[Path], Imported], _ids: list[str]
) -> None:
    imported = read(FIXTURES / name)
    files = texts(imported)
    comments = {
        job_id: " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
        for job_id, text in files.items()
    }
    of_jobs = [(one, job_id) for one in findings(imported) for job_id in one.job_ids]
    for one, job_id in of_jobs:
        assert " ".join(one.what.split()) in comments[job_id]
        assert one.why in comments[job_id]
    assert of_jobs


@pytest.mark.parametrize(("name", "read", "_ids"), ALL, ids=[row[0] for row in ALL])
def test_no_secret_is_written_or_shown(
    name: str, read: Callable[[Path], Imported], _ids: list[str]
) -> None:
    imported = read(FIXTURES / name)
    shown = "".join([*texts(imported).values(), *map(str, findings(imported))])
    for secret in ("correct-horse", "battery@", "API_TOKEN=abc"):
        assert secret not in shown


def test_all_of_one_import_have_ids_of_their_own() -> None:
    together = Imported()
    for name, read, _ in ALL:
        together.add(read(FIXTURES / name))
    ids = list(checked(together))
    assert len(ids) == len(set(ids)) == sum(len(row[2]) for row in ALL)
    assert {"backup", "backup-2", "backup-2-2"} <= set(ids)
