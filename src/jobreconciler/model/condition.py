"""Conditions: what is true of a job or of the source right now, why, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ConditionType = Literal[
    "Ready",
    "Stalled",
    "Held",
    "Suspended",
    "Drifted",
    "PruneBlocked",
    "SourceReady",
    "Late",
    "Overrunning",
]
ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """`reason` is one CamelCase word for machines, `message` a sentence for people."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str
    since: datetime
