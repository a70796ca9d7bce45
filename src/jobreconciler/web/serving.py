"""What every route is given: the daemon, its figures, and how pages of jobs are put together.

All functions here block on the store: routes that call them are not async, so that FastAPI runs
them in threads, or call them in threads themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request

from jobreconciler.core import views
from jobreconciler.core.render_tree import Card
from jobreconciler.errors import NotFound
from jobreconciler.model.choices import JobSort, JobState, JobTrigger
from jobreconciler.model.execution import Execution
from jobreconciler.model.job import StoredJob
from jobreconciler.model.views import JobQuery, Page
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Service

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 500
JOB_ID: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

Limit = Annotated[
    int, Query(ge=1, le=MAX_PAGE_SIZE, description="How many items a page has at most.")
]
Cursor = Annotated[
    str | None,
    Query(max_length=512, description="`nextCursor` of the page before; left out, the first."),
]


@dataclass(frozen=True, slots=True)
class Serving:
    """One daemon, as its HTTP side sees it."""

    service: Service
    metrics: Metrics


async def serving(request: Request) -> Serving:
    found: Serving = request.app.state.serving
    return found


Served = Annotated[Serving, Depends(serving)]


def job_query(
    type: Annotated[str | None, Query(max_length=128, description="A job type.")] = None,
    trigger: Annotated[JobTrigger | None, Query(description="What starts the job.")] = None,
    state: Annotated[JobState | None, Query(description="Jobs in this state only.")] = None,
    tag: Annotated[str | None, Query(max_length=128)] = None,
    owner: Annotated[str | None, Query(max_length=200)] = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Text in id, title, owner, tags or path.")
    ] = None,
    sort: Annotated[JobSort, Query()] = "name",
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> JobQuery:
    return JobQuery(type, trigger, state, tag, owner, q, sort, limit, cursor)


Jobs = Annotated[JobQuery, Depends(job_query)]


def declared_job(service: Service, job_id: str) -> StoredJob:
    """A job that is declared now. Raises NotFound."""
    job = known_job(service, job_id)
    if job.deleted_at is not None:
        raise NotFound(
            f"Job {job_id} was deleted at {views.instant(job.deleted_at)}.",
            hint="Declaring its id in the repository again restores it.",
        )
    return job


def known_job(service: Service, job_id: str) -> StoredJob:
    """A job that is declared, or was once. Raises NotFound."""
    job = service.store.job(job_id, deleted=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.", hint="GET /api/v1/jobs lists them.")
    return job


def execution_or_not_found(service: Service, execution_id: str) -> Execution:
    execution = service.store.execution(execution_id)
    if execution is None:
        raise NotFound(
            f"There is no execution {execution_id}.",
            hint="GET /api/v1/executions lists them; old ones are removed after a while.",
        )
    return execution


def execution_view(service: Service, execution: Execution) -> dict[str, Any]:
    """With what only this daemon knows: how far it has got, or what it waits for."""
    running, queued = execution.status == "running", execution.status == "queued"
    return views.execution_json(
        execution,
        service.executor.live(execution.id) if running else None,
        service.waits_for(execution.id) if queued else None,
    )


def execution_views(service: Service, page: Page[Execution]) -> dict[str, Any]:
    return views.executions_json(page, lambda execution: execution_view(service, execution))


def cards(service: Service, jobs: Sequence[StoredJob]) -> list[Card]:
    """What is known of each of these jobs, in a few reads for all of them together."""
    ids = [job.job_id for job in jobs]
    latest = service.store.latest_executions(ids)
    slots = service.next_slots(ids)
    return [
        Card(
            job,
            execution := latest.get(job.job_id),
            service.executor.live(execution.id)
            if execution is not None and execution.status == "running"
            else None,
            slots.get(job.job_id),
        )
        for job in jobs
    ]


def job_views(service: Service, page: Page[StoredJob]) -> dict[str, Any]:
    """A page of jobs as `/api/v1/jobs` shows it."""
    of_job = {card.job.job_id: card for card in cards(service, page.items)}
    return views.page_json("jobs", page, lambda job: job_view(service, of_job[job.job_id]))


def job_view(service: Service, card: Card) -> dict[str, Any]:
    body = views.job_json(card.job, next_slot=card.next_run)
    if card.execution is not None:
        queued = card.execution.status == "queued"
        waits_for = service.waits_for(card.execution.id) if queued else None
        body["lastExecution"] = views.execution_json(card.execution, card.live, waits_for)
    return body
