"""The `Source` port over a git repository, local or remote, read without a work tree.

Look-ups and objects go through one `git cat-file`; nothing is spawned for a reconcile without a
change, nor for one that is one commit ahead. Every fault is a typed error, and the next call
starts afresh.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from jobreconciler.errors import JobReconcilerError, NotFound
from jobreconciler.model.desired import Commit, Entry
from jobreconciler.ports import History, Snapshot, TreeDiff
from jobreconciler.source import faults, refs, trees
from jobreconciler.source.command import Git
from jobreconciler.source.git_objects import parse_tree
from jobreconciler.source.history import Historian
from jobreconciler.source.mirror import Mirror, no_such_ref, remote_access
from jobreconciler.source.objects import ObjectReader
from jobreconciler.source.repository import Repository, identity_of, open_repository

BLOB_LIMIT = 256 * 1024 + 1
"""Bytes of a file that are ever read: one more than a job file may have, so that the loader sees
that it is too large."""

GitOperation = Callable[[str, str], None]
"""Called with (operation, result) after each: result is `ok` or the error's reason."""


class GitSource:
    """See `ports.Source`. The constructor only checks its arguments and raises Refused.

    `repo` is a path, or a URL (https, http, ssh, git, file, user@host:path) that is mirrored in
    `state_dir/mirror.git`. `ref` is a branch or tag, None the repository's HEAD. `timeout` is in
    seconds, for each git operation. Safe to share between threads: one call at a time.
    """

    def __init__(
        self,
        repo: str,
        ref: str | None,
        jobs_dir: str,
        state_dir: Path,
        *,
        timeout: float,
        observer: GitOperation,
    ) -> None:
        self.location = refs.parse_location(repo)
        self.ref = refs.check_ref(ref) if ref is not None else None
        self.jobs_dir = refs.check_jobs_dir(jobs_dir)
        self._timeout = timeout
        self._observer = observer
        self._lock = threading.RLock()
        self._git = Git(timeout)
        self._remote = Git(timeout, remote_access(self.location, timeout))
        self._mirror: Mirror | None = None
        if self.location.path is None:
            self._mirror = Mirror(self.location, self.ref, state_dir, self._remote, timeout)
        self._repository: Repository | None = None
        self._reader: ObjectReader | None = None
        self._historian: Historian | None = None
        self._name = ""

    def __repr__(self) -> str:
        return f"GitSource({self.location.shown!r}, ref={self.ref!r}, jobs_dir={self.jobs_dir!r})"

    def resolve(self) -> str:
        """See `Source.resolve`. Local: one look-up through cat-file, nothing else."""
        with self._operation("resolve"):
            if self._mirror is not None:
                return self._resolve_remote(self._mirror)
            if self._repository is not None and not self._repository.is_same():
                self._forget()
            reader = self._open()
            for name in (self._name,) if self._name else self._candidates():
                found = reader.get(f"{name}^{{commit}}")
                if found is not None:
                    self._name = name
                    reader.remember(found)
                    return found.id
            self._name = ""
            raise self._why_unresolved(reader)

    def snapshot(self, revision: str) -> Snapshot:
        """See `Source.snapshot`. Raises Stalled(JobsDirMissing) where the folder isn't there."""
        with self._operation("snapshot"):
            reader = self._open()
            entries, refused = trees.list_files(reader, self._tree(reader, revision), self.jobs_dir)
            return Snapshot(revision, tuple(entries), tuple(refused))

    def diff(self, base: str, revision: str) -> TreeDiff | None:
        """See `Source.diff`. None also where something that could stand for a whole folder (a
        link, a submodule) came or went: only a whole snapshot tells what that means."""
        with self._operation("diff"):
            reader = self._open()
            old, new = reader.trees_at([base, revision], self.jobs_dir)
            if old is None:
                return None
            if new is None:
                raise trees.why_missing(reader, revision, self.jobs_dir)
            delta = trees.compare(reader, old, new, self.jobs_dir)
            if delta.covers:
                return None
            return TreeDiff(
                base, revision, tuple(delta.changed), tuple(delta.gone), tuple(delta.refused)
            )

    def entry(self, revision: str, path: str) -> Entry | None:
        """See `Source.entry`. None also for what is refused there (a link, a folder)."""
        with self._operation("entry"):
            reader = self._open()
            folder, _, name = path.rpartition("/")
            tree = reader.trees_at([revision], folder)[0]
            data = reader.tree(tree) if tree else b""
            if tree is None or b" %s\0" % name.encode() not in data:
                return None
            for found in parse_tree(data, len(tree)):
                judged = trees.judge(found, trees.folder_prefix(folder))
                if judged.path == path and judged.kind is trees.Kind.JOB_FILE:
                    return trees.job_entry(judged)
            return None

    def read(self, blobs: Sequence[str]) -> dict[str, bytes]:
        """See `Source.read`. A larger file is cut after BLOB_LIMIT bytes."""
        with self._operation("read"):
            reader = self._open()
            wanted = list(dict.fromkeys(blobs))
            contents: dict[str, bytes] = {}
            for blob, found in zip(wanted, reader.stream(wanted, BLOB_LIMIT), strict=True):
                if found is None:
                    raise reader.missing(blob)
                if found.type != "blob":
                    raise faults.object_corrupt(blob, f"it is a {found.type}, not a file")
                contents[blob] = found.data
            return contents

    def commit(self, revision: str) -> Commit:
        with self._operation("commit"):
            return self._open().commit(revision)

    def history(self, base: str | None, revision: str, paths: Collection[str]) -> History:
        """See `Source.history` and history.py. A path whose commits were not found in time, or
        lie beyond a shallow clone's edge, has none."""
        with self._operation("history"):
            self._open()
            assert self._historian is not None
            return self._historian.history(base, revision, paths)

    def is_ancestor(self, base: str, revision: str) -> bool:
        """Whether `revision` contains `base`. False where `base` isn't there any more."""
        with self._operation("is_ancestor"):
            reader = self._open()
            if base == revision:
                return True
            if base in reader.commit(revision).parents:
                return True
            if reader.get(base) is None:
                # Asked of git, not of what is remembered: it may have been collected since.
                return False
            args = [f"--git-dir={self._git_dir()}", "merge-base", "--is-ancestor", base, revision]
            done = self._git.attempt("comparing commits", args)
            if done.code in (0, 1):
                return done.code == 0
            raise faults.classify("comparing commits", done.err)

    def lookup(self, name: str) -> str:
        """The full id of the commit a revision names: an id, short or full, a branch, a tag.

        Raises NotFound(RefMissing), Refused. Asks no remote: call `resolve` first.
        """
        with self._operation("lookup"):
            refs.check_revision(name)
            reader = self._open()
            for candidate in (name, *refs.candidates(name)):
                found = reader.get(f"{candidate}^{{commit}}")
                if found is not None:
                    return found.id
            raise NotFound(
                f"{self.location.shown} has no commit, branch or tag {name!r}",
                reason="RefMissing",
                hint="give a full or longer id, or the name of a branch or tag",
            )

    def watch_paths(self) -> tuple[Path, ...]:
        """See `Source.watch_paths`: folders whose direct children tell of a moved ref. Never
        `objects`: writing an object must not wake anybody. Ask again after each event: a new
        branch may lie in a new folder."""
        if self._mirror is not None:
            return ()
        with self._lock:
            try:
                self._open()
            except JobReconcilerError:
                # Nothing to be watched yet but the place where the repository should appear.
                assert self.location.path is not None
                there = [p for p in (self.location.path, *self.location.path.parents) if p.is_dir()]
                return tuple(there[:1])
            assert self._repository is not None
            return _ref_folders(self._repository, self._name)

    def close(self) -> None:
        """End every child, also one that a call in another thread waits for."""
        self._git.stop()
        self._remote.stop()
        with self._lock:
            self._forget()

    @contextlib.contextmanager
    def _operation(self, name: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except JobReconcilerError as error:
                self._observer(name, error.reason)
                if not isinstance(error, NotFound):
                    self._recover(error)
                raise
            self._observer(name, "ok")

    def _recover(self, error: JobReconcilerError) -> None:
        """Start afresh with the next call; a mirror that lacks something is made anew."""
        if self._mirror is not None and error.reason in ("ObjectMissing", "ObjectCorrupt"):
            self._mirror.suspect()
        self._forget()

    def _forget(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._repository = self._reader = self._historian = None

    def _open(self) -> ObjectReader:
        if self._reader is None:
            if self._mirror is not None:
                path = self._mirror.path
                if not path.is_dir():
                    self._mirror.look()
                self._repository = Repository(path, path, None, identity_of(path))
            else:
                assert self.location.path is not None
                self._repository = open_repository(self.location.path, self._git)
            repository = self._repository
            git_dir = str(repository.git_dir)
            self._reader = ObjectReader(self._git, git_dir, self._timeout)
            self._historian = Historian(
                self._git, self._reader, git_dir, self.jobs_dir, repository.shallow, self._timeout
            )
        return self._reader

    def _git_dir(self) -> Path:
        assert self._repository is not None
        return self._repository.git_dir

    def _candidates(self) -> tuple[str, ...]:
        return refs.candidates(self.ref) if self.ref else ("HEAD",)

    def _resolve_remote(self, mirror: Mirror) -> str:
        self._name, fetched = mirror.look()
        if fetched:
            self._observer("fetch", "ok")
        if fetched and self._repository is not None and not self._repository.is_same():
            self._forget()
        found = self._open().get(f"{self._name}^{{commit}}")
        if found is None:
            raise faults.object_missing(self._name)
        return found.id

    def _tree(self, reader: ObjectReader, revision: str) -> str:
        tree = reader.trees_at([revision], self.jobs_dir)[0]
        if tree is None:
            raise trees.why_missing(reader, revision, self.jobs_dir)
        return tree

    def _why_unresolved(self, reader: ObjectReader) -> JobReconcilerError:
        """Nothing answers to the ref: the repository went away, is empty, or has other refs."""
        assert self.location.path is not None
        reader.close()
        open_repository(self.location.path, self._git)
        args = [f"--git-dir={self._git_dir()}", "for-each-ref", "--format=%(refname)"]
        known = self._git.run("listing refs", args).decode("utf-8", "replace").split()
        for name in self._candidates():
            if name in known:
                return faults.object_missing(name)
        return no_such_ref(self.ref, self.location.shown, known)


def _ref_folders(repository: Repository, name: str) -> tuple[Path, ...]:
    git_dir, common = repository.git_dir, repository.common_dir
    if name in ("", "HEAD"):
        with contextlib.suppress(OSError):
            name = (git_dir / "HEAD").read_text("utf-8").strip().removeprefix("ref: ")
    wanted = [git_dir, common, common / "reftable", common / "refs"]
    wanted += [common / "refs/heads", common / "refs/tags"]
    if name.startswith("refs/"):
        wanted += reversed([p for p in (common / name).parents if common in p.parents])
    return tuple(folder for folder in dict.fromkeys(wanted) if folder.is_dir())
