"""What job types that run in Python have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from jobreconciler.ports import ExecSpec


class PythonType:
    """Base of a type whose `run` is called in a child process. See `ports.JobType`."""

    batches = False
    dry_runs = False

    def program(self, parameters: BaseModel) -> ExecSpec | None:  # noqa: ARG002
        """Nothing is started in its place."""
        return None
