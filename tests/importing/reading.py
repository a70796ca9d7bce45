"""Importing one text, and holding every file that comes of it to the real loader."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from jobreconciler.importing.cronjob import read_cronjobs
from jobreconciler.importing.crontab import read_crontab
from jobreconciler.importing.emit import render
from jobreconciler.importing.ids import assign_ids
from jobreconciler.importing.report import Finding, Imported, all_findings
from jobreconciler.importing.systemd import Source, Timer, names_wanted, read_timer
from jobreconciler.source.located_yaml import read_located
from source.loading import load_files

FIXTURES = Path(__file__).parent / "fixtures"


def crontab(text: str, *, path: str = "alice", **options: Any) -> Imported:
    return read_crontab(path, dedent(text).encode(), **options)


def cronjobs(text: str, **options: Any) -> Imported:
    return read_cronjobs("jobs.yaml", dedent(text).encode(), **options)


def timer(text: str, service: str | None, *, name: str = "work.timer", **options: Any) -> Imported:
    """A timer and the service it is paired with, where there is one."""
    files = [Source(name, dedent(text).encode())]
    services: Mapping[str, list[Source]] = {}
    if service is not None:
        paired = names_wanted(files)[0]
        services = {paired: [Source(paired, dedent(service).encode())]}
    return read_timer(Timer(files, services), **options)


def timer_file(path: Path) -> Imported:
    files = [Source(str(path), path.read_bytes())]
    services = {
        name: [Source(str(path.parent / name), (path.parent / name).read_bytes())]
        for name in names_wanted(files)
        if (path.parent / name).is_file()
    }
    return read_timer(Timer(files, services))


def texts(imported: Imported, prefix: str = "") -> dict[str, str]:
    """The files by id."""
    ids = assign_ids(imported.drafts, prefix)
    return {one: render(draft, one) for draft, one in zip(imported.drafts, ids, strict=True)}


def checked(imported: Imported) -> dict[str, dict[str, Any]]:
    """Each job as the strict reader reads it. Fails where the loader has anything to say."""
    assert imported.errors == []
    files = texts(imported)
    assert len(files) == len(imported.drafts)
    loaded = load_files({f"jobs.d/{job_id}.yaml": text for job_id, text in files.items()})
    problems = [(file.path, problem) for file in loaded for problem in file.problems]
    assert problems == [], files
    assert [file.job_id for file in loaded] == list(files)
    return {job_id: read_located(text.encode()).value for job_id, text in files.items()}


def only(imported: Imported) -> dict[str, Any]:
    """The payload of the one job there is."""
    [job] = checked(imported).values()
    payload: dict[str, Any] = job["payload"]
    return payload


def findings(imported: Imported) -> list[Finding]:
    return all_findings(imported, assign_ids(imported.drafts))


def said(imported: Imported) -> list[str]:
    """`line kind what`, of each finding."""
    return [f"{one.line} {one.kind} {one.what}" for one in findings(imported)]


def as_words(command: Mapping[str, Any]) -> list[str]:
    """What to start for parameters with `argv` or `shell`."""
    return list(command["argv"]) if "argv" in command else ["/bin/sh", "-c", command["shell"]]


def quoted(words: list[str]) -> str:
    return shlex.join(words)
