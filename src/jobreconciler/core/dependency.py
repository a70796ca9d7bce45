"""Whether a job that waits for others is released now. Pure; called again and again (level).

What was consumed by the last release is remembered as one execution an upstream. An upstream's
latest outcome counts when it is another one than that. Dry runs, missed and skipped rows never
get here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from jobreconciler.model.execution import FAILED_STATUSES, RAN_STATUSES

UPSTREAM_FAILED: Final = "upstream_failed"

MATCHES: Final[Mapping[str, frozenset[str]]] = {
    "success": frozenset({"succeeded"}),
    "failure": FAILED_STATUSES,
    "completion": RAN_STATUSES,
}
"""A cancelled run was ended on purpose: it is a completion, neither a success nor a failure."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An upstream's latest final outcome."""

    execution_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Release:
    """`upstream`: what released it (or, skipped, what it waited for), in the file's order.

    `consumed` says, by upstream, up to which execution this release has used up.
    """

    kind: Literal["run", "skip"]
    upstream: tuple[str, ...]
    consumed: Mapping[str, str]


def decide(
    jobs: tuple[str, ...],
    on: str,
    mode: str,
    latest: Mapping[str, Ended],
    consumed: Mapping[str, str],
) -> Release | None:
    """None: it goes on waiting. `latest` and `consumed` (execution ids) are by upstream job."""
    fresh = {
        job: latest[job]
        for job in jobs
        if job in latest and latest[job].execution_id != consumed.get(job)
    }
    matching = [job for job in jobs if job in fresh and fresh[job].status in MATCHES[on]]
    used = {job: ended.execution_id for job, ended in fresh.items()}
    if mode == "any":
        if not matching:
            return None
        return Release("run", tuple(fresh[job].execution_id for job in matching), used)
    if len(fresh) < len(jobs):
        return None
    kind: Literal["run", "skip"] = "run" if len(matching) == len(jobs) else "skip"
    return Release(kind, tuple(fresh[job].execution_id for job in jobs), used)
