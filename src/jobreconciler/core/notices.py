"""Who is told of what, and how often. Pure.

- `onSuccess`: every success. `onRecovery`: the first success after a failure; a channel in both
  lists gets that one message, not two.
- `onFailure`: the last attempt failed, timed out or was lost. `onMissed`: slots that nobody
  started, a job that is late, a run that takes too long. Each of these is a state: its beginning is
  told once, then once a day while it lasts.
- A success ends `failure`, `missed` and `late`. Cancelled, skipped and dry runs tell nobody
  anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from jobreconciler.core.audit import canonical_json
from jobreconciler.core.views import instant_or_none as _text
from jobreconciler.model.execution import FAILED_STATUSES, Execution, Outcome
from jobreconciler.model.notice import Decision, Notice, NoticeEvent, Occurrence, Standing

REPEAT = timedelta(days=1)
_SLACK = timedelta(hours=1)
"""A job that fails daily does so a few seconds earlier or later each day."""

LISTS: Mapping[NoticeEvent, str] = {
    "success": "onSuccess",
    "failure": "onFailure",
    "missed": "onMissed",
    "late": "onMissed",
    "overrunning": "onMissed",
    "recovery": "onRecovery",
}
ENDED_BY_SUCCESS = frozenset({"failure", "missed", "late"})

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=1)


def wanted(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A config's notifications; None where nobody is to be told of anything."""
    notifications: Mapping[str, Any] | None = config["payload"].get("notifications")
    if not notifications or not any(notifications.get(name) for name in LISTS.values()):
        return None
    return notifications


def of_outcome(
    execution: Execution,
    config: Mapping[str, Any],
    outcome: Outcome,
    attempt: int,
    started_at: datetime | None,
) -> Occurrence | None:
    """The end of an execution's last attempt; None where it concerns nobody."""
    notifications = wanted(config)
    if notifications is None or execution.dry_run or outcome.status == "cancelled":
        return None
    facts = {
        **_facts(execution, config),
        "status": outcome.status,
        "error": outcome.error,
        "exitCode": outcome.exit_code,
        "signal": outcome.signal,
        "attempt": attempt,
        "startedAt": _text(started_at),
        "finishedAt": _text(outcome.finished_at),
        "tookSeconds": None if started_at is None else _seconds(outcome.finished_at - started_at),
        "outputBytes": outcome.output_bytes,
    }
    return Occurrence(
        execution.job_id,
        "failure" if outcome.status in FAILED_STATUSES else "success",
        outcome.finished_at,
        notifications,
        execution.id,
        facts,
    )


def of_missed(execution: Execution, config: Mapping[str, Any]) -> Occurrence | None:
    """Slots that nobody started, as the execution with status `missed` records them."""
    notifications = wanted(config)
    missed = execution.missed
    if notifications is None or missed is None:
        return None
    facts = {
        **_facts(execution, config),
        "status": "missed",
        "error": missed.reason,
        "missed": {
            "from": _text(missed.first),
            "to": _text(missed.last),
            "count": missed.count,
            "reason": missed.reason,
        },
    }
    at = execution.finished_at or execution.queued_at
    return Occurrence(execution.job_id, "missed", at, notifications, execution.id, facts)


def of_state(
    job_id: str,
    event: NoticeEvent,
    config: Mapping[str, Any],
    at: datetime,
    message: str,
    *,
    since: datetime | None = None,
    execution: Execution | None = None,
) -> Occurrence | None:
    """A job that is `late` or `overrunning` now. May be said again and again while it lasts."""
    notifications = wanted(config)
    if notifications is None:
        return None
    facts = {**_job_facts(job_id, config), "status": event, "error": message}
    if execution is not None:
        facts |= _facts(execution, config)
        facts["startedAt"] = _text(execution.started_at)
    execution_id = None if execution is None else execution.id
    return Occurrence(job_id, event, at, notifications, execution_id, facts, since=since)


def still_failing(
    execution: Execution, config: Mapping[str, Any], at: datetime
) -> Occurrence | None:
    """The daily reminder of a job whose newest run failed and that has not succeeded since."""
    notifications = wanted(config)
    if notifications is None or not notifications.get("onFailure"):
        return None
    attempts = execution.attempts
    facts = {
        **_facts(execution, config),
        "status": execution.status,
        "error": execution.error,
        "exitCode": execution.exit_code,
        "signal": execution.signal,
        "attempt": attempts[-1].number if attempts else 1,
        "startedAt": _text(execution.started_at),
        "finishedAt": _text(execution.finished_at),
    }
    return Occurrence(
        execution.job_id, "failure", at, notifications, execution.id, facts, repeat=True
    )


def _job_facts(job_id: str, config: Mapping[str, Any]) -> dict[str, Any]:
    meta = config["meta"]
    return {
        "jobId": job_id,
        "jobTitle": meta.get("title"),
        "owner": meta.get("owner"),
        "maxAttempts": (config["payload"].get("retry") or {}).get("maxAttempts", 1),
    }


def _facts(execution: Execution, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_job_facts(execution.job_id, config),
        "executionId": execution.id,
        "trigger": execution.trigger.type,
        "slot": _text(execution.trigger.slot),
        "revision": execution.revision,
    }


# ------------------------------------------------------------------------------------ deciding


def decide(
    occurrence: Occurrence, standing: Mapping[str, Standing], *, failing: bool = False
) -> Decision:
    """What to send, and which states then stand.

    `standing` are the job's states that were told of; `failing`: its run before this one failed.
    """
    if occurrence.event == "success":
        return _succeeded(occurrence, standing, failing or "failure" in standing)
    known = standing.get(occurrence.event)
    channels = _channels(occurrence, occurrence.event)
    patience = REPEAT if occurrence.repeat else REPEAT - _SLACK
    if not channels or (known is not None and occurrence.at - known.last_at < patience):
        return Decision()
    if known is None and occurrence.repeat:
        return Decision()
    since = (occurrence.since or occurrence.at) if known is None else known.since
    lasts = known is not None and since < occurrence.at
    notices = _notices(occurrence, occurrence.event, channels, since, repeat=lasts)
    return Decision(notices, {occurrence.event: Standing(since, occurrence.at)})


def _succeeded(occurrence: Occurrence, standing: Mapping[str, Standing], failing: bool) -> Decision:
    told = standing.get("failure")
    recovered = _channels(occurrence, "recovery") if failing else ()
    pleased = tuple(c for c in _channels(occurrence, "success") if c not in recovered)
    notices = (
        *_notices(occurrence, "recovery", recovered, None if told is None else told.since),
        *_notices(occurrence, "success", pleased, None),
    )
    return Decision(notices, ended=ENDED_BY_SUCCESS & standing.keys())


def _channels(occurrence: Occurrence, event: NoticeEvent) -> tuple[str, ...]:
    """Names of the channels to tell, without those that are not defined."""
    notifications = occurrence.notifications
    defined = notifications.get("channels") or {}
    return tuple(name for name in notifications.get(LISTS[event]) or () if name in defined)


def _notices(
    occurrence: Occurrence,
    event: NoticeEvent,
    names: tuple[str, ...],
    since: datetime | None,
    *,
    repeat: bool = False,
) -> tuple[Notice, ...]:
    made = []
    for name in names:
        channel = occurrence.notifications["channels"][name]
        content = {
            **occurrence.facts,
            "event": event,
            "at": _text(occurrence.at),
            "since": _text(since),
            "repeat": repeat,
            "includeLogs": bool(occurrence.notifications.get("includeLogs", True)),
            "channel": {"name": name, **channel},
        }
        made.append(
            Notice(
                _notice_id(occurrence, event, name),
                occurrence.job_id,
                event,
                f"{name}/{_digest(canonical_json(channel))[:12]}",
                content,
                occurrence.at,
                occurrence.execution_id,
            )
        )
    return tuple(made)


def _notice_id(occurrence: Occurrence, event: str, channel: str) -> str:
    """One occurrence, event and channel have one id, whoever asks and however often."""
    at = _text(occurrence.at) or ""
    parts = (occurrence.job_id, occurrence.execution_id or "", event, at, channel)
    return _digest("\n".join(parts))[:32]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def try_again_at(notice: Notice, now: datetime) -> datetime | None:
    """When to send a notice whose attempt number `attempts + 1` just failed; None: never again."""
    pause = min(FIRST_PAUSE * 2 ** min(notice.attempts, 20), LONGEST_PAUSE)
    again = now + pause
    return None if again - notice.created_at > GIVE_UP_AFTER else again


def _seconds(length: timedelta) -> float:
    return round(max(0.0, length.total_seconds()), 3)
