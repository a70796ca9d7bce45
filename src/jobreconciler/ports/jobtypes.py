"""Kinds of jobs, and what one is given when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel


class JobContext(Protocol):
    """What a job type's `run` is given, inside the child process.

    `timeout_seconds` is the run's limits.timeoutSeconds. `networks` are the private ones that
    the daemon lets jobs of type `http` reach.
    """

    parameters: BaseModel
    batch_size: int | None
    timeout_seconds: int
    networks: tuple[str, ...]
    dry_run: bool
    execution_id: str
    attempt: int
    slot: datetime | None
    trigger: str
    config_revision: str

    def progress(self, done: int, total: int) -> None: ...
    def metric(self, name: str, value: float, unit: str = "") -> None: ...
    def log(self, level: str, message: str, **fields: Any) -> None: ...
    def cancelled(self) -> bool: ...
    def secret(self, reference: Any) -> str:
        """The value behind a secret reference that stands in `parameters`."""


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A program to start. `env` values are literals or secret references, still unresolved."""

    argv: tuple[str, ...]
    env: Mapping[str, Any] = field(default_factory=dict)
    cwd: str | Mapping[str, Any] | None = None
    success_exit_codes: tuple[int, ...] = (0,)


class JobType(Protocol):
    """A registered type. It runs either as a program of its own or as Python in a child."""

    name: str
    description: str
    batches: bool
    dry_runs: bool
    parameters: type[BaseModel]

    def program(self, parameters: BaseModel) -> ExecSpec | None:
        """The program to start, or None where `run` is to be called in a Python child."""

    def run(self, context: JobContext) -> dict[str, Any] | None: ...


class JobTypes(Protocol):
    def names(self) -> tuple[str, ...]: ...

    def get(self, name: str) -> JobType:
        """Raises NotFound."""

    def broken(self) -> Mapping[str, str]:
        """Types that could not be loaded, and why."""
