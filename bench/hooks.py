"""From a signed webhook to the first act of the job it starts.

Sent to a real daemon at an even rate, each over a connection of its own. The time runs from just
before the client connects until the job's own code reads the same clock, which it returns as its
result; what the daemon says of itself is not asked.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from bench import fleet
from bench.fleet import Daemon

REQUESTS = 600
A_SECOND = 20
WARM_UP = 40
JOBS = 1_000
ENOUGH_SECONDS = 30
TARGET = 50
"""Milliseconds."""

SECRET = b"a secret of this measurement alone"
JOB = """\
meta:
  id: on-call
payload:
  jobType: python
  webhook: {scheme: hmac-sha256, secret: {file: on-call}}
  limits: {overlap: queue, maxConcurrent: 100}
  parameters: {entryPoint: bench.jobs:began}
"""


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        work = fleet.apart(Path(folder))
        secrets = work / "secrets"
        secrets.mkdir(0o700)
        (secrets / "on-call").write_bytes(SECRET)
        repo, state = fleet.make_repo(work / "fleet.git", _jobs()), work / "state"
        with fleet.daemon(repo, state, "--secrets-dir", str(secrets)) as running:
            _sent(running, WARM_UP, "warm-up")
            sent = _sent(running, REQUESTS, "measured")
            began = _beginnings(state, sent)
    took = [(began[id_] - at) / 1e6 for id_, (at, _) in sent.items()]
    answered = [(answer - at) / 1e6 for at, answer in sent.values()]
    p50, p99 = fleet.percentile(took, 0.5), fleet.percentile(took, 0.99)
    answer50, answer99 = (fleet.percentile(answered, share) for share in (0.5, 0.99))
    return [
        {
            "what": f"signed webhook sent → its job began, {REQUESTS} at {A_SECOND} a second",
            "ours": f"p50 {p50:.1f}, p99 {p99:.0f} ms",
            "floor_or_peer": f"p50 {answer50:.1f}, p99 {answer99:.0f} ms, its answer alone",
            "ratio": None,
            "target": f"p99 ≤ {TARGET} ms",
            "ok": p99 <= TARGET,
        }
    ]


def _jobs() -> Iterator[tuple[str, str]]:
    yield "jobs.d/on-call.yaml", JOB
    yield from fleet.quiet_jobs(JOBS)


def _sent(running: Daemon, count: int, name: str) -> dict[str, tuple[int, int]]:
    """When each was sent and answered, in nanoseconds, by its execution's id."""
    found = {}
    first = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, first + number / A_SECOND - time.monotonic()))
        body = json.dumps({"event": name, "number": number}).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Signature-256": hmac.new(SECRET, body, hashlib.sha256).hexdigest(),
            "X-Delivery-Id": f"{name}-{number}",
        }
        sent = time.time_ns()
        answer = _post(running, body, headers)
        found[answer] = (sent, time.time_ns())
    return found


def _post(running: Daemon, body: bytes, headers: Mapping[str, str]) -> str:
    """The id of the execution that it started."""
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)) as connection:
        connection.request("POST", "/hooks/jobs/on-call", body, dict(headers))
        answer = connection.getresponse()
        said = answer.read()
    assert answer.status == 202, (answer.status, said[:300])
    started: str = json.loads(said)["executionId"]
    return started


def _beginnings(state: Path, sent: Mapping[str, Any]) -> dict[str, int]:
    """When each job began, in nanoseconds, once all have ended."""
    query = "SELECT id, result FROM job_executions WHERE job_id = 'on-call' AND result IS NOT NULL"
    until = time.monotonic() + ENOUGH_SECONDS
    while True:
        with closing(sqlite3.connect(f"file:{state}/store.db?mode=ro", uri=True)) as reader:
            began = {id_: json.loads(result)["beganNs"] for id_, result in reader.execute(query)}
        if sent.keys() <= began.keys():
            return began
        assert time.monotonic() < until, f"{len(sent.keys() - began.keys())} have not run"
        time.sleep(0.1)
