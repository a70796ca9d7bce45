"""Job files to desired state: the bytes of every file to a job, or to all that is wrong with it.

Reads each file quickly and without positions; only a file that turns out wrong is read again for
the places of its mistakes. Never stops at a first mistake, never lets one file affect another.
"""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jobreconciler.model.desired import DesiredFile, DesiredJob, Entry, Position
from jobreconciler.model.job_config import Defaults
from jobreconciler.model.problem import Problem
from jobreconciler.model.strict import ID_PATTERN
from jobreconciler.source.checks import Checked, TypeLookup, check, zone_findings
from jobreconciler.source.defaults import (
    UNSET_IN_DEFAULTS,
    merged,
    path_in_defaults,
    without_nulls,
)
from jobreconciler.source.findings import Blame, Finding, Text, problems_of
from jobreconciler.source.model_errors import findings_of, shown
from jobreconciler.source.reader_version import reader_version
from jobreconciler.source.strict_yaml import CloserLook, Quick, read_quickly

if TYPE_CHECKING:
    from jobreconciler.ports import JobTypes
    from jobreconciler.source.located_yaml import Located

DEFAULTS_NAMES = ("_defaults.yaml", "_defaults.yml")

_ID = re.compile(ID_PATTERN)

_TRUE_OF_A_PART = frozenset(
    {
        "unknown_key",
        "wrong_type",
        "not_allowed_value",
        "out_of_range",
        "bad_format",
        "bad_cron",
        "bad_duration",
        "secret_literal",
        "unknown_job_type",
        "unknown_timezone",
    }
)
"""Mistakes that stay mistakes, whatever a file that could not be read to its end goes on to say."""


class _DefaultsFile:
    """`_defaults.yaml` as read once for a whole load: its values, or its problems."""

    def __init__(self, entry: Entry | None, data: bytes) -> None:
        self.path = entry.path if entry is not None else ""
        self.blob = entry.blob if entry is not None else ""
        self.data = data
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        if entry is not None:
            self._read()

    @cached_property
    def located(self) -> Located:
        return _read_located(self.data)

    @property
    def blame(self) -> Blame | None:
        return Blame(Text(self.path, self.located), path_in_defaults) if self.values else None

    def _read(self) -> None:
        try:
            value: Any = read_quickly(self.data).value
        except CloserLook:
            value = self.located.value
            if self.located.mistakes and self.located.mistakes[0].code == "empty_file":
                self.located.mistakes.clear()
                return
        findings = []
        if isinstance(value, dict):
            value = without_nulls(value, UNSET_IN_DEFAULTS)
            findings = _check_defaults(value)
        elif value is not None:
            findings = [_not_a_map(value, "defaults such as retry and limits")]
        if findings or "located" in self.__dict__:
            if not self.located.complete:
                findings = [one for one in findings if one.code in _TRUE_OF_A_PART]
            self.problems = problems_of(Text(self.path, self.located), findings)
        if not self.problems and isinstance(value, dict):
            self.values = value


def _check_defaults(value: dict[str, Any]) -> list[Finding]:
    findings = []
    try:
        Defaults.model_validate(value)
    except ValidationError as error:
        findings += findings_of(error, Defaults, value)
    zone = value.get("timezone")
    if isinstance(zone, str) and 0 < len(zone) <= 64:
        findings += zone_findings(zone, ("timezone",))
    return findings


class YamlLoader:
    """Reads job files as `ports.Loader` says. With `configs` off, jobs carry no config text,

    which is all that checking them needs.
    """

    def __init__(self, job_types: JobTypes, *, configs: bool = True) -> None:
        self.types = TypeLookup(job_types)
        self.configs = configs
        self._encode = _config_encoder() if configs else None

    @cached_property
    def version(self) -> str:
        """Changes whenever the same bytes could be read differently."""
        return reader_version(self.types.job_types)

    def load(
        self, entries: Sequence[Entry], contents: Mapping[str, bytes], defaults: Entry | None
    ) -> list[DesiredFile]:
        """One DesiredFile for each of `entries`, in their order.

        Where the defaults file is invalid it comes first, as a file of its own, and every other
        file has the problem `defaults_invalid`. Raises KeyError for a blob not in `contents`.
        """
        with _no_collection():
            base = _DefaultsFile(defaults, contents[defaults.blob] if defaults else b"")
            files = [
                self._file(entry, contents[entry.blob], base)
                for entry in entries
                if defaults is None or entry.path != defaults.path
            ]
        if base.problems:
            files.insert(0, DesiredFile(base.path, base.blob, None, tuple(base.problems)))
        return files

    def _file(self, entry: Entry, data: bytes, base: _DefaultsFile) -> DesiredFile:
        if entry.path.rsplit("/", 1)[-1] in DEFAULTS_NAMES:
            return DesiredFile(entry.path, entry.blob, None, (_misplaced(entry.path),))
        try:
            quick = read_quickly(data)
        except CloserLook:
            return self._file_with_places(entry, data, base)
        checked = self._check(quick.value, base, has_null=quick.has_null)
        if checked.findings or base.problems:
            return self._file_with_places(entry, data, base)
        return self._job(entry, quick, checked, base)

    def _check(
        self, value: dict[str, Any], base: _DefaultsFile, *, has_null: bool = True
    ) -> Checked:
        job_type = self.types.of(value)
        batches = getattr(job_type, "batches", False)
        whole = merged(value, base.values, batches=batches, has_null=has_null)
        return check(whole, job_type, keep=self.configs)

    def _file_with_places(self, entry: Entry, data: bytes, base: _DefaultsFile) -> DesiredFile:
        located = _read_located(data)
        value, checked = located.value, Checked()
        if isinstance(value, dict):
            checked = self._check(value, base)
            if not located.complete:
                kept = [one for one in checked.findings if one.code in _TRUE_OF_A_PART]
                checked.findings = kept
            elif base.problems:
                checked.findings = [f for f in checked.findings if f.code != "unknown_channel"]
        elif located.complete and not located.mistakes:
            checked.findings.append(_not_a_map(value, "the keys meta and payload"))
        problems = problems_of(Text(entry.path, located), checked.findings, base.blame)
        if base.problems:
            problems.insert(0, _defaults_invalid(entry.path, base.path))
        quick = Quick(value, *_positions(located))
        if problems:
            job_id = _id_of(value)
            if _disables(value):
                problems.append(_disable_held(entry.path, located, job_id))
            return DesiredFile(entry.path, entry.blob, None, tuple(problems), job_id, quick.id_at)
        return self._job(entry, quick, checked, base)

    def _job(
        self, entry: Entry, quick: Quick, checked: Checked, base: _DefaultsFile
    ) -> DesiredFile:
        config, parameters = checked.config, checked.parameters
        if config is None or parameters is None:
            raise AssertionError("a file without findings has its models")
        text = digest = ""
        if self._encode is not None:
            whole = config.model_dump(by_alias=True, exclude_none=True)
            whole["payload"]["parameters"] = parameters
            text = self._encode(whole)
            digest = hashlib.sha256(text.encode()).hexdigest()
        meta, payload = config.meta, config.payload
        depends_on = payload.dependency.jobs if payload.dependency is not None else ()
        job = DesiredJob(
            meta.id,
            entry.path,
            entry.blob,
            base.blob,
            text,
            digest,
            payload.job_type,
            meta.environments,
            payload.is_enabled,
            depends_on,
            quick.id_at,
            quick.jobs_at,
        )
        return DesiredFile(entry.path, entry.blob, job, (), meta.id, quick.id_at)


def _read_located(data: bytes) -> Located:
    # Imported here: most files need no closer look, nor the time that this takes.
    from jobreconciler.source.located_yaml import read_located

    return read_located(data)


def _config_encoder() -> Callable[[Any], str]:
    """Configs as they are stored: equal ones have equal texts."""
    from json import JSONEncoder

    return JSONEncoder(
        ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode


def _positions(located: Located) -> tuple[Position, tuple[Position, ...]]:
    mark, steps = located.find(("meta", "id"))
    id_at = mark.value if steps == 2 else (0, 0)
    path = ("payload", "dependency", "jobs")
    jobs = located.value
    for step in path:
        jobs = jobs.get(step) if isinstance(jobs, dict) else None
    count = len(jobs) if isinstance(jobs, list) else 0
    return id_at, tuple(located.find((*path, n))[0].value for n in range(count))


def _id_of(value: Any) -> str | None:
    meta = value.get("meta") if isinstance(value, dict) else None
    job_id = meta.get("id") if isinstance(meta, dict) else None
    return job_id if isinstance(job_id, str) and _ID.fullmatch(job_id) else None


def _disables(value: Any) -> bool:
    payload = value.get("payload") if isinstance(value, dict) else None
    return isinstance(payload, dict) and payload.get("isEnabled") is False


def _disable_held(path: str, located: Located, job_id: str | None) -> Problem:
    """Said loudly: somebody wants this job to stop, and it will not."""
    line, column = located.find(("payload", "isEnabled"))[0].value
    return Problem(
        path,
        line,
        column,
        "payload.isEnabled",
        "disable_held",
        "this file disables its job, but it is invalid: the job goes on as it was last applied",
        f"mend the other mistakes; `jobreconciler suspend {job_id or 'JOB'}` stops it at once",
    )


def _not_a_map(value: Any, expected: str) -> Finding:
    return Finding((), "wrong_type", f"expected a map with {expected}, found {shown(value)}")


def _misplaced(path: str) -> Problem:
    return Problem(
        path,
        0,
        0,
        "",
        "misplaced_defaults",
        "defaults are read from _defaults.yaml at the root of the jobs directory only",
        "move it there, or rename it if it declares a job",
    )


def _defaults_invalid(path: str, defaults_path: str) -> Problem:
    return Problem(
        path,
        0,
        0,
        "",
        "defaults_invalid",
        f"{defaults_path} is invalid, so no job file can be read to its end",
        f"mend {defaults_path} first; until then every job stays as it is",
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection meanwhile: nothing here makes cycles, and looking for some is slow."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
