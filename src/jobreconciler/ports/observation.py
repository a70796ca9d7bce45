"""What tells others: notifications and figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jobreconciler.model.notice import Message


class Sender(Protocol):
    """Sends messages. Implemented by observe/notify.py."""

    def send(self, channel: Mapping[str, Any], message: Message) -> None:
        """Blocks until the receiver took it. `channel` is its definition, as in the job file.

        Raises Invalid (a secret is missing or no address), Transient. No error text ever holds
        a secret or an address.
        """


class Observer(Protocol):
    """Where loops report figures. Implemented by observe/metrics.py; never raises."""

    def reconcile_finished(self, result: str, seconds: float) -> None: ...
    def commit_applied(self, seconds: float) -> None: ...
    def config_changed(self, action: str, count: int = 1) -> None: ...
    def invalid_files(self, count: int) -> None: ...
    def held_jobs(self, count: int) -> None: ...
    def drift_healed(self, count: int) -> None: ...
    def source_seen(self, revision: str, at: datetime) -> None:
        """The source answered and names this commit now."""

    def source_applied(self, revision: str) -> None: ...
    def git_operation(self, operation: str, result: str) -> None: ...
    def audit_head(self, digest: str) -> None: ...
    def execution_finished(
        self, job_id: str, job_type: str, status: str, seconds: float
    ) -> None: ...
    def slot_missed(self, job_id: str, count: int) -> None: ...
    def slot_skipped(self, job_id: str, reason: str) -> None: ...
    def lateness(self, seconds: float) -> None: ...
    def clock_parted(self, seconds: float) -> None:
        """The wall clock is so far ahead of (negative: behind) where it should be; 0: agrees."""

    def loop_error(self, loop: str) -> None: ...
    def notification(self, channel_type: str, result: str) -> None:
        """`delivered`, `failed` (to be tried again) or `given_up`."""

    def running(self, count: int) -> None: ...
    def waiting(self, count: int) -> None: ...
    def jobs_changed(self, job_ids: Collection[str] | None = None) -> None:
        """What is stored of these jobs changed, beside the end of a run; None: of all, or there
        are other jobs now."""
