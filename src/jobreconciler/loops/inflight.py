"""What this daemon answers for right now: executions that wait, run, or pause between attempts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobreconciler.core.admission import Waiting, WaitingLine
from jobreconciler.model.execution import Execution


@dataclass(slots=True)
class Held:
    """One execution, the config it is pinned to, and how far it has got.

    `attempts` counts those begun; `due_at` is when its slot was to start, for the lateness;
    `stopped_for` is why somebody stops it.
    """

    execution: Execution
    config: dict[str, Any]
    due_at: datetime | None = None
    attempts: int = 0
    started_at: datetime | None = None
    pause: asyncio.TimerHandle | None = None
    stopped_for: str | None = None

    @property
    def job_id(self) -> str:
        return self.execution.job_id

    @property
    def backfills(self) -> bool:
        return self.execution.trigger.type == "backfill"


class InFlight:
    """Used on the event loop only. `active` counts towards a job's limit: running or pausing."""

    def __init__(self) -> None:
        self.line = WaitingLine()
        self.running: dict[str, Held] = {}
        self._known: dict[str, Held] = {}
        self._active: dict[str, int] = {}
        self._backfills: Counter[str] = Counter()

    def get(self, execution_id: str) -> Held | None:
        return self._known.get(execution_id)

    def active(self, job_id: str) -> int:
        return self._active.get(job_id, 0)

    def waiting(self, job_id: str) -> int:
        """How many of the job wait. Backfills don't count: a hundred of them in line must not
        keep the job's own slots from waiting behind the one that runs."""
        return self.line.of_job(job_id) - self._backfills[job_id]

    def running_of(self, job_id: str) -> list[str]:
        """Ids of the job's running executions, oldest first (ids sort by time)."""
        return sorted(id for id, held in self.running.items() if held.job_id == job_id)

    def waiting_of(self, job_id: str) -> Iterator[str]:
        return (w.execution_id for w in self.line.items() if w.job_id == job_id)

    def wait(self, held: Held, *, counted: bool = False) -> None:
        """Put it in the line. `counted`: it counts towards its job's limit already."""
        payload = held.config["payload"]
        # Slots that are run later on purpose run one after another, whatever the limit is.
        most = 1 if held.backfills else payload["limits"]["maxConcurrent"]
        self._backfills[held.job_id] += held.backfills
        self._known[held.execution.id] = held
        held.pause = None
        self.line.add(
            Waiting(
                held.execution.id,
                held.job_id,
                payload["priority"],
                held.execution.queued_at,
                most,
                counted,
            )
        )

    def take(self, max_running: int) -> Held | None:
        """The next one that may start, now running."""
        waiting = self.line.take(self._active, len(self.running), max_running)
        if waiting is None:
            return None
        held = self._known[waiting.execution_id]
        self._left_line(held)
        self.run(held, counted=waiting.counted)
        return held

    def _left_line(self, held: Held) -> None:
        if held.backfills:
            self._backfills[held.job_id] -= 1

    def run(self, held: Held, *, counted: bool = False) -> None:
        self._known[held.execution.id] = held
        self.running[held.execution.id] = held
        if not counted:
            self._active[held.job_id] = self.active(held.job_id) + 1

    def rest(self, held: Held, *, counted: bool = True) -> None:
        """Between two attempts: holds no capacity, still counts towards its job's limit."""
        self._known[held.execution.id] = held
        self.running.pop(held.execution.id, None)
        if not counted:
            self._active[held.job_id] = self.active(held.job_id) + 1

    def end(self, execution_id: str) -> Held | None:
        """Forget it, whatever it did; those that waited for its job's limit may start."""
        held = self._known.pop(execution_id, None)
        if held is None:
            return None
        was_waiting = self.line.discard(execution_id)
        if was_waiting is not None:
            self._left_line(held)
        ran = self.running.pop(execution_id, None) is not None
        resting = held.pause is not None
        if held.pause is not None:
            held.pause.cancel()
        if ran or resting or (was_waiting is not None and was_waiting.counted):
            self._active[held.job_id] -= 1
            if not self._active[held.job_id]:
                del self._active[held.job_id]
        self.line.unpark(held.job_id)
        return held
