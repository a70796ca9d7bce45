"""What runs attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jobreconciler.model.execution import Launch, Outcome
    from jobreconciler.model.views import Live, Printed


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that now runs, or is about to, and the process that sees to it."""

    execution_id: str
    attempt: int
    started_at: datetime
    pid: int


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt that has ended. `begun`: False where it is certain that nobody began it, nor can
    any more: it may be started again; its outcome says why."""

    execution_id: str
    attempt: int
    outcome: Outcome
    begun: bool = True


class LeftRunning(NamedTuple):
    """An attempt that has not ended as far as the store knows."""

    execution_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """Ids of executions that are still running, and of those whose attempt nobody ever took up, nor
    can any more: those may be started."""

    running: list[str]
    not_begun: set[str]


class OutputPiece(Protocol):
    """A part of an attempt's output. `offset` (in bytes of all that was printed) is where to go
    on; `skipped` bytes before it were cut out; `ended`: nothing follows."""

    data: bytes
    offset: int
    skipped: int
    ended: bool


class Executor(Protocol):
    """Starts attempts and reports their ends."""

    async def start_all(self, launches: Sequence[Launch]) -> list[Started | BaseException]:
        """An error stands in the place of one that cannot begin: Invalid, or Transient."""

    async def stop(self, execution_id: str, status: str) -> bool:
        """TERM, grace, KILL; its outcome will carry `status`. False where it isn't running."""

    def finished(self) -> AsyncIterator[Finished]: ...

    def more_finished(self) -> list[Finished]:
        """What `finished` would give next without waiting; it no longer gives them."""

    def live(self, execution_id: str) -> Live | None: ...

    def read_output(
        self, execution_id: str, attempt: int, offset: int = 0, limit: int = 262_144
    ) -> OutputPiece:
        """What an attempt printed from `offset`, while it runs and afterwards. Blocks."""

    def tail(self, execution_id: str, attempt: int) -> Printed | None:
        """The newest 16 KiB of what a running attempt printed; None before it did. Blocks."""

    async def adopt(self, left: Sequence[LeftRunning]) -> Adopted:
        """Take over what an earlier daemon left.

        Those that ended meanwhile, or whose supervisor is gone (`lost`), come from `finished`.
        """

    async def close(self, *, drain: bool = False) -> None: ...
