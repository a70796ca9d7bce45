"""Whether the daemon lives, whether it can do its work, and its figures."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from jobreconciler.observe.metrics import CONTENT_TYPE
from jobreconciler.web.answers import encode, tagged
from jobreconciler.web.auth import Reader
from jobreconciler.web.serving import Served

router = APIRouter(tags=["daemon"])

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>jobreconciler</title>
<h1>jobreconciler</h1>
<ul>
<li><a href="/api/v1/status">Status of the fleet</a>
<li><a href="/api/v1/jobs">Jobs</a>
<li><a href="/api/v1/executions">Executions</a>
<li><a href="/api/v1/changelog">Changes</a>
<li><a href="/api/v1/reconciles">Reconciles</a>
<li><a href="/metrics">Metrics</a>
<li><a href="/openapi.json">The API's description</a>
</ul>
</html>
"""


@router.get("/", include_in_schema=False)
async def landing(request: Request) -> Response:
    return tagged(request, _PAGE, "text/html; charset=utf-8")


@router.get("/healthz")
async def healthz() -> Response:
    """200 while the event loop turns. Needs no token."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz", responses={503: {"description": "Not ready; `message` says why."}})
def readyz(served: Served) -> Response:
    """200 when jobs are applied and started, 503 before that. Needs no token."""
    ready, message = served.service.ready()
    body = encode({"ready": ready, "message": message})
    return Response(body, 200 if ready else 503, media_type="application/json")


@router.get("/metrics", response_class=Response)
async def metrics(served: Served, _: Reader) -> Response:
    """Prometheus text. Written in slices: 10,000 jobs never stop the loop."""
    service = served.service
    pieces = served.metrics.render(service.store.stats, service.all_next_slots, service.clock.now())
    return StreamingResponse(pieces, media_type=CONTENT_TYPE)
