"""kill -9 of the daemon around what it tells people: each is told of each change, by one id.

A short version runs with the other tests; `make soak` runs all of it several times (SOAK_ROUNDS=N).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.running import until
from receivers import Receiver, http_receiver

from .killing import KilledAt, died

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "0"))
COMMITS = ("finish_all", "tell", "calm", "notice_delivered", "notice_failed")
ALL = tuple(f"{when} {commit}" for commit in COMMITS for when in ("before", "after"))
SHORT = (
    "after finish_all",
    "before notice_delivered",
    "after notice_delivered",
    "after tell",
    "after calm",
)
PLAN = ALL * ROUNDS or SHORT

FLIP = """\
meta: {{id: flip}}
payload:
  jobType: command
  schedule: {{cronExpression: "* * * * * *", catchUp: latest, isEnabled: {on}}}
  limits: {{overlap: queue}}
  parameters:
    shell: |
      echo >> {marks}/runs; exit $(($(wc -l < {marks}/runs) % 2))
  notifications:
    onFailure: [ops, dead]
    onRecovery: [ops]
    channels: {channels}
"""
NEVER = """\
meta: {{id: {name}}}
payload:
  jobType: command
  parameters: {{argv: ["true"]}}
  {expect}
  notifications: {{onMissed: [ops], channels: {channels}}}
"""
CHANNELS = "{ops: {type: webhook, url: {env: OPS}}, dead: {type: webhook, url: {env: DEAD}}}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as made:
        yield made


@pytest.fixture
def daemon(tmp_path: Path, receiver: Receiver) -> Iterator[KilledAt]:
    made = KilledAt(tmp_path, OPS=receiver.url, DEAD="http://127.0.0.1:9/")
    yield made
    made.close()


class Jobs:
    """`flip` fails every other time; of the others each is expected to succeed and never runs."""

    def __init__(self, daemon: KilledAt) -> None:
        self._daemon = daemon
        self.late = 0

    def flip(self, *, on: bool) -> str:
        """The revision."""
        flag = str(on).lower()
        text = FLIP.format(on=flag, marks=self._daemon.path, channels=CHANNELS)
        return self._daemon.repo.write({"jobs.d/flip.yaml": text}).commit(f"flip: {flag}")

    def another_that_is_late(self) -> None:
        self.late += 1
        self._expect("expect: {successWithin: 1s}")

    def late_no_more(self) -> None:
        self._expect("")

    def _expect(self, expect: str) -> None:
        name = f"never-{self.late}"
        text = NEVER.format(name=name, expect=expect, channels=CHANNELS)
        self._daemon.repo.write({f"jobs.d/{name}.yaml": text}).commit(f"{name}: {expect}")


def test_a_kill_at_any_of_its_boundaries_leaves_nobody_untold(
    daemon: KilledAt, receiver: Receiver
) -> None:
    jobs = Jobs(daemon)
    jobs.flip(on=True)
    for before, name in pairwise(("start", *PLAN)):
        if name == "before tell" or (name == "after tell" and before != "before tell"):
            jobs.another_that_is_late()
        if name.endswith(" calm"):
            jobs.late_no_more()
        daemon.boundary = (name, 1)
        daemon.start(ready=False)
        died(daemon, name)
    daemon.boundary = None
    daemon.start()
    last = jobs.flip(on=False)
    until(lambda: at_rest(daemon, last), "all to end and to be told")
    assert daemon.stop() == 0

    failures, recoveries = turns(daemon)
    assert failures
    assert recoveries
    assert told(receiver, "failure") == failures
    assert told(receiver, "recovery") == recoveries
    late = {post.headers["x-jobreconciler-id"]: post.json for post in receiver.got("late")}
    assert len(late) == jobs.late
    assert {post["jobId"] for post in late.values()} == {
        f"never-{number + 1}" for number in range(jobs.late)
    }


def at_rest(daemon: KilledAt, revision: str) -> bool:
    fleet = daemon.get("/api/v1/status?limit=1")["state"]["fleet"]
    waiting = daemon.get("/api/v1/executions?status=queued&status=running")["executions"]
    if fleet["source"]["revision"] != revision or waiting:
        return False
    with closing(sqlite3.connect(daemon.state / "store.db")) as connection:
        query = "SELECT count(*) FROM outbox WHERE channel LIKE 'ops/%' AND delivered_at IS NULL"
        return bool(connection.execute(query).fetchone()[0] == 0)


def turns(daemon: KilledAt) -> tuple[list[str], list[str]]:
    """The runs of `flip` that failed after one that did not, and the other way round."""
    with closing(sqlite3.connect(daemon.state / "store.db")) as connection:
        rows = connection.execute(
            "SELECT id, status FROM job_executions WHERE job_id = 'flip' "
            "AND status IN ('failed', 'succeeded') ORDER BY finished_at"
        ).fetchall()
    failures, recoveries = list[str](), list[str]()
    before = "succeeded"
    for execution, status in rows:
        if status != before:
            (failures if status == "failed" else recoveries).append(execution)
        before = status
    return sorted(failures), sorted(recoveries)


def told(receiver: Receiver, event: str) -> list[str]:
    """The executions of all messages about it; a repeat by the same id counts once."""
    posts = {post.headers["x-jobreconciler-id"]: post.json for post in receiver.got(event)}
    return sorted(post["executionId"] for post in posts.values())
