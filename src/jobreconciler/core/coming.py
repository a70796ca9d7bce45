"""A job's coming slots as `next` shows them: in UTC, on the job's wall clock, with remarks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from jobreconciler.core import cron, views


def coming_slots(
    job_id: str, payload: Mapping[str, Any], after: datetime, count: int
) -> list[dict[str, Any]]:
    """The first `count` slots after `after`, as `views.slot_json` gives them.

    `payload` is a normalised config's. Empty where there is no schedule, or it or the job is off.
    With jitter, the note says when the slot really starts.
    """
    schedule = payload.get("schedule")
    if (
        schedule is None
        or not schedule.get("isEnabled", True)
        or not payload.get("isEnabled", True)
    ):
        return []
    expression, timezone = schedule["cronExpression"], schedule["timezone"]
    parsed, zone = cron.parse(expression, timezone), ZoneInfo(timezone)
    jitter = schedule.get("jitterSeconds", 0)
    found: list[dict[str, Any]] = []
    slot = cron.next_slot(parsed, after)
    while slot is not None and len(found) < count:
        remarks = [cron.slot_note(parsed, slot)]
        if jitter:
            start = cron.jittered(job_id, slot, jitter, expression, timezone)
            start = start.replace(microsecond=0)
            remarks.append(f"starts at {views.instant(start)} (jitter)")
        note = "; ".join(remark for remark in remarks if remark)
        found.append(views.slot_json(slot, slot.astimezone(zone), note))
        slot = cron.next_slot(parsed, slot)
    return found
