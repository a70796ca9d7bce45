"""The `python` type: calls a function of an installed package with a `JobContext`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, Field

from jobreconciler.errors import Invalid
from jobreconciler.jobtypes.base import PythonType, own
from jobreconciler.jobtypes.command import Environment, WorkingDirectory
from jobreconciler.model.strict import ENTRY_POINT_PATTERN, StrictModel
from jobreconciler.ports import JobContext


class PythonParameters(StrictModel):  # type: ignore[no-redef]  # the mypy plugin adds **kwargs
    """Which function to call, with what, and in which kind of process."""

    entry_point: str = Field(
        pattern=ENTRY_POINT_PATTERN,
        max_length=512,
        description="The function to call, as `package.module:function`; it is given a "
        "`JobContext` and then `kwargs`.",
        examples=["acme.reports:nightly"],
    )
    arguments: dict[str, Any] = Field(
        alias="kwargs",
        default_factory=dict,
        json_schema_extra={"default": {}},
        description="Keyword arguments for the function, after the `JobContext`.",
        examples=[{"days": 7}],
    )
    env: Environment = Field(
        default_factory=dict,
        json_schema_extra={"default": {}},
        max_length=1000,
        description="Variables for the function's process: literal text, or a secret by reference.",
        examples=[{"REPORT_DB_PASSWORD": {"file": "report-db-password"}}],
    )
    cwd: WorkingDirectory | None = Field(
        default=None,
        description="Directory to start in: an absolute path, or `{repo: dir}` for a directory of "
        "the repository itself. Nothing is imported from there.",
        examples=["/srv/reports", {"repo": "queries"}],
    )
    isolation: Literal["worker", "fork"] = Field(
        default="worker",
        description="`worker` runs in a warm process that is used again, so that module state "
        "lives on between runs; `fork` takes a fresh process for each run.",
        examples=["fork"],
    )


class PythonJob(PythonType):
    """Calls a Python function in a child process."""

    name = "python"
    description = "Calls a Python function of an installed package in a child process."
    batches = True
    dry_runs = True
    parameters: type[BaseModel] = PythonParameters

    def run(self, context: JobContext) -> dict[str, Any] | None:
        """Calls the entry point. Its result must be a dict or None, else Invalid is raised."""
        parameters = own(context.parameters, PythonParameters)
        for name, value in parameters.env.items():
            os.environ[name] = value if isinstance(value, str) else context.secret(value)
        result = resolve(parameters.entry_point)(context, **parameters.arguments)
        if result is not None and not isinstance(result, dict):
            raise Invalid(
                f"{parameters.entry_point} returned {type(result).__name__}, not a dict or None",
                reason="InvalidResult",
                hint="return a dict of JSON values, or nothing",
            )
        return result


def resolve(entry_point: str) -> Callable[..., Any]:
    """The function that `package.module:function` names. Raises Invalid where there is none."""
    module_name, _, path = entry_point.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for part in path.split("."):
            target = getattr(target, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise Invalid(
            f"entry point {entry_point}: there is no module {error.name!r}",
            reason="EntryPointMissing",
            hint="install the package into the daemon's Python environment",
        ) from None
    except AttributeError as error:
        if getattr(error, "obj", None) is None:
            raise
        raise Invalid(
            f"entry point {entry_point}: module {module_name!r} has no {path!r}",
            reason="EntryPointMissing",
            hint="write it as package.module:function",
        ) from None
    if not callable(target):
        raise Invalid(f"entry point {entry_point} is not callable", reason="EntryPointMissing")
    function: Callable[..., Any] = target
    return function
