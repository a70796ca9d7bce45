"""A real repository, a real store and the reconcile pass between them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gitrepo import GitRepo
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.loops.reconcile import PassResult, Reconciler
from jobreconciler.loops.verdicts import ReconcileOptions
from jobreconciler.model.change import ChangelogRow
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Loader, Source
from jobreconciler.source import provenance
from jobreconciler.source.git import GitSource
from jobreconciler.source.load import YamlLoader
from jobreconciler.store.opening import open_store
from jobreconciler.store.store import SqlStore


class TickingClock:
    """Moves on by a second with every look."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def job_file(
    job_id: str, *, cron: str = "0 * * * *", needs: Iterable[str] = (), **extra: Any
) -> str:
    """The text of a valid job file; `extra` are lines of the payload."""
    needs = list(needs)
    lines = [
        "meta:",
        f"  id: {job_id}",
        "payload:",
        "  jobType: command",
        f'  schedule: {{cronExpression: "{cron}"}}',
        "  parameters: {argv: [/bin/true]}",
        *(f"  {name}: {value}" for name, value in extra.items()),
    ]
    if needs:
        lines.append(f"  dependency: {{jobs: [{', '.join(needs)}]}}")
    return "\n".join(lines) + "\n"


@dataclass
class World:
    """Everything one daemon has, without its schedule and its runs."""

    path: Path
    options: ReconcileOptions = field(default_factory=lambda: ReconcileOptions("jobs.d"))
    git_timeout: float = 30.0

    def __post_init__(self) -> None:
        self.repo = GitRepo(self.path / "repo")
        self.state = self.path / "state"
        self.clock = TickingClock()
        self.metrics = Metrics("0")
        self.url: str | None = None
        self.repo_url = str(self.repo.path)
        self._open()

    def _open(self) -> None:
        self.store: SqlStore = open_store(self.url, self.state, self.clock, instance="test")
        self.source: Source = GitSource(
            self.repo_url,
            "main",
            "jobs.d",
            self.state,
            timeout=self.git_timeout,
            observer=self.metrics.git_operation,
        )
        self.loader: Loader = YamlLoader(load_job_types())
        self._wire()

    def _wire(self) -> None:
        self.reconciler = Reconciler(
            self.source, self.store, self.loader, provenance, self.clock, self.metrics, self.options
        )

    def restart(self, *, loader: Loader | None = None, **options: Any) -> World:
        """Another daemon on the same state directory."""
        self.close()
        self.options = replace(self.options, **options)
        self._open()
        if loader is not None:
            self.loader = loader
            self._wire()
        return self

    def close(self) -> None:
        self.source.close()
        self.store.close()

    # ------------------------------------------------------------------------------- acting

    def commit(self, message: str = "change", **files: str) -> str:
        """Commit files named by their job id below jobs.d/; an empty text deletes."""
        for name, text in files.items():
            path = f"jobs.d/{name}.yaml"
            if text:
                self.repo.write({path: text})
            else:
                self.repo.delete(path)
        return self.repo.commit(message)

    def reconcile(self, *, force: bool = False) -> PassResult:
        return self.reconciler.reconcile("test", force=force)

    # ------------------------------------------------------------------------------- looking

    def jobs(self) -> dict[str, int]:
        """Generations of the live jobs."""
        rows = self.store.index()
        found = {}
        for job_id, row in rows.items():
            job = None if row.deleted else self.store.job(job_id)
            if job is not None:
                found[job_id] = job.generation
        return found

    def held(self) -> dict[str, str]:
        return {job_id: condition.reason for job_id, condition in self.store.held().items()}

    def condition(self, kind: str) -> tuple[str, str]:
        state = self.store.source_state()
        assert state is not None
        found = {c.type: (c.status, c.reason) for c in state.conditions}
        return found.get(kind, ("", ""))

    def log(self) -> list[tuple[str, str]]:
        """(action, job) of every changelog row, oldest first."""
        return [(row.action, row.job_id) for row in reversed(self.changelog())]

    def changelog(self, job_id: str | None = None) -> list[ChangelogRow]:
        return list(self.store.changelog(job_id, limit=500).items)

    def figure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"jobreconciler_{name}", labels)

    def sqlite(self) -> sqlite3.Connection:
        """A connection of somebody else's, in autocommit mode."""
        return sqlite3.connect(self.state / "store.db", isolation_level=None)
