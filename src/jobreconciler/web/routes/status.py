"""The status trees, and the catalog of what they are made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from jobreconciler.core.catalog import catalog
from jobreconciler.core.render_tree import fleet_tree, job_tree
from jobreconciler.web.answers import json_answer
from jobreconciler.web.auth import Reader
from jobreconciler.web.serving import (
    JOB_ID,
    PAGE_SIZE,
    Cursor,
    Jobs,
    Limit,
    Served,
    cards,
    known_job,
)

router = APIRouter(tags=["status"])


@router.get("/api/v1/status")
def fleet_status(request: Request, served: Served, query: Jobs, _: Reader) -> Response:
    """The fleet as a json-render spec: a summary and one page of job cards."""
    service = served.service
    page = service.store.jobs(query)
    tree = fleet_tree(
        service.store.fleet_counts(),
        service.store.source_state(),
        cards(service, page.items),
        service.clock.now(),
        next_cursor=page.next_cursor,
    )
    return json_answer(request, tree)


@router.get("/api/v1/status/{job_id}")
def job_status(
    request: Request,
    served: Served,
    job_id: Annotated[str, Path(pattern=JOB_ID)],
    _: Reader,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """One job as a json-render spec: its card and a page of its executions."""
    service = served.service
    job = known_job(service, job_id)
    history = service.store.executions(job_id, limit=limit, cursor=cursor)
    tree = job_tree(
        cards(service, [job])[0],
        history.items,
        service.clock.now(),
        next_cursor=history.next_cursor,
    )
    return json_answer(request, tree)


@router.get("/api/v1/catalog")
def components(request: Request, _: Reader) -> Response:
    """The components a status tree is made of, with the JSON Schema of their props."""
    return json_answer(request, catalog())
