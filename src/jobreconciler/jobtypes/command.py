"""The `command` type: starts a program and judges it by its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from jobreconciler.jobtypes.base import own
from jobreconciler.model.strict import (
    ENV_PATTERN,
    PATH_PATTERN,
    TREE_PATH_PATTERN,
    DistinctItems,
    Items,
    SecretReference,
    StrictModel,
    Whole,
)

if TYPE_CHECKING:
    from jobreconciler.ports import ExecSpec, JobContext

Argument = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=131_072)]
"""Anything a program can be given: the kernel takes no NUL and 128 KiB at the most."""
VariableName = Annotated[str, Field(pattern=ENV_PATTERN, max_length=256)]
Environment = dict[VariableName, Argument | SecretReference]
ExitCode = Annotated[Whole, Field(ge=0, le=255)]


class RepositoryDirectory(StrictModel):
    """A directory of the repository's own tree, as the run's commit holds it."""

    repo: str = Field(
        pattern=TREE_PATH_PATTERN,
        max_length=1024,
        description="Directory of the repository, `.` for its top. The tree is read-only, and "
        "that of the commit which is applied when the run is queued.",
        examples=["scripts", "."],
    )


WorkingDirectory = (
    Annotated[str, Field(pattern=PATH_PATTERN, max_length=4096)] | RepositoryDirectory
)
"""An absolute path, or `{repo: dir}`. For the parameter `cwd`, where no other name will do."""

_EXACTLY_ONE = {
    "oneOf": [
        {"required": ["argv"], "properties": {"argv": {"type": "array"}}},
        {"required": ["shell"], "properties": {"shell": {"type": "string"}}},
    ]
}


class CommandParameters(StrictModel, json_schema_extra=_EXACTLY_ONE):
    """What to start. Exactly one of `argv` and `shell` is given."""

    argv: Annotated[Items[Argument], Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description="The program and its arguments, started directly: no shell reads them.",
        examples=[["pg_dump", "--file", "/backup/app.dump", "app"]],
    )
    shell: Annotated[Argument, Field(min_length=1)] | None = Field(
        default=None,
        json_schema_extra={"contentMediaType": "text/x-shellscript"},
        description="A script for `/bin/sh -c`, for pipes and the like.",
        examples=["df -h | grep -v tmpfs"],
    )
    env: Environment = Field(
        default_factory=dict,
        json_schema_extra={"default": {}},
        max_length=1000,
        description="Variables for the program: literal text, or a secret by reference. A child "
        "inherits nothing else from the daemon's environment.",
        examples=[{"PGHOST": "db.internal", "PGPASSWORD": {"env": "REPORT_DB_PASSWORD"}}],
    )
    success_exit_codes: Annotated[DistinctItems[ExitCode], Field(min_length=1)] = Field(
        default=(0,),
        description="Exit codes that mean success.",
        examples=[[0, 24]],
    )
    cwd: WorkingDirectory | None = Field(
        default=None,
        description="Directory to start in: an absolute path, or `{repo: dir}` for a directory of "
        "the repository itself; the home directory of the daemon's user where it is left out.",
        examples=["/srv/reports", {"repo": "scripts"}],
    )

    @model_validator(mode="after")
    def _exactly_one_program(self) -> Self:
        if (self.argv is None) == (self.shell is None):
            raise ValueError("give either `argv` (a list) or `shell` (one string), and only one")
        return self


class CommandJob:
    """Starts a program in a child process with a clean environment."""

    name = "command"
    description = "Starts a program or a shell script and judges it by its exit code."
    batches = False
    dry_runs = False
    parameters: type[BaseModel] = CommandParameters

    def program(self, parameters: BaseModel) -> ExecSpec:
        asked = own(parameters, CommandParameters)
        # Here, since checking a job file loads this module but starts nothing.
        from jobreconciler.ports import ExecSpec

        return ExecSpec(
            argv=asked.argv or ("/bin/sh", "-c", asked.shell or ""),
            env={name: _plain(value) for name, value in asked.env.items()},
            cwd=None if asked.cwd is None else _plain(asked.cwd),
            success_exit_codes=asked.success_exit_codes,
        )

    def run(self, context: JobContext) -> dict[str, Any] | None:
        raise NotImplementedError("a command runs as a program of its own")


def _plain(value: Any) -> str | Mapping[str, str]:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)
