"""pydantic's errors as findings: where in the file, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from jobreconciler.model.strict import PATTERN_MEANINGS
from jobreconciler.source.findings import Finding, Path, dotted
from jobreconciler.source.known_keys import belongs_elsewhere, known_keys, nearest

Told = tuple[str, str, str]
"""Code, message, hint."""

_MANY = 50
"""Beyond so many unknown keys no suggestions are looked for."""

_KINDS = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "none_required": "nothing",
    "mapping_type": "a map",
}


def findings_of(
    error: ValidationError, model: type[BaseModel], data: Any, prefix: Path = ()
) -> list[Finding]:
    """One finding for each mistake in `data`, which `model` refused; `prefix` leads to `data`.

    The branches of a union all complain about one place: only its best complaint is kept.
    """
    found: dict[Path, Finding] = {}
    ranks: dict[Path, int] = {}
    unions: set[Path] = set()
    unknown = 0
    for one in error.errors(include_url=False, include_input=False):
        path, key_only, union = _path_in(data, one["loc"], one["type"])
        if one["type"] == "union_tag_invalid":
            path = (*path, _tag_name(one["ctx"]))
        unknown += one["type"] == "extra_forbidden"
        value = _at(data, path)
        if _is_echo(one, value):
            continue
        if one["type"] == "extra_forbidden":
            finding = _unknown_key(model, data, path, prefix, guess=unknown <= _MANY)
        else:
            finding = _finding(one, value, (*prefix, *path), key_only)
        rank = _rank(finding, value)
        if finding.path not in found or (union and rank > ranks[finding.path]):
            found[finding.path], ranks[finding.path] = finding, rank
        if union:
            unions.add(finding.path)
    return [one for one in found.values() if not _is_explained_below(one, found, unions)]


def _is_echo(error: Any, value: Any) -> bool:
    """A list is called too short only because items in it were refused, which is told anyway."""
    size = len(value) if isinstance(value, list | dict) else 0
    return error["type"] == "too_short" and size >= int(error["ctx"].get("min_length", 0))


def _finding(error: Any, value: Any, path: Path, key_only: bool) -> Finding:
    code, message, hint = _told(error, value)
    if code == "missing" and path[-1] in _REQUIRED:
        message, hint = _REQUIRED[str(path[-1])]
    return Finding(path, code, message, hint, "key" if key_only else "value")


def _is_explained_below(one: Finding, found: Mapping[Path, Finding], unions: set[Path]) -> bool:
    """A union's "expected text" about a map, when another branch says what is wrong in it."""
    return (
        one.code == "wrong_type"
        and one.path in unions
        and any(path != one.path and path[: len(one.path)] == one.path for path in found)
    )


_REQUIRED = {
    "meta": ("a job file needs a map `meta` that says what the job is", "add meta: {id: my-job}"),
    "payload": ("a job file needs a map `payload` that says what the job does", "add payload:"),
    "id": ("the job needs an id", "add id: my-job"),
    "jobType": ("the job needs a type", "add jobType: command"),
    "secret": ("a webhook without a secret is refused", "add secret: {env: NAME}"),
    "cronExpression": ("a schedule needs a cron expression", 'add cronExpression: "0 * * * *"'),
    "jobs": ("a dependency names the jobs it waits for", "add jobs: [other-job]"),
}
"""What a missing key means, where a plain "required" would not do."""


def _rank(finding: Finding, value: Any) -> int:
    """A wrong kind of value says little: another branch of the union may take this kind."""
    if finding.code == "bad_secret" and not isinstance(value, dict):
        return -1
    return 0 if finding.code == "wrong_type" else 1


def _path_in(data: Any, loc: tuple[int | str, ...], kind: str) -> tuple[Path, bool, bool]:
    """The part of pydantic's `loc` that leads through the data: without names of union branches.

    Also whether the key itself is meant, and whether names of branches were left out.
    """
    path: list[str | int] = []
    value, key_only, union = data, False, False
    for n, step in enumerate(loc):
        last = n == len(loc) - 1
        if last and step == "[key]":
            key_only = True
        elif _has(value, step):
            path.append(step)
            value = value[step]
        elif last and kind == "missing":
            path.append(step)
        else:
            union = True
    return tuple(path), key_only, union


def _has(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, Mapping) and step in value


def _at(data: Any, path: Path) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _unknown_key(
    model: type[BaseModel], data: Any, path: Path, prefix: Path, *, guess: bool
) -> Finding:
    key, full = str(path[-1]), (*prefix, *path)
    where = dotted(full[:-1])
    message = f"unknown key {key[:64]!r}" + (f" in {where}" if where else "")
    hint = ""
    if guess and len(key) <= 64:
        known = known_keys(model, data, path[:-1])
        if near := nearest(key, known):
            hint = f"did you mean {near}?"
        elif home := belongs_elsewhere(key, full):
            hint = home
        elif known:
            hint = f"known keys: {', '.join(sorted(known))}"
    return Finding(full, "unknown_key", message, hint, "key")


def _told(error: Any, value: Any) -> Told:
    """Code, message and hint of one pydantic error about `value`."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _KINDS:
        return _wrong_type(_KINDS[kind], value)
    teller = _TELLERS.get(kind)
    if teller is not None:
        return teller(context, value)
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return "invalid_value", message, ""


def _wrong_type(expected: str, value: Any) -> Told:
    hint = ""
    if expected == "text" and isinstance(value, bool | int | float):
        hint = "write it in quotes"
    elif expected in ("a whole number", "a number") and isinstance(value, str) and value:
        hint = "write it without quotes" if value.strip("+-").isdigit() else ""
    elif expected == "true or false" and isinstance(value, str):
        hint = "write true or false; yes, no, on and off are text in YAML 1.2"
    elif expected == "a list":
        hint = "write [value], or one '- value' a line"
    return "wrong_type", f"expected {expected}, found {shown(value)}", hint


def _missing(_context: Any, _value: Any) -> Told:
    return "missing", "this key is required", "add it"


def _choice(context: Any, value: Any) -> Told:
    expected = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
    choices = expected.split(", ")
    near = nearest(value, choices) if isinstance(value, str) else None
    listed = f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    hint = f"did you mean {near}?" if near else ""
    return "not_allowed_value", f"expected {listed}, found {shown(value)}", hint


def _tag_name(context: Any) -> str:
    return str(context.get("discriminator", "type")).strip("'")


def _tag(context: Any, value: Any) -> Told:
    return _choice({"expected": context.get("expected_tags", "")}, value)


def _no_tag(context: Any, value: Any) -> Told:
    if not isinstance(value, Mapping):
        return _wrong_type("a map", value)
    return "missing", f"the key {_tag_name(context)} is required here", "add it"


def _range(words: str, key: str) -> Callable[[Any, Any], Told]:
    def tell(context: Any, value: Any) -> Told:
        return "out_of_range", f"expected {words} {context.get(key)}, found {shown(value)}", ""

    return tell


def _pattern(context: Any, _value: Any) -> Told:
    pattern = str(context.get("pattern", ""))
    meaning = PATTERN_MEANINGS.get(pattern)
    return "bad_format", f"expected {meaning or f'text that matches {pattern}'}", ""


def _count(number: Any, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit.removesuffix('y')}{_ENDS[unit]}"


_ENDS = {"character": "s", "entry": "ies"}


def _long(unit: str) -> Callable[[Any, Any], Told]:
    def tell(context: Any, value: Any) -> Told:
        most = context.get("max_length")
        size = context.get("actual_length") or (len(value) if value is not None else 0)
        return "too_long", f"expected at most {_count(most, unit)}, found {size}", ""

    return tell


def _short(unit: str) -> Callable[[Any, Any], Told]:
    def tell(context: Any, value: Any) -> Told:
        size = len(value) if isinstance(value, str | list | dict) else 0
        least = context.get("min_length")
        return "too_short", f"expected at least {_count(least, unit)}, found {size}", ""

    return tell


def _secret(_context: Any, value: Any) -> Told:
    hint = "write {env: NAME} or {file: name}"
    if isinstance(value, dict):
        return "bad_secret", "expected either env or file, and nothing else", hint
    code = "secret_literal" if isinstance(value, str) else "bad_secret"
    told = "a secret is never written in a job file, only where it is to be found"
    return code, told, hint


def _duration(_context: Any, value: Any) -> Told:
    return (
        "bad_duration",
        f"expected a duration, found {shown(value)}",
        "write 30s, 5m, 1h30m, 2d or a whole number of seconds",
    )


def _twice(context: Any, _value: Any) -> Told:
    return "duplicate_item", f"{context.get('item')} stands in this list twice", "delete one"


_TELLERS: dict[str, Callable[[Any, Any], Told]] = {
    "missing": _missing,
    "literal_error": _choice,
    "enum": _choice,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _no_tag,
    "greater_than_equal": _range("at least", "ge"),
    "greater_than": _range("more than", "gt"),
    "less_than_equal": _range("at most", "le"),
    "less_than": _range("less than", "lt"),
    "string_pattern_mismatch": _pattern,
    "string_too_long": _long("character"),
    "string_too_short": _short("character"),
    "too_long": _long("entry"),
    "too_short": _short("entry"),
    "secret_reference": _secret,
    "duration": _duration,
    "duplicate_item": _twice,
}


def shown(value: Any) -> str:
    """A value as a message may show it: short scalars as they are, all else by its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return repr(value) if len(value) <= 64 else f"a text of {len(value)} characters"
    return "a list" if isinstance(value, list) else "a map"
