"""What a trigger sets of a job's parameters: which it may, where they come from, what results.

Names are those of `allowParameters`: a parameter's name (also with `parameters.` before it, and
with dots below it) or `limits.batchSize`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jobreconciler.core.nesting import MOST_LEVELS, is_too_deep
from jobreconciler.errors import Invalid

BATCH_SIZE: Final = "limits.batchSize"
_LARGEST_BATCH: Final = 1_000_000
_ABSENT: Final = object()


def allowed_of(config: Mapping[str, Any], section: str) -> tuple[str, ...]:
    """`payload.<section>.allowParameters` of a normalised config."""
    return tuple((config["payload"].get(section) or {}).get("allowParameters", ()))


def chosen(given: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """What somebody asked for by name, under the names the job's file uses.

    Raises Invalid, naming the first that may not be set (ParameterNotAllowed) or whose value cannot
    be kept (InvalidParameters).
    """
    known = {_plain(name): name for name in allowed}
    if BATCH_SIZE in known:
        known.setdefault("batchSize", BATCH_SIZE)
    found: dict[str, Any] = {}
    for name, value in given.items():
        if _plain(name) not in known:
            raise Invalid(
                f"{name} may not be set by hand",
                reason="ParameterNotAllowed",
                hint="list it under payload.manual.allowParameters in the job's file"
                + (f"; allowed are {', '.join(allowed)}" if allowed else ""),
            )
        found[_plain(known[_plain(name)])] = value
    return _kept(found)


def picked(body: Any, allowed: Sequence[str]) -> dict[str, Any]:
    """The allowed names that stand in a request's JSON body, whole or as a path of objects.

    Everything else in it is passed over: hosts send hundreds of fields of their own. Raises Invalid
    (InvalidParameters), naming the first whose value cannot be kept.
    """
    found = {_plain(name): _at(body, name) for name in allowed}
    return _kept({name: value for name, value in found.items() if value is not _ABSENT})


def _kept(overrides: dict[str, Any]) -> dict[str, Any]:
    """Themselves, if all of them read the same wherever they go from here."""
    for name, value in overrides.items():
        if is_too_deep(value):
            why, hint = f"nested more than {MOST_LEVELS} levels deep", "send it as a text"
        elif any(isinstance(each, float) and not math.isfinite(each) for each in _leaves(value)):
            why, hint = "holds NaN or an infinity, which JSON has not", "leave it out, or send null"
        elif not all(_is_text(each) for each in _leaves(value) if isinstance(each, str)):
            why, hint = "holds half a character (\\ud800 to \\udfff alone)", "send whole characters"
        else:
            continue
        raise Invalid(f"{name}: {why}", reason="InvalidParameters", hint=hint)
    return overrides


def _leaves(value: Any) -> Iterator[Any]:
    """Every value in it that holds no other, and every key."""
    if isinstance(value, dict):
        yield from value
        value = value.values()
    elif not isinstance(value, list):
        yield value
        return
    for each in value:
        yield from _leaves(each)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(name: str) -> str:
    return name.removeprefix("parameters.")


def _at(body: Any, name: str) -> Any:
    if isinstance(body, Mapping) and name in body:
        return body[name]
    for part in name.split("."):
        if not isinstance(body, Mapping) or part not in body:
            return _ABSENT
        body = body[part]
    return body


def merged(
    config: dict[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config a run gets, with another batch size where one is set, and its parameters.

    Neither argument is changed. Raises Invalid (InvalidParameters) for a batch size out of bounds.
    """
    payload = config["payload"]
    parameters = dict(payload["parameters"])
    for name, value in overrides.items():
        if name != BATCH_SIZE:
            _put(parameters, list(_path(name, parameters)), value)
    if BATCH_SIZE not in overrides:
        return config, parameters
    limits = {**payload["limits"], "batchSize": _batch_size(overrides[BATCH_SIZE])}
    return {**config, "payload": {**payload, "limits": limits}}, parameters


def _path(name: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    name = _plain(name)
    return iter([name] if name in parameters else name.split("."))


def _put(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value at a path; maps on the way are copied, since they may be the config's own."""
    for part in path[:-1]:
        inner = target.get(part)
        target[part] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[part]
    target[path[-1]] = value


def _batch_size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST_BATCH:
        return value
    raise Invalid(
        f"{BATCH_SIZE}: expected a whole number from 1 to {_LARGEST_BATCH}",
        reason="InvalidParameters",
        hint="such as 500",
    )
