"""Logs: JSON lines on a pipe, aligned and coloured on a terminal, always on standard error.

structlog's own events and those of the standard library's loggers (uvicorn, alembic, …) get the
same fields and the same form. Ours don't go through the standard library: a daemon logs two lines
a run, and that way they took a sixth of its time. Callers bind `job`, `execution` and `revision`
with `bound(…)`; those are carried through awaits and threads by contextvars.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json

from jobreconciler.errors import Refused

Format = Literal["auto", "json", "console"]
LEVELS: Final = ("debug", "info", "warning", "error")

_QUIET: Final = ("uvicorn.access", "uvicorn.error", "watchfiles", "git", "alembic", "asyncio")
"""Loggers of others that say at info what nobody asked for."""


def configure(format: Format = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set the form of all logs of this process. May be called again; the last call holds.

    `auto` is console on a terminal, else json. Raises Refused for an unknown format or level.
    """
    if format not in ("auto", "json", "console"):
        raise Refused(
            f"log format {format!r} is not known", hint="Use auto, json or console (--log-format)."
        )
    if level not in LEVELS:
        raise Refused(f"log level {level!r} is not known", hint=f"Use one of {', '.join(LEVELS)}.")
    stream = sys.stderr if stream is None else stream
    as_json = format == "json" or (format == "auto" and not stream.isatty())
    output = _Output(stream)
    plain = structlog.make_filtering_bound_logger(_number(level))
    structlog.configure(
        processors=[*_shared(), *_rendering(as_json, colors=stream.isatty())],
        wrapper_class=_quick(plain) if as_json and level in _LATER else plain,
        logger_factory=lambda *names: _Lines(output, *names),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(as_json, colors=stream.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_number(level))
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        theirs = logging.getLogger(name)
        theirs.handlers.clear()
        theirs.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(_number(level), logging.WARNING))


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every log line inside carries these fields: `bound(job=…, execution=…, revision=…)`."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _shared() -> list[Any]:
    """What every line gets, wherever it comes from."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


class _Output:
    """Lines to a stream. What is written during one turn of an event loop goes out at its end, in
    one call: a burst of runs writes hundreds of lines a turn, and each call took as long as making
    a line did.

    Lines that cannot be written (the disk is full, nobody reads any more) are lost: what they tell
    of has happened, and whoever tells of it goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._flushing = threading.RLock()
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        atexit.register(self._flush)

    def later(self, line: str) -> None:
        """At the end of this turn, if this thread runs a loop."""
        loop = asyncio._get_running_loop()
        self._waiting.append(line)
        if loop is None:
            self._flush()
        elif self._flushed_by is not loop:
            self._flushed_by = loop
            loop.call_soon(self._end_of_turn)

    def now(self, line: str) -> None:
        self._waiting.append(line)
        self._flush()

    def _end_of_turn(self) -> None:
        self._flushed_by = None
        self._flush()

    def _flush(self) -> None:
        """From any thread: one at a time, so that lines stay in order."""
        with self._flushing:
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not taken:
                return
            try:
                self._write(taken)
            except ValueError:  # perhaps the stream's encoding has no place for one of them
                for line in taken:
                    with suppress(OSError, ValueError):
                        self._write([line])
            except OSError:
                return

    def _write(self, lines: list[str]) -> None:
        self._stream.write("\n".join([*lines, ""]))
        self._stream.flush()


class _Lines:
    """What structlog writes to; has the name that `add_logger_name` asks for."""

    def __init__(self, output: _Output, name: str = "root") -> None:
        self.name = name
        self.later = output.later
        self.msg = output.now

    def __getattr__(self, method: str) -> Callable[[str], None]:
        return self.later if method in _LATER else self.msg


_LATER: Final = frozenset({"debug", "info"})
"""What is worse goes out at once, with all that was told before it."""


def _quick(plain: Any) -> Any:
    """A bound logger that makes a JSON line of `info` itself: a daemon logs two of them a run, and
    on the way through the processors they were a tenth of its work."""

    class Quick(plain):  # type: ignore[misc]
        def info(self, event: str, *args: Any, **fields: Any) -> None:
            if args or "exc_info" in fields:
                super().info(event, *args, **fields)
                return
            logger = self._logger
            line: Any = {**self._context, **fields, "event": event}
            line = structlog.contextvars.merge_contextvars(logger, "info", line)
            line |= {"level": "info", "logger": logger.name, "timestamp": _now()}
            logger.later(_json(line))

    return Quick


def _now() -> str:
    """As TimeStamper writes it: RFC 3339 in UTC, to the microsecond."""
    seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{fraction // 1000:06d}Z"


@lru_cache(maxsize=2)
def _second(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


def _rendering(as_json: bool, *, colors: bool) -> list[Any]:
    """Tracebacks never show local variables: those may hold a secret's value."""
    if as_json:
        return [
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _json(event: dict[str, Any], **_: Any) -> str:
    """Never fails: what JSON cannot hold is written as text."""
    try:
        return to_json(event, fallback=str).decode()
    except PydanticSerializationError:
        return json.dumps(event, default=str)
