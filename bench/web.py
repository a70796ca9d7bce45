"""The HTTP side with 10,000 jobs: scrapes, the status page, and what they cost the event loop.

A real server on loopback, asked by another process. A scrape's peer is prometheus-client writing
as many samples in one go, which is what its own endpoint does. Lateness is how much later than
due a 1 ms timer of the server's loop fires; what the machine itself adds is shown beside it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bench.store import AT, JOBS, _change_set, _lifecycles, _open
from jobreconciler.clock import SystemClock
from jobreconciler.observe.metrics import Metrics
from jobreconciler.store.store import SqlStore
from jobreconciler.web.app import create_app
from jobreconciler.web.auth import Access

ROUNDS = 9

CLIENT = """
import json, sys, time
from http.client import HTTPConnection
port, path, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
times, size = [], 0
for _ in range(rounds):
    connection = HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    times.append(time.perf_counter() - began)
    size = body.count(b"\\n")
    assert answer.status == 200, body[:200]
    connection.close()
print(json.dumps({"times": times, "lines": size}))
"""


class Idle:
    """No execution runs; nothing has output."""

    def live(self, _execution_id: str) -> None:
        return None


@dataclass
class Fleet:
    """As much of a daemon as the measured routes ask for, over a real store."""

    store: SqlStore
    slots: Mapping[str, datetime]
    clock = SystemClock()
    executor = Idle()

    def ready(self) -> tuple[bool, str]:
        return True, ""

    def next_slots(self, job_ids: Iterable[str]) -> dict[str, datetime]:
        return {job_id: self.slots[job_id] for job_id in job_ids}

    def all_next_slots(self) -> Mapping[str, datetime]:
        return self.slots


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, closing(_open(Path(folder))) as store:
        store.apply(_change_set(JOBS)).result()
        _lifecycles(store, JOBS, "w")
        return asyncio.run(_measure(store))


async def _measure(store: SqlStore) -> list[dict[str, Any]]:
    slots = {f"job-{n:06}": AT + timedelta(days=36_500, seconds=n) for n in range(JOBS)}
    metrics = Metrics("bench")
    app = create_app(Fleet(store, slots), metrics, Access(store, loopback=True))  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    for path in ("/metrics", "/api/v1/status"):
        await _ask(port, path, 2)
    gc.collect()
    gc.freeze()
    try:
        return await _rows(port, metrics)
    finally:
        gc.unfreeze()
        server.should_exit = True
        await serving


async def _rows(port: int, metrics: Metrics) -> list[dict[str, Any]]:
    idle = await _worst_lateness(asyncio.sleep(0.3))
    fresh, lateness, samples = [], [], 0
    for _ in range(ROUNDS):
        metrics.jobs_changed()
        scrape = asyncio.create_task(_ask(port, "/metrics", 1))
        lateness.append(await _worst_lateness(scrape))
        times, samples = scrape.result()
        fresh += times
    cached, _ = await _ask(port, "/metrics", ROUNDS)
    page, _ = await _ask(port, "/api/v1/status", ROUNDS)
    alive, _ = await _ask(port, "/healthz", ROUNDS)
    peer = _prometheus_client(samples)
    in_one_go = f"{peer * 1000:.0f} ms, prometheus-client, {samples:,} samples"
    late = statistics.median(lateness)
    still = f" (idle {idle * 1000:.1f} ms)"
    scraped = statistics.median(fresh), statistics.median(cached)
    shown, live = statistics.median(page), statistics.median(alive)
    return [
        _row(f"/metrics of {JOBS:,} jobs, after a change", scraped[0], peer, in_one_go, 300),
        _row(f"/metrics of {JOBS:,} jobs, unchanged", scraped[1], peer, in_one_go, 300),
        _row("the loop's worst lateness in a scrape", late, peer, f"{in_one_go}{still}", None),
        _row(f"first page of /api/v1/status, {JOBS:,} jobs", shown, live, _healthz(live), 50),
    ]


def _healthz(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms, /healthz"


async def _ask(port: int, path: str, rounds: int) -> tuple[list[float], int]:
    """Seconds of each request, to the last byte; lines of the answer."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(port), path, str(rounds),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"asking for {path} failed")
    found = json.loads(out)
    return found["times"], found["lines"]


async def _worst_lateness(work: Any) -> float:
    task = asyncio.ensure_future(work)
    worst = 0.0
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began - 0.001)
    await task
    return worst


def _prometheus_client(samples: int) -> float:
    """Seconds for the same number of samples, in eight families as ours are."""
    registry = CollectorRegistry()
    for family in range(8):
        gauge = Gauge(f"peer_{family}_seconds", "Some figure.", ["job"], registry=registry)
        for n in range(samples // 8):
            gauge.labels(f"job-{n:06}").set(1.7e9 + n)
    return statistics.median(_timed(registry) for _ in range(5))


def _timed(registry: CollectorRegistry) -> float:
    began = time.perf_counter()
    generate_latest(registry)
    return time.perf_counter() - began


def _row(what: str, ours: float, peer: float, peer_text: str, target: int | None) -> dict[str, Any]:
    return {
        "what": what,
        "ours": f"{ours * 1000:.1f} ms",
        "floor_or_peer": peer_text,
        "ratio": f"{ours / peer:.2f} ×",
        "target": f"≤ {target} ms" if target is not None else None,
        "ok": ours * 1000 <= target if target is not None else None,
    }
