"""Daemons that end themselves at a named boundary, by killed_at.py."""

from __future__ import annotations

import sys
from pathlib import Path

from e2e.running import Running, until


class KilledAt(Running):
    """A daemon that dies at a boundary, the next time it is started. Its environment holds
    `variables` too."""

    def __init__(self, path: Path, **variables: str) -> None:
        super().__init__(path)
        self.variables = variables
        self.boundary: tuple[str, int] | None = None

    def environment(self) -> dict[str, str]:
        return super().environment() | self.variables

    def command(self, *arguments: str) -> list[str]:
        if self.boundary is None or arguments[0] != "run":
            return super().command(*arguments)
        name, count = self.boundary
        script = Path(__file__).with_name("killed_at.py")
        return [sys.executable, str(script), name, str(count), *arguments]


def died(daemon: KilledAt, name: str) -> None:
    until(lambda: daemon.process and daemon.process.poll() is not None, f"{name}: the end")
    assert daemon.process is not None
    assert daemon.process.returncode == -9, daemon.said()[-3000:]
    daemon.process = None
