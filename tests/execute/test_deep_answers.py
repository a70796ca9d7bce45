"""The daemon's end of the socket, with the test as the server at the other end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from execute.arena import within
from jobreconciler.execute import frames
from jobreconciler.execute.connection import ServerConnection
from jobreconciler.execute.request import Sent


def test_an_end_that_is_deeper_than_the_quick_reader_goes_is_read_all_the_same() -> None:
    ends: list[tuple[str, Mapping[str, Any]]] = []
    deep = b'{"a":' * 250 + b"1" + b"}" * 250

    async def both_ends() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: ServerConnection(
                lambda *_: None, lambda run, result: ends.append((run, result)), lambda _: None
            ),
            sock=ours,
        )
        with theirs:
            starting = asyncio.create_task(
                connection.launch_all([(Sent(b"{}", False, False, False), "the run")])
            )
            await loop.run_in_executor(None, theirs.recv, 4096)
            theirs.sendall(frames.pack(0, {"pid": 7, "started": 8, "launches": [1]}))
            assert await starting == [None]
            theirs.sendall(frames.pack_body(1, b'{"end":' + deep + b"}"))
            while not ends and not connection.gone:
                await asyncio.sleep(0.01)
            await connection.close()

    within(both_ends())
    ((run, result),) = ends
    assert run == "the run"
    assert [*result] == ["a"]
