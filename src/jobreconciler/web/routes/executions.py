"""Executions, and what they printed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from jobreconciler.core import views
from jobreconciler.core.catalog import STATUSES
from jobreconciler.errors import Invalid, NotFound
from jobreconciler.model.execution import FINAL_STATUSES, Execution
from jobreconciler.ports import Service
from jobreconciler.web.answers import encode, json_answer
from jobreconciler.web.auth import Operator, Reader
from jobreconciler.web.serving import (
    PAGE_SIZE,
    Cursor,
    Limit,
    Served,
    execution_or_not_found,
    execution_view,
    execution_views,
)

router = APIRouter(tags=["executions"])

ExecutionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Wish(BaseModel):
    """What an operator wants of an execution, and why."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str | None, Field(max_length=500, description="Why; recorded.")] = None


TEXT: Final = "text/plain; charset=utf-8"
PIECE: Final = 1024 * 1024
"""Bytes of output in one answer; X-Next-Offset says where to go on."""
FOLLOW_SECONDS: Final = 0.25
"""How often a followed output is looked at again."""


@router.get("/api/v1/executions")
def executions(
    request: Request,
    served: Served,
    _: Reader,
    status: Annotated[list[str] | None, Query(description="Only these; repeatable.")] = None,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """Executions of all jobs, newest first."""
    unknown = sorted(set(status or ()) - set(STATUSES))
    if unknown:
        raise Invalid(
            f"There is no status {', '.join(unknown)}.", hint=f"Use {', '.join(STATUSES)}."
        )
    page = served.service.store.executions(limit=limit, cursor=cursor, statuses=status or None)
    return json_answer(request, execution_views(served.service, page))


@router.get("/api/v1/executions/{execution_id}")
def execution(request: Request, served: Served, execution_id: ExecutionId, _: Reader) -> Response:
    """One execution; progress and metrics are live while it runs."""
    found = execution_or_not_found(served.service, execution_id)
    return json_answer(request, execution_view(served.service, found))


@router.post("/api/v1/executions/{execution_id}/cancel", status_code=202)
async def cancel(
    served: Served, execution_id: ExecutionId, who: Operator, wish: Wish | None = None
) -> Response:
    """Drop it from the line, or stop it: TERM, its grace, KILL. Answers before it has ended."""
    reason = None if wish is None else wish.reason
    found = await served.service.cancel(execution_id, actor=who.actor, reason=reason)
    return _accepted(found)


@router.post("/api/v1/executions/{execution_id}/retry", status_code=202)
async def retry(
    served: Served,
    execution_id: ExecutionId,
    who: Operator,
    wish: Wish | None = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """Run what the job says now, with the parameters, the dry run and the slot of this execution.

    It is a new execution with `retryOf`. The same `Idempotency-Key` gives the same one for a day.
    """
    reason = None if wish is None else wish.reason
    made = await served.service.retry(
        execution_id, actor=who.actor, reason=reason, key=idempotency_key
    )
    return _accepted(made)


def _accepted(execution: Execution) -> Response:
    return Response(
        encode(views.execution_json(execution)),
        202,
        headers={"Location": f"/api/v1/executions/{execution.id}"},
        media_type="application/json",
    )


@router.get("/api/v1/executions/{execution_id}/logs", response_class=Response)
async def logs(
    served: Served,
    execution_id: ExecutionId,
    _: Reader,
    attempt: Annotated[int | None, Query(ge=1, description="The newest if left out.")] = None,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Bytes to pass over.")] = 0,
    follow: Annotated[bool, Query(description="Stay until the execution has ended.")] = False,
) -> Response:
    """What an attempt printed, both streams as they came.

    `X-Next-Offset` is the `offset` to ask with next, `X-Execution-Status` tells whether more may
    come. With `follow` the answer ends when the execution has, or the daemon does.
    """
    service = served.service
    found = await run_in_threadpool(execution_or_not_found, service, execution_id)
    number = _attempt(found, attempt)
    headers: dict[str, str] = {"X-Execution-Status": found.status}
    if follow:
        pieces = _followed(service, found, number, offset)
        return StreamingResponse(pieces, media_type=TEXT, headers=headers)
    content, following = await run_in_threadpool(_read, service, found.id, number, offset)
    headers["X-Next-Offset"] = str(following)
    return Response(content, media_type=TEXT, headers=headers)


def _attempt(found: Execution, attempt: int | None) -> int:
    """The attempt to show: the newest if none is named. Raises NotFound for one not made."""
    made = max((each.number for each in found.attempts), default=0)
    if attempt is not None and attempt > max(made, 1):
        raise NotFound(
            f"Execution {found.id} has no attempt {attempt}.",
            hint=f"It has made {made}." if made else "It has not started yet.",
        )
    return attempt or max(made, 1)


def _read(service: Service, execution_id: str, attempt: int, offset: int) -> tuple[bytes, int]:
    """At most one piece and where to go on; what was cut out is said in its place."""
    piece = service.executor.read_output(execution_id, attempt, offset, PIECE)
    return views.output_bytes(piece.data, piece.skipped), piece.offset


async def _followed(
    service: Service, found: Execution, attempt: int, offset: int
) -> AsyncIterator[bytes]:
    """Looks at the state before the output: what a finished attempt wrote is all there then."""
    while True:
        now = await run_in_threadpool(service.store.execution, found.id)
        ended = now is None or now.status in FINAL_STATUSES
        while True:
            content, offset = await run_in_threadpool(_read, service, found.id, attempt, offset)
            if not content:
                break
            yield content
        if ended or service.closing():
            return
        await asyncio.sleep(FOLLOW_SECONDS)
