"""Which keys a model knows at a place, and which of them was probably meant."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobreconciler.model.job_config import JobConfig

Path = tuple[str | int, ...]


def known_keys(model: type[BaseModel], data: Any, path: Path) -> frozenset[str]:
    """Keys that the models at `path` know; of a tagged union only the branch that `data` takes."""
    return frozenset(key for found in _models_at(model, data, path) for key in fields_of(found))


def ordered_keys(model: type[BaseModel], data: Any, path: Path) -> tuple[str, ...]:
    """The same keys in the order the models declare them."""
    found = (key for one in _models_at(model, data, path) for key in fields_of(one))
    return tuple(dict.fromkeys(found))


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the key in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_at(model: type[BaseModel], data: Any, path: Path) -> list[type[BaseModel]]:
    candidates = [model]
    annotations: list[Any] = [model]
    for step in path:
        annotations = [inner for one in annotations for inner in _inside(one, step)]
        data = _step(data, step)
        candidates = [found for one in annotations for found in _models_in(one)]
        candidates = [found for found in candidates if _fits(found, data)] or candidates
        annotations = [*candidates, *(one for one in annotations if not _is_model(one))]
    return candidates


def _inside(annotation: Any, step: str | int) -> Iterator[Any]:
    """Annotations of what stands at `step` of a value of this annotation."""
    if _is_model(annotation):
        field = fields_of(annotation).get(str(step))
        if field is not None:
            yield field.annotation
        return
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, Annotated):
        for one in get_args(annotation):
            yield from _inside(one, step)
    elif isinstance(step, int) and origin in (tuple, list, set, frozenset):
        yield from (one for one in get_args(annotation) if one is not Ellipsis)
    elif isinstance(step, str) and origin is dict:
        yield get_args(annotation)[1]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if _is_model(annotation):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated):
        for one in get_args(annotation):
            yield from _models_in(one)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fits(model: type[BaseModel], data: Any) -> bool:
    """Whether every literal field (a tag) agrees with the data, and a required one is there."""
    if not isinstance(data, Mapping):
        return True
    required = {key: field for key, field in fields_of(model).items() if field.is_required()}
    for key, field in required.items():
        is_tag = get_origin(field.annotation) is Literal
        if is_tag and key in data and data[key] not in get_args(field.annotation):
            return False
    return len(required) != 1 or next(iter(required)) in data


def _step(data: Any, step: str | int) -> Any:
    try:
        return data[step]
    except (KeyError, IndexError, TypeError):
        return None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant: by case and hyphens, by beginning, by spelling."""
    if not 0 < len(word) <= 64:
        return None
    plain = {_plain(one): one for one in sorted(known)}
    wanted = _plain(word)
    if wanted in plain:
        return plain[wanted]
    starts = [one for key, one in plain.items() if len(wanted) > 3 and key.startswith(wanted)]
    if len(starts) == 1:
        return starts[0]
    import difflib

    close = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.65)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def belongs_elsewhere(key: str, path: Path) -> str | None:
    """Where in a job file a misplaced key belongs, in words, when there is only one such place."""
    homes = _homes().get(_plain(key), [])
    own = ".".join(str(step) for step in path[:-1])
    if len(homes) != 1 or homes[0][0] == own:
        return None
    return f"{homes[0][1]} belongs in {homes[0][0]}"


@lru_cache(maxsize=1)
def _homes() -> dict[str, list[tuple[str, str]]]:
    """(section, key) of every key of a job file that stands one or two levels deep."""
    homes: dict[str, list[tuple[str, str]]] = {}
    for section, outer in fields_of(JobConfig).items():
        for key, field in _fields_in(outer.annotation):
            homes.setdefault(_plain(key), []).append((section, key))
            for inner, _ in _fields_in(field.annotation):
                homes.setdefault(_plain(inner), []).append((f"{section}.{key}", inner))
    return homes


def _fields_in(annotation: Any) -> Iterator[tuple[str, FieldInfo]]:
    for model in _models_in(annotation):
        yield from fields_of(model).items()
