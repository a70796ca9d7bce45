"""A running daemon tells real receivers what became of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receivers import Receiver, http_receiver

from .running import Running, until

SECRET = "hunter2-hunter2"


class Telling(Running):
    """A daemon whose environment holds the channels' addresses."""

    def __init__(self, path: Path, **addresses: str) -> None:
        super().__init__(path)
        self.addresses = addresses

    def environment(self) -> dict[str, str]:
        return super().environment() | self.addresses | {"JOB_SECRET": SECRET}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as made:
        yield made


@pytest.fixture
def dead() -> Iterator[Receiver]:
    """Takes connections and never answers."""
    with http_receiver() as made:
        made.silent = True
        yield made


@pytest.fixture
def daemon(tmp_path: Path, receiver: Receiver, dead: Receiver) -> Iterator[Running]:
    made = Telling(tmp_path, OPS=receiver.url, DEAD=dead.url)
    yield made
    made.close()


def job(shell: str, notifications: str) -> str:
    return f"""\
meta: {{id: nightly}}
payload:
  jobType: command
  parameters:
    shell: |
      {shell}
    env: {{KEY: {{env: JOB_SECRET}}}}
  notifications:
    {notifications}
    channels:
      ops: {{type: webhook, url: {{env: OPS}}}}
      dead: {{type: webhook, url: {{env: DEAD}}}}
"""


def run(daemon: Running) -> None:
    status, _ = daemon.post("/api/v1/jobs/nightly/trigger")
    assert status == 202


def test_failures_and_the_recovery_are_told_with_masked_output(
    daemon: Running, receiver: Receiver, tmp_path: Path
) -> None:
    mark = tmp_path / "well"
    lists = "onFailure: [ops]\n    onRecovery: [ops]"
    shell = f'echo "the key is $KEY"; test -e {mark}'
    daemon.repo.write({"jobs.d/nightly.yaml": job(shell, lists)})
    daemon.repo.commit("jobs")
    daemon.start()
    run(daemon)
    post = until(lambda: receiver.got("failure"), "the failure")[0]
    assert post.json["log"] == "the key is ***"
    assert post.json["exitCode"] == 1
    assert post.json["author"]
    assert SECRET.encode() not in post.body
    run(daemon)
    until(lambda: len(daemon.executions("nightly")) == 2, "the second run")
    until(lambda: daemon.executions("nightly")[0]["status"] == "failed", "its failure")
    mark.touch()
    run(daemon)
    until(lambda: receiver.got("recovery"), "the recovery")
    run(daemon)
    until(
        lambda: [e["status"] for e in daemon.executions("nightly")][:2] == ["succeeded"] * 2,
        "another success",
    )
    daemon.stop()
    assert [p.json["event"] for p in receiver.posts] == ["failure", "recovery"]
    assert receiver.url not in daemon.said()
    stored = (daemon.state / "store.db").read_bytes()
    assert receiver.url.encode() not in stored
    assert SECRET.encode() not in stored


def test_a_job_that_has_not_succeeded_for_too_long_is_told_of(
    daemon: Running, receiver: Receiver
) -> None:
    text = job("true", "onMissed: [ops]") + "  expect: {successWithin: 2s}\n"
    daemon.repo.write({"jobs.d/nightly.yaml": text})
    daemon.repo.commit("jobs")
    daemon.start()
    (post,) = until(lambda: receiver.got("late"), "it to be late")
    assert post.json["title"] == "nightly is late"
    assert "executionId" not in post.json


def test_a_dead_channel_delays_neither_another_channel_nor_a_job(
    daemon: Running, receiver: Receiver, dead: Receiver
) -> None:
    daemon.repo.write({"jobs.d/nightly.yaml": job("true", "onSuccess: [dead, ops]")})
    daemon.repo.commit("jobs")
    daemon.start()
    for count in (1, 2, 3):
        run(daemon)
        until(lambda count=count: len(receiver.got("success")) == count, f"success {count}")
    assert dead.asked.is_set()
    assert not dead.posts


def test_what_was_not_delivered_before_a_kill_is_delivered_after_it(
    daemon: Running, dead: Receiver
) -> None:
    daemon.repo.write({"jobs.d/nightly.yaml": job("false", "onFailure: [dead]")})
    daemon.repo.commit("jobs")
    daemon.start()
    run(daemon)
    until(dead.asked.is_set, "the first try")
    daemon.kill()
    dead.silent = False
    daemon.start()
    (post,) = until(lambda: dead.got("failure"), "the failure")
    (failed,) = daemon.executions("nightly")
    assert post.json["executionId"] == failed["id"]
    figure = 'jobreconciler_notifications_total{channel_type="webhook",result="delivered"} 1.0'
    until(lambda: figure in daemon.get("/metrics", raw=True), "the figure")
