"""JSON answers with an ETag: a client that already has what it would get is told so (304)."""

from __future__ import annotations

import json
import math
from hashlib import blake2b
from typing import Any

from fastapi import Request, Response


def encode(body: Any) -> bytes:
    """Compact JSON; a figure that JSON has no word for (NaN, infinity) becomes null."""
    try:
        return _dump(body)
    except ValueError:
        return _dump(_finite(body))


def tag(content: bytes) -> str:
    """A strong ETag: the same bytes, the same tag."""
    return f'"{blake2b(content, digest_size=12).hexdigest()}"'


def json_answer(request: Request, body: Any) -> Response:
    """Encode `body`. Blocking for big ones: call it where the body was read, in a thread."""
    return tagged(request, encode(body), "application/json")


def tagged(request: Request, content: bytes, media_type: str) -> Response:
    etag = tag(content)
    sent = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.method in ("GET", "HEAD") and _known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=sent)
    return Response(content, headers=sent, media_type=media_type)


def _known(if_none_match: str | None, etag: str) -> bool:
    """Weak comparison, as If-None-Match asks for (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return etag in tags or "*" in tags


def _dump(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
