"""What modules want done in a child after a fork, done only in children that run their code.

A supervisor of Python jobs is forked from a server that has imported a great deal, and uses none of
it: having all of it put right there (threading's locks, for one) costs each supervisor 0.3 MiB of
memory of its own. Workers, and what their jobs fork, have it done as ever. Standard library only.
"""

from __future__ import annotations

import os
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class AtFork:
    """Stands in the place of `os.register_at_fork` from `take_over` to `give_back`."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether a child that is forked from here on is to have it done."""
        self._register = os.register_at_fork
        self._in_child: list[Callable[[], Any]] = []

    def take_over(self) -> None:
        self._register(after_in_child=self._run)
        os.register_at_fork = self._keep

    def give_back(self) -> None:
        os.register_at_fork = self._register

    def _keep(self, *, after_in_child: Callable[[], Any] | None = None, **others: Any) -> None:
        if after_in_child is not None:
            self._in_child.append(after_in_child)
        if others:
            self._register(**others)

    def _run(self) -> None:
        if not self.wanted:
            return
        for call in self._in_child:
            try:
                call()
            except Exception:
                traceback.print_exc()
