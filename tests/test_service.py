"""What is asked of a daemon while it starts and while it ends."""

from __future__ import annotations

import asyncio
import hmac
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.running import free_port
from gitrepo import GitRepo
from jobreconciler import daemon as daemon_module
from jobreconciler.app import reconcile_once
from jobreconciler.daemon import Daemon
from jobreconciler.errors import Stalled, Transient
from jobreconciler.observe.metrics import Metrics
from jobreconciler.settings import Settings
from loops.world import job_file

SECRET = "one that only this test knows"
BODY = b'{"from": "somebody"}'
SIGNED = {"x-signature-256": hmac.new(SECRET.encode(), BODY, "sha256").hexdigest()}
HANG = 30.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a daemon that has applied the job `a`, which a webhook may start, and is not running."""
    hooked = job_file("a", webhook="{secret: {file: hook}, scheme: hmac-sha256}")
    repo = GitRepo(tmp_path / "repo").write({"jobs.d/a.yaml": hooked})
    repo.commit("Add a")
    made = Settings(
        repo=str(repo.path), state_dir=tmp_path / "state", listen=f"127.0.0.1:{free_port()}"
    )
    reconcile_once(made, Metrics("0"))
    made.secrets_path.mkdir(mode=0o700)
    (made.secrets_path / "hook").write_text(SECRET)
    return made


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Daemon]:
    """A daemon that was made and not started."""
    daemon = Daemon(settings)
    try:
        yield daemon
    finally:
        daemon.service.close()
        for task in daemon._tasks:
            task.cancel()
        await asyncio.gather(*daemon._tasks, return_exceptions=True)
        await daemon._adapters.executor.close(drain=False)
        await asyncio.to_thread(daemon.store.close)
        await asyncio.to_thread(daemon._adapters.source.close)


async def _asked(request: Awaitable[Any]) -> asyncio.Task[Any]:
    """The request, when it has been answered or has got as far as it gets."""
    task = asyncio.ensure_future(request)
    await asyncio.wait({task}, timeout=0.3)
    return task


def _suspend(settings: Settings) -> None:
    async def main() -> None:
        async with opened(settings) as daemon:
            await daemon._take_over()
            await daemon.service.suspend("job", "a", actor="ada", reason=None, until=None)

    asyncio.run(main())


def test_a_suspension_holds_for_who_asks_before_the_daemon_has_read_it(settings: Settings) -> None:
    _suspend(settings)

    async def main() -> None:
        async with opened(settings) as daemon:
            by_hand = await _asked(daemon.service.trigger("a", actor="ada"))
            by_hook = await _asked(daemon.service.webhook("a", SIGNED, BODY))
            await daemon._take_over()
            with pytest.raises(Stalled, match="suspended"):
                await by_hand
            execution = daemon.store.execution((await by_hook).execution_id)
            assert execution is not None and execution.status == "skipped"

    asyncio.run(main())


def test_what_is_asked_for_before_the_daemon_took_over_is_in_the_line_once(
    settings: Settings,
) -> None:
    async def main() -> None:
        async with opened(settings) as daemon:
            asked = await _asked(daemon.service.trigger("a", actor="ada"))
            await daemon._take_over()
            await asked
            assert daemon.loops.worker._flight.waiting("a") == 1

    asyncio.run(main())


REQUESTS: list[tuple[str, Callable[[Daemon], Awaitable[Any]]]] = [
    ("a trigger", lambda daemon: daemon.service.trigger("a", actor="ada")),
    ("a webhook", lambda daemon: daemon.service.webhook("a", SIGNED, BODY)),
    ("a reconcile", lambda daemon: daemon.service.reconcile_now("ada")),
]


@pytest.mark.parametrize("ask", [row[1] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
@pytest.mark.parametrize("before", [True, False], ids=["asked before it ends", "asked after"])
def test_what_a_daemon_never_came_to_is_refused_when_it_ends(
    settings: Settings, ask: Callable[[Daemon], Awaitable[Any]], before: bool
) -> None:
    async def main() -> None:
        async with opened(settings) as daemon:
            if before:
                asked = await _asked(ask(daemon))
                daemon.service.close()
            else:
                daemon.service.close()
                asked = await _asked(ask(daemon))
            with pytest.raises(Transient) as refused:
                await asyncio.wait_for(asked, HANG)
            assert refused.value.reason == "Closing"
            assert daemon.store.executions().items == ()

    asyncio.run(main())


def test_who_waits_for_a_daemon_that_cannot_start_is_told_so(settings: Settings) -> None:
    """Over HTTP: a problem document before the connection ends, and no traceback."""

    async def main() -> httpx.Response:
        daemon = Daemon(settings)
        waited = asyncio.Event()
        serving = asyncio.create_task(_serve_in_vain(daemon, waited))
        token = settings.operator_token_file
        async with httpx.AsyncClient(base_url=f"http://{settings.listen}", timeout=HANG) as http:
            while not token.exists():
                await asyncio.sleep(0.01)
            assert (await http.get("/api/v1/jobs")).status_code == 200, "reading waits for nothing"
            headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
            request = http.post("/api/v1/jobs/a/trigger", json={}, headers=headers)
            asked = await _asked(request)
            assert not asked.done()
            waited.set()
            answer = await asked
        with pytest.raises(Stalled, match="no such table"):
            await serving
        return answer

    answer = asyncio.run(main())
    assert (answer.status_code, answer.json()["reason"]) == (503, "Closing")


def test_a_daemon_that_waits_for_its_repository_ends_when_told_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "FIRST_RECONCILE_SECONDS", 3600.0)

    async def main(silent: int) -> None:
        remote = f"git://127.0.0.1:{silent}/repo.git"
        daemon = Daemon(settings.model_copy(update={"repo": remote}))
        serving = asyncio.create_task(daemon.serve())
        while not daemon.loops.reconciling._served:
            await asyncio.sleep(0.01)
        daemon.stopping.set()
        await asyncio.wait_for(serving, HANG)

    with socket.create_server(("127.0.0.1", 0)) as server:
        asyncio.run(main(server.getsockname()[1]))


async def _serve_in_vain(daemon: Daemon, waited: asyncio.Event) -> None:
    """Serve, with a table gone when what an earlier daemon left is to be read."""
    resume = daemon.loops.worker.resume

    async def late() -> None:
        await waited.wait()
        with sqlite3.connect(daemon.settings.database_path) as connection:
            connection.execute("ALTER TABLE job_executions RENAME TO gone")
        connection.close()
        await resume()

    daemon.loops.worker.resume = late  # type: ignore[method-assign]
    await daemon.serve()
