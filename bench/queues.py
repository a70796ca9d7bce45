"""The peers of bench/burst.py: as many no-op tasks as ours, taken from a queue or a job store.

Each runs in a process of its own. A task writes down the instant it ran, by an atomic append, and
nothing else; a queue's tasks are there before its workers start, and its time runs from the first
task to the last, so that no start-up counts. A peer whose packages or server are missing is absent.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import fleet

ENOUGH_SECONDS = 120
MARK = 20
"""Bytes of one instant in nanoseconds, with its line end."""

TASK = f"""
import os, sys, time
marks = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
count = int(os.environ["BENCH_COUNT"])
def mark():
    os.write(marks, b"%019d\\n" % time.time_ns())
def wait():
    until = time.monotonic() + {ENOUGH_SECONDS}
    while os.fstat(marks).st_size < {MARK} * count and time.monotonic() < until:
        time.sleep(0.01)
"""

HUEY = f"""{TASK}
from huey import SqliteHuey
huey = SqliteHuey(filename=sys.argv[1])
nothing = huey.task()(mark)
for _ in range(count):
    nothing()
consumer = huey.create_consumer(
    worker_type=sys.argv[2], workers=int(sys.argv[3]), periodic=False, initial_delay=0.01
)
consumer.start()
wait()
consumer.stop()
os._exit(0)
"""

APSCHEDULER = f"""{TASK}
from datetime import datetime, timedelta, timezone
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
scheduler = BackgroundScheduler(
    jobstores={{"default": SQLAlchemyJobStore(url=sys.argv[1])}},
    executors={{"default": ThreadPoolExecutor(int(sys.argv[2]))}},
    job_defaults={{"misfire_grace_time": 3600}},
    timezone="UTC",
)
scheduler.start(paused=True)
for ahead in (4, 8, 16, 32):
    at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=ahead)
    due = dict(hour=at.hour, minute=at.minute, second=at.second)
    for n in range(count):
        scheduler.add_job(mark, CronTrigger(timezone="UTC", **due), id=f"job-{{n}}")
    if datetime.now(timezone.utc) < at:
        break
    scheduler.remove_all_jobs()
scheduler.resume()
wait()
print(int(at.timestamp()) * 10**9, flush=True)
os._exit(0)
"""

CELERY = f"""{TASK}
from celery import Celery
app = Celery("burst_celery", broker=os.environ["BENCH_BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64)
nothing = app.task(name="nothing")(mark)
"""

PROCRASTINATE = f"""{TASK}
import asyncio
from procrastinate import App, PsycopgConnector
app = App(connector=PsycopgConnector(conninfo=sys.argv[1]))
@app.task(name="nothing")
async def nothing():
    mark()
async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await nothing.batch_defer_async(*({{}} for _ in range(count)))
        await app.run_worker_async(concurrency=int(sys.argv[2]), wait=False)
asyncio.run(main())
"""

HUEY_WORKERS = (("thread", 2), ("thread", 4), ("process", 2))
APSCHEDULER_THREADS = (20,)
CELERY_POOLS = (("prefork", 2), ("solo", 1))
PROCRASTINATE_TASKS = (10, 30)


@dataclass(frozen=True)
class Burst:
    """How one way of working went: `seconds` for all, and how late each was, in seconds."""

    how: str
    seconds: float
    late: tuple[float, ...]


@dataclass(frozen=True)
class Peer:
    """`records` says what is left of a run afterwards; `round()` measures each way of working
    once, or says why it cannot."""

    name: str
    records: str
    round: Callable[[], list[Burst] | str]


@contextmanager
def peers(work: Path, count: int) -> Iterator[Sequence[Peer]]:
    """All of them, with the servers that they need running beside."""
    with fleet.redis_server(work) as broker, _postgresql() as cluster:
        yield (
            Peer("Huey, SQLite, enqueued", "nothing", lambda: _huey(work, count)),
            Peer(
                "APScheduler 3, SQLite job store",
                "the next run's time",
                lambda: _apscheduler(work, count),
            ),
            Peer("Celery, Redis, enqueued", "nothing", lambda: _celery(work, count, broker)),
            Peer(
                "Procrastinate, PostgreSQL (no fsync), enqueued",
                "each job's states",
                lambda: _procrastinate(work, count, cluster),
            ),
        )


# ------------------------------------------------------------------------------------- each of them


def _huey(work: Path, count: int) -> list[Burst] | str:
    if absent := missing("huey"):
        return absent

    def once(kind: str, workers: int) -> Burst:
        path = work / "huey.db"
        for left in work.glob("huey.db*"):
            left.unlink()
        _, times = _run(work, count, HUEY, str(path), kind, str(workers))
        return _from_first(f"{workers} {kind}", times)

    return [once(*workers) for workers in HUEY_WORKERS]


def _apscheduler(work: Path, count: int) -> list[Burst] | str:
    if absent := missing("apscheduler"):
        return absent

    def once(threads: int) -> Burst:
        path = work / "apscheduler.db"
        path.unlink(missing_ok=True)
        said, times = _run(work, count, APSCHEDULER, f"sqlite:///{path}", str(threads))
        due = int(said.splitlines()[-1])
        return _since(f"{threads} threads", due, times)

    return [once(threads) for threads in APSCHEDULER_THREADS]


def _celery(work: Path, count: int, broker: str | None) -> list[Burst] | str:
    if absent := missing("celery", "redis"):
        return absent
    if broker is None:
        return "no redis-server on PATH"
    (work / "burst_celery.py").write_text(CELERY)

    def once(pool: str, workers: int) -> Burst:
        import redis

        with redis.Redis.from_url(broker) as connection:
            connection.flushall()
        marks = work / "marks"
        marks.unlink(missing_ok=True)
        environment = {**_environment(work, marks, count), "BENCH_BROKER": broker}
        enqueue = "import burst_celery as b; [b.nothing.delay() for _ in range(b.count)]"
        subprocess.run((sys.executable, "-c", enqueue), cwd=work, env=environment, check=True)
        worker = (
            *(sys.executable, "-m", "celery", "-A", "burst_celery", "worker", "-P", pool),
            *("-c", str(workers), "-l", "error"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        )
        with subprocess.Popen(
            worker,
            cwd=work,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as child:
            try:
                times = _read(marks, count)
            finally:
                child.terminate()
        return _from_first(f"{workers} {pool}", times)

    return [once(*pool) for pool in CELERY_POOLS]


def _procrastinate(work: Path, count: int, cluster: Any) -> list[Burst] | str:
    if absent := missing("procrastinate", "psycopg"):
        return absent
    if isinstance(cluster, str):
        return cluster

    def once(at_once: int) -> Burst:
        _, times = _run(work, count, PROCRASTINATE, cluster.create(), str(at_once))
        return _from_first(f"{at_once} at once", times)

    return [once(at_once) for at_once in PROCRASTINATE_TASKS]


# ----------------------------------------------------------------------------------------- servers


@contextmanager
def _postgresql() -> Iterator[Any]:
    """The tests' throw-away server, or why there is none."""
    if absent := missing("psycopg", "pytest"):
        yield absent
        return
    from tests import postgres

    if (why := postgres.missing()) is not None:
        yield why
        return
    with postgres.cluster() as running:
        yield running


# ------------------------------------------------------------------------------------------ timing


def missing(*modules: str) -> str:
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def _environment(work: Path, marks: Path, count: int) -> Mapping[str, str]:
    told = {"BENCH_MARKS": str(marks), "BENCH_COUNT": str(count)}
    return {**fleet.environment(work), "PYTHONPATH": str(work), **told}


def _run(work: Path, count: int, code: str, *args: str) -> tuple[str, list[int]]:
    """What it printed, and when each task ran."""
    marks = work / "marks"
    marks.unlink(missing_ok=True)
    done = subprocess.run(
        (sys.executable, "-c", code, *args),
        cwd=work,
        env=_environment(work, marks, count),
        capture_output=True,
        text=True,
        timeout=2 * ENOUGH_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout, _read(marks, count)


def _read(marks: Path, count: int) -> list[int]:
    """The instants of all tasks in nanoseconds, in order, waiting for the last."""
    until = time.monotonic() + ENOUGH_SECONDS
    while not marks.exists() or marks.stat().st_size < MARK * count:
        if time.monotonic() > until:
            raise RuntimeError(f"fewer than {count} tasks ran in {ENOUGH_SECONDS} s")
        time.sleep(0.02)
    return sorted(map(int, marks.read_bytes().split()))


def _from_first(how: str, times: Sequence[int]) -> Burst:
    return _since(how, times[0], times)


def _since(how: str, began: int, times: Sequence[int]) -> Burst:
    late = tuple((at - began) / 1e9 for at in times)
    return Burst(how, late[-1], late)
