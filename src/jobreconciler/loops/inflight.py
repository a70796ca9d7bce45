"""What this daemon answers for right now: executions that wait, run, or pause between attempts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobreconciler.core.admission import Hindrance, Waiting, WaitingLine
from jobreconciler.model.execution import Execution


@dataclass(slots=True)
class Held:
    """One execution, the config it is pinned to, and how far it has got.

    `attempts` counts those begun; `due_at` is when its slot was to start, for the lateness;
    `stopped_for` is why somebody stops it; `live` is its job's config now, where that is another;
    `no_more` is why no attempt of it may begin any more; `launched`: the executor knows of
    its attempt; `taken_back` counts how often it did and nobody began it; `early`: it was released
    before its time, which is its `queued_at`; `fresh`: this daemon made it and gave no launch of it
    up.
    """

    execution: Execution
    config: dict[str, Any]
    due_at: datetime | None = None
    attempts: int = 0
    started_at: datetime | None = None
    pause: asyncio.TimerHandle | None = None
    stopped_for: str | None = None
    live: dict[str, Any] | None = None
    group: str | None = None
    no_more: str | None = None
    launched: bool = False
    taken_back: int = 0
    early: bool = False
    fresh: bool = False
    job_id: str = field(init=False)
    in_turn: bool = field(init=False)

    def __post_init__(self) -> None:
        # Asked for a dozen times a run.
        self.job_id = self.execution.job_id
        self.in_turn = self.execution.trigger.in_turn

    @property
    def limits(self) -> dict[str, Any]:
        """What bounds its start: read live, where what it runs is pinned."""
        limits: dict[str, Any] = (self.live or self.config)["payload"]["limits"]
        return limits


class InFlight:
    """Used on the event loop only. `active` counts towards a job's limit: running or pausing."""

    def __init__(self, groups: Mapping[str, int], stopped: Callable[[Held], bool]) -> None:
        self._groups = groups
        self._stopped = stopped
        self._in_group: Counter[str] = Counter()
        self.line = WaitingLine()
        self.running: dict[str, Held] = {}
        self._leaving: set[str] = set()
        self._known: dict[str, Held] = {}
        self._active: dict[str, int] = {}
        self._in_turn: Counter[str] = Counter()
        self._early: Counter[str] = Counter()
        self._turn: dict[str, str] = {}

    def get(self, execution_id: str) -> Held | None:
        return self._known.get(execution_id)

    def active(self, job_id: str) -> int:
        return self._active.get(job_id, 0)

    def waiting(self, job_id: str) -> int:
        """How many of the job wait. Those in turn don't count: a hundred of them in line must not
        keep the job's own slots from waiting behind the one that runs. Nor do those whose time has
        not come."""
        return self.line.of_job(job_id) - self._in_turn[job_id] - self._early[job_id]

    def running_of(self, job_id: str) -> list[str]:
        """Ids of the job's running executions, oldest first (ids sort by time)."""
        return sorted(id for id, held in self.running.items() if held.job_id == job_id)

    def waiting_of(self, job_id: str) -> Iterator[str]:
        for waiting in self.line.items():
            if waiting.job_id == job_id and not self._known[waiting.execution_id].early:
                yield waiting.execution_id

    def replaceable(self, execution_ids: Iterable[str]) -> str | None:
        """The first of them that a newer run may take the place of: no slot that runs in turn."""
        return next((id_ for id_ in execution_ids if not self._known[id_].in_turn), None)

    def all(self) -> list[Held]:
        return list(self._known.values())

    def renew(self, held: Held, live: dict[str, Any] | None) -> None:
        """Its job's config is another now (None: the one it is pinned to): what it runs is pinned,
        how it waits is not."""
        held.live = live
        waiting = self.line.discard(held.execution.id)
        if waiting is not None:
            self._left_line(held)
            self.wait(held, counted=waiting.counted)

    def go_on(self) -> None:
        """Somebody's stop ended: who waited for that may start."""
        self.line.unpark("", "stop")

    def _hindered(self, waiting: Waiting) -> Hindrance | None:
        return self._hindrance(waiting, self._known[waiting.execution_id])

    def _hindrance(self, waiting: Waiting, held: Held) -> Hindrance | None:
        if held.early:
            return _its_time(held)
        group = waiting.group
        if group is not None and self._is_full(group):
            return "group", group
        if held.in_turn and self._turn.get(held.job_id, waiting.execution_id) != held.execution.id:
            return "turn", held.job_id
        if self._stopped(held):
            return "stop", ""
        return None

    def waits_for(self, execution_id: str, max_running: int) -> str | None:
        """What keeps one from starting, in words; None where nothing does, or it does not wait.

        Reads and changes nothing, so that other threads may ask: they may get what just was.
        """
        held, waiting = self._known.get(execution_id), self.line.get(execution_id)
        if held is None or waiting is None:
            return None if held is None or held.pause is None else "the time of its next attempt"
        if self.active(held.job_id) - waiting.counted >= waiting.max_concurrent:
            return f"its job's limit, {waiting.max_concurrent} at once"
        kind, name = self._hindrance(waiting, held) or ("", "")
        if kind == "group":
            return f"its group {name}, {self._groups.get(name, 1)} at once"
        if kind == "turn":
            return "its turn, as slots of the past run one after another"
        if kind == "stop":
            return "the end of its suspension"
        if kind == "slot":
            return "its time"
        if self.at_work >= max_running:
            return f"room in the fleet, {max_running} at once"
        return None

    @property
    def at_work(self) -> int:
        """How many processes run: a run whose outcome is still to be stored has none."""
        return len(self.running) - len(self._leaving)

    def superseded(self, job_id: str) -> str | None:
        """The waiting run of the job whose place a newer scheduled one takes: none that somebody
        asked for, sent a payload for, or that is caught up on purpose."""
        for id_ in self.waiting_of(job_id):
            held = self._known[id_]
            released_by_itself = held.execution.trigger.type in ("schedule", "dependency")
            if released_by_itself and not held.in_turn and not held.attempts:
                return id_
        return None

    def wait(self, held: Held, *, counted: bool = False) -> None:
        """Put it in the line. `counted`: it counts towards its job's limit already."""
        payload = held.config["payload"]
        self._in_turn[held.job_id] += held.in_turn
        self._early[held.job_id] += held.early
        self._known[held.execution.id] = held
        held.pause = None
        self.line.add(
            Waiting(
                held.execution.id,
                held.job_id,
                payload["priority"],
                held.execution.queued_at,
                held.limits["maxConcurrent"],
                counted,
                held.limits.get("concurrencyGroup"),
            ),
            _its_time(held) if held.early else None,
        )

    def its_time_has_come(self, held: Held) -> None:
        """From here on it waits as others do."""
        if held.early:
            held.early = False
            self._early[held.job_id] -= 1
            self.line.unpark(_its_time(held)[1], "slot")

    def start(self, held: Held, max_running: int) -> bool:
        """Let one that is within its job's limit run at once, past the line. False: others wait,
        there is no room, or something keeps it from starting."""
        full = self.at_work >= max_running
        group = held.limits.get("concurrencyGroup")
        if full or self.line.has_next or self._is_full(group) or self._stopped(held):
            return False
        self.run(held)
        return True

    def _is_full(self, group: str | None) -> bool:
        return group is not None and self._in_group[group] >= self._groups.get(group, 1)

    def take(self, max_running: int) -> Held | None:
        """The next one that may start, now running."""
        running = self.at_work
        waiting = self.line.take(self._active, running, max_running, self._hindered)
        if waiting is None:
            return None
        held = self._known[waiting.execution_id]
        self._left_line(held)
        self.run(held, counted=waiting.counted)
        return held

    def _left_line(self, held: Held) -> None:
        if held.in_turn:
            self._in_turn[held.job_id] -= 1
        if held.early:
            self._early[held.job_id] -= 1

    def run(self, held: Held, *, counted: bool = False) -> None:
        self._begin(held)
        self.running[held.execution.id] = held
        held.group = held.limits.get("concurrencyGroup")
        if held.group is not None:
            self._in_group[held.group] += 1
        if not counted:
            self._active[held.job_id] = self.active(held.job_id) + 1

    def _begin(self, held: Held) -> None:
        """From its first attempt to its end it has the turn, where it is one of several in turn."""
        self._known[held.execution.id] = held
        if held.in_turn:
            self._turn.setdefault(held.job_id, held.execution.id)

    def rest(self, held: Held, *, counted: bool = True) -> None:
        """Between two attempts: holds no capacity, still counts towards its job's limit."""
        self._begin(held)
        self._stop_running(held.execution.id)
        if not counted:
            self._active[held.job_id] = self.active(held.job_id) + 1

    def leave(self, execution_id: str) -> None:
        """Its process has ended, its outcome is still to be stored: it takes no room in the fleet
        any more, but still counts towards its job's and its group's limits."""
        if execution_id in self.running:
            self._leaving.add(execution_id)

    def _stop_running(self, execution_id: str) -> bool:
        self._leaving.discard(execution_id)
        held = self.running.pop(execution_id, None)
        if held is None:
            return False
        if held.group is not None:
            self._in_group[held.group] -= 1
            self.line.unpark(held.group, "group")
        return True

    def end(self, execution_id: str) -> Held | None:
        """Forget it, whatever it did; those that waited for its job's limit may start."""
        held = self._known.pop(execution_id, None)
        if held is None:
            return None
        was_waiting = self.line.discard(execution_id)
        if was_waiting is not None:
            self._left_line(held)
        if held.early:
            held.early = False
            self.line.unpark(execution_id, "slot")
        ran = self._stop_running(execution_id)
        resting = held.pause is not None
        if held.pause is not None:
            held.pause.cancel()
        if ran or resting or (was_waiting is not None and was_waiting.counted):
            self._active[held.job_id] -= 1
            if not self._active[held.job_id]:
                del self._active[held.job_id]
        self.line.unpark(held.job_id)
        if self._turn.get(held.job_id) == execution_id:
            del self._turn[held.job_id]
            self.line.unpark(held.job_id, "turn")
        return held


def _its_time(held: Held) -> Hindrance:
    return "slot", held.execution.id
