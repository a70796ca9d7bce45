"""Requests of other systems that start a job. They hold no token: their signature is the proof."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from jobreconciler.core.webhook import MAX_BODY
from jobreconciler.errors import Refused
from jobreconciler.web.answers import encode
from jobreconciler.web.problems import Denied
from jobreconciler.web.serving import JOB_ID, Served

router = APIRouter(tags=["hooks"])

_BODY: Final = {
    "requestBody": {
        "required": False,
        "description": "Whatever the sender signs; JSON where the job takes parameters from it.",
        "content": {"application/json": {"schema": {}}},
    }
}


@router.post(
    "/hooks/jobs/{job_id}",
    status_code=202,
    openapi_extra=_BODY,
    responses={200: {"description": "It came before: the execution it released then."}},
)
async def job_hook(
    request: Request, served: Served, job_id: Annotated[str, Path(max_length=128)]
) -> Response:
    """Start a job by a request that its `webhook.secret` proves.

    The body is not parsed before that. Which header carries the proof is the job's
    `webhook.scheme`: `X-Hub-Signature-256` (github), `X-Gitea-Signature` (gitea),
    `X-Signature-256` (hmac-sha256), `webhook-signature` (standard-webhooks), `X-Gitlab-Token`
    (gitlab), `Authorization` (bearer).
    """
    body = await request.body()
    if len(body) > MAX_BODY:
        raise Denied(413, f"A body may have at most {MAX_BODY} bytes.", reason="BodyTooLarge")
    if not re.fullmatch(JOB_ID, job_id):
        raise _not_proven()
    try:
        received = await served.service.webhook(job_id, dict(request.headers), body)
    except Refused:
        raise _not_proven() from None
    return Response(
        encode({"executionId": received.execution_id}),
        200 if received.repeated else 202,
        headers={"Location": f"/api/v1/executions/{received.execution_id}"},
        media_type="application/json",
    )


def _not_proven() -> Denied:
    """One answer for a wrong signature and for a job that is not there or takes no webhook."""
    return Denied(
        401,
        "This request does not prove that it may start this job.",
        reason="NotProven",
        hint="Check the job's id, that it declares a webhook, and that sender and daemon have the "
        "same secret and scheme; the daemon's log tells of secrets it cannot read.",
    )
