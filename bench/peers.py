"""Registering 1,000 jobs with schedulers that keep them in a store, the first time and again.

Each peer runs in a process of its own and times the registering alone: its imports and its
server's start are not counted. Ours is timed the same way, from open to applied. A peer that is
not installed is said to be absent. Prefect takes minutes: `python -m bench --prefect peers`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import fleet

JOBS = 1_000
ROUNDS = 2
PREFECT_JOBS = 100
PREFECT_SECONDS = 900

OURS = """
import json, sys, time
from pathlib import Path
import alembic.command, git, sqlalchemy.dialects.sqlite
import jobreconciler.source.git, jobreconciler.store.opening
from jobreconciler.app import reconcile_once
from jobreconciler.observe.logging import configure
from jobreconciler.observe.metrics import Metrics
from jobreconciler.settings import Settings
configure("json", "error")
settings = Settings(repo=sys.argv[1], state_dir=Path(sys.argv[2]))
seconds = []
for round in range(2):
    metrics = Metrics("bench")
    began = time.perf_counter()
    done = reconcile_once(settings, metrics)
    seconds.append(time.perf_counter() - began)
    assert done.error is None and done.summary["create"] == (0 if round else int(sys.argv[3]))
print(json.dumps(seconds))
"""

APSCHEDULER = """
import json, sys, time
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
seconds = []
for round in range(2):
    scheduler = BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(url=sys.argv[1])})
    scheduler.start(paused=True)
    began = time.perf_counter()
    for n in range(int(sys.argv[2])):
        trigger = CronTrigger.from_crontab(f"{n % 60} {n % 24} * * *", timezone="UTC")
        scheduler.add_job("os:getpid", trigger, id=f"job-{n}", replace_existing=True)
    seconds.append(time.perf_counter() - began)
    scheduler.shutdown()
print(json.dumps(seconds))
"""

REDBEAT = """
import json, sys, time
from celery import Celery
from celery.schedules import crontab
from redbeat import RedBeatSchedulerEntry
app = Celery("bench", broker=sys.argv[1])
app.conf.redbeat_redis_url = sys.argv[1]
seconds = []
for round in range(2):
    began = time.perf_counter()
    for n in range(int(sys.argv[2])):
        schedule = crontab(minute=str(n % 60), hour=str(n % 24))
        RedBeatSchedulerEntry(f"job-{n}", "bench.nothing", schedule, app=app).save()
    seconds.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""

PREFECT = """
import json, sys, time
from prefect import flow
from prefect.deployments.runner import deploy
from prefect.schedules import Cron
@flow
def nothing():
    pass
seconds = []
for round in range(2):
    began = time.perf_counter()
    deploy(
        *(
            nothing.from_source(".", entrypoint="flows.py:nothing").to_deployment(
                f"job-{n}", schedule=Cron(f"{n % 60} {n % 24} * * *")
            )
            for n in range(int(sys.argv[1]))
        ),
        work_pool_name="bench", build=False, push=False, print_next_steps=False,
    )
    seconds.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ours = _ours(work)
        rows = [
            _row("APScheduler 3, SQLite store", ours, _apscheduler(work)),
            _row("celery-redbeat, local Redis", ours, _redbeat(work)),
        ]
        if os.environ.get("BENCH_PREFECT"):
            rows.append(_row(f"Prefect ({PREFECT_JOBS} jobs)", ours, _prefect(work)))
    return rows


def _row(peer: str, ours: Sequence[float], theirs: Sequence[float] | str) -> dict[str, Any]:
    row = {
        "what": f"register {JOBS:,} jobs, and again: {peer}",
        "ours": f"{ours[0]:.2f} s, again {ours[1]:.3f}",
        "target": None,
        "ok": None,
    }
    if isinstance(theirs, str):
        return {**row, "floor_or_peer": f"absent: {theirs}", "ratio": None}
    return {
        **row,
        "floor_or_peer": f"{theirs[0]:.2f} s, again {theirs[1]:.3f}",
        "ratio": f"{ours[0] / theirs[0]:.2f}, {ours[1] / theirs[1]:.2f} ×",
    }


def _ours(work: Path) -> list[float]:
    repo = fleet.make_repo(work / "ours.git", fleet.quiet_jobs(JOBS))

    def once() -> list[float]:
        shutil.rmtree(work / "ours", ignore_errors=True)
        return _timed(OURS, work, str(repo), str(work / "ours"), str(JOBS))

    return _best(once() for _ in range(ROUNDS))


def _apscheduler(work: Path) -> list[float] | str:
    if missing := _missing("apscheduler"):
        return missing

    def once() -> list[float]:
        (work / "aps.db").unlink(missing_ok=True)
        return _timed(APSCHEDULER, work, f"sqlite:///{work}/aps.db", str(JOBS))

    return _best(once() for _ in range(ROUNDS))


def _redbeat(work: Path) -> list[float] | str:
    if missing := _missing("celery", "redbeat"):
        return missing
    with fleet.redis_server(work) as url:
        if url is None:
            return "no redis-server on PATH"
        return _best(_redbeat_once(work, url) for _ in range(ROUNDS))


def _redbeat_once(work: Path, url: str) -> list[float]:
    import redis

    with redis.Redis.from_url(url) as connection:
        connection.flushall()
    return _timed(REDBEAT, work, url, str(JOBS))


def _prefect(work: Path) -> list[float] | str:
    if missing := _missing("prefect"):
        return missing
    home = work / "prefect"
    home.mkdir()
    (home / "flows.py").write_text("from prefect import flow\n@flow\ndef nothing():\n    pass\n")
    port = fleet.free_port()
    environment = {
        **fleet.environment(home),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "DO_NOT_TRACK": "1",
    }
    prefect = (sys.executable, "-m", "prefect")
    server = subprocess.Popen(
        (*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        fleet.wait_for_port(port, 120)
        pool = (*prefect, "work-pool", "create", "--type", "process", "bench")
        subprocess.run(pool, cwd=home, env=environment, check=True, capture_output=True)
        done = subprocess.run(
            (sys.executable, "-c", PREFECT, str(PREFECT_JOBS)),
            cwd=home,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=PREFECT_SECONDS,
        )
        found: list[float] = json.loads(done.stdout.splitlines()[-1])
        return found
    except (subprocess.SubprocessError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    finally:
        server.terminate()
        server.wait()


def _missing(*modules: str) -> str:
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def _timed(code: str, work: Path, *args: str) -> list[float]:
    _, said = fleet.run((sys.executable, "-c", code, *args), work)
    found: list[float] = json.loads(said.splitlines()[-1])
    return found


def _best(rounds: Iterator[list[float]]) -> list[float]:
    """The quickest of each, since what else runs on the machine only ever adds."""
    return [min(times) for times in zip(*rounds, strict=True)]
