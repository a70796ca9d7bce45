"""Stored state and now → a status tree: json-render 0.20's flat spec `{root, elements, state}`.

`elements` is the same for every fleet and for every job: it only binds props to places under
`state` (`{"$state": "/fleet/counts"}`, inside a repeated element `{"$item": "lastRun/phase"}`).
So a live update touches `state` alone, one pointer at a time. A value a card does not have is
left out of `state`; its prop is then absent, or its element not visible.

json-render reads `$item` in the params of an action as the *path* of the item, so an action
inside a repeat names its execution by `$template`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from jobreconciler.core import views
from jobreconciler.core.catalog import CONTAINERS, TRIGGER_TYPES
from jobreconciler.core.render_words import (
    duration_text,
    failure_text,
    history_text,
    last_lines,
    run_seconds,
)
from jobreconciler.model.execution import Execution
from jobreconciler.model.job import StoredJob
from jobreconciler.model.views import FleetCounts, Live, Printed, SourceState

Json = dict[str, Any]

PHASE_OF_STATUS: Final = {
    "queued": "queued",
    "running": "running",
    "succeeded": "complete",
    "failed": "failed",
    "timed_out": "failed",
    "cancelled": "failed",
    "lost": "failed",
}
"""Missed and skipped executions stand in the history and are never a job's phase."""

LEVEL_OF_STATUS: Final = {
    "missed": "warn",
    "skipped": "warn",
    "cancelled": "warn",
    "failed": "error",
    "timed_out": "error",
    "lost": "error",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What one job's card is drawn from. `execution` is the newest one that ran or will run."""

    job: StoredJob
    execution: Execution | None = None
    live: Live | None = None
    next_run: datetime | None = None


def fleet_tree(
    counts: FleetCounts,
    source: SourceState | None,
    cards: Sequence[Card],
    now: datetime,
    *,
    next_cursor: str | None = None,
) -> Json:
    """The whole fleet and one page of its jobs. State: `/fleet`, `/jobs`, `/page`."""
    state = {
        "fleet": {
            "counts": views.counts_json(counts),
            "source": views.source_json(source),
            "metrics": _fleet_metrics(counts),
        },
        "jobs": [_card_state(card, now) for card in cards],
        "page": _present({"nextCursor": next_cursor}),
    }
    return {"root": "fleet", "elements": _FLEET_ELEMENTS, "state": state}


def job_tree(
    card: Card,
    history: Sequence[Execution],
    now: datetime,
    *,
    printed: Printed | None = None,
    next_cursor: str | None = None,
) -> Json:
    """One job, the newest of its executions, and the last lines of what runs. State: `/job` (the
    lines are its `log`), `/executions`, `/page`."""
    state = {
        "job": {**_card_state(card, now), "log": [] if printed is None else _log(printed)},
        "executions": [_history_row(execution) for execution in history],
        "page": _present({"nextCursor": next_cursor}),
    }
    return {"root": "job-page", "elements": _JOB_ELEMENTS, "state": state}


# ------------------------------------------------------------------------------------------ state


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _metric(label: str, value: float | str, color: str = "default") -> Json:
    return {"label": label, "value": value, "color": color}


def _fleet_metrics(counts: FleetCounts) -> list[Json]:
    return [
        _metric("Running", counts.running, "blue" if counts.running else "default"),
        _metric("Waiting", counts.queued),
        _metric("Failing", counts.failing, "red" if counts.failing else "green"),
        _metric("Suspended", counts.suspended, "amber" if counts.suspended else "default"),
        _metric("Held", counts.held, "amber" if counts.held else "default"),
        _metric("Invalid files", counts.invalid_files, "red" if counts.invalid_files else "green"),
    ]


def _card_state(card: Card, now: datetime) -> Json:
    job, execution = card.job, card.execution
    # Somebody may have broken a stored config by hand: its card must still be there.
    meta, payload = job.config.get("meta") or {}, _payload(job)
    if execution is not None and execution.status not in PHASE_OF_STATUS:
        execution = None
    return _present(
        {
            "jobId": job.job_id,
            "title": meta.get("title") or job.job_id,
            "description": meta.get("description") or None,
            "owner": meta.get("owner") or None,
            "tags": list(meta.get("tags", ())),
            "jobType": str(payload.get("jobType", "")),
            "enabled": _may_start(job),
            "triggers": _triggers(payload),
            "schedule": _schedule(payload),
            "retry": _retry(payload),
            "batchSize": payload.get("limits", {}).get("batchSize"),
            "conditions": [views.condition_json(condition) for condition in job.conditions],
            "generation": job.generation,
            "observedGeneration": job.observed_generation,
            "revision": job.revision,
            "file": job.path,
            "consecutiveFailures": job.consecutive_failures,
            "lastRun": None if execution is None else _run(execution),
            "progress": None if execution is None else _progress(execution, card.live),
            "metrics": _job_metrics(job, execution, card.live),
            "failure": None if execution is None else _failure(job, execution),
            "nextRun": _next_run(card, payload, now),
        }
    )


def _payload(job: StoredJob) -> Json:
    payload: Json = job.config.get("payload") or {}
    return payload


def _may_start(job: StoredJob) -> bool:
    return bool(_payload(job).get("isEnabled", True)) and job.deleted_at is None


def _triggers(payload: Json) -> list[str]:
    """What starts the job by itself; `manual` where nothing does, as the list's filter has it."""
    return [name for name in TRIGGER_TYPES if name != "manual" and payload.get(name)] or ["manual"]


def _schedule(payload: Json) -> Json | None:
    schedule = payload.get("schedule")
    if schedule is None:
        return None
    return {
        "cronExpression": schedule.get("cronExpression", ""),
        "timezone": schedule.get("timezone", "UTC"),
        "isEnabled": bool(schedule.get("isEnabled", True)),
    }


def _retry(payload: Json) -> Json | None:
    retry = payload.get("retry")
    if retry is None:
        return None
    return _present(
        {
            "maxAttempts": retry.get("maxAttempts", 1),
            "backoffStrategy": retry.get("backoffStrategy"),
        }
    )


def _next_run(card: Card, payload: Json, now: datetime) -> Json | None:
    """A slot that has come is being handled: there is nothing left to count down to."""
    if card.next_run is None or card.next_run <= now:
        return None
    timezone = (payload.get("schedule") or {}).get("timezone", "UTC")
    return {"at": views.instant(card.next_run), "timezone": timezone}


def _run(execution: Execution) -> Json:
    return _present(
        {
            "executionId": execution.id,
            "status": execution.status,
            "phase": PHASE_OF_STATUS[execution.status],
            "trigger": execution.trigger.type,
            "queuedAt": views.instant(execution.queued_at),
            "attempts": len(execution.attempts),
            "dryRun": execution.dry_run,
            "startedAt": views.instant_or_none(execution.started_at),
            "completedAt": views.instant_or_none(execution.finished_at),
            "durationSeconds": run_seconds(execution),
        }
    )


def _progress(execution: Execution, live: Live | None) -> Json | None:
    reported = (live.progress if live is not None else None) or execution.progress
    if reported is None:
        return None
    done, total = max(reported[0], 0), max(reported[1], 0)
    if total:
        percentage = round(min(100.0 * done / total, 100.0), 1)
    else:
        percentage = 100.0 if execution.status == "succeeded" else 0.0
    return {"itemsProcessed": done, "itemsTotal": total, "percentage": percentage}


def _job_metrics(job: StoredJob, execution: Execution | None, live: Live | None) -> list[Json]:
    figures: list[Json] = []
    seconds = None if execution is None else run_seconds(execution)
    if seconds is not None:
        figures.append(_metric("Duration", duration_text(seconds)))
    if job.consecutive_failures:
        figures.append(_metric("Failures in a row", job.consecutive_failures, "red"))
    if execution is not None:
        reported = (live.metrics if live is not None else None) or execution.metrics
        figures.extend(_reported(name, reported[name]) for name in sorted(reported))
    return figures


def _reported(name: str, value: Any) -> Json:
    """A figure the job reported itself: a number, a text, or `{value, unit}`."""
    if isinstance(value, dict):
        number, unit = value.get("value"), value.get("unit")
        value = f"{_plain(number)} {unit}" if unit else number
    return _metric(name, _plain(value))


def _plain(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return value


def _failure(job: StoredJob, execution: Execution) -> Json | None:
    """The alert of a failed execution; it can be retried while its job may be started at all."""
    if PHASE_OF_STATUS[execution.status] != "failed":
        return None
    retries = max(len(execution.attempts) - 1, 0)
    return _present(
        {
            "executionId": execution.id,
            "error": failure_text(execution),
            "retryable": _may_start(job),
            "retryCount": retries or None,
        }
    )


def _log(printed: Printed) -> list[Json]:
    """A line says not when it came: each has the instant of the newest."""
    at = views.instant(printed.at)
    return [
        {"timestamp": at, "level": "info", "message": line} for line in last_lines(printed.data)
    ]


def _history_row(execution: Execution) -> Json:
    at = execution.finished_at or execution.started_at or execution.queued_at
    return _present(
        {
            "id": execution.id,
            "status": execution.status,
            "trigger": execution.trigger.type,
            "timestamp": views.instant(at),
            "level": LEVEL_OF_STATUS.get(execution.status, "info"),
            "message": history_text(execution),
            "dryRun": execution.dry_run,
            "durationSeconds": run_seconds(execution),
            "revision": execution.revision or None,
        }
    )


# --------------------------------------------------------------------------------------- elements


def _element(kind: str, props: Json, children: Sequence[str] = (), **rest: Any) -> Json:
    return {"type": kind, "props": props, "children": list(children), **rest}


_CARD_PROPS: Final = tuple(CONTAINERS["JobCard"]["props"]["properties"])
_CARD_CHILDREN: Final = ("phase", "progress", "metrics", "failure", "next")


def _card_elements(bind: str, base: str, execution_id: Json) -> dict[str, Json]:
    """A card and its five children. `bind` is `$state` or `$item`, `base` their prefix."""

    def at(path: str) -> Json:
        return {bind: f"{base}{path}"}

    def bound(prefix: str, *names: str) -> Json:
        return {name: at(f"{prefix}/{name}") for name in names}

    retry = {"press": {"action": "retryExecution", "params": {"executionId": execution_id}}}
    return {
        "card": _element("JobCard", {name: at(name) for name in _CARD_PROPS}, _CARD_CHILDREN),
        "phase": _element(
            "JobPhaseIndicator",
            bound("lastRun", "phase", "startedAt", "completedAt"),
            visible=at("lastRun"),
        ),
        "progress": _element(
            "JobProgressBar",
            bound("progress", "itemsProcessed", "itemsTotal", "percentage"),
            visible=at("progress"),
        ),
        "metrics": _element("JobMetricRow", {"metrics": at("metrics")}, visible=at("metrics/0")),
        "failure": _element(
            "JobErrorAlert",
            bound("failure", "error", "retryable", "retryCount"),
            visible=at("failure"),
            on=retry,
        ),
        "next": _element(
            "NextRunCountdown",
            {"nextRunAt": at("nextRun/at"), "timezone": at("nextRun/timezone")},
            visible=at("nextRun"),
        ),
    }


_FLEET_ELEMENTS: Final[dict[str, Json]] = {
    "fleet": _element("Stack", {"direction": "column"}, ("summary", "jobs")),
    "summary": _element(
        "FleetSummary",
        {"counts": {"$state": "/fleet/counts"}, "source": {"$state": "/fleet/source"}},
        ("fleet-metrics",),
    ),
    "fleet-metrics": _element("JobMetricRow", {"metrics": {"$state": "/fleet/metrics"}}),
    "jobs": _element(
        "Stack",
        {"direction": "grid", "title": "Jobs"},
        ("card",),
        repeat={"statePath": "/jobs", "key": "jobId"},
    ),
    **_card_elements("$item", "", {"$template": "${failure/executionId}"}),
}

_LOG_ENTRY: Final = {name: {"$item": name} for name in ("timestamp", "level", "message")}

_JOB_ELEMENTS: Final[dict[str, Json]] = {
    "job-page": _element("Stack", {"direction": "column"}, ("card", "log", "history")),
    **_card_elements("$state", "/job/", {"$state": "/job/failure/executionId"}),
    "log": _element(
        "Stack",
        {"direction": "column", "title": "Output"},
        ("line",),
        repeat={"statePath": "/job/log"},
        visible={"$state": "/job/log/0"},
    ),
    "line": _element("JobLogEntry", _LOG_ENTRY),
    "history": _element(
        "ExecutionHistory",
        {"executions": {"$state": "/executions"}, "nextCursor": {"$state": "/page/nextCursor"}},
        ("entry",),
        repeat={"statePath": "/executions", "key": "id"},
    ),
    "entry": _element("JobLogEntry", _LOG_ENTRY),
}
