"""Jobs: their lists, their histories, their coming slots, and starting one by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobreconciler.core import views
from jobreconciler.core.coming import coming_slots
from jobreconciler.ports import Backfilled
from jobreconciler.web.answers import encode, json_answer
from jobreconciler.web.auth import Operator, Reader
from jobreconciler.web.idempotency import Repeats
from jobreconciler.web.serving import (
    JOB_ID,
    PAGE_SIZE,
    Cursor,
    Jobs,
    Limit,
    Served,
    cards,
    declared_job,
    execution_views,
    job_view,
    job_views,
    known_job,
)

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(pattern=JOB_ID)]


class ManualTrigger(BaseModel):
    """Start a job by hand."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    reason: Annotated[str | None, Field(max_length=500, description="Why; recorded.")] = None
    dry_run: Annotated[
        bool, Field(alias="dryRun", description="Do nothing, say what would be done.")
    ] = False
    parameters: Annotated[
        dict[str, Any], Field(description="Overrides, as far as manual.allowParameters goes.")
    ] = {}
    override: Annotated[bool, Field(description="Start it in spite of a suspension; recorded.")] = (
        False
    )


class Backfill(BaseModel):
    """Run slots of the past, both ends included; those that ran stay as they are."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: Annotated[AwareDatetime, Field(alias="from", description="RFC 3339, with its offset.")]
    last: Annotated[AwareDatetime, Field(alias="to", description="Not later than now.")]
    limit: Annotated[
        int | None, Field(ge=1, le=10_000, description="How many slots at most; else 100.")
    ] = None
    reason: Annotated[str | None, Field(max_length=500, description="Why; recorded.")] = None


@router.get("/api/v1/jobs")
def jobs(request: Request, served: Served, query: Jobs, _: Reader) -> Response:
    """Declared jobs, filtered and sorted."""
    page = served.service.store.jobs(query, served.service.all_next_slots())
    return json_answer(request, job_views(served.service, page))


@router.get("/api/v1/jobs/{job_id}")
def job(request: Request, served: Served, job_id: JobId, _: Reader) -> Response:
    """One job: its applied config, its conditions, its last execution and its next slot.

    A deleted job is still shown, with `deletedAt`.
    """
    found = known_job(served.service, job_id)
    return json_answer(request, job_view(served.service, cards(served.service, [found])[0]))


@router.get("/api/v1/jobs/{job_id}/executions")
def executions(
    request: Request,
    served: Served,
    job_id: JobId,
    _: Reader,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """A job's executions, newest first; a deleted job's too."""
    page = served.service.store.executions(job_id, limit=limit, cursor=cursor)
    if not page.items:
        known_job(served.service, job_id)
    return json_answer(request, execution_views(served.service, page))


@router.get("/api/v1/jobs/{job_id}/changelog")
def changelog(
    request: Request,
    served: Served,
    job_id: JobId,
    _: Reader,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """What changed in a job's config, newest first, each with its commit; a deleted job's too."""
    page = served.service.store.changelog(job_id, limit=limit, cursor=cursor)
    if not page.items:
        known_job(served.service, job_id)
    return json_answer(request, views.changes_json(page))


@router.get("/api/v1/jobs/{job_id}/next")
def coming(
    request: Request,
    served: Served,
    job_id: JobId,
    _: Reader,
    n: Annotated[int, Query(ge=1, le=100, description="How many slots.")] = 10,
) -> Response:
    """A job's coming slots, in UTC and on its own wall clock; none where its schedule is off."""
    found = declared_job(served.service, job_id)
    slots = coming_slots(job_id, found.config.get("payload") or {}, served.service.clock.now(), n)
    return json_answer(request, views.next_json([(job_id, slots)]))


@router.post("/api/v1/jobs/{job_id}/trigger", status_code=202)
async def trigger(
    request: Request,
    served: Served,
    job_id: JobId,
    who: Operator,
    body: ManualTrigger,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """Queue an execution now, also of a job whose schedule is off.

    With an `Idempotency-Key`, the same request again gives the same execution.
    """

    async def act() -> Any:
        return await served.service.trigger(
            job_id,
            actor=who.actor,
            reason=body.reason,
            dry_run=body.dry_run,
            parameters=body.parameters or None,
            key=idempotency_key,
            override=body.override,
        )

    if idempotency_key is None:
        execution = await act()
    else:
        repeats: Repeats = request.app.state.repeats
        asked = json.dumps(body.model_dump(), sort_keys=True)
        execution = await repeats.once((who.actor, job_id, idempotency_key), asked, act)
    return Response(
        encode(views.execution_json(execution)),
        202,
        headers={"Location": f"/api/v1/executions/{execution.id}"},
        media_type="application/json",
    )


@router.post("/api/v1/jobs/{job_id}/backfill", status_code=202)
async def backfill(served: Served, job_id: JobId, who: Operator, body: Backfill) -> Response:
    """Queue the slots of a past span that never ran, oldest first; they run one after another.

    Answers `{jobId, executions, ranBefore}`: what was queued, and the slots that had run.
    """
    done = await served.service.backfill(
        job_id,
        _utc(body.first),
        _utc(body.last),
        actor=who.actor,
        reason=body.reason,
        limit=body.limit,
    )
    # Ten thousand of them take longer than the event loop has.
    answer = await asyncio.to_thread(lambda: encode(_backfilled_json(job_id, done)))
    return Response(answer, 202, media_type="application/json")


def _backfilled_json(job_id: str, done: Backfilled) -> dict[str, Any]:
    return {
        "jobId": job_id,
        "executions": [views.execution_json(each) for each in done.executions],
        "ranBefore": [views.instant(slot) for slot in done.ran_before],
    }


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
