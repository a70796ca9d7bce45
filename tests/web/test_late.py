"""The HTTP side while its real application is still being made."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from jobreconciler.web.late import Application, LateApplication


async def asked(application: Application, path: str) -> tuple[int, Any]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application({"type": "http", "method": "GET", "path": path}, None, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def real(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"from":"the real one"}'})


BEFORE = [
    ("it lives", "/healthz", (True, "ready"), 200, {"status": "ok"}),
    ("it is ready", "/readyz", (True, "ready"), 200, {"ready": True, "message": "ready"}),
    ("it starts", "/readyz", (False, "starting"), 503, {"ready": False, "message": "starting"}),
]


@pytest.mark.parametrize(
    ("path", "ready", "status", "body"), [row[1:] for row in BEFORE], ids=[row[0] for row in BEFORE]
)
def test_health_is_told_before_there_is_an_application(
    path: str, ready: tuple[bool, str], status: int, body: Any
) -> None:
    def never() -> Application:
        raise AssertionError("nobody asked for it")

    assert asyncio.run(asked(LateApplication(never, lambda: ready), path)) == (status, body)


def test_others_wait_for_the_application_which_is_made_once_and_answers_all_from_then_on() -> None:
    made = []
    go_on = threading.Event()

    def make() -> Application:
        made.append(go_on.wait(10))
        return real

    async def main() -> list[Any]:
        late = LateApplication(make, lambda: (True, "ready"))
        waiting = [asyncio.create_task(asked(late, "/api/v1/jobs")) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        assert (await asked(late, "/readyz"))[0] == 200
        go_on.set()
        return [*await asyncio.gather(*waiting), await asked(late, "/readyz")]

    assert asyncio.run(main()) == [(200, {"from": "the real one"})] * 4
    assert made == [True]


def test_what_could_not_be_made_is_tried_again() -> None:
    tries = iter([OSError("not now"), None])

    def make() -> Application:
        if (error := next(tries)) is not None:
            raise error
        return real

    async def main() -> None:
        late = LateApplication(make, lambda: (True, "ready"))
        with pytest.raises(OSError, match="not now"):
            await asked(late, "/")
        assert await asked(late, "/") == (200, {"from": "the real one"})

    asyncio.run(main())


def test_who_waits_for_the_application_when_the_server_ends_is_told_so() -> None:
    go_on = threading.Event()

    def make() -> Application:
        go_on.wait(10)
        return real

    async def main() -> tuple[int, Any]:
        late = LateApplication(make, lambda: (True, "ready"))
        waiting = asyncio.create_task(asked(late, "/api/v1/jobs"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        go_on.set()
        return await waiting

    status, problem = asyncio.run(main())
    assert (status, problem["status"], problem["reason"]) == (503, 503, "Closing")
