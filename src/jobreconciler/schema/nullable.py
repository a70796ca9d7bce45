"""In a job file, null unsets a key that need not be there; a schema has to say so."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_OUTSIDE = ("description", "title", "default", "examples")


def with_nulls(schema: Schema) -> Schema:
    """The schema with null allowed for every optional property of every object in it.

    Works on the whole document, `$defs` included. Returns a new schema.
    """
    rest = {key: _walk(key, value) for key, value in schema.items()}
    properties = rest.get("properties")
    if isinstance(properties, dict):
        required = set(rest.get("required", ()))
        rest["properties"] = {
            key: value if key in required else _or_null(value) for key, value in properties.items()
        }
    patterns = rest.get("patternProperties")
    if isinstance(patterns, dict):
        rest["patternProperties"] = {key: _or_null(value) for key, value in patterns.items()}
    return rest


def _walk(key: str, value: Any) -> Any:
    if key in ("examples", "default", "enum", "const"):
        return value
    if key in ("properties", "$defs", "patternProperties") and isinstance(value, dict):
        return {name: with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, dict):
        return with_nulls(value)
    if isinstance(value, list):
        return [with_nulls(one) if isinstance(one, dict) else one for one in value]
    return value


def _or_null(schema: Schema) -> Schema:
    """The schema or null, with what people read kept on the outside."""
    if _takes_null(schema):
        return schema
    outside = {key: schema[key] for key in _OUTSIDE if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    branches = inside["anyOf"] if inside.keys() == {"anyOf"} else [inside]
    return {**outside, "anyOf": [*branches, {"type": "null"}]}


def _takes_null(schema: Schema) -> bool:
    return any(one == {"type": "null"} for one in schema.get("anyOf", ()))
