"""The repository's own tree at a commit, as a read-only directory that runs start in.

    trees/<boot id>/<revision>/    one exported tree; made beside it and put there by one rename
    trees/<boot id>/.part-*        one that is being made, or was when the daemon was killed
    trees/<boot id>/.gone-*        one that is being removed

Git itself writes the files, as it does in a checkout, through an index of our own: no work tree,
no ref and no configuration of the repository is touched. After a crash of the machine nothing is
trusted to be whole, hence the boot id; what a crash of the daemon leaves is tidied away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from jobreconciler.errors import Invalid, JobReconcilerError, Transient
from jobreconciler.source import faults, refs
from jobreconciler.source.command import Access, Git
from jobreconciler.source.repository import open_repository

EXPORT_SECONDS = 600.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CONFIG = (
    # A bare mirror has no work tree, and somebody's sparse checkout is not meant here.
    ("core.bare", "false"),
    ("core.sparseCheckout", "false"),
    ("core.symlinks", "true"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
)


class TreeExport:
    """See `ports.Trees`. Safe to use from several threads; each export has children of its own."""

    def __init__(self, repo: str, state_dir: Path, *, timeout: float = EXPORT_SECONDS) -> None:
        self._location = refs.parse_location(repo)
        self._mirror = state_dir.absolute() / "mirror.git"
        self._all = state_dir.absolute() / "trees"
        self._root = self._all / _boot_id()
        self._timeout = timeout
        self._lock = threading.Lock()
        self._asked_for: set[str] = set()
        self._parts: set[str] = set()
        self._running: set[Git] = set()

    def path(self, revision: str) -> Path:
        if refs.FULL_ID.match(revision) is None:
            raise Invalid(
                f"{revision} was never committed, so there is no tree of it",
                reason="RevisionGone",
                hint="it comes from --working-tree; start the job anew",
            )
        with self._lock:
            self._asked_for.add(revision)
        final = self._root / revision
        if not final.is_dir():
            try:
                self._export(revision, final)
            except OSError as error:
                raise Transient(
                    f"the tree of {revision[:12]} cannot be written: {error.strerror}",
                    reason="NoSpace",
                    hint="check the state directory's disk space and permissions",
                ) from None
        return final

    def keep(self, needed: Callable[[], Collection[str]]) -> list[str]:
        """See `ports.Trees`. A tree that somebody asks for meanwhile stays as well."""
        with self._lock:
            self._asked_for.clear()
        there = [name for name in _names(self._root) if refs.FULL_ID.match(name)]
        wanted = set(needed()) if there else set()
        removed = []
        with self._lock:
            for name in there:
                if name not in wanted and name not in self._asked_for:
                    moved = tempfile.mkdtemp(prefix=".gone-", dir=self._root)
                    (self._root / name).rename(moved)
                    removed.append(name)
            left = [n for n in _names(self._root) if n.startswith(".") and n not in self._parts]
        for name in left:
            _remove(self._root / name)
        for name in _names(self._all):
            if name != self._root.name:
                _remove(self._all / name)
        return removed

    def close(self) -> None:
        with self._lock:
            running = list(self._running)
        for git in running:
            git.stop()

    def _export(self, revision: str, final: Path) -> None:
        git_dir = self._git_dir()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._part() as part:
            index = part.with_name(f"{part.name}.index")
            with self._git(Access(config=_CONFIG, secrets={"GIT_INDEX_FILE": str(index)})) as git:
                _check_there(git, git_dir, revision)
                what = f"exporting the tree of {revision[:12]}"
                here = [f"--git-dir={git_dir}", f"--work-tree={part}"]
                git.run(what, [*here, "read-tree", revision])
                git.run(what, [*here, "checkout-index", "--all", "--force", "--quiet"])
            index.unlink()
            _seal(part)
            with contextlib.suppress(FileExistsError):
                _put(part, final)

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        """A new directory, of which nothing is left where it was not put in its place."""
        with self._lock:
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._root))
            names = {part.name, f"{part.name}.index", f"{part.name}.index.lock"}
            self._parts |= names
        try:
            yield part
        finally:
            for name in names:
                _remove(self._root / name)
            with self._lock:
                self._parts -= names

    @contextlib.contextmanager
    def _git(self, access: Access) -> Iterator[Git]:
        git = Git(self._timeout, access)
        with self._lock:
            self._running.add(git)
        try:
            yield git
        finally:
            with self._lock:
                self._running.discard(git)

    def _git_dir(self) -> Path:
        path = self._location.path
        if path is not None:
            with self._git(Access()) as git:
                return open_repository(path, git).git_dir
        if not self._mirror.is_dir():
            raise Transient(
                f"the mirror of {self._location.shown} is not there",
                reason="ObjectMissing",
                hint="it is made anew with the next look at the remote",
            )
        return self._mirror


class WorkTree:
    """`ports.Trees` for `run --working-tree`: the work tree itself, as it lies there."""

    def __init__(self, top: Callable[[], Path]) -> None:
        self._top = top

    def path(self, revision: str) -> Path:  # noqa: ARG002
        return self._top()

    def keep(self, needed: Callable[[], Collection[str]]) -> list[str]:  # noqa: ARG002
        return []

    def close(self) -> None:
        """Nothing runs."""


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return "unknown"


def _check_there(git: Git, git_dir: Path, revision: str) -> None:
    args = [f"--git-dir={git_dir}", "cat-file", "-e", f"{revision}^{{commit}}"]
    done = git.attempt("looking for the run's commit", args)
    if done.code == 0:
        return
    found: JobReconcilerError = faults.classify("looking for the run's commit", done.err)
    if found.reason in ("ObjectMissing", "GitFailed"):
        raise Invalid(
            f"the commit {revision[:12]} that this run is pinned to is no longer in the "
            "repository: its history was rewritten",
            reason="RevisionGone",
            hint="start the job anew: it then runs at the commit that is applied now",
        )
    raise found


def _seal(top: Path) -> None:
    """Take away links that lead out of the tree, and everybody's right to write."""
    real = top.resolve()
    for name, _, _ in os.walk(top, topdown=False, followlinks=False):
        folder = Path(name)
        for path in list(folder.iterdir()):
            if path.is_symlink():
                if path.readlink().is_absolute() or not _is_below(path, real):
                    path.unlink()
            elif path.is_file():
                runs = path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o555 if runs else 0o444)
        folder.chmod(0o555)


def _is_below(path: Path, top: Path) -> bool:
    """Where a link ends, whatever other links lie on the way; one that goes in circles nowhere."""
    return Path(os.path.realpath(path)).is_relative_to(top)


def _put(part: Path, final: Path) -> None:
    """Raises FileExistsError where somebody else was faster, whose tree is as good."""
    try:
        part.rename(final)
    except OSError:
        if final.is_dir():
            raise FileExistsError(str(final)) from None
        raise


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def _remove(path: Path) -> None:
    """Whatever is there, read-only directories included. Never follows a link."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(path, followlinks=False):
        Path(folder).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
