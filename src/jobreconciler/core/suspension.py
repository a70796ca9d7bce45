"""Which stop of an operator holds for a job now, and how it is shown.

Suspensions live beside the config: nothing that comes from git sets or clears one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from jobreconciler.model.condition import Condition
from jobreconciler.model.suspension import Suspension


class Subject(NamedTuple):
    """What of a job decides whether a suspension covers it, as its live config has it."""

    job_id: str
    tags: tuple[str, ...] = ()
    owner: str | None = None


def subject_of(job_id: str, config: Mapping[str, Any]) -> Subject:
    meta = config.get("meta") or {}
    return Subject(job_id, tuple(meta.get("tags") or ()), meta.get("owner"))


def end_of(suspension: Suspension) -> datetime | None:
    """When it ended or will end by itself; None: only somebody's word ends it."""
    ends = [at for at in (suspension.until, suspension.lifted_at) if at is not None]
    return min(ends, default=None)


def is_active(suspension: Suspension, now: datetime) -> bool:
    """Holds at `now`. A clock that was set back before its start ends none."""
    end = end_of(suspension)
    return end is None or now < end


def covers(suspension: Suspension, subject: Subject) -> bool:
    if suspension.scope == "fleet":
        return True
    if suspension.scope == "job":
        return suspension.target == subject.job_id
    if suspension.scope == "owner":
        return suspension.target == subject.owner
    return suspension.target in subject.tags


_RANK = {"fleet": 0, "job": 1, "tag": 2, "owner": 3}


def holding(
    suspensions: Iterable[Suspension], subject: Subject, now: datetime
) -> Suspension | None:
    """The stop that holds for this job: the fleet's, its own, its tags', its owner's; of several
    the oldest."""
    found = [each for each in suspensions if is_active(each, now) and covers(each, subject)]
    return min(found, key=lambda s: (_RANK[s.scope], s.created_at, s.id), default=None)


def last_ended(
    suspensions: Iterable[Suspension], subject: Subject, after: datetime, now: datetime
) -> Suspension | None:
    """Of the stops of this job that ended after `after`, the one that ended last."""
    ended = [
        (end, each.id, each)
        for each in suspensions
        if (end := end_of(each)) is not None and after < end <= now and covers(each, subject)
    ]
    return max(ended, default=(None, 0, None))[2]


def next_end(suspensions: Iterable[Suspension], now: datetime) -> datetime | None:
    """When the next of them ends by itself."""
    ends = (end_of(each) for each in suspensions if is_active(each, now))
    return min((end for end in ends if end is not None), default=None)


def skip_reason(suspension: Suspension) -> str:
    """The machine's word for what was skipped because of it."""
    return "paused" if suspension.scope == "fleet" else "suspended"


def whom(scope: str, target: str | None) -> str:
    """Whom a stop is for, in words."""
    if scope == "fleet":
        return "the fleet"
    return f"{_SEVERAL[scope]} {target}" if scope in _SEVERAL else str(target)


_SEVERAL = {"tag": "jobs tagged", "owner": "jobs of"}


def sentence(suspension: Suspension) -> str:
    """What stops the job, for people: `suspended by ada until …: reason`."""
    several = f"{whom(suspension.scope, suspension.target)} are suspended"
    what = {"fleet": "the fleet is paused", "job": "suspended"}.get(suspension.scope, several)
    until = suspension.until
    ends = f" until {_instant(until.replace(microsecond=0))}" if until else ", until it is lifted"
    return f"{what} by {suspension.actor}{ends}" + (
        f": {suspension.reason}" if suspension.reason else ""
    )


def condition(suspension: Suspension) -> Condition:
    """The job's Suspended condition."""
    reason = "Paused" if suspension.scope == "fleet" else "Suspended"
    said = sentence(suspension)
    return Condition("Suspended", "True", reason, said, suspension.created_at)


def suspension_json(suspension: Suspension) -> dict[str, Any]:
    return {
        "id": suspension.id,
        "scope": suspension.scope,
        "target": suspension.target or None,
        "actor": suspension.actor,
        "reason": suspension.reason,
        "since": _instant(suspension.created_at),
        "until": None if suspension.until is None else _instant(suspension.until),
    }


def past_json(suspension: Suspension, now: datetime) -> dict[str, Any]:
    """The same with its end, as a list of all that ever held shows it. `endedAt` is null while it
    holds, `endedBy` also where it ended by itself."""
    end = None if is_active(suspension, now) else end_of(suspension)
    lifted = end is not None and end == suspension.lifted_at
    return {
        **suspension_json(suspension),
        "endedAt": None if end is None else _instant(end),
        "endedBy": suspension.lifted_by if lifted else None,
    }


def _instant(at: datetime) -> str:
    """RFC 3339; instants are in UTC everywhere."""
    return f"{at.replace(tzinfo=None).isoformat()}Z"
