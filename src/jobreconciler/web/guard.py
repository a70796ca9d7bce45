"""What surrounds every request: refusals before routing, security headers, figures after.

Plain ASGI, so that streamed answers stream. Never reads a body.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobreconciler.core import webhook
from jobreconciler.errors import JobReconcilerError, Transient
from jobreconciler.observe.metrics import Metrics
from jobreconciler.web.auth import Access, check_origin
from jobreconciler.web.problems import Denied, of_error, unexpected

MAX_BODY: Final = 64 * 1024
"""Bytes. What operators send is small, and it is parsed on the loop. Hooks may send more."""
HOOKS: Final = "/hooks/"

_LENGTH: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_CLOSING: Final = Transient(
    "The daemon ends, and this was not done by then.",
    reason="Closing",
    hint="Ask again once it runs; what had begun may have been done all the same.",
)


class Guard:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self.app = app
        self.access = access
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._admit(scope)
            await self.app(scope, receive, send_guarded)
        except asyncio.CancelledError:
            # The server gives up what is not done soon after it was told to end; it looks at no
            # result. Half an answer breaks off, as the server sees and says by itself.
            if status is None:
                await of_error(_CLOSING)(scope, receive, send_guarded)
        except Exception as error:
            answer = _answer_to(scope, error)
            if status is not None:
                raise  # Half an answer is out: all that is left is to break the connection.
            await answer(scope, receive, send_guarded)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - started
            self.metrics.http_request(scope["method"], route, status or 500, seconds)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host")
        self.access.check_host(host)
        check_origin(scope["method"], host, headers.get("origin"), headers.get("sec-fetch-site"))
        if "transfer-encoding" in headers:
            raise Denied(411, "A body needs a Content-Length here.", reason="LengthRequired")
        length = headers.get("content-length", "0")
        most = webhook.MAX_BODY if scope["path"].startswith(HOOKS) else MAX_BODY
        if not _LENGTH.fullmatch(length) or int(length) > most:
            raise Denied(413, f"A body may have at most {most} bytes here.", reason="BodyTooLarge")


def _answer_to(scope: Scope, error: Exception) -> Response:
    if isinstance(error, JobReconcilerError):
        return of_error(error)
    return unexpected(scope["method"], scope["path"], error)
