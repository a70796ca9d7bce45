"""What every job type's parameter model has in common, and secret references."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictStr
from pydantic.alias_generators import to_camel


class ParametersModel(BaseModel):
    """Base of all parameter models: camelCase in files, unknown keys refused, frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=False,
    )


class EnvSecret(ParametersModel):
    """A secret that the daemon finds in its own environment."""

    env: Annotated[StrictStr, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)] = Field(
        description="Name of the variable in the daemon's environment that holds the secret.",
        examples=["REPORT_DB_PASSWORD"],
    )


class FileSecret(ParametersModel):
    """A secret that the daemon reads from a file below its secrets directory."""

    file: Annotated[
        StrictStr,
        Field(
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
            max_length=256,
        ),
    ] = Field(
        description="Path of the file below the daemon's secrets directory; a final line break "
        "is not part of the secret.",
        examples=["report-db-password"],
    )


SecretReference = EnvSecret | FileSecret
