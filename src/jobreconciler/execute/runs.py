"""One attempt as the executor knows it, and how its result reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobreconciler.execute import capture, processes, spool
from jobreconciler.model.execution import Outcome


@dataclass(slots=True)
class Run:
    """One attempt and the process that has it.

    The server tells of the ends of what it launched; `pidfd` watches everything else. `to_stop`:
    a stop was asked for, which whoever has it next is told of too. `doubted`: nobody can tell
    whether it was begun.
    """

    execution_id: str
    attempt: int
    directory: str
    boot: str = ""
    pid: int = 0
    pid_started: int = 0
    pidfd: int = -1
    to_stop: bool = False
    doubted: bool = False
    result: Mapping[str, Any] | None = None


def clear_away(run: Run) -> bool:
    """Kills what is left of a run and joins what it printed. Whether there was anything of it."""
    killed = processes.kill_run(run.execution_id, spool.job_of(run.directory))
    try:
        left = capture.pieces(run.directory)
        if left:
            capture.compact(run.directory, left[0][0] * 2)
            capture.sweep(run.directory)
    except FileNotFoundError:
        left = []
    return bool(killed or left)


def outcome(result: Mapping[str, Any]) -> Outcome:
    return Outcome(
        status=result["status"],
        finished_at=datetime.fromisoformat(result["finishedAt"]),
        exit_code=result["exitCode"],
        signal=result["signal"],
        error=result["error"],
        result=result["result"],
        progress=pair(result["progress"]),
        metrics=result["metrics"],
        output_bytes=result["outputBytes"],
        output_dropped=result["outputDropped"],
    )


def pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))
