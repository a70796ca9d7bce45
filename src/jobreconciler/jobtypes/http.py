"""The `http` type: one request, and whether its answer is the one that was expected.

Checking a job file loads this module, so what opens connections is imported by `run`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, JsonValue, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from jobreconciler.errors import Invalid, Transient
from jobreconciler.jobtypes.base import PythonType, own
from jobreconciler.jobtypes.patterns import RESERVED_HEADER
from jobreconciler.model.strict import (
    HEADER_PATTERN,
    HEADER_VALUE_PATTERN,
    PATH_PATTERN,
    URL_PATTERN,
    DistinctItems,
    EnvSecret,
    FileSecret,
    SecretReference,
    StrictModel,
    Whole,
)

if TYPE_CHECKING:
    from jobreconciler.jobtypes.http_exchange import Answer, Call
    from jobreconciler.ports import JobContext

_EXCERPT = 2000
_PASSING_STATUSES = frozenset({408, 425, 429, *range(500, 600)})
_NOT_BOTH = {
    "not": {
        "required": ["body", "json"],
        "properties": {"body": {"type": "string"}, "json": {"not": {"type": "null"}}},
    }
}


def _free(name: str) -> str:
    """Refuse a header that the program sets itself."""
    if re.match(RESERVED_HEADER, name):
        raise PydanticCustomError(
            "reserved_header",
            "the header {name} follows from the URL, the body and the connection: leave it out",
            {"name": name},
        )
    return name


Url = Annotated[str, Field(pattern=URL_PATTERN, max_length=2048)]
HeaderName = Annotated[str, Field(pattern=HEADER_PATTERN, max_length=256), AfterValidator(_free)]
HeaderValue = Annotated[str, Field(pattern=HEADER_VALUE_PATTERN, max_length=8192)]
Status = Annotated[Whole, Field(ge=200, le=599)]


class HttpParameters(StrictModel, json_schema_extra=_NOT_BOTH):
    """What to send, where, and what to expect."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = Field(
        default="GET", description="The request's method.", examples=["POST"]
    )
    url: Url | SecretReference = Field(
        description="Where to send it, http:// or https://, without user name and password; or "
        "a reference, for a URL that is itself a secret.",
        examples=["https://hooks.example.org/refresh", {"env": "REFRESH_URL"}],
    )
    headers: dict[HeaderName, HeaderValue | SecretReference] = Field(
        default_factory=dict,
        max_length=64,
        json_schema_extra={
            "default": {},
            "propertyNames": {"not": {"pattern": RESERVED_HEADER}},
        },
        description="Headers: literal text, or a secret by reference. A redirect to another host "
        "gets no secret ones.",
        examples=[{"Accept": "application/json", "X-Api-Key": {"env": "API_KEY"}}],
    )
    bearer_token: SecretReference | None = Field(
        default=None,
        description="Where the token is to be found that is sent as `Authorization: Bearer`, in "
        "place of a header of that name.",
        examples=[{"file": "api-token"}],
    )
    body: Annotated[str, Field(max_length=131_072)] | None = Field(
        default=None,
        description="The request's body, sent as UTF-8 text.",
        examples=["refresh=all"],
        json_schema_extra={"contentMediaType": "text/plain"},
    )
    json_body: JsonValue = Field(
        alias="json",
        default=None,
        description="The request's body as a value, sent as JSON.",
        examples=[{"refresh": "all"}],
    )
    expected_status: Status | Annotated[DistinctItems[Status], Field(min_length=1)] | None = Field(
        default=None,
        description="The status, or the list of them, that means success; any 2xx if left out. A "
        "redirect that is expected is not followed.",
        examples=[200, [200, 404]],
    )
    max_redirects: Whole = Field(
        default=5,
        ge=0,
        le=20,
        description="How many redirects are followed; none from https to http.",
        examples=[0],
    )
    connect_timeout_seconds: Whole = Field(
        default=10, ge=1, le=300, description="Time for a connection to come up.", examples=[5]
    )
    request_timeout_seconds: Whole = Field(
        default=60,
        ge=1,
        le=86_400,
        description="Time for the whole exchange, redirects and the answer's body included.",
        examples=[30],
    )
    max_response_kib: Whole = Field(
        alias="maxResponseKiB",
        default=1024,
        ge=0,
        le=102_400,
        description="An answer with a larger body, in KiB, is a failure.",
        examples=[64],
    )
    ca_file: Annotated[str, Field(pattern=PATH_PATTERN, max_length=4096)] | None = Field(
        default=None,
        description="PEM file of the authorities that https servers are checked against; the "
        "system's if left out.",
        examples=["/etc/ssl/internal-ca.pem"],
    )

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.json_body is not None:
            raise ValueError("give either `body` (text) or `json` (a value), or neither")
        return self


class HttpJob(PythonType):
    """Sends a request and judges the status of its answer."""

    name = "http"
    description = "Sends an HTTP request and judges the status of its answer."
    dry_runs = True
    parameters: type[BaseModel] = HttpParameters

    def run(self, context: JobContext) -> dict[str, Any]:
        """`{status, bytes, redirects, dryRun}`. Raises Invalid, Transient."""
        from jobreconciler.jobtypes import http_exchange

        asked = own(context.parameters, HttpParameters)
        call = _call(asked, context)
        if context.dry_run:
            found = http_exchange.look(call)
            context.log("info", "nothing was sent: this is a dry run", addresses=", ".join(found))
            return {"status": None, "bytes": 0, "redirects": 0, "dryRun": True}
        answer = http_exchange.exchange(call)
        context.metric("response_time", round(answer.seconds, 6), "seconds")
        context.metric("response_size", len(answer.body), "bytes")
        context.log("info", "answered", status=answer.status, bytes=len(answer.body))
        _judge(call, answer)
        return {
            "status": answer.status,
            "bytes": len(answer.body),
            "redirects": answer.redirects,
            "dryRun": False,
        }


def _call(asked: HttpParameters, context: JobContext) -> Call:
    from jobreconciler.jobtypes.http_exchange import Call

    secret_url = isinstance(asked.url, EnvSecret | FileSecret)
    url = context.secret(asked.url) if secret_url else str(asked.url)
    headers: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for name, value in asked.headers.items():
        if isinstance(value, str):
            headers[name] = value
        else:
            secrets[name] = _sendable(f"the header {name}", context.secret(value))
    if asked.bearer_token is not None:
        token = _sendable("the bearer token", context.secret(asked.bearer_token))
        secrets["Authorization"] = f"Bearer {token}"
    body, kind = _body(asked)
    return Call(
        method=asked.method,
        url=url.strip(),
        named=f"the URL of {_shown(asked.url)}" if secret_url else None,
        headers=headers,
        secret_headers=secrets,
        body=body,
        content_type=kind,
        expected=_expected(asked),
        max_redirects=asked.max_redirects,
        connect_timeout=asked.connect_timeout_seconds,
        total_timeout=asked.request_timeout_seconds,
        most_bytes=asked.max_response_kib * 1024,
        ca_file=asked.ca_file,
        networks=context.networks,
    )


def _sendable(what: str, value: str) -> str:
    """A secret as a header can carry it. No error says anything of its value."""
    if re.fullmatch(HEADER_VALUE_PATTERN.strip("^$"), value) is None:
        raise Invalid(
            f"the secret for {what} holds a line break or another character no header can carry",
            reason="SecretInvalid",
            hint="only printable ASCII characters can be sent",
        )
    return value


def _body(asked: HttpParameters) -> tuple[bytes | None, str]:
    if asked.json_body is not None:
        text = json.dumps(asked.json_body, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace"), "application/json"
    if asked.body is not None:
        return asked.body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    return None, ""


def _expected(asked: HttpParameters) -> frozenset[int]:
    """Empty where any 2xx will do."""
    given = asked.expected_status
    return frozenset([given] if isinstance(given, int) else given or ())


def _judge(call: Call, answer: Answer) -> None:
    """Raises where the answer is not the expected one, after the output has shown some of it."""
    expected = call.expected
    if answer.status in expected or (not expected and 200 <= answer.status < 300):
        return
    secrets = [*call.secret_headers.values(), *([call.url] if call.named else [])]
    text = _printable(answer.body[: 4 * _EXCERPT], secrets)[:_EXCERPT]
    if text:
        sys.stdout.write(f"{text}\n")
    wanted = ", ".join(map(str, sorted(expected))) if expected else "any 2xx"
    message = f"{answer.shown} answered {answer.status}, expected {wanted}"
    if answer.status in _PASSING_STATUSES:
        raise Transient(message, reason="UnexpectedStatus")
    raise Invalid(message, reason="UnexpectedStatus")


def _printable(body: bytes, secrets: Iterable[str]) -> str:
    """Text that a log may show: what echoes a secret in another notation is hidden as well."""
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        for spelling in (secret, secret.removeprefix("Bearer "), json.dumps(secret)[1:-1]):
            text = text.replace(spelling, "***")
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text).strip()


def _shown(reference: Any) -> str:
    named: Mapping[str, str] = reference.model_dump()
    ((kind, name),) = named.items()
    return f"{{{kind}: {name}}}"
