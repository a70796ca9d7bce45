"""The HTTP side before it is there: importing FastAPI takes as long as all else of a start.

Answers by itself whether the daemon lives and is ready, as routes/health.py does; whoever asks for
anything else waits until the real application has been made. Must not import FastAPI.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""ASGI's: it is given a scope, receives and sends."""


_CLOSING = {
    "type": "about:blank",
    "title": "Service Unavailable",
    "status": 503,
    "detail": "The daemon ends, and had not come to this request.",
    "reason": "Closing",
    "hint": "Ask again once it runs.",
}


class LateApplication:
    """An ASGI application. `make` makes the real one, in a thread; `ready` is ports.Service's."""

    def __init__(self, make: Callable[[], Application], ready: Callable[[], tuple[bool, str]]):
        self._make = make
        self._ready = ready
        self._made: Application | None = None
        self._making = asyncio.Lock()

    async def load(self) -> Application:
        """The real one, made now if it is not there. Raises what `make` raises."""
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        return self._made

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._made is None and scope["type"] == "http" and scope["method"] == "GET":
            if scope["path"] == "/healthz":
                await _answer(send, 200, {"status": "ok"})
                return
            if scope["path"] == "/readyz":
                ready, message = self._ready()
                await _answer(send, 200 if ready else 503, {"ready": ready, "message": message})
                return
        try:
            application = self._made or await self.load()
        except asyncio.CancelledError:  # the server ends, and gives up who still waits
            await _answer(send, 503, _CLOSING, b"application/problem+json")
            return
        await application(scope, receive, send)


async def _answer(
    send: Any, status: int, content: Mapping[str, Any], media_type: bytes = b"application/json"
) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
