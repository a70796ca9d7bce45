"""The variables of a worker's process, from one run to the next."""

from __future__ import annotations

import os
from collections.abc import Mapping

_ENVIRON = os.environ
_Text = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_put, _unset = os.putenv, os.unsetenv


class Environment:
    """Most are the same from one run to the next, and reading all of them
    through os.environ takes longer than a short run. There is one in a process."""

    def __init__(self) -> None:
        self._wanted = dict(_ENVIRON)
        self._held = _held()
        self._touched: set[bytes] = set()

    def set(self, wanted: Mapping[str, str]) -> None:
        """From what was set last to this."""
        os.putenv, os.unsetenv = _put, _unset  # a job's may be others
        before, self._wanted = self._wanted, dict(wanted)
        for name in before.keys() - wanted.keys():
            del _ENVIRON[name]
        for name, value in wanted.items():
            if before.get(name) != value:
                _ENVIRON[name] = value
        self._held = _held()
        os.putenv, os.unsetenv = self._on_put, self._on_unset

    def put_back(self) -> None:
        """What a job did to it is undone, also behind the back of os.environ."""
        os.environ = _ENVIRON  # noqa: B003  # it is the one that was there
        if _held() != self._held:
            for name in [name for name in _ENVIRON if name not in self._wanted]:
                del _ENVIRON[name]
            for name, value in self._wanted.items():
                _ENVIRON[name] = value
        while self._touched:
            touched = self._touched.pop()
            if touched in self._held:
                _put(touched, self._held[touched])
            else:
                _unset(touched)

    def _on_put(self, name: _Text, value: _Text) -> None:
        self._touched.add(os.fsencode(name))
        _put(name, value)

    def _on_unset(self, name: _Text) -> None:
        self._touched.add(os.fsencode(name))
        _unset(name)


def _held() -> dict[bytes, bytes]:
    """What os.environ holds, as it holds it."""
    held: dict[bytes, bytes] = _ENVIRON._data  # type: ignore[attr-defined]
    return dict(held)
