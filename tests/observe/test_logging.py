from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobreconciler.errors import Refused
from jobreconciler.observe.logging import bound, configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configured = structlog.get_config()
    levels = {
        name: (each.level, each.propagate, list(each.handlers))
        for name, each in logging.root.manager.loggerDict.items()
        if isinstance(each, logging.Logger)
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)
    logging.captureWarnings(False)
    for name, each in logging.root.manager.loggerDict.items():
        if isinstance(each, logging.Logger):
            was = levels.get(name, (logging.NOTSET, True, []))
            each.setLevel(was[0])
            each.propagate = was[1]
            each.handlers[:] = was[2]


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_one_json_object_a_line() -> None:
    stream = io.StringIO()
    configure("auto", stream=stream)
    structlog.get_logger("here").info("applied", job="nightly", files=3)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "applied",
        "job": "nightly",
        "files": 3,
        "level": "info",
        "logger": "here",
    }


def test_a_terminal_gets_coloured_text() -> None:
    stream = Terminal()
    configure("auto", stream=stream)
    structlog.get_logger("here").info("applied", job="nightly")
    assert "applied" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


@pytest.mark.parametrize(
    ("format", "stream", "is_json"),
    [("json", Terminal(), True), ("console", io.StringIO(), False)],
)
def test_a_form_that_is_asked_for_is_kept(format: Any, stream: io.StringIO, is_json: bool) -> None:
    configure(format, stream=stream)
    structlog.get_logger("here").info("applied")
    assert stream.getvalue().startswith("{") is is_json
    assert "\x1b[" not in stream.getvalue()


def test_loggers_of_others_come_out_the_same_way() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    logging.getLogger("uvicorn.error").warning("bound to %s", "127.0.0.1")
    logging.getLogger("uvicorn.access").info("GET / 200")
    logging.getLogger("uvicorn.error").info("Started server process")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("bound to 127.0.0.1", "warning")
    assert line["logger"] == "uvicorn.error"


def test_bound_fields_are_carried_through_awaits_and_threads_and_not_beyond() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    log = structlog.get_logger("here")

    async def work() -> None:
        with bound(job="nightly", execution="e1"):
            await asyncio.sleep(0)
            log.info("inside")
            await asyncio.to_thread(log.info, "in a thread")
        log.info("after")

    asyncio.run(work())
    assert [(line["event"], line.get("job")) for line in lines(stream)] == [
        ("inside", "nightly"),
        ("in a thread", "nightly"),
        ("after", None),
    ]


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_is_logged_without_local_variables(format: Any) -> None:
    stream = io.StringIO()
    configure(format, stream=stream)
    hidden = "s3cr3t value"
    try:
        raise ValueError(f"bad input of {len(hidden)} letters")
    except ValueError:
        structlog.get_logger("here").exception("it failed")
    assert "bad input of 12 letters" in stream.getvalue()
    assert "test_a_traceback_is_logged" in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    configure("json", "warning", stream=stream)
    structlog.get_logger("here").info("quiet")
    logging.getLogger("other").info("quiet")
    structlog.get_logger("here").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_configuring_again_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("json", stream=first)
    configure("json", stream=second)
    structlog.get_logger("here").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_a_python_warning_becomes_a_line() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old habit", UserWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "old habit" in line["event"]


@pytest.mark.parametrize(
    ("format", "level", "said"),
    [("xml", "info", "log format 'xml'"), ("json", "loud", "log level 'loud'")],
)
def test_unknown_settings_are_refused_with_the_known_ones(
    format: Any, level: str, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        configure(format, level)
    assert refused.value.hint


def test_a_line_that_cannot_be_written_fails_nobody() -> None:
    """A full disk, a reader that has gone away."""
    with suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:
        configure("json", stream=full)
        structlog.get_logger("here").error("not_read", job="nightly")
        structlog.get_logger("here").info("not_read_either")
    assert full.closed
    structlog.get_logger("here").warning("after_the_end")


class Writes(io.StringIO):
    """Counts the calls that write something."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def write(self, text: str) -> int:
        self.calls += 1
        return super().write(text)


def test_the_lines_of_one_turn_go_out_together_and_in_order() -> None:
    stream = Writes()
    configure("json", stream=stream)
    log = structlog.get_logger("here")

    async def work() -> None:
        for number in range(100):
            log.info("one of many", number=number)
        assert stream.calls == 0
        await asyncio.sleep(0)
        assert stream.calls == 1
        log.info("before")
        log.warning("at once")
        assert stream.calls == 2
        await asyncio.to_thread(log.info, "in a thread")
        assert [line["event"] for line in lines(stream)][-3:] == [
            "before",
            "at once",
            "in a thread",
        ]

    asyncio.run(work())
    assert [line.get("number") for line in lines(stream)][:100] == [*range(100)]


def test_what_a_loop_leaves_behind_goes_out_with_the_next_line() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    log = structlog.get_logger("here")

    async def last_words() -> None:
        log.info("last words")

    loop = asyncio.new_event_loop()
    task = loop.create_task(last_words())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert task.done()
    asyncio.run(last_words())
    assert [line["event"] for line in lines(stream)] == ["last words", "last words"]


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "exception"])
def test_every_level_has_its_line(format: Any, level: str) -> None:
    stream = io.StringIO()
    configure(format, "debug", stream=stream)
    getattr(structlog.get_logger("here"), level)("it happened", job="nightly")
    assert stream.getvalue().count("it happened") == 1
    structlog.get_logger("here").info("with %s", "arguments")
    assert "with arguments" in stream.getvalue()


def test_threads_that_log_beside_a_loop_lose_no_line() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    log = structlog.get_logger("here")

    def many(name: str) -> None:
        for number in range(500):
            log.info("line", thread=name, number=number)

    async def work() -> None:
        others = [asyncio.to_thread(many, name) for name in "abc"]
        tasks = [asyncio.create_task(other) for other in others]
        for number in range(500):
            log.info("line", thread="loop", number=number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(work())
    found = lines(stream)
    for name in ("a", "b", "c", "loop"):
        assert [line["number"] for line in found if line["thread"] == name] == [*range(500)]


def test_a_line_that_the_stream_cannot_hold_takes_no_other_with_it() -> None:
    raw = io.BytesIO()
    configure("console", stream=io.TextIOWrapper(raw, encoding="ascii"))
    log = structlog.get_logger("here")

    async def work() -> None:
        for event in ("before", "b\u00e4d", "after"):
            log.info(event)

    asyncio.run(work())
    text = raw.getvalue().decode()
    assert "before" in text
    assert "after" in text
