"""The running daemon, as the HTTP layer sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobreconciler.model.execution import Execution
    from jobreconciler.model.suspension import Suspension, SuspensionScope
    from jobreconciler.ports.clock import Clock
    from jobreconciler.ports.execution import Executor
    from jobreconciler.ports.store import Store


@dataclass(frozen=True, slots=True)
class Received:
    """What a webhook released; `repeated`: it, or one like it, came before and released this."""

    execution_id: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Backfilled:
    """Executions of past slots, oldest first, and the slots that had run before."""

    executions: tuple[Execution, ...]
    ran_before: tuple[datetime, ...]


class Service(Protocol):
    """The running daemon as the HTTP layer sees it.

    Reading works from the first moment; what releases, stops or suspends waits until every stop is
    known, and what an earlier daemon left. Raises Transient (Closing) where it ends before that.
    """

    @property
    def store(self) -> Store: ...
    @property
    def executor(self) -> Executor: ...
    @property
    def clock(self) -> Clock: ...

    def ready(self) -> tuple[bool, str]: ...
    def closing(self) -> bool:
        """The HTTP side is about to end: an answer that would go on for long ends now."""

    def next_slots(self, job_ids: Iterable[str]) -> dict[str, datetime]: ...
    def waits_for(self, execution_id: str) -> str | None:
        """What keeps a queued execution from starting, in words; None: nothing does."""

    def all_next_slots(self) -> Mapping[str, datetime]: ...
    async def trigger(
        self,
        job_id: str,
        *,
        actor: str,
        reason: str | None = None,
        dry_run: bool = False,
        parameters: Mapping[str, Any] | None = None,
        key: str | None = None,
        override: bool = False,
    ) -> Execution:
        """The same actor's `key` again gives the same execution for a day. `override` starts it
        in spite of a suspension. Raises NotFound, Stalled (disabled, suspended), Invalid (unknown
        parameter, key used for another request)."""

    async def webhook(self, job_id: str, headers: Mapping[str, str], body: bytes) -> Received:
        """`headers` have lower-case names. Raises Refused (not proven, or no such job), Stalled
        (disabled), Invalid (body, parameters), Transient."""

    async def retry(
        self, execution_id: str, *, actor: str, reason: str | None, key: str | None
    ) -> Execution:
        """A new execution. Raises NotFound, Stalled (not ended, never ran, disabled), Invalid."""

    async def cancel(self, execution_id: str, *, actor: str, reason: str | None) -> Execution:
        """Returns when it was asked to stop. Raises NotFound, Stalled (has ended)."""

    async def backfill(
        self,
        job_id: str,
        first: datetime,
        last: datetime,
        *,
        actor: str,
        reason: str | None,
        limit: int | None,
    ) -> Backfilled:
        """Raises NotFound, Stalled (disabled), Invalid (span, no schedule, too many slots)."""

    async def suspend(
        self,
        scope: SuspensionScope,
        target: str,
        *,
        actor: str,
        reason: str | None,
        until: datetime | None,
    ) -> Suspension:
        """Stop a job, a tag's or an owner's jobs, or the fleet (target ''). Raises NotFound,
        Invalid (`until` is past)."""

    async def lift(self, scope: SuspensionScope, target: str, *, actor: str) -> int:
        """How many were lifted; none where nothing held."""

    def confirm_clock(self, actor: str) -> bool:
        """The wall clock is right, whatever the monotonic one says. False: nobody doubted it."""

    async def reconcile_now(self, actor: str) -> dict[str, Any]:
        """Wake the loop, wait for that pass; its record as JSON. Raises Transient (Closing)."""

    async def forget(self, actor: str, *, dry_run: bool) -> dict[str, Any]:
        """Sweep old history now, beside what is scheduled; how much went (or would), as JSON."""

    async def approve_prune(self, revision: str, actor: str) -> None: ...
