"""Notices that the code a process has loaded is no longer the code on disk."""

from __future__ import annotations

import os
import sys
import sysconfig

_OWN = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))
_Mark = tuple[int, int, int]


class LoadedCode:
    """The files of the modules that jobs imported; those loaded before are the daemon's own."""

    def __init__(self) -> None:
        self._seen = set(sys.modules)
        self._marks: dict[str, _Mark] = {}

    def learn(self, since: int) -> bool:
        """Takes note of modules that came in since `since` (nanoseconds of the wall clock).

        False where one was written after that: which version was loaded is not known.
        """
        if len(sys.modules) == len(self._seen):
            return True
        fresh = [name for name in list(sys.modules) if name not in self._seen]
        self._seen.update(sys.modules)
        for name in fresh:
            path = getattr(sys.modules[name], "__file__", None)
            if not isinstance(path, str) or _is_own(path):
                continue
            mark = _mark(path)
            if mark is not None:
                self._marks[path] = mark
                if mark[0] >= since:
                    return False
        return True

    def has_changed(self) -> bool:
        return any(_mark(path) != mark for path, mark in self._marks.items())


def _is_own(path: str) -> bool:
    """The standard library's, which changes with the interpreter alone."""
    return path.startswith(_OWN) and "site-packages" not in path and "dist-packages" not in path


def _mark(path: str) -> _Mark | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
