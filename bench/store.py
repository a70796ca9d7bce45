"""The store beside the bare driver: first apply, run lifecycles, and the reads of a large fleet.

The floor of a write is the bytes of the same rows through sqlite3 with the same durability; the
floor of a read is the same columns fetched by sqlite3, and nothing made of them.
"""

from __future__ import annotations

import gc
import hashlib
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobreconciler.clock import SystemClock
from jobreconciler.model.change import AppliedChange, FieldChange, Provenance
from jobreconciler.model.desired import Commit, DesiredJob
from jobreconciler.model.execution import Attempt, Execution, Outcome, Trigger
from jobreconciler.model.views import SourceState
from jobreconciler.ports import ChangeSet, Ending
from jobreconciler.store.opening import open_store
from jobreconciler.store.store import SqlStore

JOBS = 10_000
MANY = 100_000
RUNS = 8_000
AT = datetime(2026, 1, 1, tzinfo=UTC)
REVISION = "c" * 40
COMMIT = Commit(
    REVISION, (), "A", "a@example.org", AT.isoformat(), "A", "a@example.org", AT.isoformat(), "Add"
)
SOURCE = SourceState(REVISION, REVISION, None, "1", REVISION)


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        return [_first_apply(work), *_small_fleet(work), _large_index(work)]


def _first_apply(work: Path) -> dict[str, Any]:
    change_set = _change_set(JOBS)
    ours, floors = [], []
    for round_ in range(5):
        with closing(_open(work / f"apply-{round_}")) as store:
            ours.append(_seconds(lambda store=store: store.apply(change_set).result()))
        floors.append(_bare_insert(work / f"bare-{round_}.db", change_set))
    mine, floor = statistics.median(ours), statistics.median(floors)
    return {
        "what": f"first apply of {JOBS:,} jobs, changelog and blobs",
        "ours": f"{mine * 1000:.0f} ms",
        "floor_or_peer": f"{floor * 1000:.0f} ms, the same rows by bare executemany",
        "ratio": f"{mine / floor:.1f} ×",
        "target": None,
        "ok": None,
    }


def _bare_insert(path: Path, change_set: ChangeSet) -> float:
    digests = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(JOBS)]
    jobs = [
        (c.job_id, c.file, c.desired.config, "x" * 300) for c in change_set.changes if c.desired
    ]
    log = [(n, c.job_id, "x" * 700, digests[n]) for n, c in enumerate(change_set.changes)]
    with closing(sqlite3.connect(path, isolation_level=None)) as bare:
        bare.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE j(id TEXT PRIMARY KEY, path TEXT, config TEXT, rest TEXT);"
            "CREATE TABLE l(n INTEGER PRIMARY KEY, id TEXT, row TEXT, hash TEXT);"
            "CREATE TABLE b(blob TEXT PRIMARY KEY, text BLOB);"
        )

        def write() -> None:
            bare.execute("BEGIN")
            bare.executemany("INSERT INTO j VALUES (?, ?, ?, ?)", jobs)
            bare.executemany("INSERT INTO l VALUES (?, ?, ?, ?)", log)
            bare.executemany("INSERT INTO b VALUES (?, ?)", change_set.blobs.items())
            bare.execute("COMMIT")

        return _seconds(write)


def _small_fleet(work: Path) -> list[dict[str, Any]]:
    with closing(_open(work / "small")) as store:
        store.apply(_change_set(JOBS)).result()
        _lifecycles(store, 500, "w")
        mine = statistics.median(_lifecycles(store, RUNS, f"r{n}") for n in range(3))
        floor = _bare_lifecycles(work / "bare")
        stats = _median(store.stats)
        drift = _median(store.drifted)
        page = _median(lambda: store.executions(limit=50))
        fetched = _bare_fetch(
            work / "small" / "store.db", "SELECT job_id, path, revision FROM job_configs"
        )
    again = statistics.median(_reopen(work / "small") for _ in range(5))
    return [
        {
            "what": "run lifecycles a second (release, start, finish)",
            "ours": f"{mine:,.0f}",
            "floor_or_peer": f"{floor:,.0f}, the same statements by sqlite3 alone",
            "ratio": f"{mine / floor:.2f} ×",
            "target": None,
            "ok": None,
        },
        _read_row(f"figures of {JOBS:,} jobs for /metrics", stats, fetched, "3 columns", None),
        _read_row(f"drift check of {JOBS:,} jobs", drift, fetched, "3 columns", None),
        _read_row("newest 50 executions", page, fetched, f"3 columns of {JOBS:,} jobs", 10),
        _read_row(f"open a store of {JOBS:,} jobs again", again, fetched, "3 columns", 20),
    ]


def _large_index(work: Path) -> dict[str, Any]:
    with closing(_open(work / "large")) as store:
        for start in range(0, MANY, JOBS):
            store.apply(_change_set(JOBS, start)).result()
        gc.collect()
        gc.disable()
        try:
            mine = _median(store.index)
            floor = _bare_fetch(
                work / "large" / "store.db",
                "SELECT job_id, path, blob, defaults_blob, digest, enabled, depends_on, deleted_at "
                "FROM job_configs",
            )
        finally:
            gc.enable()
    return _read_row(f"index of {MANY:,} jobs (collection off)", mine, floor, "8 columns", 500)


def _lifecycles(store: SqlStore, count: int, prefix: str) -> float:
    """Executions a second, each released, started and finished, all at once."""
    config = json.loads(_job(0).config)
    executions = [
        Execution(
            id=f"{prefix}{n:08}",
            job_id=f"job-{n % JOBS:06}",
            status="queued",
            trigger=Trigger("manual", actor="bench"),
            queued_at=AT + timedelta(seconds=n),
            revision=REVISION,
            generation=1,
            config_digest="d" * 64,
        )
        for n in range(count)
    ]
    attempt = Attempt(1, AT)
    outcome = Outcome("succeeded", AT, exit_code=0)
    began = time.perf_counter()
    last: Future[list[bool]] | None = None
    for execution in executions:
        store.release(execution, config)
        store.start_attempts([(execution.id, attempt)])
        last = store.finish_all([Ending(execution.id, 1, outcome)])
    assert last is not None and all(last.result())
    return count / (time.perf_counter() - began)


_BARE_LIFE = (
    "INSERT INTO job_executions (id, job_id, status, trigger_type, trigger, revision, generation, "
    "config_digest, queued_at, attempt, dry_run) "
    "VALUES (?1, ?2, 'queued', 'manual', '{}', 'r', 1, 'd', ?3, 0, 0)",
    "UPDATE job_states SET last_execution_id = ?1 WHERE job_id = ?2 AND ?3 = ?3",
    "UPDATE job_executions SET status = 'running', started_at = ?3, attempt = 1 "
    "WHERE id = ?1 AND status = 'queued' AND ?2 = ?2",
    "INSERT INTO execution_attempts (execution_id, number, started_at) "
    "SELECT ?1, 1, ?3 WHERE ?2 = ?2",
    "UPDATE job_executions SET status = 'succeeded', finished_at = ?3, exit_code = 0 "
    "WHERE id = ?1 AND status = 'running' AND ?2 = ?2",
    "UPDATE execution_attempts SET finished_at = ?3, exit_code = 0 "
    "WHERE execution_id = ?1 AND number = 1 AND ?2 = ?2",
    "UPDATE job_states SET last_status = 'succeeded', last_run_at = ?3, consecutive_failures = 0 "
    "WHERE job_id = ?2 AND ?1 = ?1",
)


def _bare_lifecycles(folder: Path, count: int = RUNS) -> float:
    """The same statements on the same tables by sqlite3 alone, a commit for every 170 runs."""
    with closing(_open(folder)) as store:
        store.apply(_change_set(JOBS)).result()
    rows = [(f"b{n:08}", f"job-{n % JOBS:06}", n) for n in range(count)]
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as bare:
        bare.execute("PRAGMA synchronous = FULL")
        bare.execute("PRAGMA foreign_keys = ON")

        def write() -> None:
            for start in range(0, count, 170):
                bare.execute("BEGIN IMMEDIATE")
                for row in rows[start : start + 170]:
                    for sql in _BARE_LIFE:
                        bare.execute(sql, row)
                bare.execute("COMMIT")

        return count / _seconds(write)


def _bare_fetch(path: Path, sql: str) -> float:
    with closing(sqlite3.connect(path)) as bare:
        return _median(lambda: bare.execute(sql).fetchall())


def _reopen(folder: Path) -> float:
    began = time.perf_counter()
    with closing(_open(folder)):
        return time.perf_counter() - began


def _open(folder: Path) -> SqlStore:
    return open_store(None, folder, SystemClock(), instance="bench")


def _change_set(count: int, start: int = 0) -> ChangeSet:
    provenance = Provenance(REVISION, (COMMIT,))
    jobs = [_job(start + n) for n in range(count)]
    changes = tuple(
        AppliedChange(
            job.job_id,
            "created",
            job.path,
            REVISION,
            provenance,
            (FieldChange("meta", None, {"id": job.job_id}),),
            job,
        )
        for job in jobs
    )
    blobs = {job.blob: job.config[:700].encode() for job in jobs}
    return ChangeSet(SOURCE, changes, blobs=blobs, problems_complete=True, applied_at=AT)


def _job(n: int) -> DesiredJob:
    job_id = f"job-{n:06}"
    schedule = {"cronExpression": "*/5 * * * *", "timezone": "Europe/Berlin", "isEnabled": True}
    payload = {
        "jobType": "command",
        "isEnabled": True,
        "schedule": {**schedule, "catchUp": "latest", "jitterSeconds": 0},
        "parameters": {"argv": ["true", "x" * 800]},
    }
    meta = {"id": job_id, "title": f"Job {n}", "owner": "team-a", "tags": ["batch"]}
    config = json.dumps({"meta": meta, "payload": payload}, separators=(",", ":"), sort_keys=True)
    blob = hashlib.sha1(config.encode()).hexdigest()
    digest = hashlib.sha256(config.encode()).hexdigest()
    path = f"jobs.d/team-{n % 50}/{job_id}.yaml"
    return DesiredJob(job_id, path, blob, "", config, digest, "command", (), True)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _median(work: Callable[[], Any], rounds: int = 5) -> float:
    work()
    return statistics.median(_seconds(work) for _ in range(rounds))


def _read_row(
    what: str, mine: float, floor: float, fetched: str, target: int | None
) -> dict[str, Any]:
    return {
        "what": what,
        "ours": f"{mine * 1000:.1f} ms",
        "floor_or_peer": f"{floor * 1000:.1f} ms, sqlite3 fetching {fetched}",
        "ratio": f"{mine / floor:.1f} ×",
        "target": f"≤ {target} ms" if target is not None else None,
        "ok": mine * 1000 <= target if target is not None else None,
    }
