"""Where runs that start in the repository's own tree start."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from jobreconciler.errors import Invalid
from jobreconciler.ports import Trees


class RepositoryTrees:
    """Directories of the repository by revision, for use on the event loop.

    However many runs wait for a revision's tree, it is exported once, and they take one thread.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._coming: dict[str, asyncio.Task[Path]] = {}

    async def directory(self, revision: str, name: str) -> str:
        """Raises Invalid where there is no such commit or directory; what `Trees.path` raises."""
        task = self._coming.get(revision)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._trees.path, revision))
            self._coming[revision] = task
            task.add_done_callback(lambda done: self._arrived(revision, done))
        return _below(await asyncio.shield(task), name, revision)

    def _arrived(self, revision: str, task: asyncio.Task[Path]) -> None:
        self._coming.pop(revision, None)
        if not task.cancelled():
            task.exception()  # whoever still waits raises it; it must not be reported as well


def _below(top: Path, name: str, revision: str) -> str:
    real_top, found = os.path.realpath(top), os.path.realpath(top / name)
    if found != real_top and not found.startswith(f"{real_top}/"):
        raise Invalid(
            f"{name!r} leads out of the repository",
            reason="InvalidParameters",
            hint="name a directory of the repository in cwd.repo",
        )
    if not Path(found).is_dir():
        raise Invalid(
            f"the repository has no directory {name!r} at commit {revision[:12]}",
            reason="InvalidParameters",
            hint="name a directory that the commit holds in cwd.repo; git keeps no empty ones",
        )
    return found
