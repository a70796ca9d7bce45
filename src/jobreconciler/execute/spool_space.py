"""How much of the disk each execution's files take, and how they go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from jobreconciler.core.retention import Output


class SpoolSpace:
    """The `OutputSpool` of one state directory. What vanishes while it looks is not counted."""

    def __init__(self, state_dir: Path) -> None:
        self._runs = state_dir.absolute() / "runs"

    def outputs(self) -> Iterator[Output]:
        try:
            names = os.listdir(self._runs)
        except FileNotFoundError:
            return
        for name in names:
            size, written = _measure(str(self._runs / name))
            if written:
                yield Output(name, size, datetime.fromtimestamp(written, UTC))

    def forget(self, execution_id: str) -> None:
        """Raises OSError where its files cannot be removed."""
        if os.sep in execution_id or execution_id.startswith("."):
            raise ValueError(f"not an execution id: {execution_id!r}")
        try:
            shutil.rmtree(self._runs / execution_id)
        except FileNotFoundError:
            return


def _measure(directory: str) -> tuple[int, float]:
    """Bytes on disk and the last change of anything in it; 0 and 0 where it is gone."""
    size, latest = 0, 0.0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                size += found.st_blocks * 512
                latest = max(latest, found.st_mtime)
                if entry.is_dir(follow_symlinks=False):
                    below, changed = _measure(entry.path)
                    size, latest = size + below, max(latest, changed)
        if not latest:
            latest = os.stat(directory).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return size, latest
    return size, latest
