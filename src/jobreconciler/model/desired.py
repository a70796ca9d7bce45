"""Desired state: what the job files of one commit say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from jobreconciler.model.problem import Problem

Position = tuple[int, int]
"""(line, column), both from 1."""


class DesiredJob(NamedTuple):
    """One valid job file, merged with the defaults and normalised.

    `config` is the whole `{"meta": …, "payload": …}` as compact JSON text with sorted keys, every
    default filled in, unset optional fields left out, durations in whole seconds. `digest` is the
    SHA-256 of that text, in hex: two equal digests mean the same behaviour, whatever the spelling.
    """

    job_id: str
    path: str
    blob: str
    defaults_blob: str
    config: str
    digest: str
    job_type: str
    environments: tuple[str, ...]
    enabled: bool
    depends_on: tuple[str, ...] = ()
    id_at: Position = (0, 0)
    depends_at: tuple[Position, ...] = ()


class DesiredFile(NamedTuple):
    """One file as it was read: a job, or problems, never both.

    `job_id` is set whenever the file's own `meta.id` could be made out, also when it is invalid;
    `id_at` is then where it stands.
    """

    path: str
    blob: str
    job: DesiredJob | None
    problems: tuple[Problem, ...] = ()
    job_id: str | None = None
    id_at: Position = (0, 0)


class Entry(NamedTuple):
    """One blob of a commit's tree below the jobs directory. `mode` is git's octal text."""

    path: str
    blob: str
    mode: str = "100644"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as provenance needs it. Times are RFC 3339 with the author's own offset."""

    revision: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    authored_at: str
    committer_name: str
    committer_email: str
    committed_at: str
    message: str
    signature: str | None = None

    def author_json(self) -> dict[str, Any]:
        return {"name": self.author_name, "email": self.author_email, "at": self.authored_at}

    def committer_json(self) -> dict[str, Any]:
        return {
            "name": self.committer_name,
            "email": self.committer_email,
            "at": self.committed_at,
        }
