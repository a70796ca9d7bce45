from __future__ import annotations

import asyncio

import pytest

from jobreconciler.model.execution import Outcome
from jobreconciler.ports import Ending
from jobreconciler.store.store import SqlStore
from jobreconciler.web.routes import executions
from samples import NOW, config

from .daemon import Client, Daemon, declare
from .test_reading import run, start


@pytest.fixture
def finished(store: SqlStore, daemon: Daemon) -> str:
    declare(store, config("nightly"))
    execution_id = run(store, "nightly", 1)
    daemon.spool.write(execution_id, 1, b"one\ntwo\n\xff\n")
    return execution_id


def test_output_is_sent_as_it_was_written(client: Client, finished: str) -> None:
    answer = client.get(f"/api/v1/executions/{finished}/logs")
    assert answer.content == b"one\ntwo\n\xff\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-next-offset"] == "10"
    assert answer.headers["x-execution-status"] == "succeeded"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("offset", "rest"), [(0, b"one\ntwo\n\xff\n"), (4, b"two\n\xff\n"), (10, b""), (99, b"")]
)
def test_reading_goes_on_where_it_ended(
    client: Client, finished: str, offset: int, rest: bytes
) -> None:
    answer = client.get(f"/api/v1/executions/{finished}/logs?offset={offset}")
    assert answer.content == rest
    assert int(answer.headers["x-next-offset"]) == offset + len(rest)


def test_long_output_comes_in_pieces(
    client: Client, daemon: Daemon, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "PIECE", 7)
    whole = bytes(range(256))
    daemon.spool.write(finished, 1, whole)
    got, offset = b"", 0
    while piece := client.get(f"/api/v1/executions/{finished}/logs?offset={offset}"):
        if not piece.content:
            break
        assert len(piece.content) <= 7
        got += piece.content
        offset = int(piece.headers["x-next-offset"])
    assert got == whole


def test_an_attempt_that_wrote_nothing_is_empty(client: Client, store: SqlStore) -> None:
    declare(store, config("nightly"))
    execution_id = run(store, "nightly", 1, "failed", error="no such program")
    answer = client.get(f"/api/v1/executions/{execution_id}/logs")
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_attempt_that_was_not_made_is_not_found(client: Client, finished: str) -> None:
    answer = client.get(f"/api/v1/executions/{finished}/logs?attempt=2")
    assert answer.status_code == 404
    assert "has no attempt 2" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["..%2f..%2ftoken", "..", "a%00b", "a%2fb"])
def test_no_path_leads_out_of_the_spool(client: Client, name: str) -> None:
    assert client.get(f"/api/v1/executions/{name}/logs").status_code in (404, 422)


def test_followed_output_ends_with_the_execution(
    client: Client, daemon: Daemon, store: SqlStore
) -> None:
    declare(store, config("nightly"))
    execution_id = start(store, "nightly", 1)
    path = daemon.spool.write(execution_id, 1, b"first\n")

    async def write_and_finish() -> None:
        await asyncio.sleep(0.3)
        with path.open("ab") as output:
            output.write(b"second\n")
        ended = store.finish_all([Ending(execution_id, 1, Outcome("succeeded", NOW))])
        await asyncio.wrap_future(ended)

    async def follow() -> bytes:
        async with client.open() as http:
            writing = asyncio.create_task(write_and_finish())
            answer = await asyncio.wait_for(
                http.get(f"/api/v1/executions/{execution_id}/logs?follow=1"), 60
            )
            await writing
            return answer.content

    assert asyncio.run(follow()) == b"first\nsecond\n"
