"""What the command line's tests share: an answer, and a small valid job file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Answer:
    """What one call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def widest(self) -> int:
        return max((len(line) for line in self.out.splitlines()), default=0)


Cli = Callable[..., Answer]
JobFile = Callable[..., Path]


def valid_job(job_id: str, cron: str = "0 2 * * *", timezone: str = "UTC") -> str:
    return (
        f"meta:\n  id: {job_id}\n"
        "payload:\n  jobType: command\n"
        f'  schedule: {{cronExpression: "{cron}", timezone: {timezone}}}\n'
        '  parameters: {argv: ["true"]}\n'
    )
