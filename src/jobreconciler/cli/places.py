"""Where the working files of a repository lie. Git is not asked: that would cost its import."""

from __future__ import annotations

from pathlib import Path

from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


def local_root(settings: Settings) -> Path:
    """The root of the work tree that `--repo` names or lies in. Raises Refused for a URL."""
    if "://" in settings.repo:
        raise Refused(
            f"{settings.repo} has no working files here",
            hint="clone it and name the clone with --repo, or name files",
        )
    start = Path(settings.repo).expanduser()
    if not start.is_dir():
        raise Refused(f"there is no directory {start}", hint="name the repository with --repo")
    for folder in (start, *start.absolute().parents):
        if (folder / settings.jobs_dir).is_dir() or (folder / ".git").exists():
            return folder
    return start


def local_jobs_dir(settings: Settings) -> Path:
    """The jobs directory among the working files; it need not exist."""
    return local_root(settings) / settings.jobs_dir
