"""Jobs and executions as values, for tests of what is shown of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobreconciler.model.condition import Condition
from jobreconciler.model.execution import Attempt, Execution, Missed, Trigger
from jobreconciler.model.job import StoredJob
from jobreconciler.model.views import FleetCounts, SourceState

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
REVISION = "c0ffee" + "0" * 34


def config(job_id: str = "nightly", **payload: Any) -> dict[str, Any]:
    """A normalised config: every default filled in, unset optional fields left out."""
    return {
        "meta": {
            "id": job_id,
            "type": "job-config",
            "version": "1",
            "environments": [],
            "title": f"The {job_id} job",
            "owner": "team-a",
            "tags": ["batch"],
        },
        "payload": {
            "jobType": "command",
            "isEnabled": True,
            "priority": 50,
            "schedule": {
                "cronExpression": "0 * * * *",
                "timezone": "Europe/Berlin",
                "isEnabled": True,
                "catchUp": "latest",
                "jitterSeconds": 0,
            },
            "manual": {"allowParameters": []},
            "retry": {"maxAttempts": 3, "backoffStrategy": "exponential"},
            "limits": {"timeoutSeconds": 3600, "maxConcurrent": 1, "overlap": "skip"},
            "parameters": {"argv": ["true"], "env": {"TOKEN": {"env": "SOME_TOKEN"}}},
            **payload,
        },
    }


def job(job_id: str = "nightly", **changes: Any) -> StoredJob:
    stored = StoredJob(
        job_id=job_id,
        path=f"jobs.d/{job_id}.yaml",
        blob="b" * 40,
        defaults_blob="",
        revision=REVISION,
        generation=2,
        observed_generation=2,
        digest="d" * 64,
        config=config(job_id),
        conditions=(),
        created_at=NOW - timedelta(days=3),
        updated_at=NOW - timedelta(days=1),
    )
    return replace(stored, **changes)


def execution(status: str = "succeeded", *, number: int = 1, **changes: Any) -> Execution:
    """Started a minute ago and, where the status is final, ended 42 s later."""
    started = NOW - timedelta(seconds=60)
    waits = status in {"queued", "missed", "skipped"}
    ends = status not in {"queued", "running"}
    made = Execution(
        id=f"0195a000-0000-7000-8000-{number:012d}",
        job_id="nightly",
        status=status,  # type: ignore[arg-type]
        trigger=Trigger("schedule", slot=started),
        queued_at=started,
        revision=REVISION,
        generation=2,
        config_digest="d" * 64,
        started_at=None if waits else started,
        finished_at=started + timedelta(seconds=42) if ends else None,
        attempts=() if waits else (Attempt(1, started),),
    )
    return replace(made, **changes)


FAILED = execution(
    "failed",
    exit_code=3,
    attempts=(Attempt(1, NOW), Attempt(2, NOW), Attempt(3, NOW)),
)
MISSED = execution(
    "missed",
    number=2,
    missed=Missed(NOW - timedelta(hours=5), NOW - timedelta(hours=1), 5, "daemon_down"),
)
SKIPPED = execution("skipped", number=3, error="overlap")

HELD = Condition("Held", "True", "InvalidFile", "line 4: unknown key", NOW)
COUNTS = FleetCounts(
    jobs=3, enabled=2, disabled=1, suspended=1, failing=1, running=1, invalid_files=1
)
SOURCE = SourceState(
    revision=REVISION,
    observed_revision=REVISION,
    environment="production",
    reader_version="1",
    last_success_at=NOW,
    author="Ada Lovelace",
    message="Run it every hour",
    committed_at="2026-03-14T10:00:00+01:00",
)
