"""Loading one text as if it were a committed job file."""

from __future__ import annotations

from textwrap import dedent

from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.desired import DesiredFile, Entry
from jobreconciler.model.problem import Problem
from jobreconciler.source.load import YamlLoader

TYPES = load_job_types()
LOADER = YamlLoader(TYPES)
PATH = "jobs.d/job.yaml"
DEFAULTS = Entry("jobs.d/_defaults.yaml", "the-defaults")

VALID = """\
meta:
  id: job
payload:
  jobType: command
  parameters: {argv: [/bin/true]}
"""


def load_files(texts: dict[str, str | bytes], defaults: str | None = None) -> list[DesiredFile]:
    """Files by path, in that order, over an optional defaults file."""
    entries = [Entry(path, f"blob of {path}") for path in texts]
    contents = {f"blob of {path}": as_bytes(text) for path, text in texts.items()}
    if defaults is not None:
        contents[DEFAULTS.blob] = as_bytes(defaults)
    return LOADER.load(entries, contents, DEFAULTS if defaults is not None else None)


def load_text(text: str | bytes, defaults: str | None = None) -> DesiredFile:
    """The one file of that text."""
    return load_files({PATH: text}, defaults)[-1]


def problems(text: str | bytes, defaults: str | None = None) -> tuple[Problem, ...]:
    return load_text(text, defaults).problems


def places(text: str | bytes, defaults: str | None = None) -> list[tuple[str, int, int]]:
    """(code, line, column) of every mistake, in the order reported."""
    return [(one.code, one.line, one.column) for one in problems(text, defaults)]


def as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else dedent(text).encode()
