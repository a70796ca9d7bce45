"""The `Source` port over uncommitted files, for `run --working-tree`: local development only.

What git would commit counts: tracked files as they lie there, and untracked ones that are not
ignored. As long as they equal HEAD's, its revision stands; else the revision is
`<head>-dirty-<12 digits of their hash>`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from jobreconciler.errors import Refused, Stalled, Transient
from jobreconciler.model.desired import Commit, Entry
from jobreconciler.model.problem import Problem
from jobreconciler.ports import History, Snapshot, TreeDiff
from jobreconciler.source import faults, refs, trees
from jobreconciler.source.command import Git
from jobreconciler.source.git import BLOB_LIMIT, GitOperation, GitSource
from jobreconciler.source.git_objects import SYMLINK, TreeEntry
from jobreconciler.source.names import is_job_file
from jobreconciler.source.repository import open_repository

_DIRTY = "-dirty-"
_NO_COMMIT = "0" * 40
_KEPT_STATES = 8


@dataclass(frozen=True, slots=True)
class _State:
    """The files at one look. `changed`: paths that differ from `head`'s."""

    revision: str
    head: str
    entries: dict[str, Entry]
    refused: tuple[Problem, ...]
    changed: frozenset[str]
    newest: float


@dataclass(frozen=True, slots=True)
class _File:
    stamp: tuple[int, int, int, int]
    blob: str
    data: bytes


def _unobserved(_operation: str, _result: str) -> None:
    """Nobody asked to hear of operations."""


class WorkingTreeSource:
    """See `ports.Source`. Raises Refused where `repo` is a remote or has no work tree."""

    def __init__(
        self,
        repo: str,
        jobs_dir: str,
        *,
        timeout: float = 30.0,
        observer: GitOperation = _unobserved,
    ) -> None:
        self._root = _local(repo)
        self._git = Git(timeout)
        self._commits = GitSource(repo, None, jobs_dir, Path(), timeout=timeout, observer=observer)
        self.jobs_dir = self._commits.jobs_dir
        self._lock = threading.RLock()
        self._files: dict[str, _File] = {}
        self._states: dict[str, _State] = {}

    def lookup(self, name: str) -> str:
        """See `Source.lookup`: a commit, not what lies around it uncommitted."""
        return self._commits.lookup(name)

    def resolve(self) -> str:
        with self._lock:
            head = self._head()
            entries, refused, newest = self._scan()
            committed = self._committed(head)
            changed = {
                path
                for path in entries.keys() | committed.keys()
                if _blob(entries.get(path)) != _blob(committed.get(path))
            }
            changed |= {problem.file for problem in refused}
            if not changed:
                return head
            listed = "".join(f"{e.blob} {p}\n" for p, e in sorted(entries.items()))
            listed += "".join(f"{p.code} {p.file}\n" for p in refused)
            digest = hashlib.sha256(listed.encode("utf-8", "replace")).hexdigest()[:12]
            revision = f"{head}{_DIRTY}{digest}"
            self._states.pop(revision, None)
            self._states[revision] = _State(
                revision, head, entries, tuple(refused), frozenset(changed), newest
            )
            for old in list(self._states)[:-_KEPT_STATES]:
                del self._states[old]
            return revision

    def snapshot(self, revision: str) -> Snapshot:
        with self._lock:
            if _DIRTY not in revision:
                return self._commits.snapshot(revision)
            state = self._state(revision)
            entries = tuple(e for _, e in sorted(state.entries.items()))
            return Snapshot(revision, entries, state.refused)

    def diff(self, base: str, revision: str) -> TreeDiff | None:
        with self._lock:
            if _DIRTY not in base + revision:
                return self._commits.diff(base, revision)
            if _DIRTY in base and base not in self._states:
                return None
            before, after = self.snapshot(base), self.snapshot(revision)
            if before.refused != after.refused:
                return None
            old = {e.path: e.blob for e in before.entries}
            new = {e.path for e in after.entries}
            changed = tuple(e for e in after.entries if old.get(e.path) != e.blob)
            return TreeDiff(base, revision, changed, tuple(sorted(old.keys() - new)))

    def entry(self, revision: str, path: str) -> Entry | None:
        with self._lock:
            if _DIRTY not in revision:
                return self._commits.entry(revision, path)
            return self._state(revision).entries.get(path)

    def read(self, blobs: Sequence[str]) -> dict[str, bytes]:
        with self._lock:
            here = {file.blob: file.data for file in self._files.values()}
            found = {blob: here[blob] for blob in blobs if blob in here}
            rest = [blob for blob in blobs if blob not in found]
            return found | (self._commits.read(rest) if rest else {})

    def commit(self, revision: str) -> Commit:
        """For uncommitted files a commit that names nobody, at the time of the newest file."""
        with self._lock:
            if _DIRTY not in revision:
                return self._commits.commit(revision)
            state = self._state(revision)
            at = datetime.fromtimestamp(int(state.newest), UTC).isoformat().replace("+00:00", "Z")
            parents = (state.head,) if state.head != _NO_COMMIT else ()
            who = ("uncommitted", "", at)
            return Commit(revision, parents, *who, *who, "Uncommitted changes in the work tree")

    def history(self, base: str | None, revision: str, paths: Collection[str]) -> History:
        with self._lock:
            if _DIRTY not in revision:
                return self._commits.history(_head_of(base), revision, paths)
            state = self._state(revision)
            dirty = state.changed & set(paths)
            committed = History((), {})
            clean = set(paths) - dirty if base is None else set(paths)
            if clean and state.head != _NO_COMMIT:
                start = _head_of(base)
                committed = self._commits.history(start, state.head, clean)
            by_path = {p: tuple(n + 1 for n in ns) for p, ns in committed.by_path.items()}
            by_path |= {path: (0, *by_path.get(path, ())) for path in dirty}
            own = self.commit(revision)
            return replace(committed, commits=(own, *committed.commits), by_path=by_path)

    def is_ancestor(self, base: str, revision: str) -> bool:
        old, new = _head_of(base), _head_of(revision)
        if old in (_NO_COMMIT, new):
            return True
        return bool(old and new) and self._commits.is_ancestor(str(old), str(new))

    def watch_paths(self) -> tuple[Path, ...]:
        """The refs' folders, and every folder below the jobs directory."""
        found = list(self._commits.watch_paths())
        with self._lock:
            top = self._root / self.jobs_dir
            for folder, names, _ in os.walk(top, followlinks=False):
                names[:] = [name for name in names if name != ".git"]
                found.append(Path(folder))
                if len(found) > 2000:
                    break
        return tuple(dict.fromkeys(found))

    def close(self) -> None:
        self._git.stop()
        self._commits.close()

    def _head(self) -> str:
        try:
            return self._commits.resolve()
        except Stalled as error:
            if error.reason == "RepositoryEmpty":
                return _NO_COMMIT
            raise

    def _committed(self, head: str) -> dict[str, Entry]:
        if head == _NO_COMMIT:
            return {}
        try:
            return {e.path: e for e in self._commits.snapshot(head).entries}
        except Stalled as error:
            if error.reason in ("JobsDirMissing", "JobsDirRefused"):
                return {}
            raise

    def _state(self, revision: str) -> _State:
        if revision not in self._states:
            raise Transient(
                f"the uncommitted files of {revision} are no longer there",
                reason="ObjectMissing",
                hint="the next reconcile reads what is there now",
            )
        return self._states[revision]

    def _scan(self) -> tuple[dict[str, Entry], list[Problem], float]:
        self._root = work_tree(self._root, self._git)
        if not (self._root / self.jobs_dir).is_dir():
            raise Stalled(
                f"{self._root} has no jobs directory {self.jobs_dir!r}",
                reason="JobsDirMissing",
                hint="check --jobs-dir, or make the folder",
            )
        entries: dict[str, Entry] = {}
        refused: list[Problem] = []
        files: dict[str, _File] = {}
        newest = 0.0
        for name in _listed(self._root, self.jobs_dir, self._git):
            found = self._look(name, files)
            if found is None:
                continue
            judged, modified = found
            newest = max(newest, modified)
            if judged.kind is trees.Kind.JOB_FILE:
                entries[judged.path] = trees.job_entry(judged)
            elif judged.problem is not None:
                refused.append(judged.problem)
        self._files = files
        return entries, sorted(refused), newest

    def _look(self, name: bytes, files: dict[str, _File]) -> tuple[trees.Judged, float] | None:
        """One listed path: what it is, and when it changed. None where nothing lies there."""
        path = self._root / os.fsdecode(name)
        folder, _, last = name.rpartition(b"/")
        try:
            status = path.lstat()
            linked = path.parent.resolve() != self._root.resolve() / os.fsdecode(folder)
        except OSError:
            return None
        regular = stat.S_ISREG(status.st_mode) and not linked
        mode = "100644" if regular else SYMLINK
        parent = trees.folder_prefix(os.fsdecode(folder))
        judged = trees.judge(TreeEntry(mode, last, ""), parent)
        if judged.kind is not trees.Kind.JOB_FILE:
            return judged, status.st_mtime
        file = self._file(path, judged.path, status)
        files[judged.path] = file
        entry = TreeEntry(mode, last, file.blob)
        return judged._replace(entry=entry), status.st_mtime

    def _file(self, path: Path, name: str, status: os.stat_result) -> _File:
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        known = self._files.get(name)
        if known is not None and known.stamp == stamp:
            return known
        try:
            with path.open("rb") as stream:
                data = stream.read(BLOB_LIMIT)
                size = os.fstat(stream.fileno()).st_size
                digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
                digest.update(data)
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        except PermissionError:
            raise faults.not_permitted(str(path)) from None
        except OSError as error:
            raise Transient(f"{name} cannot be read: {error.strerror}", reason="Changing") from None
        return _File(stamp, digest.hexdigest(), data)


def dirty_paths(repo: str, jobs_dir: str, *, timeout: float = 30.0) -> tuple[str, ...]:
    """Job files whose uncommitted content differs from HEAD's, sorted; none for a remote or bare
    repository. Raises Stalled, Transient."""
    location = refs.parse_location(repo)
    if location.path is None:
        return ()
    git = Git(timeout)
    found = open_repository(location.path, git)
    if found.work_tree is None:
        return ()
    # Git's own command, not GitPython's index.diff: that runs it three times, in an environment
    # that is not ours.
    args = ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--"]
    where = refs.check_jobs_dir(jobs_dir) or "."
    out = git.run("looking for uncommitted changes", [*args, where], cwd=str(found.work_tree))
    names = (line[3:].decode("utf-8", "backslashreplace") for line in out.split(b"\0") if line)
    return tuple(sorted({name for name in names if is_job_file(name)}))


def work_tree(path: Path, git: Git) -> Path:
    """The top of the work tree `path` lies in. Raises Refused where the repository is bare."""
    found = open_repository(path, git).work_tree
    if found is None:
        raise Refused(
            f"{path} is a bare repository: it has no work tree",
            reason="NoWorkTree",
            hint="leave --working-tree out, or name a checked-out repository",
        )
    return found


def local_work_tree(repo: str) -> Path:
    """The top of a repository's work tree. Raises Refused where it is remote or bare."""
    return work_tree(_local(repo), Git(30.0))


def _local(repo: str) -> Path:
    path = refs.parse_location(repo).path
    if path is None:
        raise Refused(
            "--working-tree needs a local repository",
            reason="NoWorkTree",
            hint="clone it and name the clone's path",
        )
    return path


def _listed(root: Path, jobs_dir: str, git: Git) -> list[bytes]:
    args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--full-name", "--"]
    out = git.run("listing the work tree", [*args, jobs_dir or "."], cwd=str(root))
    return sorted({name for name in out.split(b"\0") if name})


def _head_of(revision: str | None) -> str | None:
    return revision.partition(_DIRTY)[0] if revision is not None else None


def _blob(entry: Entry | None) -> str | None:
    return entry.blob if entry is not None else None
