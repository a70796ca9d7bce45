"""Ends of processes, many behind one descriptor of the event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from execute.arena import eventually, within
from jobreconciler.execute.watching import Watch


@contextmanager
def waiting(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end when their standard input does."""
    command = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(count)]
    try:
        yield children
    finally:
        for child in children:
            end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    child.wait()


def test_each_end_is_told_until_it_is_forgotten() -> None:
    async def main() -> None:
        told: list[int] = []
        with waiting(3) as children:
            descriptors = {child.pid: os.pidfd_open(child.pid) for child in children}

            def ended(pid: int) -> None:
                told.append(pid)
                watch.forget(descriptors[pid])

            watch = Watch(ended)
            for pid, descriptor in descriptors.items():
                watch.add(descriptor, pid)
            first, second, third = children
            watch.forget(descriptors[second.pid])
            for child in (second, third):
                end(child)
            await eventually(lambda: told)
            end(first)
            await eventually(lambda: len(told) == 2)
            watch.close()
            for descriptor in descriptors.values():
                os.close(descriptor)
        assert told == [third.pid, first.pid]

    within(main())


def test_one_that_has_ended_before_it_is_watched_is_told_too() -> None:
    async def main() -> None:
        told: list[str] = []
        with waiting(1) as (child,):
            descriptor = os.pidfd_open(child.pid)
            assert child.stdin is not None
            child.stdin.close()
            watch = Watch(lambda what: (told.append(what), watch.forget(descriptor)))
            watch.add(descriptor, "it")
            await eventually(lambda: told == ["it"])
            await asyncio.sleep(0)
            watch.close()
            os.close(descriptor)

    within(main())
