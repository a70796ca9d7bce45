"""GitPython, imported when it is needed: its import costs 170 ms and starts git once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobreconciler.source import faults

if TYPE_CHECKING:
    from git import Repo


def repo_class() -> type[Repo]:
    """Raises Stalled(GitMissing): without git on PATH its import fails."""
    try:
        from git import Repo
    except ImportError:
        raise faults.git_missing() from None
    return Repo
