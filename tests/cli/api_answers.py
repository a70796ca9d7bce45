"""What the API answers, as the text functions get it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jobreconciler.cli.output import Page

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
PAGE = Page(NOW)
ID = "01978f3a-1c5d-7abc-8def-0123456789ab"


def execution(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "jobId": "nightly-report",
        "status": status,
        "trigger": {
            "type": "schedule",
            "slot": "2025-06-01T02:00:00Z",
            "actor": None,
            "reason": None,
            "deliveryId": None,
            "upstream": [],
            "parameters": {},
        },
        "retryOf": None,
        "missed": None,
        "revision": "a" * 40,
        "generation": 3,
        "configDigest": "d" * 64,
        "queuedAt": "2025-06-01T11:50:00Z",
        "notBefore": None,
        "waitsFor": None,
        "startedAt": "2025-06-01T11:50:01Z",
        "finishedAt": "2025-06-01T11:52:13Z",
        "exitCode": 0,
        "signal": None,
        "error": None,
        "attempts": [{"number": 1}],
        "progress": None,
        "metrics": {},
        "result": None,
        "dryRun": False,
        **more,
    }


def job(job_id: str = "nightly-report", **more: Any) -> dict[str, Any]:
    return {
        "jobId": job_id,
        "config": {
            "meta": {"id": job_id, "title": "The nightly report", "owner": "team-data"},
            "payload": {
                "jobType": "command",
                "isEnabled": True,
                "schedule": {"cronExpression": "0 2 * * *", "timezone": "Europe/Berlin"},
            },
        },
        "generation": 3,
        "observedGeneration": 3,
        "revision": "a" * 40,
        "file": f"jobs.d/{job_id}.yaml",
        "conditions": [],
        "lastExecution": execution(),
        "nextSlot": "2025-06-02T00:00:00Z",
        "suspension": None,
        "deletedAt": None,
        **more,
    }


def condition(type_: str, status: str, message: str = "") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": "Because",
        "message": message,
        "since": "2025-06-01T11:00:00Z",
    }
