"""The job types this installation knows: the built-in ones and those that packages add.

A package adds a type through the entry-point group `jobreconciler.job_types`. Nothing is imported
before it is asked for: validating a file of `command` jobs neither scans the installed packages
nor loads any plugin. A broken plugin disables its own type and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from jobreconciler.errors import NotFound

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from jobreconciler.ports import JobType

GROUP = "jobreconciler.job_types"
BUILT_IN: Mapping[str, str] = {
    "command": "jobreconciler.jobtypes.command:CommandJob",
    "http": "jobreconciler.jobtypes.http:HttpJob",
    "python": "jobreconciler.jobtypes.python:PythonJob",
    "sql": "jobreconciler.jobtypes.sql:SqlJob",
    "signal-aggregation-all": "jobreconciler.jobtypes.signal_aggregation:SignalAggregationAll",
    "signal-aggregation-7d": "jobreconciler.jobtypes.signal_aggregation:SignalAggregation7d",
    "signal-aggregation-30d": "jobreconciler.jobtypes.signal_aggregation:SignalAggregation30d",
    "advancement-batch": "jobreconciler.jobtypes.advancement:AdvancementBatch",
    "advancement-rollback": "jobreconciler.jobtypes.advancement:AdvancementRollback",
}
"""Always present, also where the package runs from a source tree without being installed."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Registry:
    """The job types by name. Loads each type once, when it is first asked for."""

    def __init__(self) -> None:
        self._types: dict[str, JobType] = {}
        self._broken: dict[str, str] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    def names(self) -> tuple[str, ...]:
        """Every type that can be loaded, sorted. Loads them all."""
        self._load_plugins()
        for name in BUILT_IN:
            self.get(name)
        return tuple(sorted(self._types))

    def get(self, name: str) -> JobType:
        """The type of that name. Raises NotFound, with the nearest known name as a hint."""
        known = self._types.get(name)
        if known is not None:
            return known
        if name in BUILT_IN:
            self._types[name] = _built_in(BUILT_IN[name])
            return self._types[name]
        plugin = self._discovered().get(name)
        if plugin is not None and name not in self._broken:
            self._load(name, plugin)
        if name not in self._types:
            raise self._not_found(name)
        return self._types[name]

    def broken(self) -> Mapping[str, str]:
        """Types that cannot be used, each with a sentence that says why. Loads them all."""
        self._load_plugins()
        return dict(sorted(self._broken.items()))

    def _load_plugins(self) -> None:
        for name, plugin in self._discovered().items():
            if name not in self._types and name not in self._broken:
                self._load(name, plugin)

    def _load(self, name: str, plugin: EntryPoint) -> None:
        try:
            # What it prints must not get into an answer that a program reads.
            with contextlib.redirect_stdout(sys.stderr):
                self._types[name] = _of_plugin(name, plugin.load())
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())[:500]
            why = f"{type(error).__name__}: {said}"
            self._broken[name] = f"{_origin(plugin)}, {plugin.value}: {why}"

    def _discovered(self) -> dict[str, EntryPoint]:
        if self._plugins is None:
            from importlib.metadata import entry_points

            self._plugins, refused = _unambiguous(entry_points(group=GROUP))
            self._broken.update(refused)
        return self._plugins

    def _not_found(self, name: str) -> NotFound:
        if name in self._broken:
            return NotFound(
                f"the job type {name!r} cannot be used: {self._broken[name]}",
                reason="BrokenJobType",
                hint="repair or remove that package; `jobreconciler job-types` lists all types",
            )
        import difflib

        names = self.names()
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known types: {', '.join(names)}"
        return NotFound(f"there is no job type {name!r}", reason="UnknownJobType", hint=hint)


def load_job_types() -> Registry:
    """A fresh registry. Costs nothing until a type is asked for."""
    return Registry()


def _unambiguous(found: Iterable[EntryPoint]) -> tuple[dict[str, EntryPoint], dict[str, str]]:
    """Entry points whose name only one package claims, and the refused names with the reason.

    A built-in name cannot be taken over: the built-in stays, the claim is reported.
    """
    claims: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in found:
        if BUILT_IN.get(point.name) != point.value:
            claims.setdefault(point.name, {}).setdefault((_origin(point), point.value), point)
    single: dict[str, EntryPoint] = {}
    refused: dict[str, str] = {}
    for name, by_origin in sorted(claims.items()):
        points = list(by_origin.values())
        who = " and ".join(f"{_origin(point)} ({point.value})" for point in points)
        if name in BUILT_IN:
            refused[f"{name} of {_origin(points[0])}"] = (
                f"{who} claims the built-in name {name!r}; the built-in type stays in use"
            )
        elif len(points) > 1:
            refused[name] = f"claimed by {who}; uninstall all but one of them"
        else:
            single[name] = points[0]
    return single, refused


def _origin(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist is not None else "a package without a name"


def _built_in(value: str) -> JobType:
    module, _, attribute = value.partition(":")
    return _checked(None, getattr(importlib.import_module(module), attribute))


def _of_plugin(name: str, candidate: Any) -> JobType:
    """As `_checked`, and also that everything which is made of a type can be made of this one."""
    job_type = _checked(name, candidate)
    kind = type(job_type)
    found: Any = importlib.import_module(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not kind:
        raise TypeError(f"{kind.__qualname__} must stand in its module, for a run to find it there")
    job_type.parameters.model_json_schema(by_alias=True)
    with contextlib.suppress(ValidationError):
        job_type.parameters.model_validate({})
    return job_type


def _checked(name: str | None, candidate: Any) -> JobType:
    """An instance of a job-type class, or a TypeError that names what it lacks."""
    if not isinstance(candidate, type):
        raise TypeError(f"expected a class, found {type(candidate).__name__}")
    job_type = candidate()
    own_name = getattr(job_type, "name", None)
    if not isinstance(own_name, str) or not _NAME.fullmatch(own_name):
        raise TypeError(f"`name` must be lower-case letters, digits and dashes, not {own_name!r}")
    if name is not None and own_name != name:
        raise TypeError(f"the entry point is called {name!r}, the type calls itself {own_name!r}")
    parameters = getattr(job_type, "parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, BaseModel)):
        raise TypeError("`parameters` must be a pydantic model class")
    for attribute, kind in (("description", str), ("batches", bool), ("dry_runs", bool)):
        if not isinstance(getattr(job_type, attribute, None), kind):
            raise TypeError(f"`{attribute}` must be a {kind.__name__}")
    for method in ("program", "run"):
        if not callable(getattr(job_type, method, None)):
            raise TypeError(f"`{method}` must be a method")
    checked: JobType = job_type
    return checked
