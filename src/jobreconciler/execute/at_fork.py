"""What modules want done in a child after a fork, done only in children that run their code.

A supervisor of Python jobs is forked from a server that has imported a great deal, and uses none of
it: having all of it put right there (threading's locks, for one) costs each supervisor 0.3 MiB of
memory of its own. Workers, and what their jobs fork, have it done as ever. Standard library only.

Only what stands alone is put off: with a `before` or an `after_in_parent` it is a half of
something, a lock that is taken and given back for one.
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
        os.register_at_fork = self._keep  # type: ignore[assignment]

    def give_back(self) -> None:
        os.register_at_fork = self._register

    def _keep(self, **calls: Callable[[], Any]) -> None:
        if calls.keys() == {"after_in_child"}:
            self._in_child.append(calls["after_in_child"])
        else:
            self._register(**calls)

    def _run(self) -> None:
        if not self.wanted:
            return
        for call in self._in_child:
            try:
                call()
            except Exception:
                traceback.print_exc()
