"""`jobreconciler job-types`: what a job file's `jobType` may name, and what each type takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import Cell, Column, pairs, styled, table, write, write_json
from jobreconciler.cli.words import clean
from jobreconciler.ports import JobType, JobTypes
from jobreconciler.settings import Settings


@verb()
def command(
    settings: Settings,  # noqa: ARG001
    output: str,
    name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="Show this type's parameters.")
    ] = None,
) -> int:
    """List the registered job types, or one type's parameters.

    A type that could not be loaded is listed with the reason, and the exit code is 1.

    \b
    Example:
      jobreconciler job-types command
    """
    from jobreconciler.jobtypes.registry import load_job_types

    types = load_job_types()
    if name is not None:
        return _one(types.get(name), output)
    return _all(types, output)


def _all(types: JobTypes, output: str) -> int:
    known = [types.get(name) for name in types.names()]
    broken = types.broken()
    if output == "json":
        write_json({"jobTypes": [_json(each) for each in known], "broken": dict(broken)})
    else:
        rows = [[each.name, _traits(each), each.description] for each in known]
        write(table(["type", "can", Column("what it does", wraps=True, least=20)], rows))
        for each, reason in broken.items():
            write("\n" + styled(f"broken: {each}", "bad") + f"\n  {clean(reason)}")
    return NO if broken else FINE


def _one(job_type: JobType, output: str) -> int:
    if output == "json":
        write_json(_json(job_type))
        return FINE
    shown: list[tuple[str, Cell | str]] = [
        ("type", Cell(job_type.name, "bold")),
        ("what it does", job_type.description),
        ("can", _traits(job_type)),
    ]
    write(pairs(shown))
    schema = job_type.parameters.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    rows = [
        [name, _kind(field), "yes" if name in required else "", field.get("description", "")]
        for name, field in schema.get("properties", {}).items()
    ]
    if rows:
        wide = Column("meaning", wraps=True, least=20)
        write("\n" + table(["parameter", Column("kind", wraps=True), "required", wide], rows))
    return FINE


def _traits(job_type: JobType) -> str:
    traits = [word for word, has in _capabilities(job_type) if has]
    return ", ".join(traits) or "-"


def _capabilities(job_type: JobType) -> list[tuple[str, bool]]:
    return [("batch", job_type.batches), ("dry-run", job_type.dry_runs)]


_NAMED = {
    "EnvSecret": "secret reference",
    "FileSecret": "secret reference",
    "RepositoryDirectory": "{repo: dir}",
    "JsonValue": "any",
}
"""What definitions are called that several types use."""


def _kind(field: dict[str, Any]) -> str:
    """A short word for a JSON Schema's type."""
    if "enum" in field:
        return "|".join(str(value) for value in field["enum"])
    branches = field.get("anyOf") or field.get("oneOf")
    if branches:
        kinds = [_kind(each) for each in branches if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return _NAMED.get(name, name)
    return str(field.get("const") or field.get("type") or "any")


def _json(job_type: JobType) -> dict[str, Any]:
    """`parameters` is the type's JSON Schema, as committed; `form` what an editor shows of it."""
    from jobreconciler.schema import form_fields, parameters_schema

    schema = parameters_schema(job_type)
    return {
        "name": job_type.name,
        "description": job_type.description,
        "batches": job_type.batches,
        "dryRuns": job_type.dry_runs,
        "parameters": schema,
        "form": form_fields(schema),
    }
