"""Which slots run now, and which are recorded as missed, when some time has passed.

Counts missed slots without listing them: a week down costs one row a job, not ten thousand
(Kubernetes' CronJob controller counts the same way and gives up past 100; this one does not).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobreconciler.core import cron
from jobreconciler.model.execution import Missed
from jobreconciler.model.job import ScheduleRow

LIVE_SECONDS = 10.0
CATCH_UP_LIMIT = 100
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Due:
    """`run`: slots to release, oldest first. `missed`: rows to write before them, oldest first.

    `caught_up`: the job asks for all of them, and this is no lone slot that is on time.
    """

    run: tuple[datetime, ...] = ()
    missed: tuple[Missed, ...] = ()
    caught_up: bool = False


def owed_after(row: ScheduleRow) -> datetime:
    """Slots up to this instant are settled: handled already, or from before the job's time."""
    return row.owed_from if row.watermark is None else max(row.watermark, row.owed_from)


def due_slots(row: ScheduleRow, now: datetime) -> Due:
    """What is to become of every slot after the watermark whose (jittered) time has come."""
    schedule = cron.parse(row.expression, row.timezone)
    after = owed_after(row)
    latest = _latest_due(row, schedule, after, now)
    if latest is None:
        return Due()
    on_time = (now - start_of(row, latest)).total_seconds() <= LIVE_SECONDS
    if on_time and row.catch_up != "all":
        run = _on_time(row, schedule, after, latest, now)
    else:
        run = _chosen(row, schedule, after, latest)
    missed: list[Missed] = []
    first_run = run[0] if run else None
    before = first_run - _TICK if first_run is not None else latest
    _append_missed(missed, schedule, after, before, _why(row))
    kept = []
    for slot in run:
        late = (now - start_of(row, slot)).total_seconds()
        deadline = row.starting_deadline_seconds
        if deadline is not None and late > deadline:
            _append_missed(missed, schedule, slot - _TICK, slot, "deadline_exceeded")
        else:
            kept.append(slot)
    caught_up = row.catch_up == "all" and (len(run) > 1 or not on_time)
    return Due(tuple(kept), _merged(missed), caught_up)


def only_due(row: ScheduleRow, slot: datetime, following: datetime | None, now: datetime) -> bool:
    """Whether `slot`, the first that is owed, is due on time and all that is due: what `due_slots`
    finds nearly always, told without asking the calendar. `following` is the slot after it."""
    late = (now - start_of(row, slot)).total_seconds()
    deadline = row.starting_deadline_seconds
    return (
        owed_after(row) < slot
        and 0.0 <= late <= LIVE_SECONDS
        and (deadline is None or late <= deadline)
        and (following is None or following > now)
    )


def stopped_slots(row: ScheduleRow, until: datetime, reason: str) -> Missed | None:
    """The slots after the watermark that should have started by `until`, as one row."""
    schedule = cron.parse(row.expression, row.timezone)
    after = owed_after(row)
    latest = _latest_due(row, schedule, after, until)
    if latest is None:
        return None
    rows: list[Missed] = []
    _append_missed(rows, schedule, after, latest, reason)
    return rows[0]


def start_of(row: ScheduleRow, slot: datetime) -> datetime:
    """When a slot of the schedule is to start, jitter included."""
    return cron.jittered(row.job_id, slot, row.jitter_seconds, row.expression, row.timezone)


def _latest_due(
    row: ScheduleRow, schedule: cron.Schedule, after: datetime, now: datetime
) -> datetime | None:
    """The newest slot whose jittered time is not in the future."""
    slot = cron.last_slot_between(schedule, after, now)
    while slot is not None and start_of(row, slot) > now:
        slot = cron.last_slot_between(schedule, after, slot - _TICK)
    return slot


def _on_time(
    row: ScheduleRow, schedule: cron.Schedule, after: datetime, latest: datetime, now: datetime
) -> tuple[datetime, ...]:
    """The newest slot, and with jitter the ones before it that are on time as well: a slot that
    starts just before the next one is not late because that one's start has come, too."""
    run = [latest]
    while row.jitter_seconds and len(run) < CATCH_UP_LIMIT:
        slot = cron.last_slot_between(schedule, after, run[-1] - _TICK)
        if slot is None or (now - start_of(row, slot)).total_seconds() > LIVE_SECONDS:
            break
        run.append(slot)
    return tuple(reversed(run))


def _chosen(
    row: ScheduleRow, schedule: cron.Schedule, after: datetime, latest: datetime
) -> tuple[datetime, ...]:
    if row.catch_up == "all":
        count = cron.count_between(schedule, after, latest)
        if count <= CATCH_UP_LIMIT:
            return cron.slots_between(schedule, after, latest)
        newest = [latest]
        while len(newest) < CATCH_UP_LIMIT:
            previous = cron.previous_slot(schedule, newest[-1])
            if previous is None or previous <= after:
                break
            newest.append(previous)
        return tuple(reversed(newest))
    return (latest,) if row.catch_up == "latest" else ()


def _why(row: ScheduleRow) -> str:
    return {
        "none": "catch_up_none",
        "latest": "catch_up_latest",
        "all": "catch_up_limit",
    }[row.catch_up]


def _append_missed(
    rows: list[Missed], schedule: cron.Schedule, after: datetime, until: datetime, reason: str
) -> None:
    """Add the row for the slots in (after, until], if there are any."""
    last = cron.last_slot_between(schedule, after, until)
    if last is None:
        return
    first = cron.next_slot(schedule, after)
    count = cron.count_between(schedule, after, until)
    rows.append(Missed(first if first is not None else last, last, count, reason))


def _merged(rows: list[Missed]) -> tuple[Missed, ...]:
    """Neighbouring rows of one reason become one."""
    merged: list[Missed] = []
    for row in rows:
        if merged and merged[-1].reason == row.reason:
            old = merged.pop()
            row = Missed(old.first, row.last, old.count + row.count, row.reason)
        merged.append(row)
    return tuple(merged)
