"""What an editor's form for a job type's parameters is made of, derived from its schema alone."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

_CODE = "contentMediaType"
_SECRET_KINDS = ({"env"}, {"file"})


def form_fields(schema: Schema) -> list[dict[str, Any]]:
    """One entry a parameter, in the order they are declared:

    `{name, label, control, required, help, default?, choices?, mediaType?, example?}`. `control` is
    text, code, number, checkbox, choice, secret, list, map, object, or json for what takes several
    kinds of values.
    """
    required = set(schema.get("required", ()))
    return [
        _field(schema, name, field, name in required)
        for name, field in schema.get("properties", {}).items()
    ]


def _field(root: Schema, name: str, field: Schema, required: bool) -> dict[str, Any]:
    shape = _shape(root, field)
    found = {
        "name": name,
        "label": _label(name),
        "control": _control(root, shape),
        "required": required,
        "help": field.get("description", ""),
    }
    if field.get("default") is not None:
        found["default"] = field["default"]
    if "enum" in shape:
        found["choices"] = list(shape["enum"])
    if media_type := shape.get(_CODE) or shape.get("items", {}).get(_CODE):
        found["mediaType"] = media_type
    if field.get("examples"):
        found["example"] = field["examples"][0]
    return found


def _label(name: str) -> str:
    """`successExitCodes` as people write it: Success exit codes. A KiB stays one."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])(?!B$)", " ", name).replace("_", " ")
    words = [word if word[1:] != word[1:].lower() else word.lower() for word in spaced.split()]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _shape(root: Schema, field: Schema) -> Schema:
    """The field without references, and without the null that stands for leaving it out."""
    if "$ref" in field:
        return {**root["$defs"][field["$ref"].rpartition("/")[2]], **_rest(field, "$ref")}
    choices = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        return _shape(root, {**choices[0], **_rest(field, "anyOf")})
    return field


def _rest(field: Schema, key: str) -> Schema:
    return {name: value for name, value in field.items() if name != key}


def _control(root: Schema, shape: Schema) -> str:
    branches = [_shape(root, each) for each in (*shape.get("anyOf", ()), *shape.get("oneOf", ()))]
    branches = [each for each in branches if each.get("type") != "null"]
    if branches and all(set(each.get("properties", ())) in _SECRET_KINDS for each in branches):
        return "secret"
    if {each.get("type") for each in branches} == {"integer", "string"}:
        return "text"
    if branches:
        return "json"
    if "enum" in shape:
        return "choice"
    kind = shape.get("type")
    if kind == "string":
        return "code" if _CODE in shape else "text"
    if kind == "object":
        return "object" if shape.get("properties") else "map"
    controls = {"integer": "number", "number": "number", "boolean": "checkbox", "array": "list"}
    return controls.get(str(kind), "json")
