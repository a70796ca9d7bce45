"""Where each field of a live config came from: the job file, the defaults file or the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from jobreconciler.source.defaults import path_in_defaults
from jobreconciler.source.findings import Path, dotted
from jobreconciler.source.located_yaml import Located, read_located


class Origin(NamedTuple):
    """`line` is where the value stands in that file; 0 for what the program filled in."""

    source: Literal["job", "defaults", "type-default"]
    line: int


def field_origins(
    config: Mapping[str, Any], job: bytes, defaults: bytes | None
) -> dict[str, Origin]:
    """The origin of every field of a normalised config, by dotted path as field changes name it.

    `job` and `defaults` are the files' bytes it was loaded from. A list of plain values is one
    field; a list of objects has fields of its own, by position.
    """
    job_file = read_located(job)
    defaults_file = read_located(defaults) if defaults else None
    return {dotted(path): _origin(path, job_file, defaults_file) for path in _leaves((), config)}


def _leaves(path: Path, value: Any) -> Iterator[Path]:
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _leaves((*path, key), value[key])
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for n, one in enumerate(value):
            yield from _leaves((*path, n), one)
    else:
        yield path


def _origin(path: Path, job: Located, defaults: Located | None) -> Origin:
    mark, steps = job.find(path)
    if steps == len(path):
        return Origin("job", mark.key[0])
    below = path_in_defaults(path)
    if defaults is not None and below is not None:
        mark, steps = defaults.find(below)
        if steps == len(below):
            return Origin("defaults", mark.key[0])
    return Origin("type-default", 0)
