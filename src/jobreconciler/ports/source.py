"""What holds the job files, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from jobreconciler.model.change import Provenance
    from jobreconciler.model.desired import Commit, DesiredFile, Entry
    from jobreconciler.model.problem import Problem


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every job file of one commit. `refused` names symlinks, submodules and the like."""

    revision: str
    entries: tuple[Entry, ...]
    refused: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """What differs between two commits below the jobs directory."""

    base: str
    revision: str
    changed: tuple[Entry, ...]
    gone: tuple[str, ...]
    refused: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Commits after a base up to a revision, newest first, and which paths each touched.

    `merges` are, by path, the merge commits that brought its commits in: they did not write the
    file, but their message often names the pull request.
    """

    commits: tuple[Commit, ...]
    by_path: Mapping[str, tuple[int, ...]]
    merges: Mapping[str, tuple[Commit, ...]] = field(default_factory=dict)

    def of(self, *paths: str | None) -> tuple[Commit, ...]:
        wanted = sorted({n for path in paths if path for n in self.by_path.get(path, ())})
        return tuple(self.commits[n] for n in wanted)

    def merged(self, *paths: str | None) -> tuple[Commit, ...]:
        return tuple(c for path in paths if path for c in self.merges.get(path, ()))


class Source(Protocol):
    """A git repository, read without a work tree. Raises Transient, Stalled; never partial."""

    def resolve(self) -> str:
        """The full id of the commit the ref names now. For a remote: after one look at it."""

    def lookup(self, name: str) -> str:
        """The full id of the commit a branch, tag or (short) id names. Raises NotFound, Refused."""

    def snapshot(self, revision: str) -> Snapshot: ...

    def diff(self, base: str, revision: str) -> TreeDiff | None:
        """None where `base` is not there any more, so that a whole snapshot is needed."""

    def entry(self, revision: str, path: str) -> Entry | None:
        """The file at `path` in `revision`, or None. No spawn, no whole listing."""

    def read(self, blobs: Sequence[str]) -> dict[str, bytes]: ...

    def commit(self, revision: str) -> Commit: ...

    def history(self, base: str | None, revision: str, paths: Collection[str]) -> History:
        """Without a base: for each path the newest commit that touched it."""

    def is_ancestor(self, base: str, revision: str) -> bool: ...

    def watch_paths(self) -> tuple[Path, ...]:
        """Directories whose events may mean a moved ref; empty for a remote."""

    def close(self) -> None: ...


class Trees(Protocol):
    """The repository's own files, in directories that nobody writes to."""

    def path(self, revision: str) -> Path:
        """Where the whole tree of a commit lies, written there first if need be. Blocks.

        Raises Invalid where there is no such commit (any more), Transient, Stalled.
        """

    def keep(self, needed: Callable[[], Collection[str]]) -> list[str]:
        """Remove all trees but those of the revisions that are `needed`; which were removed."""

    def close(self) -> None:
        """End what is being written."""


class Provenancer(Protocol):
    """Reads who, why and by which pull request out of commits. Pure."""

    def build(
        self, revision: str, commits: Sequence[Commit], merges: Sequence[Commit] = ()
    ) -> Provenance: ...

    def allows_prune(self, message: str) -> bool: ...


class Loader(Protocol):
    """Reads job files. Pure work: may run in a child process."""

    @property
    def version(self) -> str:
        """Another one means that the same bytes may be read differently."""

    def load(
        self, entries: Sequence[Entry], contents: Mapping[str, bytes], defaults: Entry | None
    ) -> list[DesiredFile]: ...
