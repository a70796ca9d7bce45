"""pydantic's JSON Schemas, said as draft 2020-12 and no more than the models mean."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_AS_THEY_ARE = ("examples", "default", "enum", "const")
_BY_NAME = ("properties", "$defs", "patternProperties")
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}
_SIZES = {
    "array": {"minLength": "minItems", "maxLength": "maxItems"},
    "object": {"minLength": "minProperties", "maxLength": "maxProperties"},
}


def tidied(schema: Schema) -> Schema:
    """A new schema, all the way down:

    without titles made up from names and without OpenAPI's `discriminator`; with bounds that
    pydantic passes on under its own names (where a validator stands before them) under theirs;
    and with maps whose keys must match a pattern closed to all other keys, as the models are.
    """
    kind = schema.get("type")
    renamed = {**_BOUNDS, **_SIZES.get(kind if isinstance(kind, str) else "", {})}
    result = {
        renamed.get(key, key): _inner(key, value)
        for key, value in schema.items()
        if not _is_noise(key, value)
    }
    if "patternProperties" in result:
        result.setdefault("additionalProperties", False)
    return result


def _inner(key: str, value: Any) -> Any:
    if key in _AS_THEY_ARE:
        return value
    if isinstance(value, dict):
        if key in _BY_NAME:
            return {name: _inner("", inner) for name, inner in value.items()}
        return tidied(value)
    return [_inner("", one) for one in value] if isinstance(value, list) else value


def _is_noise(key: str, value: Any) -> bool:
    """Made-up titles, OpenAPI's discriminator, and "by default there is nothing"."""
    return (
        (key == "title" and isinstance(value, str))
        or key == "discriminator"
        or (key == "default" and value is None)
    )
