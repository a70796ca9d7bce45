"""The stored jobs as the planner looks them up: by id, by path, by what depends on them.

A data structure of plain look-ups: a plan over one changed file must not walk 100,000 jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobreconciler.model.job import IndexRow


class JobIndex:
    """Rows by id (deleted ones too), live ids by path, and live dependents by upstream id."""

    def __init__(self, rows: Mapping[str, IndexRow] | None = None) -> None:
        self.rows: dict[str, IndexRow] = {}
        self.by_path: dict[str, str] = {}
        self._dependents: dict[str, set[str]] = {}
        self.live = 0
        for row in (rows or {}).values():
            self.put(row)

    def get(self, job_id: str) -> IndexRow | None:
        """The live row, or None: a deleted job is history, not state."""
        row = self.rows.get(job_id)
        return None if row is None or row.deleted else row

    def at(self, path: str) -> IndexRow | None:
        """The live row whose file lies at `path`."""
        job_id = self.by_path.get(path)
        return self.get(job_id) if job_id is not None else None

    def dependents(self, job_id: str) -> tuple[str, ...]:
        """Ids of the live jobs that depend on `job_id`, sorted."""
        return tuple(sorted(self._dependents.get(job_id, ())))

    def put(self, row: IndexRow) -> None:
        self._forget(row.job_id)
        self.rows[row.job_id] = row
        if row.deleted:
            return
        self.live += 1
        self.by_path[row.path] = row.job_id
        for upstream in row.depends_on:
            self._dependents.setdefault(upstream, set()).add(row.job_id)

    def put_all(self, rows: Iterable[IndexRow]) -> None:
        for row in rows:
            self.put(row)

    def live_rows(self) -> Iterable[IndexRow]:
        return (row for row in self.rows.values() if not row.deleted)

    def _forget(self, job_id: str) -> None:
        old = self.rows.get(job_id)
        if old is None or old.deleted:
            return
        self.live -= 1
        if self.by_path.get(old.path) == job_id:
            del self.by_path[old.path]
        for upstream in old.depends_on:
            self._dependents[upstream].discard(job_id)
