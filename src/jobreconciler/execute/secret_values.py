"""Secret references become values here, at launch, and nowhere else.

A reference is `{"env": NAME}`, from the daemon's environment, or `{"file": name}`, below the
daemon's secrets directory. No value ever appears in an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel

from jobreconciler.errors import Invalid
from jobreconciler.model.strict import EnvSecret, FileSecret

LARGEST = 65_536


class SecretValues:
    """Looks references up. `resolve` raises Invalid with reason SecretMissing or SecretInvalid."""

    def __init__(self, environ: Mapping[str, str], secrets_dir: Path | None) -> None:
        self._environ = environ
        self._dir = secrets_dir

    def resolve(self, reference: Mapping[str, Any]) -> str:
        match dict(reference):
            case {"env": str(name), **rest} if not rest:
                value = self._environ.get(name)
                where = f"{{env: {name}}} is not set in the daemon's environment"
                hint = f"start the daemon with {name} set"
            case {"file": str(name), **rest} if not rest:
                value = self._read(name)
                where = f"{{file: {name}}} is not a readable file in the secrets directory"
                hint = "create the file, or start the daemon with another secrets directory"
            case _:
                raise Invalid(
                    "a secret is written {env: NAME} or {file: name}", reason="SecretInvalid"
                )
        if not value:
            empty = " or is empty" if value == "" else ""
            raise Invalid(f"the secret {where}{empty}", reason="SecretMissing", hint=hint)
        if "\0" in value:
            raise Invalid(
                f"the secret {key(reference)} holds a NUL byte, which no variable can carry",
                reason="SecretInvalid",
            )
        return value

    def _read(self, name: str) -> str | None:
        """The file's text without a final line break; None where it may not or cannot be read.

        Links may point anywhere *inside* the directory: mounted secrets are such links.
        """
        if self._dir is None:
            return None
        try:
            root = self._dir.resolve(strict=True)
            path = (root / name).resolve(strict=True)
            if not path.is_relative_to(root) or path.stat().st_size > LARGEST:
                return None
            return path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError):
            return None


def to_mask(values: Iterable[str]) -> list[str]:
    """The values, and the password in each that is a URL: drivers print it on its own."""
    found: dict[str, None] = {}
    for value in values:
        found[value] = None
        _, scheme, rest = value.partition("://")
        authority = re.split(r"[/?#\s]", rest, maxsplit=1)[0] if scheme else ""
        password = authority.rpartition("@")[0].partition(":")[2]
        if password:
            found |= {password: None, unquote(password): None}
    return list(found)


def key(reference: Mapping[str, Any]) -> str:
    """How a reference is named in a map of values: `env:NAME` or `file:name`."""
    return ":".join(str(part) for pair in reference.items() for part in pair)


def references(value: Any) -> list[dict[str, str]]:
    """Every secret reference inside a parameter model.

    Only instances of the reference models count: `{"env": "production"}` may be an argument.
    """
    found: list[dict[str, str]] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[dict[str, str]]) -> None:
    if value is None or isinstance(value, str | int | float):
        return
    inside: Iterable[Any] = ()
    if isinstance(value, BaseModel):
        if isinstance(value, EnvSecret | FileSecret):
            found.append(value.model_dump())
        else:
            inside = value.__dict__.values()
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    for each in inside:
        _collect(each, found)
