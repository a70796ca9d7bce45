"""The two supervisor servers of one executor: each is started when something first needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jobreconciler.execute.connection import ServerConnection, connect
from jobreconciler.ports import JobTypes


class Servers:
    """One for programs and a warm one for Python jobs. See ServerConnection for the callbacks."""

    def __init__(
        self,
        state_dir: Path,
        job_types: JobTypes,
        on_held: Callable[[Any, int, int], None],
        on_end: Callable[[Any, dict[str, Any]], None],
        on_gone: Callable[[Iterable[Any]], None],
    ) -> None:
        self._state_dir = state_dir
        self._job_types = job_types
        self._callbacks = on_held, on_end, on_gone
        self._connecting = asyncio.Lock()
        self._running: dict[bool, ServerConnection] = {}

    async def connected(self, *, python: bool) -> ServerConnection:
        """The server for programs or the warm one, started where it does not run."""
        async with self._connecting:
            server = self._running.get(python)
            if server is not None and server.gone:
                del self._running[python]
                await server.close()
                server = None
            if server is None:
                self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                preload = self._modules() if python else None
                server = await connect(self._state_dir, preload, *self._callbacks)
                self._running[python] = server
            return server

    def _modules(self) -> list[str]:
        """Where the job types are that run in Python."""
        names = self._job_types.names()
        return sorted({type(self._job_types.get(name)).__module__ for name in names})

    async def close(self) -> None:
        for server in self._running.values():
            await server.close()
