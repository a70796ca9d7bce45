"""Which commits set the files of a revision: git's simplified history, path by path.

A path is followed from the revision back. Where a commit differs from all its parents it touched
the path; at a merge that equals one parent, only that parent is followed, so that the commit
listed first is the one whose content is live, also when two branches changed the same file. The
merge itself is remembered beside it: its message names the pull request.
See "History Simplification" in git-log(1), default mode.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from jobreconciler.errors import JobReconcilerError
from jobreconciler.ports import History
from jobreconciler.source.command import Git
from jobreconciler.source.git_objects import commit_links
from jobreconciler.source.objects import ObjectReader
from jobreconciler.source.trees import compare

Link = tuple[str, tuple[str, ...]]
"""A commit and its parents."""

NEAR = 64
"""Commits looked at one by one before git is asked for the list."""
PER_PATH = 1000
"""Commits and merges kept for one path."""
_PREFETCH = 64


@dataclass(slots=True)
class _Found:
    """Commits in the order they were met, newest first, by path."""

    touched: dict[str, list[str]] = field(default_factory=dict)
    carried: dict[str, list[str]] = field(default_factory=dict)
    order: dict[str, None] = field(default_factory=dict)
    pending: dict[str, set[str]] = field(default_factory=dict)

    def add(self, to: dict[str, list[str]], paths: Iterable[str], commit: str) -> None:
        for path in paths:
            self.order[commit] = None
            commits = to.setdefault(path, [])
            if len(commits) < PER_PATH:
                commits.append(commit)


class Historian:
    """Answers `Source.history` for one repository and jobs directory."""

    def __init__(
        self,
        git: Git,
        reader: ObjectReader,
        git_dir: str,
        jobs_dir: str,
        shallow: Callable[[], frozenset[str]],
        timeout: float,
    ) -> None:
        self._git = git
        self._reader = reader
        self._git_dir = git_dir
        self._jobs_dir = jobs_dir
        self._shallow = shallow
        self._timeout = timeout
        self._known: dict[str, tuple[tuple[str, ...], int]] = {}

    def history(self, base: str | None, revision: str, paths: Iterable[str]) -> History:
        """See `Source.history`. Work is bounded: what isn't found in time has no commits."""
        wanted = set(paths)
        deadline = time.monotonic() + self._timeout
        if base is None or self._links(base) is None:
            return self._build(self._newest(revision, wanted, deadline))
        found = self._since(base, revision, wanted, deadline)
        lost = wanted - found.touched.keys()
        if lost:
            lost &= self._between(*self._reader.trees_at([base, revision], self._jobs_dir))
        for path in sorted(lost & found.carried.keys()):
            # A merge that took an older version changed the file, though no commit did.
            found.touched[path] = found.carried[path][:1]
        lost -= found.touched.keys()
        if lost:
            # Rewound or rewritten: what is live again was set before.
            older = self._newest(revision, lost, deadline)
            found.touched |= older.touched
            found.carried |= older.carried
            found.order |= older.order
        return self._build(found)

    def _since(self, base: str, revision: str, wanted: set[str], deadline: float) -> _Found:
        found = _Found(pending={revision: set(wanted)})
        links: Iterable[Link] | None = self._near_range(base, revision)
        if links is None:
            links = self._far(revision, deadline, base)
        self._follow(found, links, deadline, every=True)
        return found

    def _newest(self, revision: str, wanted: set[str], deadline: float) -> _Found:
        """For each path the newest commit that touched it, wherever it is."""
        found = _Found(pending={revision: set(wanted)})
        if self._follow(found, self._near(revision), deadline, every=False):
            return found
        found.pending = {revision: wanted - found.touched.keys()}
        self._follow(found, self._far(revision, deadline), deadline, every=False)
        return found

    def _follow(
        self, found: _Found, links: Iterable[Link], deadline: float, *, every: bool
    ) -> bool:
        """Hand every path from commit to parents. True where nothing is left to be found."""
        shallow = self._shallow()
        pending = found.pending
        try:
            for commit, parents in links:
                paths = pending.pop(commit, None)
                if paths and commit not in shallow:
                    self._step(found, commit, parents, paths, every=every)
                if not pending:
                    return True
                if time.monotonic() > deadline:
                    return True
        except JobReconcilerError as error:
            if error.reason == "GitTimeout":
                return True
            raise
        return not pending

    def _step(
        self, found: _Found, commit: str, parents: tuple[str, ...], paths: set[str], *, every: bool
    ) -> None:
        own, *others = self._reader.trees_at([commit, *parents], self._jobs_dir)
        differing = [self._between(other, own) & paths for other in others or [None]]
        touched = set.intersection(*differing)
        if touched:
            found.add(found.touched, touched, commit)
        left = paths if every else paths - touched
        for parent, different in zip(parents, differing, strict=False):
            following = (left - different) | (touched & left)
            if following:
                found.pending.setdefault(parent, set()).update(following)
            left = left & different
        if len(parents) > 1:
            found.add(found.carried, (differing[0] & paths) - touched, commit)

    def _between(self, old: str | None, new: str | None) -> set[str]:
        return compare(self._reader, old, new, self._jobs_dir).paths()

    def _links(self, commit: str) -> tuple[tuple[str, ...], int] | None:
        """Parents and date of a commit; None where it is missing (damage, or a shallow clone)."""
        if commit not in self._known:
            data = self._reader.commit_data(commit)
            if data is None:
                return None
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[commit] = commit_links(data)
        return self._known[commit]

    def _near(self, revision: str) -> Iterator[Link]:
        """The newest commits by date, at most NEAR of them; ends early where one is missing."""
        heap = [(0, revision)]
        seen = {revision}
        for _ in range(NEAR):
            if not heap:
                return
            _, commit = heapq.heappop(heap)
            links = self._links(commit)
            above = [self._links(parent) for parent in links[0]] if links else [None]
            if links is None or None in above:
                return
            yield commit, links[0]
            for parent, their in zip(links[0], above, strict=True):
                if parent not in seen and their is not None:
                    seen.add(parent)
                    heapq.heappush(heap, (-their[1], parent))

    def _near_range(self, base: str, revision: str) -> list[Link] | None:
        """Commits of `revision` that `base` lacks, children before parents; None if too many.

        Both sides are painted down by date until only what `base` reaches is left. A commit older
        than its parent would make that unsafe, so such a history is left to git.
        """
        known: dict[str, tuple[tuple[str, ...], int]] = {}
        done: set[str] = set()
        theirs: set[str] = {base}
        heap: list[tuple[int, str]] = []

        def meet(commit: str, latest: int | None = None) -> bool:
            if commit in known:
                return True
            links = self._links(commit)
            if links is None or (latest is not None and links[1] > latest):
                return False
            known[commit] = links
            heapq.heappush(heap, (-links[1], commit))
            return True

        if not (meet(revision) and meet(base)):
            return None
        while any(commit not in theirs for _, commit in heap):
            if len(done) >= NEAR:
                return None
            _, commit = heapq.heappop(heap)
            done.add(commit)
            parents, date = known[commit]
            for parent in parents:
                if commit in theirs and parent in done - theirs:
                    return None  # met before its child: what lies above it is painted wrong
                if commit in theirs:
                    theirs.add(parent)
                if not meet(parent, date):
                    return None
        return _children_first({c: known[c] for c in done - theirs})

    def _far(self, revision: str, deadline: float, base: str | None = None) -> Iterator[Link]:
        """Commits that touched the jobs directory, as git lists them, parents rewritten to fit."""
        args = [f"--git-dir={self._git_dir}", "rev-list", "--parents", "--full-history"]
        args += ["--date-order", revision, f"^{base}"] if base else [revision]
        args += ["--", self._jobs_dir] if self._jobs_dir else ["--"]
        batch: list[Link] = []
        started = False
        with closing(self._git.lines("walking the history", args, deadline)) as lines:
            for line in lines:
                commit, *parents = line.split()
                if not started and commit != revision:
                    # Git lists only what touched the folder: the first one stands for the tip.
                    batch.append((revision, (commit,)))
                started = True
                batch.append((commit, tuple(parents)))
                if len(batch) >= _PREFETCH:
                    yield from self._prefetched(batch)
                    batch = []
        yield from self._prefetched(batch)

    def _prefetched(self, batch: list[Link]) -> list[Link]:
        self._reader.trees_at([commit for commit, _ in batch], self._jobs_dir)
        return batch

    def _build(self, found: _Found) -> History:
        touching = {c for commits in found.touched.values() for c in commits}
        listed = [c for c in found.order if c in touching]
        number = {c: n for n, c in enumerate(listed)}
        read = self._reader.commits(found.order)
        return History(
            commits=tuple(read[c] for c in listed),
            by_path={p: tuple(number[c] for c in cs) for p, cs in found.touched.items()},
            merges={p: tuple(read[c] for c in cs) for p, cs in found.carried.items()},
        )


def _children_first(known: dict[str, tuple[tuple[str, ...], int]]) -> list[Link]:
    """Newest first, and never a parent before its child, whatever the dates say."""
    children = Counter(p for parents, _ in known.values() for p in parents if p in known)
    heap = [(-date, c) for c, (_, date) in known.items() if not children[c]]
    heapq.heapify(heap)
    ordered: list[Link] = []
    while heap:
        _, commit = heapq.heappop(heap)
        parents = known[commit][0]
        ordered.append((commit, parents))
        for parent in parents:
            if parent in known:
                children[parent] -= 1
                if not children[parent]:
                    heapq.heappush(heap, (-known[parent][1], parent))
    return ordered
