"""How much of the disk each execution's files take, and how they go."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from jobreconciler.core.retention import Output


class SpoolSpace:
    """The `OutputSpool` of one state directory. What vanishes while it looks is not counted."""

    def __init__(self, state_dir: Path) -> None:
        self._runs = state_dir.absolute() / "runs"
        self._names: dict[str, list[str]] = {}

    def outputs(self) -> Iterator[Output]:
        self._names = {}
        try:
            names = os.listdir(self._runs)
        except FileNotFoundError:
            return
        for name in names:
            of = name if name.startswith(".") else name.partition("@")[0]
            self._names.setdefault(of, []).append(name)
        for execution_id, its in list(self._names.items()):
            found = [_measure(str(self._runs / name)) for name in its]
            written = max(changed for _, changed in found)
            if written:
                size = sum(size for size, _ in found)
                yield Output(execution_id, size, datetime.fromtimestamp(written, UTC))

    def forget(self, execution_id: str) -> None:
        """What `outputs` found of it. Raises OSError where its files cannot be removed."""
        for name in self._names.pop(execution_id, ()):
            path = self._runs / name
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            except FileNotFoundError:
                continue


def _measure(path: str) -> tuple[int, float]:
    """Bytes on disk and the last change of a file, or of anything in a directory; 0 and 0 where it
    is gone."""
    size, latest = 0, 0.0
    try:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            return found.st_blocks * 512, found.st_mtime
        with os.scandir(path) as entries:
            for entry in entries:
                inside = entry.stat(follow_symlinks=False)
                size += inside.st_blocks * 512
                latest = max(latest, inside.st_mtime)
                if entry.is_dir(follow_symlinks=False):
                    below, changed = _measure(entry.path)
                    size, latest = size + below, max(latest, changed)
        if not latest:
            latest = found.st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return size, latest
    return size, latest
