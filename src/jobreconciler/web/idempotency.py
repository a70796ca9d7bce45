"""A repeated request with the same Idempotency-Key gets the first one's execution, not a second.

Kept in memory, for a day and for a thousand keys: two requests at once never start two. The store
keeps the same keys across restarts (see ports.Service.trigger).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from jobreconciler.model.execution import Execution
from jobreconciler.web.problems import Denied

KEPT: Final = 1000
KEPT_SECONDS: Final = 24 * 3600.0


class Repeats:
    """Used on the event loop only. `monotonic` gives seconds of a clock that never jumps."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: OrderedDict[Hashable, tuple[float, Hashable, asyncio.Task[Execution]]]
        self._seen = OrderedDict()

    async def once(
        self, key: Hashable, request: Hashable, act: Callable[[], Awaitable[Execution]]
    ) -> Execution:
        """`act()`'s execution, or that of the first request with this key, also while it is still
        under way. A failed first request is forgotten. Raises Denied where the requests differ."""
        self._forget_old()
        seen = self._seen.get(key)
        if seen is None:
            task = asyncio.ensure_future(_run(act))
            self._seen[key] = (self._monotonic(), request, task)
        else:
            _, first, task = seen
            if first != request:
                raise Denied(
                    422,
                    "This Idempotency-Key was sent before with another request.",
                    reason="KeyReused",
                    hint="Make up a new key for each new request.",
                )
        try:
            return await asyncio.shield(task)
        except Exception:
            self._seen.pop(key, None)
            raise

    def _forget_old(self) -> None:
        oldest_kept = self._monotonic() - KEPT_SECONDS
        while self._seen:
            at, _, _ = next(iter(self._seen.values()))
            if at >= oldest_kept and len(self._seen) < KEPT:
                return
            self._seen.popitem(last=False)


async def _run(act: Callable[[], Awaitable[Execution]]) -> Execution:
    return await act()
