"""The `file-freshness` type: fails when the newest of some files is too old or too small.

A backup that quietly stopped being written is the usual reason to want this.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import Field

from jobreconciler.jobtypes.api import (
    Invalid,
    JobContext,
    PositiveDuration,
    PythonType,
    StrictModel,
    Whole,
)


class FileFreshnessParameters(StrictModel):
    """What a job file says under `parameters`. Keys are the fields' names in camelCase.

    Everything people read follows from here: the JSON Schema, what an editor completes and asks
    for, `jobreconciler job-types`, and what `validate` says about a mistake. So give each field
    a description, an example and bounds.
    """

    directory: str = Field(
        pattern=r"^/[^\x00]*$",
        max_length=4096,
        description="Absolute path of the directory to look in.",
        examples=["/backup"],
    )
    pattern: str = Field(
        default="*",
        min_length=1,
        max_length=256,
        description="Which files count, as a shell pattern.",
        examples=["app-*.dump"],
    )
    max_age: PositiveDuration = Field(
        description="The newest file may be this old at the most.",
        examples=["26h"],
    )
    min_bytes: Whole = Field(
        default=1,
        ge=0,
        le=2**50,
        description="The newest file has to be at least this large.",
        examples=[1024],
    )


class FileFreshness(PythonType):
    """`run` is called in a process of its own; what it imports is of no concern to the daemon.

    Keep imports that only `run` needs inside it: this module is loaded to check job files, too.
    """

    name = "file-freshness"
    description = "Fails when the newest of some files is too old or too small."
    parameters = FileFreshnessParameters

    def run(self, context: JobContext) -> dict[str, Any]:
        """The newest file's name, age in seconds and size. Raises Invalid where it won't do."""
        asked = context.parameters
        assert isinstance(asked, FileFreshnessParameters)
        directory = Path(asked.directory)
        found = [path for path in directory.glob(asked.pattern) if path.is_file()]
        if not found:
            raise Invalid(
                f"no file in {directory} matches {asked.pattern}",
                hint="does whatever writes them still run?",
            )
        newest = max(found, key=lambda path: path.stat().st_mtime)
        age = max(0.0, time.time() - newest.stat().st_mtime)
        size = newest.stat().st_size
        context.metric("files", len(found))
        context.metric("newest_age", round(age), "seconds")
        context.metric("newest_size", size, "bytes")
        context.log("info", "newest file", name=newest.name, age=round(age), bytes=size)
        if age > asked.max_age:
            raise Invalid(f"{newest.name} is {round(age)} s old, {asked.max_age} s are allowed")
        if size < asked.min_bytes:
            raise Invalid(f"{newest.name} has {size} bytes, expected {asked.min_bytes} or more")
        return {"newest": newest.name, "ageSeconds": round(age), "bytes": size}
