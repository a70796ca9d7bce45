"""What of the past may go: ended executions and their output. Pure; the store only asks for pages.

Uniqueness of slots never rests on these rows: each job's watermark stays (see scheduling).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobreconciler.model.execution import RAN_STATUSES, ExecutionStatus


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the past is kept. The changelog is kept for ever."""

    executions: timedelta = timedelta(days=30)
    executions_a_job: int = 20
    output: timedelta = timedelta(days=7)
    output_bytes: int = 10 * 2**30


@dataclass(frozen=True, slots=True)
class PastExecution:
    """One execution that has ended, whatever became of it."""

    id: str
    status: ExecutionStatus
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Output:
    """What one execution left in the spool: bytes of all its attempts, and when it last wrote."""

    execution_id: str
    size: int
    written_at: datetime


def executions_to_forget(
    newest_first: Iterable[PastExecution], retention: Retention, now: datetime
) -> list[str]:
    """Of one job's ended executions those that are both old and not among its last ones.

    Runs and rows that say why nothing ran are counted apart: a job that is skipped every minute
    keeps its last runs all the same.
    """
    oldest_kept = now - retention.executions
    seen = {True: 0, False: 0}
    gone = []
    for execution in newest_first:
        ran = execution.status in RAN_STATUSES
        seen[ran] += 1
        if seen[ran] > retention.executions_a_job and execution.finished_at < oldest_kept:
            gone.append(execution.id)
    return gone


def outputs_to_forget(
    outputs: Sequence[Output], unfinished: Collection[str], retention: Retention, now: datetime
) -> list[Output]:
    """Output that is too old, then the oldest until the rest fits, oldest first.

    What belongs to an unfinished execution counts towards the size and is never named.
    """
    oldest_kept = now - retention.output
    total = sum(output.size for output in outputs)
    gone = []
    for output in sorted(outputs, key=lambda output: (output.written_at, output.execution_id)):
        if output.execution_id in unfinished:
            continue
        if output.written_at >= oldest_kept and total <= retention.output_bytes:
            continue
        total -= output.size
        gone.append(output)
    return gone
