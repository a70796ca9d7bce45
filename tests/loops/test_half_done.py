"""What was begun for many at once and goes wrong for one, or is stopped half-way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Collection
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from jobreconciler.errors import Transient
from jobreconciler.loops import schedule
from jobreconciler.model.execution import Launch, Trigger
from jobreconciler.model.job import PinnedJob
from jobreconciler.model.suspension import Suspension
from jobreconciler.ports import Started
from store.made import NOW

from .shift import (
    HANG,
    MovableClock,
    Processes,
    Shift,
    nothing_becomes,
    nothing_is_released_of,
    working,
)


def minute(shift: Shift, clock: MovableClock) -> None:
    clock.pass_(minutes=1)
    shift.look()


def statuses(shift: Shift, job_id: str) -> list[str]:
    return [each.status for each in shift.history(job_id)]


def test_a_run_whose_place_cannot_be_taken_hinders_none_that_is_due_with_it(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.declare("always", "* * * * *", limits={"overlap": "queue"})
            await shift.scheduler.load()
            for count in (1, 2):
                minute(shift, clock)
                await shift.eventually(lambda n=count: len(shift.history("always")) == n)
            shift.declare("beside", "* * * * *")
            await shift.scheduler.load(["beside"])
            with nothing_becomes("cancelled", tmp_path):
                minute(shift, clock)
                await shift.eventually(lambda: shift.history("beside"))
                [beside] = shift.history("beside")
                await shift.eventually(lambda: beside.id in processes.running)
                processes.end(beside.id)
                await shift.eventually(lambda: statuses(shift, "beside") == ["succeeded"])
            for _ in range(3):
                [one] = await shift.eventually(lambda: list(processes.running))
                processes.end(one)
                await shift.eventually(lambda id=one: shift.store.execution(id).status != "running")
            assert set(statuses(shift, "always")) == {"succeeded"}, "each had its turn"

    asyncio.run(main())


def test_a_job_whose_slot_the_store_refuses_holds_up_no_other_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again after a pause of its own, here a long one."""
    monkeypatch.setattr(schedule, "AGAIN", timedelta(hours=1))
    clock = MovableClock()

    async def main() -> None:
        async with working(tmp_path, clock, Processes(clock)) as shift:
            shift.declare("refused", "31 9 * * *")
            shift.declare("beside", "31,32 9 * * *")
            await shift.scheduler.load()
            with nothing_is_released_of("refused", tmp_path):
                minute(shift, clock)
                await shift.eventually(lambda: shift.scheduler.trouble)
                await shift.eventually(lambda: statuses(shift, "beside") == ["succeeded"])
                minute(shift, clock)
                await shift.eventually(lambda: statuses(shift, "beside") == ["succeeded"] * 2)
                assert "not now" in (shift.scheduler.trouble or ""), "and it is still said"
            clock.pass_(hours=1)
            shift.look()
            await shift.eventually(lambda: statuses(shift, "refused") == ["succeeded"])
            [made] = shift.history("refused")
            assert made.trigger.slot == NOW.replace(minute=31, second=0, microsecond=0)
            assert shift.scheduler.trouble is None

    asyncio.run(main())


def test_what_was_to_start_when_admitting_ends_holds_no_drain_up(tmp_path: Path) -> None:
    """It stays queued in the store, for the next daemon."""
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def stopped(shift: Shift) -> str:
        """Admitting ends after the work loop took it and before it could be claimed."""
        shift.declare("once", "0 0 1 1 *")
        pinned = shift.store.pinned(["once"])["once"]
        told = shift.worker._observer.running

        def running(count: int) -> None:
            told(count)
            shift.worker.admitting = shift.worker.admitting and not count

        shift.worker._observer.running = running  # type: ignore[method-assign]
        execution = await shift.worker.releases.release(pinned, Trigger("manual", actor="someone"))
        assert execution is not None
        await shift.eventually(lambda: not shift.worker.admitting)
        await shift.worker.quiet(10.0)
        assert shift.worker.counts()["running"] == 0
        assert not processes.begun
        return execution.id

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            execution = await stopped(shift)
        async with working(tmp_path, clock, processes) as shift:
            await shift.eventually(lambda: execution in processes.running)

    asyncio.run(main())


class Closing(Processes):
    """Those of an executor that closes before it could start anything."""

    async def start(self, launch: Launch) -> Started:
        raise Transient(f"no {launch.execution_id}", reason="Closing")


def test_a_run_that_a_closing_daemon_does_not_start_is_the_next_ones(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock)

    async def main() -> list[str]:
        async with working(tmp_path, clock, Closing(clock)) as shift:
            shift.declare("often", "* * * * *")
            await shift.scheduler.load()
            minute(shift, clock)
            await shift.eventually(lambda: shift.history("often"))
            await shift.worker.quiet(10.0)
        async with working(tmp_path, clock, processes) as shift:
            await shift.eventually(lambda: statuses(shift, "often") == ["succeeded"])
            return [each.error for each in shift.history("often") if each.error]

    assert asyncio.run(main()) == []


def test_a_slot_runs_what_was_applied_before_it_was_released(tmp_path: Path) -> None:
    """Read ahead of its time, changed, and loaded again while others are still being read."""
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.declare("early", "* * * * *", parameters={"argv": ["old"]})
            await shift.scheduler.load()
            clock.pass_(seconds=59)
            shift.look()
            await shift.eventually(lambda: "early" in shift.scheduler._ahead)
            shift.declare("early", "* * * * *", parameters={"argv": ["new"]})
            shift.declare("late", "* * * * *")
            read = shift.store.pinned

            def slowly(job_ids: Collection[str]) -> dict[str, PinnedJob]:
                found = read(job_ids)
                future = asyncio.run_coroutine_threadsafe(shift.scheduler.load(), loop)
                future.result(30)
                return found

            loop = asyncio.get_running_loop()
            shift.store.pinned = slowly  # type: ignore[method-assign]
            await shift.scheduler.load(["late"])
            clock.pass_(seconds=2)
            shift.look()
            [execution] = await shift.eventually(lambda: shift.history("early"))
            [config] = shift.store.config_versions([execution.config_digest]).values()
            assert config["payload"]["parameters"] == {"argv": ["new"]}

    asyncio.run(main())


def test_a_row_that_somebody_changed_by_hand_keeps_no_other_job_from_starting(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    processes = Processes(clock)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            for job_id in ("beside", "drifted"):
                shift.declare(job_id, "* * * * *")
            await shift.scheduler.load()
            with sqlite3.connect(next(tmp_path.glob("*.db"))) as database:
                database.execute("UPDATE job_configs SET config = '{}' WHERE job_id = 'drifted'")
            minute(shift, clock)
            await shift.eventually(lambda: statuses(shift, "beside") == ["succeeded"])
            assert statuses(shift, "drifted") == []

    asyncio.run(main())


def test_a_run_that_cannot_be_asked_for_has_failed(tmp_path: Path) -> None:
    clock = MovableClock()

    async def main() -> None:
        async with working(tmp_path, clock, Processes(clock)) as shift:
            shift.declare("often", "0 0 1 1 *")
            pinned = shift.store.pinned(["often"])["often"]
            wrong = Trigger("manual", actor="ada", parameters={"limits.batchSize": 0})
            await shift.worker.releases.release(pinned, wrong)
            await shift.eventually(lambda: statuses(shift, "often") == ["failed"])
            [failed] = shift.history("often")
            assert failed.error == "limits.batchSize: expected a whole number from 1 to 1000000"
            await shift.eventually(lambda: shift.worker.counts()["running"] == 0)

    asyncio.run(main())


@pytest.mark.parametrize("what", ["retry", "notifications", "jobType"])
def test_an_end_is_stored_whatever_is_wrong_with_the_config(tmp_path: Path, what: str) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            for job_id in ("beside", "broken"):
                shift.declare(job_id, "* * * * *")
            await shift.scheduler.load()
            minute(shift, clock)
            await shift.eventually(lambda: len(processes.running) == 2)
            for held in shift.worker._flight.running.values():
                if held.job_id == "broken":
                    held.config["payload"] = {**held.config["payload"], what: 7}
                    if what == "jobType":
                        del held.config["payload"][what]
            for execution_id in list(processes.running):
                processes.end(execution_id, "failed")
            for job_id in ("beside", "broken"):
                await shift.eventually(lambda id=job_id: statuses(shift, id) == ["failed"])
            await shift.eventually(lambda: not any(shift.worker.counts().values()))

    asyncio.run(main())


def test_a_slot_that_waits_for_the_store_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobreconciler.loops.schedule.LONGEST_SLEEP", 600)
    clock = MovableClock()
    processes = Processes(clock)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            for job_id in ("beside", "broken"):
                shift.declare(job_id, "* * * * *")
            await shift.scheduler.load()
            with sqlite3.connect(next(tmp_path.glob("*.db"))) as database:
                database.execute(
                    "CREATE TRIGGER refused BEFORE INSERT ON job_executions "
                    "WHEN new.job_id = 'broken' BEGIN SELECT raise(ABORT, 'not now'); END"
                )
            for count in (1, 2):
                minute(shift, clock)
                await shift.eventually(
                    lambda n=count: statuses(shift, "beside") == ["succeeded"] * n
                )
                await shift.eventually(lambda: shift.scheduler.trouble)
            assert statuses(shift, "broken") == []

    asyncio.run(main())


MEANWHILE = [
    ("its deadline passes", {"seconds": 3600}, False, ["missed"]),
    ("it is suspended", {"seconds": 1}, True, ["queued"]),
    ("nothing happens", {"seconds": 1}, False, ["succeeded"]),
]


@pytest.mark.parametrize(
    ("away", "suspended", "became"),
    [row[1:] for row in MEANWHILE],
    ids=[row[0] for row in MEANWHILE],
)
def test_a_claimed_run_that_nobody_began_starts_only_if_it_still_may(
    tmp_path: Path, away: dict[str, float], suspended: bool, became: list[str]
) -> None:
    clock = MovableClock()
    processes = Processes(clock)
    schedule = {"startingDeadlineSeconds": 60, "catchUp": "none"}

    async def main() -> list[str]:
        async with working(tmp_path, clock, Closing(clock)) as shift:
            shift.declare("often", "* * * * *", schedule=schedule)
            await shift.scheduler.load()
            minute(shift, clock)
            await shift.eventually(lambda: statuses(shift, "often") == ["running"])
            await shift.worker.quiet(10.0)
            if suspended:
                await shift.stops.put("job", "often", actor="ada", reason=None, until=None)
        clock.pass_(**away)
        async with working(tmp_path, clock, processes) as shift:
            await shift.eventually(lambda: statuses(shift, "often")[:1] == became)
            await asyncio.sleep(0.1)  # and it stays that
            first = shift.history("often")[0]
            assert len(first.attempts) == (first.status == "succeeded")
            return [first.status]

    assert asyncio.run(main()) == became


@pytest.mark.parametrize("away", [False, True], ids=["at once", "once the store is back"])
def test_a_slot_that_waited_too_long_is_missed_and_told_of_in_one_write(
    tmp_path: Path, away: bool
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)
    channel = {"type": "webhook", "url": {"env": "OPS"}}

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.store.tell = None  # type: ignore[assignment,method-assign]
            shift.declare(
                "often",
                "* * * * *",
                schedule={"startingDeadlineSeconds": 90},
                limits={"overlap": "queue"},
                notifications={"onMissed": ["ops"], "channels": {"ops": channel}},
            )
            await shift.scheduler.load()
            for count in (1, 2):
                minute(shift, clock)
                await shift.eventually(lambda n=count: len(shift.history("often")) == n)
            clock.pass_(minutes=2)
            with nothing_becomes("missed", tmp_path) if away else nullcontext():
                processes.end(*processes.running)
                if away:
                    await shift.eventually(lambda: shift.worker.trouble)
                    assert statuses(shift, "often")[1] == "queued"
            await shift.eventually(lambda: statuses(shift, "often")[1] == "missed")
            [channel_id] = shift.store.due_channels()
            notice = shift.store.next_notice(channel_id, clock.now())
            assert notice is not None and notice.event == "missed"

    asyncio.run(main())


def test_a_stop_is_not_forgotten_for_one_that_was_put_at_the_same_time(tmp_path: Path) -> None:
    """The look at the store that began first would end last."""
    clock = MovableClock()
    looked, go_on = threading.Event(), threading.Event()

    async def main() -> None:
        async with working(tmp_path, clock, Processes(clock)) as shift:
            shift.declare("often", "* * * * *")
            read = shift.stops._read

            def slow() -> tuple[tuple[Suspension, ...], str]:
                found = read()
                if not looked.is_set():
                    looked.set()
                    go_on.wait(HANG)
                return found

            shift.stops._read = slow  # type: ignore[method-assign]
            first = asyncio.create_task(shift.stops.load())
            await shift.eventually(looked.is_set)
            put = shift.stops.put("job", "often", actor="ada", reason=None, until=None)
            second = asyncio.create_task(put)
            await asyncio.wait({second}, timeout=0.3)
            go_on.set()
            await asyncio.gather(first, second)
            assert shift.stops.over("often", shift.store.pinned(["often"])["often"].config)

    asyncio.run(main())
