"""JSON for the supervisors, written on the daemon's side: once or twice for every run."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def encoded(content: Any) -> bytes:
    """As UTF-8; text that is none (an undecodable environment variable) is escaped."""
    try:
        return to_json(content, inf_nan_mode="constants")
    except PydanticSerializationError:
        return json.dumps(content).encode()
