"""The status trees, and the catalog of what they are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from jobreconciler.core.catalog import catalog
from jobreconciler.core.render_tree import Card, fleet_tree, job_tree
from jobreconciler.model.execution import Execution
from jobreconciler.model.job import StoredJob
from jobreconciler.model.views import JobQuery, Page, Printed, SourceState
from jobreconciler.ports import Service
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
async def fleet_status(request: Request, served: Served, query: Jobs, _: Reader) -> Response:
    """The fleet as a json-render spec: a summary and one page of job cards."""
    service = served.service
    # Both look at every job, in the database's own code: together they take as long as the slower.
    counts, (page, source, shown) = await asyncio.gather(
        asyncio.to_thread(service.store.fleet_counts), asyncio.to_thread(_page, service, query)
    )
    return await asyncio.to_thread(
        lambda: json_answer(
            request,
            fleet_tree(counts, source, shown, service.clock.now(), next_cursor=page.next_cursor),
        )
    )


def _page(
    service: Service, query: JobQuery
) -> tuple[Page[StoredJob], SourceState | None, list[Card]]:
    page = service.store.jobs(query, service.all_next_slots())
    return page, service.store.source_state(), cards(service, page.items)


@router.get("/api/v1/status/{job_id}")
def job_status(
    request: Request,
    served: Served,
    job_id: Annotated[str, Path(pattern=JOB_ID)],
    _: Reader,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """One job as a json-render spec: its card, a page of its executions, and the last lines of what
    runs."""
    service = served.service
    job = known_job(service, job_id)
    history = service.store.executions(job_id, limit=limit, cursor=cursor)
    [card] = cards(service, [job])
    tree = job_tree(
        card,
        history.items,
        service.clock.now(),
        printed=_printed(service, (card.execution, *history.items)),
        next_cursor=history.next_cursor,
    )
    return json_answer(request, tree)


def _printed(service: Service, shown: Iterable[Execution | None]) -> Printed | None:
    """What the newest of these that runs printed last."""
    for execution in shown:
        if execution is not None and execution.status == "running":
            attempt = max((each.number for each in execution.attempts), default=1)
            return service.executor.tail(execution.id, attempt)
    return None


@router.get("/api/v1/catalog")
def components(request: Request, _: Reader) -> Response:
    """The components a status tree is made of, with the JSON Schema of their props."""
    return json_answer(request, catalog())
