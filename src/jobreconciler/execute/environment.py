"""The variables of a worker's process, from one run to the next."""

from __future__ import annotations

import os
from collections.abc import Mapping

_ENVIRON = os.environ


class Environment:
    """Most are the same from one run to the next, and reading all of them
    through os.environ takes longer than a short run."""

    def __init__(self) -> None:
        self._wanted = dict(_ENVIRON)
        self._held = _held()

    def set(self, wanted: Mapping[str, str]) -> None:
        """From what was set last to this."""
        before, self._wanted = self._wanted, dict(wanted)
        for name in before.keys() - wanted.keys():
            del _ENVIRON[name]
        for name, value in wanted.items():
            if before.get(name) != value:
                _ENVIRON[name] = value
        self._held = _held()

    def put_back(self) -> None:
        """What a job did to it is undone."""
        if _held() != self._held:
            for name in [name for name in _ENVIRON if name not in self._wanted]:
                del _ENVIRON[name]
            for name, value in self._wanted.items():
                _ENVIRON[name] = value


def _held() -> dict[bytes, bytes]:
    """What os.environ holds, as it holds it."""
    held: dict[bytes, bytes] = _ENVIRON._data  # type: ignore[attr-defined]
    return dict(held)
