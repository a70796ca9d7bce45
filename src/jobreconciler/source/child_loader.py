"""Loading many files in processes of their own, so that whoever asked has its hands free.

A daemon gives all of a large load away: parsing in one of its threads would make everything else
late. A one-shot command keeps a part, and the rest is loaded beside it. A child is a fresh
interpreter, since a process with threads must not fork; where one fails in any way, or would read
files by other rules, its part is loaded in place.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import pairwise
from typing import IO, Any, NamedTuple

from jobreconciler.model.desired import DesiredFile, Entry
from jobreconciler.ports import Loader
from jobreconciler.source.parallel import packed, unpacked

HEAD_START = 1_000
"""How many files a process that runs already loads while another one starts."""


class _Part(NamedTuple):
    """What one child was given, and where its answer will lie."""

    entries: Sequence[Entry]
    child: subprocess.Popen[bytes] | None
    answer: IO[bytes]


class ChildLoader:
    """A `ports.Loader` that loads from `worth_it` files on with the help of `children` processes.

    `command` starts one; it is to call `answer` with a loader like `own`. With `helping`, this
    process loads a part itself. At most as many children run as there are cores to run them on.
    """

    def __init__(
        self,
        own: Loader,
        command: Sequence[str],
        *,
        worth_it: int,
        helping: bool,
        children: int | None = None,
    ) -> None:
        self._own = own
        self._command = tuple(command)
        self._worth_it = worth_it
        self._helping = helping
        self._children = max(1, _cores() - helping) if children is None else children

    @cached_property
    def version(self) -> str:
        return self._own.version

    def load(
        self, entries: Sequence[Entry], contents: Mapping[str, bytes], defaults: Entry | None
    ) -> list[DesiredFile]:
        """What the loader's own `load` returns. Raises what it raises."""
        if len(entries) < self._worth_it or (self._helping and _cores() < 2):
            return self._own.load(entries, contents, defaults)
        kept, *given = self._split(entries)
        with ExitStack() as stack:
            parts = [self._start(part, contents, defaults, stack) for part in given]
            files = self._own.load(kept, contents, defaults) if kept else []
            for part in parts:
                found = self._collect(part)
                if found is None:
                    found = self._own.load(part.entries, contents, defaults)
                # An invalid defaults file is reported with every part.
                again = defaults.path if files and defaults is not None else None
                files += [file for file in found if file.path != again]
        return files

    def _split(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        """The part kept here, and one for each child; all end at about the same time."""
        total, children = len(entries), self._children
        kept = 0
        if self._helping:
            kept = min(total, (total + children * HEAD_START) // (children + 1))
        ends = [0, *(kept + (total - kept) * n // children for n in range(children + 1))]
        return [entries[start:end] for start, end in pairwise(ends)]

    def _start(
        self,
        entries: Sequence[Entry],
        contents: Mapping[str, bytes],
        defaults: Entry | None,
        stack: ExitStack,
    ) -> _Part:
        """Files instead of pipes: neither side ever has to wait for the other to read."""
        request = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        answer = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        wanted = [*entries, *([defaults] if defaults is not None else [])]
        texts = {entry.blob: contents[entry.blob] for entry in wanted}
        pickle.dump(
            ([_plain(entry) for entry in entries], texts, defaults and _plain(defaults)),
            request,
            pickle.HIGHEST_PROTOCOL,
        )
        request.flush()
        request.seek(0)
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            child = subprocess.Popen(
                self._command,
                stdin=request,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
            )
        except OSError:
            return _Part(entries, None, answer)
        stack.callback(_end, child)
        return _Part(entries, child, answer)

    def _collect(self, part: _Part) -> list[DesiredFile] | None:
        """The child's files, or None where it has failed or reads by other rules."""
        if part.child is None or part.child.wait() != 0:
            return None
        part.answer.seek(0)
        try:
            version, files = pickle.load(part.answer)
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError):
            return None
        return [unpacked(file) for file in files] if version == self.version else None


def answer(loader: Loader) -> None:
    """A child's whole life: standard input to standard output, which nothing else may write to."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        entries, contents, defaults = pickle.load(sys.stdin.buffer)
        files = loader.load(
            [Entry(*entry) for entry in entries],
            contents,
            Entry(*defaults) if defaults is not None else None,
        )
        pickle.dump((loader.version, [packed(f) for f in files]), output, pickle.HIGHEST_PROTOCOL)


def _plain(entry: Entry) -> tuple[Any, ...]:
    return entry.path, entry.blob, entry.mode


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave no child behind, whatever stopped us waiting for it."""
    if child.poll() is None:
        child.kill()
        child.wait()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
