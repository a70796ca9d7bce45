"""Writes job-fields.md from the committed JSON Schemas; `--check` only compares.

Run it after `jobreconciler schema` has changed a schema: `python docs/field_tables.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SCHEMAS = DOCS.parent / "schemas"
PAGE = DOCS / "job-fields.md"
HEAD = """\
# Fields of the job file

By section; [job-file.md](job-file.md) explains them by task. A duration is `30s`, `5m`, `1h30m`,
`2d` or whole seconds. A secret reference is `{env: NAME}` or `{file: name}`. Every mistake has a
[code](problem-codes.md). This page is written by `docs/field_tables.py` from `schemas/`.

"""

Schema = dict[str, Any]


def page() -> str:
    """Every field of a job file, of each job type's parameters and of the defaults file."""
    job = _read("job-config.schema.json")
    payload = _target(job, job["properties"]["payload"])
    parts = [
        _table(job, "meta", _target(job, job["properties"]["meta"])),
        _table(job, "payload", payload),
    ]
    for name, field in payload["properties"].items():
        inner = _target(job, field)
        if name != "parameters" and inner.get("properties"):
            parts.append(_table(job, f"payload.{name}", inner))
    for definition in job["$defs"].values():
        kind = definition.get("properties", {}).get("type", {}).get("const")
        if kind and kind != "job-config":
            parts.append(
                _table(job, f"A channel of payload.notifications, type {kind}", definition)
            )
    types = [
        json.loads(path.read_text("utf-8"))
        for path in sorted((SCHEMAS / "job-types").glob("*.schema.json"))
    ]
    parts.append(_types(types))
    for schema in types:
        name = schema["x-job-type"]["name"]
        parts.append(_table(schema, f"payload.parameters of jobType {name}", schema))
        parts += _items(schema, f"payload.parameters of jobType {name}", schema)
    defaults = _read("defaults.schema.json")
    parts.append(_table(defaults, "_defaults.yaml", defaults))
    return HEAD + "\n".join(parts)


def _read(name: str) -> Schema:
    read: Schema = json.loads((SCHEMAS / name).read_text("utf-8"))
    return read


def _types(schemas: list[Schema]) -> str:
    lines = [
        "## Job types",
        "",
        "| jobType | what it does | batches | dry run |",
        "|---|---|---|---|",
    ]
    for schema in schemas:
        about = schema["x-job-type"]
        can = ["yes" if about[key] else "no" for key in ("batches", "dryRuns")]
        lines.append(f"| `{about['name']}` | {schema['description']} | {' | '.join(can)} |")
    return "\n".join([*lines, ""])


def _table(root: Schema, title: str, schema: Schema) -> str:
    lines = [f"## {title}", "", "| field | type | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        kind = _type(root, field)
        default = "required" if name in required else _default(field, kind)
        cells = (f"`{name}`", kind, default, field.get("description", ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _items(root: Schema, title: str, schema: Schema) -> Iterator[str]:
    """A table for each field that is a list of maps, and for those inside of it."""
    for name, field in schema["properties"].items():
        inner = _target(root, _target(root, field).get("items", {}))
        if inner.get("properties"):
            yield _table(root, f"{title}: an item of {name}", inner)
            yield from _items(root, f"{title}: an item of {name}", inner)


def _default(field: Schema, kind: str) -> str:
    """A map's default is that of its fields, which have a table of their own."""
    value = field.get("default")
    if value is None or isinstance(value, dict) or value == []:
        return ""
    return f"`{value}s`" if kind == "duration" else f"`{json.dumps(value)}`"


def _type(root: Schema, field: Schema) -> str:
    """A few words for a field's type and bounds."""
    field = _target(root, field)
    choices = [each for each in _choices(root, field) if each.get("type") != "null"]
    if {"integer", "string"} == {each.get("type") for each in choices}:
        return "duration"
    if choices and "properties" not in field:
        return " or ".join(dict.fromkeys(_type(root, each) for each in choices))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"] if value is not None)
    if "const" in field:
        return f"`{field['const']}`"
    kind = field.get("type")
    if kind == "object" and set(field.get("properties", ())) in ({"env"}, {"file"}):
        return "secret reference"
    if kind == "object" and set(field.get("properties", ())) == {"repo"}:
        return "`{repo: dir}`"
    if kind == "array":
        items = _type(root, field.get("items", {}))
        return "list of " + {"text": "texts", "secret reference": "secret references"}.get(
            items, items
        )
    if kind in ("integer", "number"):
        low, high = field.get("minimum"), field.get("maximum")
        return f"{low:,} to {high:,}" if low is not None and high is not None else str(kind)
    return {"object": "map", "boolean": "true, false", "string": "text"}.get(str(kind), "any")


def _choices(root: Schema, field: Schema) -> Iterator[Schema]:
    for each in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield _target(root, each)


def _target(root: Schema, field: Schema) -> Schema:
    """What a reference means, also where null may stand instead."""
    if "$ref" in field:
        return {**root["$defs"][field["$ref"].rpartition("/")[2]], **_without(field, "$ref")}
    choices = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        return _target(root, {**choices[0], **_without(field, "anyOf")})
    return field


def _without(field: Schema, key: str) -> Schema:
    return {name: value for name, value in field.items() if name != key}


def main() -> int:
    written = PAGE.read_text("utf-8") if PAGE.exists() else ""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
    elif written != page():
        sys.stderr.write("docs/job-fields.md is stale: python docs/field_tables.py mends it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
