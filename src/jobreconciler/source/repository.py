"""Opening a local repository: work tree, bare, or a linked worktree with its common directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jobreconciler.source import faults
from jobreconciler.source.command import Git
from jobreconciler.source.gitpython import repo_class


@dataclass(frozen=True, slots=True)
class Repository:
    """Where git keeps things. `common_dir` differs from `git_dir` in a linked worktree only.

    `identity` changes when another repository takes the same path.
    """

    git_dir: Path
    common_dir: Path
    work_tree: Path | None
    identity: tuple[int, int]

    def is_same(self) -> bool:
        return identity_of(self.git_dir) == self.identity

    def shallow(self) -> frozenset[str]:
        """Commits whose parents a shallow clone left behind."""
        try:
            return frozenset((self.common_dir / "shallow").read_text("ascii").split())
        except OSError:
            return frozenset()


def identity_of(path: Path) -> tuple[int, int]:
    """(0, 0) where there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def open_repository(path: Path, git: Git) -> Repository:
    """Raises Stalled: RepositoryMissing, NotARepository, NotPermitted, UnsafeOwnership, GitMissing.

    GitPython finds the repository; one git child then confirms that its owner may be trusted,
    which GitPython does not ask and which an explicit `--git-dir` would skip.
    """
    _check_reachable(path)
    found = _discover(path)
    git.run(f"opening {path}", ["rev-parse", "--git-dir"], cwd=str(path))
    common = found.common_dir
    for needed in (found.git_dir, common, common / "objects", common / "refs"):
        _check_readable(needed)
    return found


def _check_reachable(path: Path) -> None:
    _check_readable(path)
    if not path.is_dir():
        raise faults.not_a_repository(str(path))
    if (path / ".git").is_dir():
        _check_readable(path / ".git")


def _check_readable(path: Path) -> None:
    """Asked before git is: what it may not read, it reports as missing."""
    try:
        path.stat()
    except PermissionError:
        raise faults.not_permitted(str(path)) from None
    except OSError:
        raise faults.repository_missing(str(path)) from None
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        raise faults.not_permitted(str(path))


def _discover(path: Path) -> Repository:
    repo_of = repo_class()
    from git.exc import GitError, InvalidGitRepositoryError, NoSuchPathError

    try:
        repo = repo_of(path, search_parent_directories=True, expand_vars=False)
    except NoSuchPathError:
        raise faults.repository_missing(str(path)) from None
    except (InvalidGitRepositoryError, GitError):
        raise faults.not_a_repository(str(path)) from None
    except PermissionError:
        raise faults.not_permitted(str(path)) from None
    try:
        git_dir = Path(repo.git_dir).absolute()
        work_tree = None if repo.bare else Path(repo.working_dir).absolute()
    finally:
        repo.close()
    return Repository(git_dir, _common_dir(git_dir), work_tree, identity_of(git_dir))


def _common_dir(git_dir: Path) -> Path:
    # Not GitPython's: an inherited GIT_COMMON_DIR (inside a hook) would mislead it.
    try:
        text = (git_dir / "commondir").read_text("utf-8").strip()
    except OSError:
        return git_dir
    return Path(os.path.normpath(git_dir / text))
