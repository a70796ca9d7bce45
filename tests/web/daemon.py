"""A daemon's HTTP side over a real store: what runs behind it is left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI

from jobreconciler.errors import NotFound
from jobreconciler.execute.capture import Chunk, read_output, read_tail
from jobreconciler.model.change import AppliedChange, FieldChange, Provenance, ReconcileRecord
from jobreconciler.model.desired import Commit, DesiredJob
from jobreconciler.model.execution import Execution, Trigger
from jobreconciler.model.suspension import Suspension, SuspensionScope
from jobreconciler.model.views import Live, Printed
from jobreconciler.ports import Backfilled, ChangeSet, Clock, Executor
from jobreconciler.store.store import SqlStore
from samples import NOW, REVISION, SOURCE, config

OPERATOR = {"Authorization": "Bearer operator"}

COMMIT = Commit(
    REVISION, (), "Ada", "ada@example.org", "2026-03-14T10:00:00+01:00", "Ada", "ada@example.org",
    "2026-03-14T10:00:00+01:00", "Run it every hour (#12)",
)  # fmt: skip


class FixedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOW
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Spool:
    """What the routes ask an executor for: live reports, and where output lies."""

    directory: Path
    reports: dict[str, Live] = field(default_factory=dict)

    def live(self, execution_id: str) -> Live | None:
        return self.reports.get(execution_id)

    def output(self, execution_id: str, attempt: int) -> Path:
        return self.directory / execution_id / str(attempt) / "output"

    def read_output(
        self, execution_id: str, attempt: int, offset: int = 0, limit: int = 262_144
    ) -> Chunk:
        return read_output(self.output(execution_id, attempt), offset, limit)

    def tail(self, execution_id: str, attempt: int) -> Printed | None:
        data, at = read_tail(self.output(execution_id, attempt))
        return Printed(data, datetime.fromtimestamp(at, UTC)) if data else None

    def write(self, execution_id: str, attempt: int, content: bytes) -> Path:
        path = self.output(execution_id, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Daemon:
    """`ports.Service` over a real store."""

    def __init__(self, store: SqlStore, clock: FixedClock, spool: Spool) -> None:
        self.store = store
        self.clock: Clock = clock
        self.spool = spool
        self.executor = cast(Executor, spool)
        self.slots: dict[str, datetime] = {}
        self.readiness = (True, "ready")
        self.waiting: dict[str, str] = {}
        self.triggered = 0
        self.backfilled: tuple[Execution, ...] = ()
        self.hindrance: Exception | None = None
        self.before_trigger: Callable[[], Awaitable[None]] | None = None
        self.calls: list[tuple[str, ...]] = []

    def ready(self) -> tuple[bool, str]:
        return self.readiness

    def closing(self) -> bool:
        return False

    def next_slots(self, job_ids: Iterable[str]) -> dict[str, datetime]:
        return {job_id: self.slots[job_id] for job_id in job_ids if job_id in self.slots}

    def waits_for(self, execution_id: str) -> str | None:
        return self.waiting.get(execution_id)

    def all_next_slots(self) -> Mapping[str, datetime]:
        return self.slots

    async def trigger(
        self,
        job_id: str,
        *,
        actor: str,
        reason: str | None = None,
        dry_run: bool = False,
        parameters: Mapping[str, Any] | None = None,
        key: str | None = None,  # noqa: ARG002
        override: bool = False,  # noqa: ARG002
    ) -> Execution:
        if self.before_trigger is not None:
            await self.before_trigger()
        if self.hindrance is not None:
            raise self.hindrance
        job = await asyncio.to_thread(self.store.job, job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.")
        self.triggered += 1
        trigger = Trigger("manual", actor=actor, reason=reason, parameters=dict(parameters or {}))
        made = queued(job_id, 900 + self.triggered, trigger=trigger, dry_run=dry_run)
        await asyncio.wrap_future(self.store.release(made, job.config))
        return made

    async def backfill(
        self,
        job_id: str,  # noqa: ARG002
        first: datetime,  # noqa: ARG002
        last: datetime,  # noqa: ARG002
        *,
        actor: str,  # noqa: ARG002
        reason: str | None,  # noqa: ARG002
        limit: int | None,  # noqa: ARG002
    ) -> Backfilled:
        return Backfilled(self.backfilled, ())

    async def suspend(
        self,
        scope: SuspensionScope,
        target: str,
        *,
        actor: str,
        reason: str | None,
        until: datetime | None,
    ) -> Suspension:
        now = self.clock.now()
        return await asyncio.wrap_future(
            self.store.suspend(Suspension(scope, target, actor, now, reason, until))
        )

    async def lift(self, scope: SuspensionScope, target: str, *, actor: str) -> int:
        return await asyncio.wrap_future(self.store.lift(scope, target, actor, self.clock.now()))

    def confirm_clock(self, actor: str) -> bool:
        self.calls.append(("clock", actor))
        return False

    async def reconcile_now(self, actor: str) -> dict[str, Any]:
        self.calls.append(("reconcile", actor))
        return {"revision": REVISION, "result": "unchanged"}

    async def forget(self, actor: str, *, dry_run: bool) -> dict[str, Any]:
        self.calls.append(("forget", actor, str(dry_run)))
        return {"executions": 0, "dryRun": dry_run}

    async def approve_prune(self, revision: str, actor: str) -> None:
        await asyncio.wrap_future(self.store.approve(revision, actor, self.clock.now()))


def queued(job_id: str, number: int, **changes: Any) -> Execution:
    made: dict[str, Any] = {
        "id": f"0195a000-0000-7000-8000-{number:012d}",
        "job_id": job_id,
        "status": "queued",
        "trigger": Trigger("manual", actor="ada"),
        "queued_at": NOW + timedelta(seconds=number),
        "revision": REVISION,
        "generation": 1,
        "config_digest": digest_of(config(job_id)),
        **changes,
    }
    return Execution(**made)


def text_of(body: dict[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def digest_of(body: dict[str, Any]) -> str:
    return sha256(text_of(body).encode()).hexdigest()


def declare(store: SqlStore, *configs: dict[str, Any]) -> None:
    """Apply these configs as one commit, the way a reconcile does."""
    changes = []
    for body in configs:
        job_id = body["meta"]["id"]
        desired = DesiredJob(
            job_id=job_id,
            path=f"jobs.d/{job_id}.yaml",
            blob=sha256(job_id.encode()).hexdigest()[:40],
            defaults_blob="",
            config=text_of(body),
            digest=digest_of(body),
            job_type=body["payload"]["jobType"],
            environments=(),
            enabled=body["payload"]["isEnabled"],
        )
        changes.append(
            AppliedChange(
                job_id=job_id,
                action="created",
                file=desired.path,
                revision=REVISION,
                provenance=Provenance(REVISION, (COMMIT,), "#12"),
                fields=(FieldChange("meta.id", None, job_id),),
                desired=desired,
            )
        )
    record = ReconcileRecord(REVISION, NOW, NOW, "applied", "poll", {"create": len(changes)})
    store.apply(
        ChangeSet(source=SOURCE, changes=tuple(changes), record=record, applied_at=NOW)
    ).result(timeout=60)


class Client:
    """Asks the app, each time on a loop of its own."""

    def __init__(self, app: FastAPI, base: str = "http://127.0.0.1:8484") -> None:
        self.app = app
        self.base = base

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.send("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.send("POST", path, **more)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def exchange() -> httpx.Response:
            async with self.open() as client:
                return await client.request(method, path, **more)

        return asyncio.run(exchange())

    def open(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=self.base)
