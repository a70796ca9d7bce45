"""The schemas of a job file, of the defaults file and of each job type's parameters.

The job file's schema is one document that refers to nothing outside, so that an editor needs one
file. `jobType` decides, by if/then, which keys `parameters` has and what fits the type.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from jobreconciler.model.job_config import Defaults, JobConfig
from jobreconciler.ports import JobType, JobTypes
from jobreconciler.schema.nullable import with_nulls
from jobreconciler.schema.tidy import tidied

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/"


def job_file_schema(job_types: JobTypes) -> Schema:
    """What a job file may hold, for every registered type."""
    schema = with_nulls(tidied(JobConfig.model_json_schema()))
    defs = schema["$defs"]
    payload = defs["Payload"]
    payload["properties"]["jobType"]["enum"] = list(job_types.names())
    payload["allOf"] = []
    for name in job_types.names():
        job_type = job_types.get(name)
        parameters = _named(f"{name}.", tidied(job_type.parameters.model_json_schema()))
        defs |= parameters.pop("$defs", {})
        defs[f"{name}.parameters"] = parameters
        payload["allOf"].append(_where_type_is(job_type))
    return {
        "$schema": DIALECT,
        "title": "Job file",
        **schema,
        "$defs": dict(sorted(defs.items())),
    }


def defaults_schema() -> Schema:
    """What `_defaults.yaml` may hold."""
    schema = with_nulls(tidied(Defaults.model_json_schema()))
    return {"$schema": DIALECT, "title": "Defaults of job files", **schema}


def parameters_schema(job_type: JobType) -> Schema:
    """What `payload.parameters` may hold where `payload.jobType` is this type."""
    schema = tidied(job_type.parameters.model_json_schema())
    return {
        "$schema": DIALECT,
        "title": f"Parameters of {job_type.name}",
        **schema,
        "description": job_type.description,
        # For those who read the schema only, such as the page of fields.
        "x-job-type": {
            "name": job_type.name,
            "batches": job_type.batches,
            "dryRuns": job_type.dry_runs,
        },
    }


def _where_type_is(job_type: JobType) -> Schema:
    """The if/then of one type: its parameters, batches, and what a trigger may override."""
    refers = {"$ref": f"{_DEFS}{job_type.name}.parameters"}
    needed = _has_required(job_type.parameters)
    then: Schema = {
        "properties": {
            "parameters": refers if needed else {"anyOf": [refers, {"type": "null"}]},
        }
    }
    if needed:
        then["required"] = ["parameters"]
    if not job_type.batches:
        then["properties"]["limits"] = {"properties": {"batchSize": {"type": "null"}}}
    if job_type.parameters.model_config.get("extra") != "allow":
        names = sorted(f.alias or n for n, f in job_type.parameters.model_fields.items())
        names += ["limits.batchSize"] if job_type.batches else []
        allowed = {"properties": {"allowParameters": {"items": {"enum": names}}}}
        then["properties"] |= {"manual": allowed, "webhook": allowed}
    return {
        "if": {"properties": {"jobType": {"const": job_type.name}}, "required": ["jobType"]},
        "then": then,
    }


def _has_required(model: type[BaseModel]) -> bool:
    """Whether an empty map is refused, so that `parameters` cannot be left out."""
    try:
        model.model_validate({})
    except ValueError:
        return True
    return False


def _named(prefix: str, schema: Schema) -> Schema:
    """The schema with its definitions, and all references to them, renamed by a prefix."""
    renamed: Schema = _prefixed(prefix, schema)
    if "$defs" in renamed:
        renamed["$defs"] = {prefix + name: inner for name, inner in renamed["$defs"].items()}
    return renamed


def _prefixed(prefix: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_prefixed(prefix, one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _DEFS + prefix + inner.removeprefix(_DEFS)
        if key == "$ref" and isinstance(inner, str)
        else _prefixed(prefix, inner)
        for key, inner in value.items()
    }
