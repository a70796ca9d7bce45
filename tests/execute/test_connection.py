"""The daemon's end of the supervisor server, with a server of the test's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from execute.arena import within
from jobreconciler.execute import frames
from jobreconciler.execute.connection import ServerConnection
from jobreconciler.execute.request import Sent

PLAIN = Sent(b"{}", python=False, light=False, has_secrets=False)


@asynccontextmanager
async def connected(
    on_end: Callable[[Any, dict[str, Any]], None],
) -> AsyncIterator[tuple[ServerConnection, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: ServerConnection(lambda *_: None, on_end, lambda _: None), sock=ours
        )
        yield connection, theirs
        await connection.close()


def test_a_launch_that_is_too_large_keeps_none_from_being_made_that_is_asked_for_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobreconciler.execute.frames.LARGEST", 100)

    async def main() -> list[Exception | None]:
        async with connected(lambda *_: None) as (connection, theirs):
            large = PLAIN._replace(body=b" " * 101)
            asked = [(PLAIN, 1), (large, 2), (PLAIN, 3)]
            launching = asyncio.create_task(connection.launch_all(asked))
            await asyncio.to_thread(theirs.recv, 1 << 16)
            theirs.send(frames.pack(0, {"pid": 7, "started": 8, "launches": [1, 3]}))
            return await launching

    first, second, third = within(main())
    assert (first, third) == (None, None)
    assert isinstance(second, frames.TooLarge)


def test_why_a_launch_that_was_given_back_finds_no_other_process_is_told() -> None:
    async def main() -> list[tuple[Any, dict[str, Any]]]:
        ends: list[tuple[Any, dict[str, Any]]] = []
        async with connected(lambda *end: ends.append(end)) as (connection, theirs):
            launching = asyncio.create_task(connection.launch_all([(PLAIN, "the run")]))
            await asyncio.to_thread(theirs.recv, 1 << 16)
            theirs.send(frames.pack(0, {"pid": 7, "started": 8, "launches": [1]}))
            assert await launching == [None]
            theirs.send(frames.pack(1, {"error": "Resource temporarily unavailable"}))
            while not ends:
                await asyncio.sleep(0.01)
        return ends

    assert within(main()) == [
        (
            "the run",
            {"error": "no process could be started: Resource temporarily unavailable"},
        )
    ]
