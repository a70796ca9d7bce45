"""Words that people choose among, over HTTP, on the command line and in the store alike."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["reader", "operator", "admin"]
JobState = Literal[
    "enabled", "disabled", "suspended", "held", "running", "failing", "late", "overrunning"
]
JobSort = Literal["attention", "next", "last", "name"]
JobTrigger = Literal["schedule", "webhook", "manual", "dependency"]

ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may."""

STATES: tuple[JobState, ...] = get_args(JobState)
SORTS: tuple[JobSort, ...] = get_args(JobSort)
TRIGGERS: tuple[JobTrigger, ...] = get_args(JobTrigger)
"""What can start a job; `manual` are jobs that nothing else starts."""
