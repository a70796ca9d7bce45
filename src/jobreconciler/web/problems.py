"""Every error over HTTP is a problem document (RFC 9457), made in this one place.

`{type, title, status, detail, reason, hint}` with media type `application/problem+json`: `reason`
is one CamelCase word for machines, `hint` says what to do next. Never a traceback.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from jobreconciler.errors import (
    Invalid,
    JobReconcilerError,
    NotFound,
    Refused,
    Stalled,
    Transient,
)

MEDIA_TYPE: Final = "application/problem+json"
log = structlog.get_logger(__name__)

_STATUSES: Final[tuple[tuple[type[JobReconcilerError], int], ...]] = (
    (NotFound, 404),
    (Invalid, 422),
    (Refused, 403),
    (Stalled, 409),
    (Transient, 503),
)


class Denied(Refused):
    """A request that is refused with a status of its own."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.status = status
        self.headers = dict(headers or {})


def problem(
    status: int,
    detail: str,
    *,
    reason: str,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    if hint:
        body["hint"] = hint
    body.update(more)
    return Response(
        json.dumps(body, ensure_ascii=False).encode(),
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def of_error(error: JobReconcilerError) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Denied):
        status = error.status
        headers = error.headers
    else:
        status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 500)
    if isinstance(error, Transient) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return problem(status, error.message, reason=error.reason, hint=error.hint, headers=headers)


def install(app: FastAPI) -> None:
    """Make every error that is raised on purpose a problem document; Guard does the others."""

    @app.exception_handler(JobReconcilerError)
    async def known(_: Request, error: JobReconcilerError) -> Response:
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return problem(
            422,
            "The request does not have the form this endpoint takes.",
            reason="InvalidRequest",
            hint="See /openapi.json for what it takes.",
            errors=[
                {"path": ".".join(str(part) for part in each["loc"]), "message": each["msg"]}
                for each in error.errors()
            ],
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        hint = "See /openapi.json for the endpoints there are."
        detail = f"{request.method} {request.url.path}: {error.detail}"
        reason = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
        return problem(error.status_code, detail, reason=reason, hint=hint, headers=error.headers)


def unexpected(method: str, path: str, error: Exception) -> Response:
    """The answer where we made a mistake; the log gets what the caller must not see."""
    log.error("a request failed unexpectedly", method=method, path=path, exc_info=error)
    return problem(
        500,
        "The daemon made a mistake while answering; its log has the details.",
        reason="InternalError",
        hint="Please report it with the log lines of this moment.",
    )
