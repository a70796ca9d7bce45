"""Processes that are watched by their pidfds: thousands behind one descriptor of the event loop.

A daemon that starts takes over a thousand runs at once, and each descriptor of its own in the loop
costs several times what it costs here.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_AT_ONCE = 256
"""Ends told in one turn of the loop; the others are told in the next one."""


class Watch(Generic[T]):
    """Calls `ended` with what was watched, once its process has ended. Used on the event loop only.

    Whoever gives it a descriptor closes it, after `forget`.
    """

    def __init__(self, ended: Callable[[T], None]) -> None:
        self._ended = ended
        self._watched: dict[int, T] = {}
        self._epoll: select.epoll | None = None

    def add(self, pidfd: int, watched: T) -> None:
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look)
        self._epoll.register(pidfd, select.EPOLLIN)
        self._watched[pidfd] = watched

    def forget(self, pidfd: int) -> None:
        if self._watched.pop(pidfd, None) is not None and self._epoll is not None:
            self._epoll.unregister(pidfd)

    def close(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        self._watched.clear()

    def _look(self) -> None:
        if self._epoll is None:
            return
        for pidfd, _ in self._epoll.poll(0, _AT_ONCE):
            watched = self._watched.get(pidfd)
            if watched is not None:
                self._ended(watched)
