"""Operators' stops: suspending a job, the jobs of a tag or an owner, pausing the fleet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobreconciler.core.suspension import past_json, suspension_json
from jobreconciler.core.views import page_json
from jobreconciler.errors import Invalid
from jobreconciler.model.strict import PositiveDuration
from jobreconciler.model.suspension import SuspensionScope
from jobreconciler.web.answers import json_answer
from jobreconciler.web.auth import Operator, Reader
from jobreconciler.web.serving import JOB_ID, PAGE_SIZE, Cursor, Limit, Served

router = APIRouter(tags=["stops"])

JobId = Annotated[str, Path(pattern=JOB_ID)]
Name = Annotated[str | None, Field(min_length=1, max_length=200)]


class Stop(BaseModel):
    """For how long and why. With neither `for` nor `until` it holds until it is lifted."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    lasting: Annotated[
        PositiveDuration | None, Field(alias="for", description="Such as 2h, or whole seconds.")
    ] = None
    until: Annotated[AwareDatetime | None, Field(description="RFC 3339, with its offset.")] = None
    reason: Annotated[str | None, Field(max_length=500, description="Why; recorded.")] = None

    def end(self, now: datetime) -> datetime | None:
        """Raises Invalid where both ends are given."""
        if self.lasting is None:
            return None if self.until is None else self.until.astimezone(UTC)
        if self.until is not None:
            raise Invalid("`for` and `until` were both given.", hint="Give one of them.")
        return now + timedelta(seconds=self.lasting)


class Target(BaseModel):
    """The jobs of one tag or of one owner."""

    model_config = ConfigDict(extra="forbid")

    tag: Name = None
    owner: Name = None

    def scope(self) -> tuple[SuspensionScope, str]:
        """Raises Invalid unless exactly one is given."""
        if self.tag is not None and self.owner is None:
            return "tag", self.tag
        if self.owner is not None and self.tag is None:
            return "owner", self.owner
        raise Invalid("Either `tag` or `owner` is needed.", hint="Give one of them.")


class StopOfMany(Stop, Target):
    """Suspend the jobs of one tag or of one owner."""


@router.get("/api/v1/suspensions")
def suspensions(
    request: Request,
    served: Served,
    _: Reader,
    all: Annotated[bool, Query(description="Ended ones too, newest first, by pages.")] = False,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """What is suspended or paused now, oldest first; with `all` every stop there ever was."""
    if all:
        now = served.service.clock.now()
        page = served.service.store.past_suspensions(limit=limit, cursor=cursor)
        body = page_json("suspensions", page, lambda each: past_json(each, now))
        return json_answer(request, body)
    found = served.service.store.suspensions()
    return json_answer(request, {"suspensions": [suspension_json(each) for each in found]})


@router.post("/api/v1/jobs/{job_id}/suspend", status_code=201)
async def suspend(served: Served, job_id: JobId, who: Operator, body: Stop) -> dict[str, Any]:
    """Start nothing of this job for a while; what runs goes on. Takes the place of an earlier
    suspension of the same job."""
    return await _put(served, "job", job_id, who.actor, body)


@router.post("/api/v1/jobs/{job_id}/resume")
async def resume(served: Served, job_id: JobId, who: Operator) -> dict[str, Any]:
    """Lift the job's own suspension. `lifted` is 0 where there was none."""
    return await _lift(served, "job", job_id, who.actor)


@router.post("/api/v1/suspensions", status_code=201)
async def suspend_many(served: Served, who: Operator, body: StopOfMany) -> dict[str, Any]:
    """Start nothing of the jobs of a tag or an owner for a while, also of those to come."""
    return await _put(served, *body.scope(), who.actor, body)


@router.post("/api/v1/suspensions/lift")
async def resume_many(served: Served, who: Operator, body: Target) -> dict[str, Any]:
    """Lift the suspension of a tag or an owner."""
    return await _lift(served, *body.scope(), who.actor)


@router.post("/api/v1/pause", status_code=201)
async def pause(served: Served, who: Operator, body: Stop) -> dict[str, Any]:
    """Start nothing in the whole fleet for a while; what runs goes on."""
    return await _put(served, "fleet", "", who.actor, body)


@router.post("/api/v1/unpause")
async def unpause(served: Served, who: Operator) -> dict[str, Any]:
    """Lift the fleet's pause; confirm the wall clock where the scheduler waits for that."""
    confirmed = served.service.confirm_clock(who.actor)
    return {**await _lift(served, "fleet", "", who.actor), "clockConfirmed": confirmed}


async def _put(
    served: Served, scope: SuspensionScope, target: str, actor: str, body: Stop
) -> dict[str, Any]:
    service = served.service
    until = body.end(service.clock.now())
    made = await service.suspend(scope, target, actor=actor, reason=body.reason, until=until)
    return suspension_json(made)


async def _lift(served: Served, scope: SuspensionScope, target: str, actor: str) -> dict[str, Any]:
    return {"lifted": await served.service.lift(scope, target, actor=actor)}
