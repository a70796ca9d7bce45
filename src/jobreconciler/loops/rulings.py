"""What a stop, a limit, a deadline or a changed job means for one execution. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from jobreconciler.core import cron, suspension
from jobreconciler.core.admission import WEBHOOK_QUEUE
from jobreconciler.errors import Stalled
from jobreconciler.loops.inflight import Held
from jobreconciler.model.execution import Trigger
from jobreconciler.model.job import PinnedJob
from jobreconciler.model.suspension import Suspension


def in_spite_of(stop: Suspension, job_id: str, trigger: Trigger) -> Trigger:
    """The trigger as it may start or wait under this stop. Raises Stalled."""
    if trigger.type != "manual":
        return trigger
    said = suspension.sentence(stop)
    if not trigger.override:
        raise Stalled(
            f"{job_id} may not be started: {said}",
            reason="Suspended",
            hint=f"`jobreconciler trigger {job_id} --override` starts it all the same",
        )
    return replace(trigger, in_spite_of=said)


def overlap_text(most: int, trigger: Trigger) -> str:
    if trigger.type == "webhook":
        return f"overlap: {WEBHOOK_QUEUE} of it wait already"
    return f"overlap: {most} of it may run at once, and that many do"


def no_more(pinned: PinnedJob | None) -> str | None:
    """Why nothing of a job may start any more; None: it may."""
    if pinned is None:
        return "its job was deleted"
    return None if pinned.config["payload"]["isEnabled"] else "its job was disabled"


def never_again(held: Held, no_more: str) -> str:
    return f"{no_more} before it could {'be tried again' if held.attempts else 'start'}"


def unwanted(held: Held) -> str | None:
    """Why it is not to start any more, where somebody stopped it or its job was given up."""
    if held.stopped_for is not None or held.no_more is None:
        return held.stopped_for
    return never_again(held, held.no_more)


def too_late(held: Held, now: datetime) -> datetime | None:
    """Its slot, where its first attempt may not begin any more. Read live, as all limits."""
    slot = held.execution.trigger.slot
    schedule = (held.live or held.config)["payload"].get("schedule") or {}
    deadline = schedule.get("startingDeadlineSeconds")
    if held.attempts or slot is None or deadline is None:
        return None
    if held.execution.trigger.type != "schedule":
        return None
    start = cron.jittered(
        held.job_id,
        slot,
        schedule.get("jitterSeconds", 0),
        schedule["cronExpression"],
        schedule["timezone"],
    )
    return slot if (now - start).total_seconds() > deadline else None
