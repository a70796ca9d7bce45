"""Late and Overrunning: what a job's `expect` says of its last success and of its running attempt.

Computed whenever somebody looks, from stored instants and now; nothing is polled for a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobreconciler.model.condition import Condition


@dataclass(frozen=True, slots=True)
class Limits:
    """When a job becomes late, and when what runs of it overruns; None: never, as things stand."""

    late_after: datetime | None = None
    overrun_after: datetime | None = None


def limits(
    config: Mapping[str, Any],
    *,
    last_success: datetime | None,
    known_since: datetime,
    running_since: datetime | None,
) -> Limits:
    """A job that never succeeded is measured from `known_since`, when it was declared; a disabled
    one is never late."""
    payload = config.get("payload") or {}
    expect = payload.get("expect") or {}
    success_within, runtime_within = expect.get("successWithin"), expect.get("runtimeWithin")
    late_after = overrun_after = None
    if success_within is not None and payload.get("isEnabled", True):
        since = known_since if last_success is None else max(last_success, known_since)
        late_after = since + timedelta(seconds=success_within)
    if runtime_within is not None and running_since is not None:
        overrun_after = running_since + timedelta(seconds=runtime_within)
    return Limits(late_after, overrun_after)


@dataclass(frozen=True, slots=True)
class Unmet:
    """An expectation of one job that is not met now: its condition, and the job's live config."""

    job_id: str
    condition: Condition
    config: dict[str, Any]


def next_end(found: Limits, now: datetime) -> datetime | None:
    """When the next of its limits will be passed, as things stand."""
    coming = (at for at in (found.late_after, found.overrun_after) if at is not None and at >= now)
    return min(coming, default=None)


def conditions(found: Limits, now: datetime) -> tuple[Condition, ...]:
    """The conditions that hold at `now`; exactly at the limit nothing is late yet."""
    said = []
    if found.late_after is not None and now > found.late_after:
        said.append(
            Condition(
                "Late",
                "True",
                "NoRecentSuccess",
                "its last success is longer ago than expect.successWithin allows",
                found.late_after,
            )
        )
    if found.overrun_after is not None and now > found.overrun_after:
        said.append(
            Condition(
                "Overrunning",
                "True",
                "RunsTooLong",
                "what runs takes longer than expect.runtimeWithin allows; it is not stopped",
                found.overrun_after,
            )
        )
    return tuple(said)
