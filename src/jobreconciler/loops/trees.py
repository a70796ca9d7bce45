"""Removes exported trees of the repository that no run needs any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from jobreconciler.ports import Store, Trees

log = structlog.get_logger("jobreconciler")

EVERY_SECONDS = 300.0


class TreesLoop:
    """Looks at the start and every few minutes.

    Kept are the trees of runs that have not ended, and those that the next runs will start in:
    `current`. So a run that is tried again finds its tree also when history was rewritten.
    """

    def __init__(self, trees: Trees, store: Store, current: Callable[[], Collection[str]]) -> None:
        self._trees = trees
        self._store = store
        self._current = current

    async def run(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self) -> None:
        removed = await asyncio.to_thread(self._trees.keep, self._needed)
        if removed:
            log.info("trees_removed", revisions=removed)

    def _needed(self) -> set[str]:
        return {execution.revision for execution in self._store.unfinished()} | {*self._current()}
