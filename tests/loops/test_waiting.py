"""What keeps an execution from starting, as an operator is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jobreconciler.model.execution import Trigger

from .shift import RETRY, MovableClock, Processes, Shift, working


async def released(shift: Shift, job_id: str, trigger: Trigger) -> str:
    pinned = await asyncio.to_thread(shift.store.pinned, [job_id])
    execution = await shift.worker.releases.release(pinned[job_id], trigger)
    assert execution is not None
    return execution.id


MANUAL = Trigger("manual", actor="ada")
ONE_GROUP = {"limits": {"maxConcurrent": 5, "concurrencyGroup": "db"}}
WAITING = [
    ("its job may not run twice", {}, "often", MANUAL, "its job's limit, 1 at once"),
    ("its group is taken", ONE_GROUP, "other", MANUAL, "its group db, 1 at once"),
    (
        "an older slot runs",
        {"limits": {"maxConcurrent": 5}},
        "often",
        Trigger("backfill", slot=MovableClock.at),
        "its turn, as slots of the past run one after another",
    ),
]


@pytest.mark.parametrize(
    ("payload", "job_id", "trigger", "said"), [w[1:] for w in WAITING], ids=[w[0] for w in WAITING]
)
def test_what_is_in_the_way_of_a_run_is_named_until_it_is_gone(
    tmp_path: Path, payload: dict[str, object], job_id: str, trigger: Trigger, said: str
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            for each in ("often", "other"):
                shift.declare(each, "0 0 1 1 *", **payload)  # type: ignore[arg-type]
            before = Trigger("backfill", slot=clock.now()) if trigger.slot else MANUAL
            first = await released(shift, "often", before)
            await shift.eventually(lambda: list(processes.running) == [first])
            second = await released(shift, job_id, trigger)
            assert shift.worker.waits_for(second) == said
            await shift.eventually(lambda: not shift.worker._wake.is_set())
            assert shift.worker.waits_for(second) == said
            processes.end(first)
            await shift.eventually(lambda: list(processes.running) == [second])
            assert shift.worker.waits_for(second) is None

    asyncio.run(main())


def test_a_full_fleet_a_suspension_and_a_pause_between_attempts_are_named(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            for each in ("often", "other"):
                shift.declare(each, "0 0 1 1 *", retry={**RETRY, "maxAttempts": 2})
            shift.worker._max_running = 1
            first = await released(shift, "often", MANUAL)
            await shift.eventually(lambda: list(processes.running) == [first])
            second = await released(shift, "other", MANUAL)
            assert shift.worker.waits_for(second) == "room in the fleet, 1 at once"
            await shift.stops.put("job", "other", actor="ada", reason=None, until=None)
            assert shift.worker.waits_for(second) == "the end of its suspension"
            processes.end(first, "failed")
            said = await shift.eventually(lambda: shift.worker.waits_for(first))
            assert said == "the time of its next attempt"

    asyncio.run(main())
