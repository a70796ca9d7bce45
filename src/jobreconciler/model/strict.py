"""The building blocks of every model that reads a person's file: strict, closed, frozen.

A model built of these accepts exactly what its own JSON Schema accepts: no text becomes a number,
no unknown key is dropped. Job types build their parameters from the same blocks.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

T = TypeVar("T")

ID_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
TAG_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,62}$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"
TEXT_PATTERN = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
SECRET_FILE_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
EMAIL_PATTERN = r"^[!-?A-~]+@[!-?A-~]+$"
PATH_PATTERN = r"^/[^\x00]*$"
TREE_PATH_PATTERN = (
    r"^(\.|([^/\x00-\x1f\x7f.][^/\x00-\x1f\x7f]*|\.[^/\x00-\x1f\x7f.][^/\x00-\x1f\x7f]*)"
    r"(/([^/\x00-\x1f\x7f.][^/\x00-\x1f\x7f]*|\.[^/\x00-\x1f\x7f.][^/\x00-\x1f\x7f]*))*)$"
)
URL_PATTERN = (
    r"^https?://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?\])(:[0-9]{1,5})?"
    r"([/?][!-~]*)?$"
)
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
HEADER_VALUE_PATTERN = r"^[\t -~]*$"
_DOTTED = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
ENTRY_POINT_PATTERN = f"^{_DOTTED}:{_DOTTED}$"
DURATION_PATTERN = r"^(?=.)([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$"

PATTERN_MEANINGS: dict[str, str] = {
    ID_PATTERN: "1 to 63 lower-case letters, digits and inner hyphens",
    NAME_PATTERN: "1 to 63 letters, digits, dots, underscores and hyphens, not a mark first",
    TAG_PATTERN: "1 to 63 letters, digits and the marks . _ : / -, not a mark first",
    LINE_PATTERN: "one line of text without control characters",
    TEXT_PATTERN: "text without control characters other than line breaks and tabs",
    ENV_PATTERN: "the name of an environment variable, such as OPS_SLACK_URL",
    SECRET_FILE_PATTERN: "a relative path below the secrets directory, such as ops/slack-url",
    EMAIL_PATTERN: "an e-mail address, such as ops@example.org",
    URL_PATTERN: "an http:// or https:// address in ASCII, without user name and password",
    HEADER_PATTERN: "the name of a header, such as X-Api-Key",
    HEADER_VALUE_PATTERN: "one line of printable ASCII",
    ENTRY_POINT_PATTERN: "a module and its function, such as acme.reports:nightly",
    PATH_PATTERN: "an absolute path, such as /srv/reports",
    TREE_PATH_PATTERN: "a directory of the repository, such as scripts/reports, or . for its top",
}
"""What each pattern above means, in words an error message can use."""

LONGEST_SECONDS = 315_360_000
"""Ten years: more than any duration that the textual form can spell."""

_DURATION = re.compile(
    r"(?:([0-9]{1,3})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,7})s)?", re.ASCII
)


class StrictModel(BaseModel):
    """Unknown keys refused, nothing coerced, values frozen, keys in camelCase."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_default=False,
        hide_input_in_errors=True,
        json_schema_serialization_defaults_required=False,
        # Parents build what they hold: each model built by itself as well takes twice the time.
        defer_build=True,
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: it is frozen. pydantic would copy a default that holds a dict for each file."""
        return self


def _whole(value: Any) -> Any:
    """JSON Schema counts 5.0 as an integer, so the models do as well."""
    return int(value) if type(value) is float and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""An integer; a float without a fraction is one too, as in JSON Schema."""


def parse_duration(value: Any) -> Any:
    """Seconds of `30s`, `5m`, `1h30m`, `2d` or a whole number; other types pass through.

    Raises PydanticCustomError `duration` for text in any other form.
    """
    if type(value) is not str:
        return _whole(value)
    match = _DURATION.fullmatch(value)
    if match is None or not value:
        raise PydanticCustomError(
            "duration", "expected a duration such as 30s, 5m, 1h30m or a whole number of seconds"
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _duration_schema(least: int) -> WithJsonSchema:
    some = "(?=.)" if least == 0 else "(?=.*[1-9])"
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": least, "maximum": LONGEST_SECONDS},
                {"type": "string", "pattern": DURATION_PATTERN.replace("(?=.)", some)},
            ]
        }
    )


Duration = Annotated[
    int, BeforeValidator(parse_duration), Field(ge=0, le=LONGEST_SECONDS), _duration_schema(0)
]
"""A duration of nothing or more, held as whole seconds."""

PositiveDuration = Annotated[
    int, BeforeValidator(parse_duration), Field(ge=1, le=LONGEST_SECONDS), _duration_schema(1)
]
"""A duration of a second or more, held as whole seconds."""


def distinct(items: Sequence[T]) -> Sequence[T]:
    """Refuse a list that says one thing twice (`uniqueItems`)."""
    if len(set(items)) != len(items):
        twice = next(item for n, item in enumerate(items) if item in items[:n])
        raise PydanticCustomError(
            "duplicate_item", "{item} stands in this list twice", {"item": repr(twice)}
        )
    return items


Items = Annotated[tuple[T, ...], Strict(False)]
"""A YAML list, held as a tuple."""

DistinctItems = Annotated[
    tuple[T, ...],
    Strict(False),
    AfterValidator(distinct),
    Field(json_schema_extra={"uniqueItems": True}),
]
"""A YAML list that says nothing twice, held as a tuple."""

Id = Annotated[str, Field(pattern=ID_PATTERN, examples=["signal-aggregation-7d"])]
Name = Annotated[str, Field(pattern=NAME_PATTERN, examples=["production"])]
Line = Annotated[str, Field(pattern=LINE_PATTERN)]
Text = Annotated[str, Field(pattern=TEXT_PATTERN)]


class EnvSecret(StrictModel):
    """A secret in an environment variable of the daemon."""

    env: str = Field(
        pattern=ENV_PATTERN,
        max_length=256,
        description="Name of the daemon's environment variable that holds the secret.",
        examples=["OPS_SLACK_URL"],
    )


class FileSecret(StrictModel):
    """A secret in a file below the daemon's secrets directory."""

    file: str = Field(
        pattern=SECRET_FILE_PATTERN,
        max_length=256,
        description="Path of the file that holds the secret, below the secrets directory.",
        examples=["ops/slack-url"],
    )


def _secret_kind(value: Any) -> str | None:
    if isinstance(value, EnvSecret | FileSecret):
        return "env" if isinstance(value, EnvSecret) else "file"
    if isinstance(value, dict):
        kinds = [kind for kind in ("env", "file") if kind in value]
        return kinds[0] if len(kinds) == 1 else None
    return None


SecretReference = Annotated[
    Annotated[EnvSecret, Tag("env")] | Annotated[FileSecret, Tag("file")],
    Discriminator(
        _secret_kind,
        custom_error_type="secret_reference",
        custom_error_message="a secret is never written here, only named",
    ),
]
"""Where a secret is to be found, `{env: NAME}` or `{file: name}`; never the secret itself."""
