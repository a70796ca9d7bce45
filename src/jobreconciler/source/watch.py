"""Wakes up when a ref of a local repository may have moved. An event carries no decision.

Watching is a convenience: whatever goes wrong here is told to the caller and tried again, and
polling goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

STEP_MS = 25
"""watchfiles sleeps this long between looks at the kernel's events, also when nothing happens:
25 ms cost 40 wake-ups a second, 0.3 % of one core, for a latency of 35 ms (10 ms: 100 wake-ups,
0.7 %, 15 ms; 50 ms: 20 wake-ups, 0.2 %, 78 ms)."""
DEBOUNCE_MS = 50
"""A burst of events (a fetch of many refs) wakes at the latest after this long."""
_ROUND_MS = 60_000
_RETRY_SECONDS = 30.0
_SETTLE_SECONDS = 0.2
_IN_GIT_DIR = frozenset({"HEAD", "packed-refs", "refs", "reftable", "commondir"})

Folders = Callable[[], Sequence[Path]]


async def watch(
    folders: Folders,
    stop: asyncio.Event,
    on_error: Callable[[str], None],
    *,
    step_ms: int = STEP_MS,
) -> AsyncIterator[None]:
    """Yields after something changed directly in one of the folders, until `stop` is set.

    `folders` (a `Source.watch_paths`) is asked again after each event, in a thread, since a new
    branch may lie in a new folder; where it is empty, as for a remote, this ends. Raises nothing:
    `on_error` is told once of each new failure, and watching is tried again after 30 s.
    """
    told = ""
    while not stop.is_set():
        try:
            current = await asyncio.to_thread(folders)
            if not current:
                return
            async with contextlib.aclosing(_rounds(current, folders, stop, step_ms)) as rounds:
                async for _ in rounds:
                    told = ""
                    yield
        except (OSError, RuntimeError, ValueError) as error:
            # watchfiles' own error is a RuntimeError; a used-up inotify limit is an OSError.
            if str(error) != told:
                told = str(error)
                on_error(f"refs cannot be watched, polling goes on: {told}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_SECONDS)


async def _rounds(
    current: Sequence[Path], folders: Folders, stop: asyncio.Event, step_ms: int
) -> AsyncGenerator[None, None]:
    """Events of these folders, until the folders themselves are others than they were."""
    from watchfiles import awatch

    seen = await asyncio.to_thread(_fingerprint, current)
    ended = _Stop(stop)
    events = awatch(
        *current,
        watch_filter=_filter(current),
        step=step_ms,
        debounce=DEBOUNCE_MS,
        rust_timeout=_ROUND_MS,
        stop_event=ended,
        recursive=False,
        force_polling=False,
    )
    settled = False
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=None if settled else _SETTLE_SECONDS)
            if not done:
                # The kernel listens by now: look once at what came before that.
                settled = True
                yield
                continue
            if upcoming.result() is None:
                return
            upcoming = asyncio.ensure_future(anext(events, None))
            yield
            if await asyncio.to_thread(lambda: _fingerprint(folders())) != seen:
                return
    finally:
        ended.set()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await upcoming
        await events.aclose()


class _Stop:
    """Set when either the caller's event or this round's own end is. Shields the former:
    watchfiles sets the event it was given when it is cancelled."""

    def __init__(self, outer: asyncio.Event) -> None:
        self._outer = outer
        self._ended = False

    def is_set(self) -> bool:
        return self._ended or self._outer.is_set()

    def set(self) -> None:
        self._ended = True


def _filter(folders: Sequence[Path]) -> Callable[[Any, str], bool]:
    own = {str(folder) for folder in folders}
    git_dirs = {str(f) for f in folders if (f / "HEAD").exists() and f.name != "refs"}

    def relevant(_change: Any, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if path in own:
            return True
        if name.endswith((".lock", "~", ".swp", ".swx")):
            return False
        return folder not in git_dirs or name in _IN_GIT_DIR

    return relevant


def _fingerprint(folders: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """A folder that was replaced by another of the same name is another folder."""
    found = []
    for folder in folders:
        try:
            stat = folder.stat()
        except OSError:
            found.append((str(folder), 0, 0))
        else:
            found.append((str(folder), stat.st_dev, stat.st_ino))
    return tuple(found)
