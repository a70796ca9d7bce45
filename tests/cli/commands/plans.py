"""Plans as values, in the documented JSON shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)


def plan(*changes: dict[str, Any]) -> dict[str, Any]:
    actions = [each["action"] for each in changes]
    names = ("create", "update", "move", "delete", "hold")
    return {
        "base": "b" * 40,
        "revision": "a" * 40,
        "changes": list(changes),
        "errors": [],
        "summary": {**{name: actions.count(name) for name in names}, "unchanged": 0},
        "blocked": None,
        "refused": None,
        "impact": None,
    }


def change(job_id: str, action: str, **more: Any) -> dict[str, Any]:
    return {
        "jobId": job_id,
        "action": action,
        "file": f"jobs.d/{job_id}.yaml",
        "oldFile": None,
        "reason": None,
        "message": "",
        "fields": [],
        "impact": None,
        "errors": [],
        **more,
    }
