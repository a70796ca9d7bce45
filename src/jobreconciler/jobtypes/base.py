"""What job types that run in Python have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from jobreconciler.ports import ExecSpec

Parameters = TypeVar("Parameters", bound=BaseModel)


def own(parameters: BaseModel, kind: type[Parameters]) -> Parameters:
    """The parameters of a run as the class that its type declared. Raises TypeError for another."""
    if not isinstance(parameters, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(parameters).__name__}")
    return parameters


class PythonType:
    """Base of a type whose `run` is called in a child process. See `ports.JobType`."""

    batches = False
    dry_runs = False

    def program(self, parameters: BaseModel) -> ExecSpec | None:  # noqa: ARG002
        """Nothing is started in its place."""
        return None
