"""An Idempotency-Key gives the first execution again, also after a restart and under a stop."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from jobreconciler.errors import Invalid, JobReconcilerError, Stalled
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.loops.triggers import Triggers
from jobreconciler.model.execution import Execution, Trigger
from jobreconciler.source.checks import check_parameters

from .shift import MovableClock, Processes, Shift, working

ASKED = Trigger("manual", actor="ada", reason="now")
OVERRIDE = Trigger("manual", actor="ada", reason="now", override=True)


async def ask(shift: Shift, trigger: Trigger, **how: bool) -> Execution:
    checked = partial(check_parameters, load_job_types())
    triggers = Triggers(shift.store, shift.worker, shift.clock, checked, str)
    pinned = await triggers.startable("nightly")
    return await triggers.release_keyed(pinned, trigger, "key-1", **how)


def asked_twice(
    path: Path, first: Trigger, second: Trigger, *, stopped: str = "", **how: bool
) -> tuple[Execution, Execution]:
    """Once, and again of another daemon. `stopped`: before or between the two, or never."""
    clock = MovableClock()

    async def main() -> tuple[Execution, Execution]:
        async with working(path, clock, Processes(clock)) as shift:
            shift.declare("nightly", "0 2 * * *")
            if stopped == "before":
                await shift.stops.put("fleet", "", actor="bo", reason="upgrade", until=None)
            made = await ask(shift, first)
            if stopped == "between":
                await shift.stops.put("fleet", "", actor="bo", reason="upgrade", until=None)
        async with working(path, clock, Processes(clock)) as shift:
            again = await ask(shift, second, **how)
            assert len(shift.history("nightly")) == 1
            return made, again

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("trigger", "stopped"),
    [
        pytest.param(ASKED, "", id="as it was"),
        pytest.param(OVERRIDE, "before", id="in spite of a pause"),
        pytest.param(OVERRIDE, "between", id="with an override that was not needed then"),
        pytest.param(ASKED, "between", id="paused since: the repeat asks for nothing new"),
    ],
)
def test_a_repeat_gives_the_first_execution(tmp_path: Path, trigger: Trigger, stopped: str) -> None:
    made, again = asked_twice(tmp_path, trigger, trigger, stopped=stopped)
    assert again.id == made.id


@pytest.mark.parametrize(
    ("second", "how"),
    [
        pytest.param(Trigger("manual", actor="ada", reason="later"), {}, id="another reason"),
        pytest.param(OVERRIDE, {}, id="with an override"),
        pytest.param(ASKED, {"dry_run": True}, id="dry"),
    ],
)
def test_another_request_with_the_same_key_is_refused(
    tmp_path: Path, second: Trigger, how: dict[str, bool]
) -> None:
    with pytest.raises(Invalid) as caught:
        asked_twice(tmp_path, ASKED, second, **how)
    assert caught.value.reason == "KeyReused"


def test_a_first_request_under_a_pause_needs_an_override(tmp_path: Path) -> None:
    with pytest.raises(JobReconcilerError) as caught:
        asked_twice(tmp_path, ASKED, ASKED, stopped="before")
    assert isinstance(caught.value, Stalled)
    assert caught.value.reason == "Suspended"
