"""The daemon's end of the supervisor server, with a server of the test's own."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from execute.arena import within
from jobreconciler.execute import frames
from jobreconciler.execute.connection import ServerConnection
from jobreconciler.execute.request import Sent

PLAIN = Sent(b"{}", python=False, light=False, has_secrets=False)


def test_why_a_launch_that_was_given_back_finds_no_other_process_is_told() -> None:
    async def main() -> list[tuple[Any, dict[str, Any]]]:
        ends: list[tuple[Any, dict[str, Any]]] = []
        ours, theirs = socket.socketpair()
        with theirs:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: ServerConnection(
                    lambda *_: None, lambda *end: ends.append(end), lambda _: None
                ),
                sock=ours,
            )
            launching = asyncio.create_task(connection.launch_all([(PLAIN, "the run")]))
            await asyncio.to_thread(theirs.recv, 1 << 16)
            theirs.send(frames.pack(0, {"pid": 7, "started": 8, "launches": [1]}))
            assert await launching == [None]
            theirs.send(frames.pack(1, {"error": "Resource temporarily unavailable"}))
            while not ends:
                await asyncio.sleep(0.01)
            await connection.close()
        return ends

    assert within(main()) == [
        (
            "the run",
            {"error": "no process could be started: Resource temporarily unavailable"},
        )
    ]
