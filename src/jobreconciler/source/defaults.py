"""`_defaults.yaml` under a job file: maps merge, lists replace, null unsets."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from jobreconciler.model.job_config import Defaults, JobConfig
from jobreconciler.model.strict import NAME_PATTERN
from jobreconciler.source.findings import Path

_NAME = re.compile(NAME_PATTERN.removesuffix("$"))

SECTIONS = ("retry", "limits", "expect", "notifications")


@dataclass(frozen=True, slots=True)
class Unset:
    """What null unsets in a map: `keys` that need not be there, and what they hold in turn.

    `every` stands for all keys of a map whose keys a person chooses, such as channels.
    """

    required: bool = False
    keys: Mapping[str, Unset] = field(default_factory=dict)
    every: Unset | None = None


def without_nulls(data: dict[str, Any], unset: Unset) -> dict[str, Any]:
    """`data` without the keys that null unsets. Never changes its argument.

    A name that no channel may have is kept, to be refused like any other.
    """
    result = {}
    for key, value in data.items():
        inner = unset.keys.get(key) or (unset.every if _NAME.fullmatch(key) else None)
        if inner is None:
            result[key] = value
        elif isinstance(value, dict):
            result[key] = without_nulls(value, inner)
        elif value is not None or inner.required:
            result[key] = value
    return result


def _of_model(model: type[BaseModel]) -> dict[str, Unset]:
    return {
        known.alias or name: _of_annotation(known.annotation, known.is_required())
        for name, known in model.model_fields.items()
    }


def _of_annotation(annotation: Any, required: bool = False) -> Unset:
    keys: dict[str, Unset] = {}
    every = None
    for one in _parts(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            keys |= _of_model(one)
        elif get_origin(one) is dict and get_args(one)[1] is not Any:
            every = _of_annotation(get_args(one)[1])
    return Unset(required, keys, every)


def _parts(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _parts(one)
    else:
        yield annotation


UNSET_IN_JOB = Unset(keys=_of_model(JobConfig))
UNSET_IN_DEFAULTS = Unset(keys=_of_model(Defaults))


def merged(
    job: Any, defaults: Mapping[str, Any] | None, *, batches: bool, has_null: bool = True
) -> Any:
    """The job file over the defaults, nulls gone. Returns `job` itself where nothing differs.

    Defaults apply where they fit: a time zone where there is a schedule, a batch size where the
    job type `batches`. `has_null`: whether there may be a null in the job file; defaults hold none.
    """
    if defaults:
        job = _under(job, defaults, batches)
    return without_nulls(job, UNSET_IN_JOB) if has_null else job


def _under(job: Any, defaults: Mapping[str, Any], batches: bool) -> Any:
    meta, payload = job.get("meta"), job.get("payload")
    if isinstance(meta, dict) and "environments" in defaults and "environments" not in meta:
        job = {**job, "meta": {**meta, "environments": defaults["environments"]}}
    if not isinstance(payload, dict):
        return job
    payload = dict(payload)
    for section in SECTIONS:
        if section in defaults:
            below = defaults[section]
            if section == "limits" and not batches:
                below = {key: value for key, value in below.items() if key != "batchSize"}
            payload[section] = _merge(below, payload[section]) if section in payload else below
    schedule = payload.get("schedule")
    if isinstance(schedule, dict) and "timezone" in defaults and "timezone" not in schedule:
        payload["schedule"] = {**schedule, "timezone": defaults["timezone"]}
    return {**job, "payload": payload}


def _merge(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    result = dict(below)
    for key, value in above.items():
        result[key] = _merge(below[key], value) if key in below else value
    return result


def path_in_defaults(path: Path) -> Path | None:
    """How a job's path reads in the defaults file; None where defaults have no such field."""
    if path[:2] == ("meta", "environments"):
        return path[1:]
    if path[:3] == ("payload", "schedule", "timezone"):
        return path[2:]
    if len(path) > 1 and path[0] == "payload" and path[1] in SECTIONS:
        return path[1:]
    return None
