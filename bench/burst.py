"""1,000 jobs due in the same second: from the slot's instant until each is durably recorded.

    python -m bench burst

A daemon with a fleet of no-ops, all due twice: the first burst finds no worker and no supervisor
yet, the second is what a daemon does that has been running. It counts as done when another process
reads the last end from the store, which is after its commit. Lateness is to a run's end, since a
no-op's beginning and end lie close together. The peers are in bench/queues.py. Rounds alternate.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import fleet, queues
from bench.execute import spawn_floor
from bench.queues import Burst

JOBS = 1_000
ROUNDS = 3
MAX_RUNNING = {"python": 48, "command": 8}
"""`--max-running`, as somebody with such bursts would set it on two cores; the default is 4."""
GAP_SECONDS = 15
STARTING_SECONDS = (8, 16, 32)
"""How far ahead the first burst lies; a machine at work elsewhere needs longer to be ready."""
ENOUGH_SECONDS = 60
POLL_SECONDS = 0.004
FLOOR_RUNS = 1_000
APSCHEDULER_RATIO = 3.0
COMMAND_RATIO = 0.5

JOB = """\
meta:
  id: no-op-{number:04}
payload:
  jobType: {type}
  schedule: {{cronExpression: "{cron}", timezone: UTC}}
  parameters: {parameters}
"""
PARAMETERS = {
    "python": "{entryPoint: bench.jobs:nothing}",
    "command": "{argv: [/bin/true]}",
}


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        python, command, floors = list[Ours](), list[Ours](), list[float]()
        theirs = dict[str, list[list[Burst] | str]]()
        with queues.peers(fleet.apart(top), JOBS) as peers:
            for _ in range(ROUNDS):
                python.append(_ours(fleet.apart(top), "python"))
                for peer in peers:
                    theirs.setdefault(peer.name, []).append(peer.round())
                command.append(_ours(fleet.apart(top), "command"))
                floors.append(spawn_floor(FLOOR_RUNS))
            rows = [_beside(python, peer, theirs[peer.name]) for peer in peers]
    return [*rows, _beside_floor(command, floors)]


# -------------------------------------------------------------------------------------------- ours


@dataclass(frozen=True)
class Ours:
    """Two bursts of one daemon, and what was set."""

    cold: Burst
    warm: Burst
    max_running: int


def _ours(work: Path, kind: str) -> Ours:
    most = MAX_RUNNING[kind]
    for ahead in STARTING_SECONDS:
        state = work / f"state-{ahead}"
        first, second = _instants(ahead)
        cron = f"{first.second},{second.second} {first.minute} * * * *"
        repo = fleet.make_repo(work / f"fleet-{ahead}.git", _jobs(kind, cron))
        fleet.run(fleet.program("apply", "--repo", str(repo), "--state-dir", str(state)), work)
        with fleet.daemon(repo, state, "--max-running", str(most)):
            if time.time() < first.timestamp() - 1:
                return Ours(_burst(state, first), _burst(state, second), most)
    raise RuntimeError("the daemon is never ready before its jobs are due")


def _instants(ahead: int) -> tuple[datetime, datetime]:
    """Two of one minute, the first of them soon."""
    soon = int(time.time()) + ahead
    if soon % 60 + GAP_SECONDS >= 60:
        soon += 60 - soon % 60
    return datetime.fromtimestamp(soon, UTC), datetime.fromtimestamp(soon + GAP_SECONDS, UTC)


def _jobs(kind: str, cron: str) -> Iterator[tuple[str, str]]:
    for number in range(JOBS):
        text = JOB.format(number=number, type=kind, cron=cron, parameters=PARAMETERS[kind])
        yield f"jobs.d/team-{number % 20:02}/no-op-{number:04}.yaml", text


def _burst(state: Path, slot: datetime) -> Burst:
    """Waits until all of the slot are recorded, and reads what was."""
    began = slot.timestamp()
    named = (int(began) * 1_000_000,)
    with closing(sqlite3.connect(f"file:{state}/store.db?mode=ro", uri=True)) as reader:
        # What is left is read from an index: counting rows takes a twentieth of two cores' time.
        left = "SELECT 1 FROM job_executions WHERE status IN ('queued', 'running') LIMIT 1"
        query = "SELECT count(*) FROM job_executions WHERE slot = ? AND status = 'succeeded'"
        time.sleep(max(0.0, began - time.time()))
        while reader.execute(left).fetchone() or reader.execute(query, named).fetchone()[0] < JOBS:
            assert time.time() < began + ENOUGH_SECONDS, "not all ran: see the daemon's log"
            time.sleep(POLL_SECONDS)
        seconds = time.time() - began
        query = "SELECT finished_at - slot FROM job_executions WHERE slot = ?"
        late = sorted(micros / 1e6 for (micros,) in reader.execute(query, named))
    assert len(late) == JOBS, f"{len(late)} executions of {JOBS} slots"
    return Burst("", seconds, tuple(late))


# -------------------------------------------------------------------------------------------- rows


def _beside(ours: Sequence[Ours], peer: queues.Peer, rounds: Sequence[Any]) -> dict[str, Any]:
    mine = _median([each.warm for each in ours])
    row = {
        "what": f"{JOBS:,} python no-ops due together, recorded: {peer.name}",
        "ours": f"{_said(mine)}; cold {_median([each.cold for each in ours]).seconds:.2f} s",
        "target": None,
        "ok": None,
    }
    absent = [each for each in rounds if isinstance(each, str)]
    if absent:
        return {**row, "floor_or_peer": f"absent: {absent[0]}", "ratio": None}
    ways = [_median(way) for way in zip(*rounds, strict=True)]
    best = min(ways, key=lambda way: way.seconds)
    ratio = best.seconds / mine.seconds
    wanted = {"Huey": 1.0, "APScheduler": APSCHEDULER_RATIO}.get(peer.name.split()[0].strip(","))
    return {
        **row,
        "floor_or_peer": f"{_said(best)}; {best.how}, records {peer.records}",
        "ratio": f"{ratio:.2f} ×",
        "target": None if wanted is None else f"rate ≥ {wanted:.0f} × its",
        "ok": None if wanted is None else ratio >= wanted,
    }


def _beside_floor(ours: Sequence[Ours], floors: Sequence[float]) -> dict[str, Any]:
    mine, floor = _median([each.warm for each in ours]), statistics.median(floors)
    rate = JOBS / mine.seconds
    return {
        "what": f"{JOBS:,} /bin/true due together, recorded, {ours[0].max_running} at once",
        "ours": f"{rate:.0f} runs/s, {_said(mine)}",
        "floor_or_peer": f"{floor:.0f} runs/s, two spawns and reaps each",
        "ratio": f"{rate / floor:.2f} ×",
        "target": f"≥ {COMMAND_RATIO} × the floor",
        "ok": rate / floor >= COMMAND_RATIO,
    }


def _median(bursts: Sequence[Burst]) -> Burst:
    """The one in the middle, by the time it took."""
    return sorted(bursts, key=lambda burst: burst.seconds)[len(bursts) // 2]


def _said(burst: Burst) -> str:
    p50, p99 = (fleet.percentile(burst.late, share) for share in (0.5, 0.99))
    return f"{burst.seconds:.2f} s (p50 {p50:.2f}, p99 {p99:.2f})"
