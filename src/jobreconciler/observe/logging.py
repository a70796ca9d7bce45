"""Logs: JSON lines on a pipe, aligned and coloured on a terminal, always on standard error.

structlog's own events and those of the standard library's loggers (uvicorn, alembic, …) get the
same fields and the same form. Ours don't go through the standard library: a daemon logs two lines
a run, and that way they took a sixth of its time. Callers bind `job`, `execution` and `revision`
with `bound(…)`; those are carried through awaits and threads by contextvars.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    slowly = [*_shared(), *_rendering(as_json, colors=stream.isatty())]
    structlog.configure(
        processors=[_Quickly(slowly)] if as_json else slowly,
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=lambda *names: _Lines(stream, *names),
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


class _Lines(structlog.WriteLogger):
    """Writes lines to a stream; has the name that `add_logger_name` asks for.

    A line that cannot be written (the disk is full, nobody reads any more) is lost: what it tells
    of has happened, and whoever tells of it goes on.
    """

    def __init__(self, stream: TextIO, name: str = "root") -> None:
        super().__init__(stream)
        self.name = name

    def msg(self, message: str) -> None:
        try:
            super().msg(message)
        except (OSError, ValueError):
            return

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class _Quickly:
    """What `processors` make of an event, at once: two lines a run are a tenth of a daemon's work.

    What has a traceback takes the long way.
    """

    def __init__(self, processors: list[Any]) -> None:
        self._processors = processors

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        if "exc_info" in event or method not in ("debug", "info", "warning", "error"):
            for process in self._processors:
                event = process(logger, method, event)
            return event
        event = structlog.contextvars.merge_contextvars(logger, method, event)
        event["level"] = method
        event["logger"] = logger.name
        event["timestamp"] = _now()
        return _json(event)


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
