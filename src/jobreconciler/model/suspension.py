"""An operator's temporary stop of one job, of the jobs of a tag or an owner, or of the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

SuspensionScope = Literal["job", "tag", "owner", "fleet"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """`target` is a job id, a tag or an owner; empty for the fleet, whose stop is called a pause.

    Holds from `created_at` until `until` (None: until somebody lifts it), the end excluded.
    `id` is the store's, 0 before it is stored.
    """

    scope: SuspensionScope
    target: str
    actor: str
    created_at: datetime
    reason: str | None = None
    until: datetime | None = None
    lifted_at: datetime | None = None
    lifted_by: str | None = None
    id: int = 0
