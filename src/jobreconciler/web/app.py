"""The HTTP side of the daemon, put together."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.middleware import Middleware

from jobreconciler import __version__
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Service
from jobreconciler.web import problems
from jobreconciler.web.answers import encode, tagged
from jobreconciler.web.auth import Access
from jobreconciler.web.guard import Guard
from jobreconciler.web.idempotency import Repeats
from jobreconciler.web.routes import executions, fleet, health, hooks, jobs, status, stops
from jobreconciler.web.serving import Serving

_PROBLEM: dict[str, Any] = {
    "description": "A problem document (RFC 9457).",
    "content": {
        problems.MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "reason"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "reason": {"type": "string"},
                    "hint": {"type": "string"},
                },
            }
        }
    },
}


def create_app(service: Service, metrics: Metrics, access: Access) -> FastAPI:
    """The ASGI app of one daemon. `service` must be ready to be asked when it is served."""
    app = FastAPI(
        title="jobreconciler",
        version=__version__,
        summary="GitOps for scheduled jobs.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(Guard, access=access, metrics=metrics)],
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    app.state.access = access
    app.state.serving = Serving(service, metrics)
    app.state.repeats = Repeats(service.clock.monotonic)
    problems.install(app)
    for each in (health, status, jobs, executions, fleet, stops, hooks):
        app.include_router(each.router)
    app.include_router(_description(app))
    return app


def _description(app: FastAPI) -> APIRouter:
    """`/openapi.json`, written once, when it is first asked for, and not on the loop: describing
    the whole API takes a tenth of a second, which no start has to wait for."""
    router = APIRouter()

    @cache
    def content() -> bytes:
        return encode(app.openapi())

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return tagged(request, await asyncio.to_thread(content), "application/json")

    return router
