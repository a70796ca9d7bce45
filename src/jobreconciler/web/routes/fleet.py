"""What concerns no single job: reconciles, the whole changelog, and waking the daemon."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from jobreconciler.core import views
from jobreconciler.web.answers import json_answer
from jobreconciler.web.auth import Operator, Reader
from jobreconciler.web.serving import PAGE_SIZE, Cursor, Limit, Served

router = APIRouter(tags=["fleet"])


class PruneApproval(BaseModel):
    """Lets one revision delete or disable as many jobs as it does."""

    model_config = ConfigDict(extra="forbid")

    revision: Annotated[
        str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$", description="A full commit id.")
    ]


class Sweep(BaseModel):
    """What may go is for the daemon's own `--keep` settings to say."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    dry_run: Annotated[
        bool, Field(alias="dryRun", strict=True, description="Only count what would go.")
    ] = False


@router.get("/api/v1/reconciles")
def reconciles(
    request: Request, served: Served, _: Reader, limit: Limit = PAGE_SIZE, cursor: Cursor = None
) -> Response:
    """Reconciles that wrote something or failed, newest first."""
    page = served.service.store.reconciles(limit=limit, cursor=cursor)
    return json_answer(request, views.reconciles_json(page))


@router.get("/api/v1/changelog")
def changelog(
    request: Request, served: Served, _: Reader, limit: Limit = PAGE_SIZE, cursor: Cursor = None
) -> Response:
    """Every change of every job, newest first."""
    page = served.service.store.changelog(limit=limit, cursor=cursor)
    return json_answer(request, views.changes_json(page))


@router.post("/api/v1/reconcile")
async def reconcile(served: Served, who: Operator) -> dict[str, Any]:
    """Reconcile now; answers when that pass is done, with its record."""
    return await served.service.reconcile_now(who.actor)


@router.post("/api/v1/gc")
async def forget(served: Served, who: Operator, wanted: Sweep) -> dict[str, Any]:
    """Forget now what would be forgotten within a day; answers when that is done."""
    return await served.service.forget(who.actor, dry_run=wanted.dry_run)


@router.post("/api/v1/prune-approvals", status_code=201)
async def approve_prune(served: Served, who: Operator, approval: PruneApproval) -> dict[str, Any]:
    """Approve what the prune guard holds back in this revision, and nothing else."""
    await served.service.approve_prune(approval.revision, who.actor)
    return {"revision": approval.revision, "approvedBy": who.actor}
