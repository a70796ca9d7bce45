"""Executions and their attempts. Every change of state is a conditional update: who comes second
changes nothing and is told so. The unique (job, slot) and the watermark are what keeps a slot from
running twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobreconciler.errors import NotFound
from jobreconciler.model.execution import Attempt, Execution, Missed, Outcome
from jobreconciler.model.notice import Occurrence
from jobreconciler.ports import Ending
from jobreconciler.store import outbox, tables
from jobreconciler.store.execution_rows import execution_row, outcome_columns
from jobreconciler.store.faults import is_foreign_key
from jobreconciler.store.rows import micros, micros_or_none, storable, storable_or_none, to_json
from jobreconciler.store.sql import Statement, Tx, insert

_PIN = insert(tables.config_versions, "ON CONFLICT DO NOTHING")
_INSERT = insert(tables.job_executions, "ON CONFLICT (job_id, slot) DO NOTHING")
_MOVE_WATERMARK = Statement(
    "UPDATE job_states SET watermark = :slot "
    "WHERE job_id = :job_id AND (watermark IS NULL OR watermark < :slot)"
)
_POINT_TO = Statement("UPDATE job_states SET last_execution_id = :id WHERE job_id = :job_id")
_START = Statement(
    "UPDATE job_executions SET status = 'running', attempt = :number, not_before = NULL, "
    "started_at = coalesce(started_at, :started_at) WHERE id = :execution_id AND status = 'queued'"
)
_UNCLAIM = Statement(
    "UPDATE job_executions SET status = 'queued', attempt = :attempt - 1, "
    "started_at = CASE WHEN :attempt = 1 THEN NULL ELSE started_at END "
    "WHERE id = :id AND status = 'running' AND attempt = :attempt"
)
_DROP_ATTEMPT = Statement(
    "DELETE FROM execution_attempts WHERE execution_id = :id AND number = :attempt"
)
_ADD_ATTEMPT = insert(
    tables.execution_attempts,
    leave_out=("output_bytes", "output_dropped", "pid", "pid_started", "boot_id"),
)
_FINISH = Statement(
    "UPDATE job_executions SET status = :status, finished_at = :finished_at, "
    "exit_code = :exit_code, signal = :signal, error = :error, progress = :progress, "
    "metrics = :metrics, result = :result "
    "WHERE id = :id AND status = 'running' AND attempt = :attempt"
)
_RETRY = Statement(
    "UPDATE job_executions SET status = 'queued', not_before = :not_before, "
    "exit_code = :exit_code, signal = :signal, error = :error, progress = :progress, "
    "metrics = :metrics, result = :result "
    "WHERE id = :id AND status = 'running' AND attempt = :attempt"
)
_END_ATTEMPT = Statement(
    "UPDATE execution_attempts SET finished_at = :finished_at, exit_code = :exit_code, "
    "signal = :signal, error = :error, output_bytes = :output_bytes, "
    "output_dropped = :output_dropped WHERE execution_id = :id AND number = :attempt"
)
_OF_EXECUTION = (
    "job_id = (SELECT e.job_id FROM job_executions e WHERE e.id = :id AND NOT e.dry_run)"
)
# Of every kind of end in one statement: as many as come together are written in their own order.
_FIGURES = Statement(
    "UPDATE job_states SET last_status = :status, "
    "last_run_at = CASE WHEN last_run_at > :finished_at THEN last_run_at ELSE :finished_at END, "
    "last_success_at = CASE WHEN :status <> 'succeeded' OR last_success_at > :finished_at "
    "THEN last_success_at ELSE :finished_at END, "
    "consecutive_failures = CASE :status WHEN 'succeeded' THEN 0 "
    "WHEN 'cancelled' THEN consecutive_failures ELSE consecutive_failures + 1 END "
    f"WHERE {_OF_EXECUTION}"
)
_CANCEL = Statement(
    "UPDATE job_executions SET status = 'cancelled', finished_at = :at, error = :reason, "
    "not_before = NULL WHERE id = :id AND status = 'queued'"
)
_EXTEND_SKIPPED = Statement(
    "UPDATE job_executions SET missed_to = :last, missed_count = missed_count + :count, "
    "finished_at = :at WHERE id = (SELECT id FROM job_executions WHERE job_id = :job_id "
    "AND queued_at >= :since AND status = 'skipped' AND missed_reason = :reason "
    "ORDER BY queued_at DESC, id DESC LIMIT 1)"
)
_DROP = Statement(
    "UPDATE job_executions SET status = :status, finished_at = :at, error = :error, "
    "slot = NULL, missed_from = :first, missed_to = :last, missed_count = :count, "
    "missed_reason = :reason WHERE id = :id AND status = 'queued'"
)
_POINT_BACK = Statement(
    "UPDATE job_states SET last_execution_id = (SELECT e.id FROM job_executions e "
    "WHERE e.job_id = job_states.job_id AND e.status NOT IN ('missed', 'skipped') "
    "ORDER BY e.queued_at DESC, e.id DESC LIMIT 1) WHERE last_execution_id = :id "
    "AND job_id = (SELECT e.job_id FROM job_executions e WHERE e.id = :id)"
)
_NOTHING_MISSED = dict.fromkeys(("first", "last", "count", "reason"))
_KNOWN_DIGESTS = 10_000


class Pinned:
    """Digests whose config is stored already, so that it is not written out for every run."""

    def __init__(self) -> None:
        self._digests: set[str] = set()
        self.forgotten = 0
        """How many times it forgot; as long as that stays, it knows all that was pinned since."""

    def __contains__(self, digest: str) -> bool:
        return digest in self._digests

    def forget(self) -> None:
        """What was pinned last may have been rolled back."""
        self._digests.clear()
        self.forgotten += 1

    def pin(self, tx: Tx, digest: str, config: Mapping[str, Any]) -> None:
        if digest in self._digests:
            return
        tx.run(_PIN, {"digest": digest, "config": to_json(config)})
        if len(self._digests) >= _KNOWN_DIGESTS:
            self.forget()
        self._digests.add(digest)


def release(
    tx: Tx,
    execution: Execution,
    config: Mapping[str, Any],
    pinned: Pinned,
    told: Occurrence | None = None,
) -> bool:
    """See ports.Store.release. Raises NotFound for a job that never was."""
    if not _claim(tx, execution):
        return False
    pinned.pin(tx, execution.config_digest, config)
    try:
        if tx.run(_INSERT, execution_row(execution)) == 0:
            return False
    except Exception as error:
        if is_foreign_key(error):
            raise NotFound(f"there is no job {execution.job_id!r}") from None
        raise
    if execution.status not in ("missed", "skipped"):
        tx.run(_POINT_TO, {"id": execution.id, "job_id": execution.job_id})
    if told is not None:
        outbox.tell(tx, told)
    return True


def release_all(
    tx: Tx,
    released: Sequence[tuple[Execution, Mapping[str, Any], Attempt | None]],
    pinned: Pinned,
) -> list[bool]:
    """See ports.Store.release_all."""
    if len(released) > 1 and all(_is_plain(execution) for execution, _, _ in released):
        for execution, config, _ in released:
            pinned.pin(tx, execution.config_digest, config)
        rows = [execution_row(execution) for execution, _, _ in released]
        begun = [
            _attempt_row(execution.id, attempt)
            for execution, _, attempt in released
            if attempt is not None
        ]
        if tx.all_or_none(
            (_MOVE_WATERMARK, rows),
            (_INSERT, rows),
            (_POINT_TO, rows),
            (_START, begun),
            (_ADD_ATTEMPT, begun),
        ):
            return [True] * len(released)
    written = []
    for execution, config, attempt in released:
        new = release(tx, execution, config, pinned)
        if new and attempt is not None:
            start_attempt(tx, execution.id, attempt)
        written.append(new)
    return written


def _is_plain(execution: Execution) -> bool:
    """Whether it stands for one slot and is to run."""
    trigger = execution.trigger
    slotted = trigger.type == "schedule" and trigger.slot is not None
    return slotted and execution.missed is None and execution.status == "queued"


def _claim(tx: Tx, execution: Execution) -> bool:
    """Move the watermark. A slot at or before it was handled; backfills run such on purpose."""
    if execution.trigger.type != "schedule":
        return True
    handled = [at for at in (execution.trigger.slot, _last_missed(execution)) if at is not None]
    if not handled:
        return True
    wanted = {"job_id": execution.job_id, "slot": micros(max(handled))}
    return tx.run(_MOVE_WATERMARK, wanted) == 1


def _last_missed(execution: Execution) -> datetime | None:
    return None if execution.missed is None else execution.missed.last


def start_attempts(tx: Tx, begun: Sequence[tuple[str, Attempt]]) -> list[bool]:
    rows = [_attempt_row(*one) for one in begun]
    if len(begun) > 1 and tx.all_or_none((_START, rows), (_ADD_ATTEMPT, rows)):
        return [True] * len(begun)
    return [start_attempt(tx, *one) for one in begun]


def start_attempt(tx: Tx, execution_id: str, attempt: Attempt) -> bool:
    row = _attempt_row(execution_id, attempt)
    if tx.run(_START, row) == 0:
        return False
    tx.run(_ADD_ATTEMPT, row)
    return True


def _attempt_row(execution_id: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "number": attempt.number,
        "started_at": micros(attempt.started_at),
        "finished_at": micros_or_none(attempt.finished_at),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "error": storable_or_none(attempt.error),
    }


def unclaim(tx: Tx, execution_id: str, attempt: int) -> bool:
    """running → queued, as if that attempt had never been."""
    row = {"id": execution_id, "attempt": attempt}
    if tx.run(_UNCLAIM, row) == 0:
        return False
    tx.run(_DROP_ATTEMPT, row)
    return True


def finish(
    tx: Tx, execution_id: str, attempt: int, outcome: Outcome, told: Occurrence | None = None
) -> bool:
    """The outcome becomes the execution's, and the job's figures unless it was a dry run."""
    row = {**outcome_columns(outcome), "id": execution_id, "attempt": attempt}
    if tx.run(_FINISH, row) == 0:
        return False
    tx.run(_END_ATTEMPT, row)
    if told is not None:
        outbox.tell(tx, told)
    tx.run(_FIGURES, row)
    return True


def finish_all(tx: Tx, ends: Sequence[Ending]) -> list[bool]:
    rows = [
        {**outcome_columns(one.outcome), "id": one.execution_id, "attempt": one.attempt}
        for one in ends
    ]
    if len(ends) > 1 and tx.all_or_none((_FINISH, rows), (_END_ATTEMPT, rows)):
        _count(tx, ends, rows)
        return [True] * len(ends)
    return [finish(tx, one.execution_id, one.attempt, one.outcome, one.told) for one in ends]


def _count(tx: Tx, ends: Sequence[Ending], rows: Sequence[dict[str, Any]]) -> None:
    """Tell of the ends and move their jobs' figures, as one after another would: what is told of
    an end depends on the figures as the ends before it left them."""
    written = 0
    for number, one in enumerate(ends):
        if one.told is not None:
            tx.many(_FIGURES, rows[written:number])
            outbox.tell(tx, one.told)
            written = number
    tx.many(_FIGURES, rows[written:])


def retry_later(
    tx: Tx, execution_id: str, attempt: int, outcome: Outcome, not_before: datetime
) -> bool:
    """The attempt ends with `outcome`; the execution waits for its next one. The job's figures
    stay: a failure is a failure when its last attempt has failed."""
    row = {**outcome_columns(outcome), "id": execution_id, "attempt": attempt}
    row["not_before"] = micros(not_before)
    if tx.run(_RETRY, row) == 0:
        return False
    tx.run(_END_ATTEMPT, row)
    return True


def skip_slots(
    tx: Tx, execution: Execution, config: Mapping[str, Any], pinned: Pinned, since: datetime
) -> bool:
    """One row an outage: the row that this stop began takes in later slots."""
    missed = execution.missed
    if missed is None:
        raise ValueError("an execution that stands for skipped slots names them")
    if not _claim(tx, execution):
        return False
    grown = {**_missed_columns(missed, execution.queued_at), "job_id": execution.job_id}
    if tx.run(_EXTEND_SKIPPED, {**grown, "since": micros(since)}) == 1:
        return True
    pinned.pin(tx, execution.config_digest, config)
    return tx.run(_INSERT, execution_row(execution)) == 1


def miss_queued(
    tx: Tx, execution_id: str, at: datetime, missed: Missed, told: Occurrence | None = None
) -> bool:
    """See ports.Store.miss_queued."""
    if not _drop(tx, execution_id, "missed", at, missed.reason, missed):
        return False
    if told is not None:
        outbox.tell(tx, told)
    return True


def skip_queued(tx: Tx, execution_id: str, at: datetime, error: str, missed: Missed | None) -> bool:
    """See ports.Store.skip_queued."""
    return _drop(tx, execution_id, "skipped", at, error, missed)


def _drop(
    tx: Tx, execution_id: str, status: str, at: datetime, error: str, missed: Missed | None
) -> bool:
    """It never ran: its slot is free, and the job's last execution is the one before it again."""
    columns = _NOTHING_MISSED if missed is None else _missed_columns(missed, at)
    row = {**columns, "id": execution_id, "status": status, "at": micros(at)}
    if tx.run(_DROP, {**row, "error": storable(error)}) == 0:
        return False
    tx.run(_POINT_BACK, {"id": execution_id})
    return True


def _missed_columns(missed: Missed, at: datetime) -> dict[str, Any]:
    return {
        "first": micros(missed.first),
        "last": micros(missed.last),
        "count": missed.count,
        "reason": storable(missed.reason),
        "at": micros(at),
    }


def cancel_queued(tx: Tx, execution_id: str, at: datetime, reason: str) -> bool:
    wanted = {"id": execution_id, "at": micros(at), "reason": storable(reason)}
    return tx.run(_CANCEL, wanted) == 1
