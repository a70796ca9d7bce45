"""Mistakes that no job file shows by itself: ids declared twice, unknown upstreams, cycles.

Pure, and bounded by what changed: with one file changed among 100,000 stored jobs it looks at
that file and at what it depends on, never at the whole index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jobreconciler.model.desired import DesiredFile, DesiredJob
from jobreconciler.model.problem import Problem

if TYPE_CHECKING:
    from jobreconciler.model.job import IndexRow

_SPELLED_OUT = 12
"""Of a longer cycle only the beginning and the end are spelled out."""

_ENVIRONMENTS = 5


def cross_check(
    files: Sequence[DesiredFile],
    stored: Mapping[str, IndexRow] | None = None,
    *,
    untouched: Callable[[str], bool] = bool,
    all_environments: bool = False,
) -> dict[str, tuple[Problem, ...]]:
    """Problems by path of the files in `files` that clash with each other or with what is stored.

    `files` are those that were read this time, invalid ones included; `stored` every stored job
    by id; `untouched(path)` says whether a stored job's file is in the commit as it was and not
    among `files`. To validate a whole directory, pass all its files and nothing else: then there
    is nothing stored, and `untouched` is never asked.

    - An id in two files belongs to the file that is stored under it, else to the first path.
    - An upstream is known when a file of this time claims its id, valid or not (an invalid one
      is held, not gone), or when its stored file is untouched or among the invalid ones.
    - A cycle is reported in each file of this time that is part of it, a job that depends on
      itself included. Files that lost their id take no part in the graph.
    - With `all_environments`, an upstream that some environment of its dependent does not have
      is a problem as well. One daemon passes only the files of its own environment instead.

    The result holds only paths with problems; its order and its problems' order are by path and
    line, whatever the order of `files`.
    """
    check = _Check(files, stored or {}, untouched)
    problems = [*check.duplicates(), *check.unknown(), *check.cycles()]
    if all_environments:
        problems += check.elsewhere()
    found: dict[str, list[Problem]] = {}
    for problem in sorted(problems):
        found.setdefault(problem.file, []).append(problem)
    return {path: tuple(found[path]) for path in sorted(found)}


class _Check:
    """One look at one set of files."""

    def __init__(
        self,
        files: Sequence[DesiredFile],
        stored: Mapping[str, IndexRow],
        untouched: Callable[[str], bool],
    ) -> None:
        self.files = sorted(files, key=lambda file: file.path)
        self.stored = stored
        self.untouched = untouched
        self.paths = {file.path: file for file in self.files}
        self.claims: dict[str, list[DesiredFile]] = {}
        for file in self.files:
            if file.job_id is not None:
                self.claims.setdefault(file.job_id, []).append(file)
        self.owners = {job_id: self._owner(job_id) for job_id in self.claims}
        self.jobs: dict[str, DesiredJob] = {}
        for job_id, claims in self.claims.items():
            for file in claims:
                if file.job is not None and file.path == self.owners[job_id]:
                    self.jobs[job_id] = file.job

    def _owner(self, job_id: str) -> str:
        """The path that an id belongs to."""
        row = self._live(job_id)
        if row is not None:
            return row.path
        return self.claims[job_id][0].path

    def _live(self, job_id: str) -> IndexRow | None:
        """The stored row of that id, if its file still holds it: untouched, invalid or the same."""
        row = self.stored.get(job_id)
        if row is None or row.deleted:
            return None
        file = self.paths.get(row.path)
        if file is None:
            return row if self.untouched(row.path) else None
        return row if file.job_id in (job_id, None) else None

    def duplicates(self) -> Iterable[Problem]:
        for job_id, claims in self.claims.items():
            owner = self.owners[job_id]
            for file in claims:
                if file.path != owner:
                    yield Problem(
                        file.path,
                        *file.id_at,
                        "meta.id",
                        "duplicate_id",
                        f"the id {job_id} is already declared in {owner}",
                        "give this job an id of its own, or delete one of the files",
                    )

    def unknown(self) -> Iterable[Problem]:
        for job in self.jobs.values():
            for n, upstream in enumerate(job.depends_on):
                if upstream not in self.claims and self._live(upstream) is None:
                    yield _at_dependency(
                        job,
                        n,
                        "unknown_dependency",
                        f"there is no job {upstream}",
                        "name a job that is declared, in the same environment if there are several",
                    )

    def elsewhere(self) -> Iterable[Problem]:
        """Upstreams of this time that some environment of the dependent job does not have."""
        for job in self.jobs.values():
            for n, upstream in enumerate(job.depends_on):
                other = self.jobs.get(upstream)
                if other is None or not other.environments:
                    continue
                if job.environments and set(job.environments) <= set(other.environments):
                    continue
                lacking = sorted(set(job.environments) - set(other.environments))
                where = f"in {', '.join(lacking[:_ENVIRONMENTS])}" if lacking else "everywhere"
                yield _at_dependency(
                    job,
                    n,
                    "dependency_elsewhere",
                    f"{upstream} is only in {', '.join(other.environments[:_ENVIRONMENTS])}, "
                    f"this job is {where}",
                    "give both jobs the same environments",
                )

    def cycles(self) -> Iterable[Problem]:
        for component in _components(sorted(self.jobs), self._upstreams):
            members = set(component)
            done: set[str] = set()
            for start in sorted(members & self.jobs.keys()):
                if start in done:
                    continue
                cycle = _shortest_cycle(start, members, self._upstreams)
                for n, job_id in enumerate(cycle):
                    job = self.jobs.get(job_id)
                    if job is not None and job_id not in done:
                        done.add(job_id)
                        yield _cycle_problem(job, cycle[n:] + cycle[:n])

    def _upstreams(self, job_id: str) -> Sequence[str]:
        """Edges of the graph as it would be: of this time's jobs first, else as stored."""
        job = self.jobs.get(job_id)
        if job is not None:
            return job.depends_on
        row = self._live(job_id)
        return row.depends_on if row is not None else ()


def _cycle_problem(job: DesiredJob, cycle: list[str]) -> Problem:
    """`cycle` begins with the job; its second id is the upstream to blame."""
    shown = [*cycle, cycle[0]]
    if len(shown) > _SPELLED_OUT:
        shown = [*shown[:6], f"… {len(shown) - 9} more …", *shown[-3:]]
    upstream = cycle[1 % len(cycle)]
    return _at_dependency(
        job,
        job.depends_on.index(upstream),
        "dependency_cycle",
        f"the dependencies go round in a circle: {' → '.join(shown)}",
        f"take {upstream} out of this list, or break the circle in another file",
    )


def _at_dependency(job: DesiredJob, n: int, code: str, message: str, hint: str) -> Problem:
    line, column = job.depends_at[n] if n < len(job.depends_at) else (0, 0)
    path = f"payload.dependency.jobs[{n}]"
    return Problem(job.path, line, column, path, code, message, hint)


def _components(
    starts: Iterable[str], edges: Callable[[str], Sequence[str]]
) -> Iterable[list[str]]:
    """Strongly connected components with a cycle in them, of what `starts` reach (Tarjan 1972).

    With a stack of its own: a chain of 100,000 jobs is no deeper than one of two.
    """
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    for start in starts:
        if start in number or not edges(start):
            continue
        number[start] = low[start] = len(number)
        path.append(start)
        on_path.add(start)
        work = [(start, iter(edges(start)))]
        while work:
            node, rest = work[-1]
            after = next(rest, None)
            if after is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = _unwind(path, on_path, node)
                    if len(component) > 1 or node in edges(node):
                        yield component
            elif after not in number:
                number[after] = low[after] = len(number)
                path.append(after)
                on_path.add(after)
                work.append((after, iter(edges(after))))
            elif after in on_path:
                low[node] = min(low[node], number[after])


def _unwind(path: list[str], on_path: set[str], until: str) -> list[str]:
    component = []
    while True:
        node = path.pop()
        on_path.discard(node)
        component.append(node)
        if node == until:
            return component


def _shortest_cycle(
    start: str, members: set[str], edges: Callable[[str], Sequence[str]]
) -> list[str]:
    """The shortest way from `start` back to itself within its component, breadth first."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for after in edges(node):
            if after == start:
                cycle = [node]
                while cycle[-1] != start:
                    cycle.append(came_from[cycle[-1]])
                return cycle[::-1]
            if after in members and after not in came_from:
                came_from[after] = node
                queue.append(after)
    raise AssertionError("every member of a component lies on a cycle")
