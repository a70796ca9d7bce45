"""The committed schema files: rendered from the registry, written, and checked for staleness."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobreconciler.ports import JobTypes
from jobreconciler.schema.job_file import defaults_schema, job_file_schema, parameters_schema

Schema = Mapping[str, Any]

TYPES = "job-types"


def render_schemas(
    job_types: JobTypes, extra: Mapping[str, Schema] | None = None
) -> dict[str, str]:
    """Text of every schema file by its name below the schemas directory, sorted by name.

    `extra` adds schemas that are made elsewhere, by file name.
    """
    schemas: dict[str, Schema] = {
        "job-config.schema.json": job_file_schema(job_types),
        "defaults.schema.json": defaults_schema(),
        **(extra or {}),
    }
    for name in job_types.names():
        schemas[f"{TYPES}/{name}.schema.json"] = parameters_schema(job_types.get(name))
    return {
        name: json.dumps(schemas[name], indent=2, ensure_ascii=False) + "\n"
        for name in sorted(schemas)
    }


def check(directory: Path, rendered: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, differ, or belong to no type any more; sorted."""
    stale = [
        name
        for name, text in rendered.items()
        if not (directory / name).is_file()
        or (directory / name).read_text(encoding="utf-8") != text
    ]
    left = {f"{TYPES}/{path.name}" for path in (directory / TYPES).glob("*.schema.json")}
    return sorted({*stale, *(left - rendered.keys())})


def write(directory: Path, rendered: Mapping[str, str]) -> list[str]:
    """Write what is stale and delete what is left over; the names touched, sorted."""
    stale = check(directory, rendered)
    for name in stale:
        path = directory / name
        if name not in rendered:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered[name], encoding="utf-8")
    return stale
