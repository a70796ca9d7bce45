"""The text of a new job file: valid at once, with what else could stand there as comments."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, ValidationError

from jobreconciler.errors import Invalid
from jobreconciler.model.strict import ID_PATTERN
from jobreconciler.ports import JobType
from jobreconciler.source.known_keys import fields_of
from jobreconciler.source.scalars import plain_value

_TEMPLATE = """\
# yaml-language-server: $schema=../schemas/job-config.schema.json
# {about}
meta:
  id: {job_id}
  title: {title}
  # owner: team-name
  # tags: [nightly]
  # environments: [production]   # left out: everywhere
payload:
  jobType: {job_type}
  schedule:
    cronExpression: "0 3 * * *"   # minute, hour, day of month, month, day of week
    timezone: UTC                 # or an IANA name such as Europe/Berlin
    # catchUp: latest             # slots missed while nobody could start them: none, latest, all
  # dependency: {{jobs: [other-job], on: success}}
  retry: {{maxAttempts: 3, initialDelay: 30s}}
  limits:
    timeoutSeconds: 900
{batches}    # overlap: skip               # while a run is active: skip, queue, replace
  # expect: {{successWithin: 26h}}  # past it the job is Late; nothing is stopped
{parameters}"""


def scaffold(job_type: JobType, job_id: str) -> str:
    """A job file of that type. Raises Invalid for an id that no job may have."""
    if re.fullmatch(ID_PATTERN.removesuffix("$"), job_id) is None:
        raise Invalid(
            f"{job_id!r} cannot be the id of a job",
            reason="InvalidId",
            hint="use 1 to 63 lower-case letters, digits and inner hyphens",
        )
    return _TEMPLATE.format(
        about=" ".join(job_type.description.split()),
        job_id=job_id if isinstance(plain_value(job_id), str) else json.dumps(job_id),
        title=json.dumps(job_id.replace("-", " ").capitalize()),
        job_type=job_type.name,
        batches="    # batchSize: 500              # items a batch\n" if job_type.batches else "",
        parameters=_parameters(job_type.parameters),
    )


def _parameters(model: type[BaseModel]) -> str:
    fields = fields_of(model)
    chosen = _smallest(model)
    lines = ["  parameters:" if chosen else "  # parameters:"]
    for key, field in fields.items():
        value = chosen.get(key, _example(field))
        about = " ".join((field.description or "").split())
        if key in chosen:
            lines.append(f"    {key}: {json.dumps(value, ensure_ascii=False)}")
        else:
            shown = json.dumps(value, ensure_ascii=False)
            lines += [f"    # {about}"] if about else []
            lines.append(f"    # {key}: {shown}")
    return "\n".join(lines if fields else []) + "\n"


def _smallest(model: type[BaseModel]) -> dict[str, Any]:
    """The required parameters by their examples, and as few others as make them valid."""
    fields = fields_of(model)
    chosen = {key: _example(field) for key, field in fields.items() if field.is_required()}
    if _is_valid(model, chosen):
        return chosen
    for key, field in fields.items():
        if key not in chosen and _is_valid(model, {**chosen, key: _example(field)}):
            return {**chosen, key: _example(field)}
    return chosen


def _example(field: Any) -> Any:
    if field.examples:
        return field.examples[0]
    return field.get_default(call_default_factory=True) if not field.is_required() else ""


def _is_valid(model: type[BaseModel], values: dict[str, Any]) -> bool:
    try:
        model.model_validate(values)
    except ValidationError:
        return False
    return True
