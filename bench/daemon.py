"""The daemon with 10,000 scheduled jobs: starting again, doing nothing, answering, being on time.

Everything is asked of a real `jobreconciler run` from outside: over HTTP, from /proc and from the
store it writes. A slot's lateness is what its run's `started` in the log says minus the slot.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import fleet
from bench.fleet import Daemon

JOBS = 10_000
RESTARTS = 5
IDLE_SECONDS = 30
ASKS = 20
DUE = 600
WINDOW_SECONDS = 6
WINDOWS = 5
PAUSE_SECONDS = 3

READY_TARGET = 1.5
IDLE_TARGET = 0.5
MEMORY_TARGET = 150
METRICS_TARGET = 300
STATUS_TARGET = 50
DELAY_TARGET = 25
"""Milliseconds that questions may add to lateness: two runs differ by as much anyway."""


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        repo = fleet.make_repo(work / "quiet.git", fleet.quiet_jobs(JOBS))
        state = work / "quiet"
        _apply(repo, state, work)
        rows = [_restart(repo, state)]
        with fleet.daemon(repo, state) as running:
            rows += _idle(running)
            rows += _answers(running)
        busy = fleet.make_repo(work / "busy.git", _due_every_second())
        rows += _lateness(busy, work)
    return rows


def _apply(repo: Path, state: Path, work: Path) -> None:
    fleet.run(fleet.program("apply", "--repo", str(repo), "--state-dir", str(state)), work)


# ------------------------------------------------------------------------------------ starting up


def _restart(repo: Path, state: Path) -> dict[str, Any]:
    times, costs = [], []
    for _ in range(RESTARTS):
        running = Daemon(repo, state)
        try:
            times.append(running.wait_until_ready())
            costs.append(sum(running.cpu().values()))
        finally:
            running.stop()
    modules = [_imports(state.parent) for _ in range(3)]
    mine, floor = statistics.median(times), statistics.median(modules)
    return {
        "what": f"restart to ready, {JOBS:,} scheduled jobs, median of {RESTARTS}",
        "ours": f"{mine:.2f} s (CPU {statistics.median(costs):.2f})",
        "floor_or_peer": f"{floor:.2f} s, importing FastAPI, SQLAlchemy, pydantic …",
        "ratio": f"{mine / floor:.1f} ×",
        "target": f"≤ {READY_TARGET} s",
        "ok": mine <= READY_TARGET,
    }


def _imports(work: Path) -> float:
    """Seconds that the libraries alone take to be there."""
    modules = "fastapi, uvicorn, sqlalchemy, pydantic, structlog, prometheus_client, yaml, typer"
    return fleet.run((fleet.program()[0], "-c", f"import {modules}"), work)[0].wall


# ------------------------------------------------------------------------------------ being idle


def _idle(running: Daemon) -> list[dict[str, Any]]:
    time.sleep(PAUSE_SECONDS)
    before = running.cpu()
    time.sleep(IDLE_SECONDS)
    after = running.cpu()
    used = sum(cpu - before.get(pid, 0.0) for pid, cpu in after.items())
    share, resident = 100 * used / IDLE_SECONDS, running.resident()
    return [
        {
            "what": f"idle with {JOBS:,} jobs for {IDLE_SECONDS} s, with its children",
            "ours": f"{share:.2f} % of a core",
            "floor_or_peer": f"{len(after)} processes",
            "ratio": None,
            "target": f"≤ {IDLE_TARGET} %",
            "ok": share <= IDLE_TARGET,
        },
        {
            "what": f"memory of the daemon with {JOBS:,} jobs",
            "ours": f"{resident:.0f} MB",
            "floor_or_peer": None,
            "ratio": None,
            "target": f"≤ {MEMORY_TARGET} MB",
            "ok": resident <= MEMORY_TARGET,
        },
    ]


# ------------------------------------------------------------------------------------- answering


def _answers(running: Daemon) -> list[dict[str, Any]]:
    first, _ = _asked(running, "/metrics")
    rows = []
    for path, target in (("/metrics", METRICS_TARGET), ("/api/v1/status", STATUS_TARGET)):
        asked = [_asked(running, path) for _ in range(ASKS)]
        times, size = [took for took, _ in asked], asked[-1][1]
        p50, p99 = fleet.percentile(times, 0.5), fleet.percentile(times, 0.99)
        cold = f", the first {first:.0f}" if path == "/metrics" else ""
        rows.append(
            {
                "what": f"GET {path}, {JOBS:,} jobs ({size / 1024:,.0f} KiB)",
                "ours": f"p50 {p50:.0f}, p99 {p99:.0f} ms{cold}",
                "floor_or_peer": None,
                "ratio": None,
                "target": f"≤ {target} ms",
                "ok": p99 <= target and (path != "/metrics" or first <= target),
            }
        )
    return rows


def _asked(running: Daemon, path: str) -> tuple[float, int]:
    """Milliseconds to the last byte over a new connection, and how many bytes came."""
    began = time.perf_counter()
    status, body = running.get(path)
    assert status == 200, (path, status, body[:200])
    return (time.perf_counter() - began) * 1000, len(body)


# ------------------------------------------------------------------------------------ being on time


def _due_every_second() -> Iterator[tuple[str, str]]:
    """JOBS jobs, DUE of which are due once a minute, ten a second."""
    for number, (path, text) in enumerate(fleet.quiet_jobs(JOBS)):
        if number < DUE:
            cron = f"{number % 60} * * * * *"
            text = fleet.job_text(number, cron=cron, zone="UTC", jitter=0)
        yield path, text


def _lateness(repo: Path, work: Path) -> list[dict[str, Any]]:
    state = work / "busy"
    _apply(repo, state, work)
    with fleet.daemon(repo, state) as running:
        time.sleep(PAUSE_SECONDS)
        alone, asked = list[float](), list[float]()
        for _ in range(WINDOWS):
            alone += _late(running, WINDOW_SECONDS)
            with asking(running, ("/metrics", "/api/v1/status")) as failures:
                asked += _late(running, WINDOW_SECONDS)
            assert not failures, failures[:3]
    alone99, asked99 = fleet.percentile(alone, 0.99), fleet.percentile(asked, 0.99)
    return [
        {
            "what": f"lateness of {len(asked)} slots, 10 a second, both asked every second",
            "ours": f"p50 {fleet.percentile(asked, 0.5):.0f}, p99 {asked99:.0f} ms",
            "floor_or_peer": f"p50 {fleet.percentile(alone, 0.5):.0f}, p99 {alone99:.0f} ms, "
            "nobody asking",
            "ratio": f"{asked99 / alone99:.2f} ×",
            "target": f"p99 + {DELAY_TARGET} ms at most",
            "ok": asked99 <= alone99 + DELAY_TARGET,
        }
    ]


def _late(running: Daemon, seconds: float) -> list[float]:
    """Milliseconds from each slot of this window to the log's word that its process has started.

    The row says when it was to start: it is claimed before.
    """
    began = int(time.time()) + 2
    time.sleep(began - time.time() + seconds)
    window = (began * 1_000_000, (began + int(seconds)) * 1_000_000)
    with closing(sqlite3.connect(f"file:{running.state}/store.db?mode=ro", uri=True)) as reader:
        query = "SELECT id, slot FROM job_executions WHERE slot >= ? AND slot < ?"
        slots: dict[str, int] = dict(reader.execute(query, window).fetchall())
    said = (json.loads(line) for line in running.log.read_text().splitlines() if line[:1] == "{")
    started = {
        line["execution"]: datetime.fromisoformat(line["timestamp"]).timestamp()
        for line in said
        if line["event"] == "started"
    }
    late = [started[id_] * 1000 - slot / 1000 for id_, slot in slots.items() if id_ in started]
    expected = DUE // 60 * int(seconds)
    assert len(late) == expected, f"{len(late)} of {expected} slots were started"
    return late


@contextmanager
def asking(running: Daemon, paths: tuple[str, ...]) -> Iterator[list[str]]:
    """Each of these asked once a second, each by a thread of its own; what failed is yielded."""
    stop, failures = threading.Event(), list[str]()

    def ask(path: str) -> None:
        while not stop.wait(1.0):
            try:
                status, _ = running.get(path)
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{path}: {error}")
            else:
                if status != 200:
                    failures.append(f"{path}: {status}")

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()
