"""The HTTP server around the application, and the socket it listens on."""

from __future__ import annotations

import asyncio
import socket
from contextlib import nullcontext, suppress
from typing import Any

import uvicorn

from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


def listen(settings: Settings) -> socket.socket:
    """The socket that the daemon answers on. Raises Refused where it cannot be had."""
    host, port = settings.listen_host, settings.listen_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Refused(
            f"cannot listen on {settings.listen}: {error.strerror}",
            hint="is another daemon running? Name another address with --listen",
        ) from None
    listening.setblocking(False)
    return listening


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the daemon decides when to stop.

    Wakes once a second, for the Date header, where uvicorn wakes ten times: that alone would be a
    quarter of what an idle daemon costs.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def capture_signals(self) -> Any:
        return nullcontext()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopped.wait()


def make_server(app: Any) -> Server:
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            ws="none",
            http="h11",
        )
    )
