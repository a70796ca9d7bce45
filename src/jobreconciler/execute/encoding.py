"""JSON between the daemon, its supervisors and their workers: several times for every run."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json


def encoded(content: Any) -> bytes:
    """As UTF-8; text that is none (an undecodable environment variable) is escaped."""
    try:
        return to_json(content, inf_nan_mode="constants")
    except PydanticSerializationError:
        return json.dumps(content).encode()


def decoded(body: bytes) -> dict[str, Any]:
    """The object there: text that is none, or more levels than the quick reader goes down, are for
    the other one."""
    try:
        message: dict[str, Any] = from_json(body)
    except ValueError:
        message = json.loads(body)
    return message
