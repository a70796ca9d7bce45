"""A notice in words: title, body, and the JSON a webhook gets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from jobreconciler.core.views import instant_or_none
from jobreconciler.model.notice import Message, Notice

LOG_LINES = 50
LOG_BYTES = 8_192
LONGEST_ERROR = 1_000

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ENDED = {"failed": "failed", "timed_out": "ran out of time", "lost": "was lost"}
_UNSENT = frozenset({"channel", "includeLogs", "outputBytes"})


def log_tail(output: bytes, *, whole: bool) -> str:
    """The last lines of masked output: at most 50 and 8 KiB, without escapes and control marks.

    `whole`: `output` starts at the beginning of a line, so that its first line is not a part.
    """
    if len(output) > LOG_BYTES:
        output, whole = output[-LOG_BYTES:], False
    text = _ESCAPES.sub("", output.decode("utf-8", "replace"))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    if not whole and len(lines) > 1:
        lines = lines[1:]
    return "\n".join(_CONTROLS.sub("", line) for line in lines[-LOG_LINES:])


def compose(
    notice: Notice,
    *,
    author: str | None = None,
    next_slot: datetime | None = None,
    log: str = "",
) -> Message:
    """The message of a notice. What is only known when it is sent comes beside it."""
    facts = notice.content
    slot = instant_or_none(next_slot)
    fields = {
        "id": notice.id,
        **{name: value for name, value in facts.items() if name not in _UNSENT},
        "author": author,
        "nextSlot": slot,
        "log": log or None,
    }
    title = _line(_title(notice.event, notice.job_id, facts))
    lines = [_line(f"{name}: {value}") for name, value in _rows(facts, author, slot) if value]
    body = "\n".join(lines)
    if log:
        body += f"\n\nLast lines of output:\n{log}"
    body += f"\n\nnotice {notice.id}"
    return Message(
        notice.id, notice.event, title, body, {k: v for k, v in fields.items() if v is not None}
    )


def _title(event: str, job_id: str, facts: Mapping[str, Any]) -> str:
    if event == "success":
        return f"{job_id} succeeded"
    if event == "recovery":
        return f"{job_id} works again"
    if event == "missed":
        count = facts.get("missed", {}).get("count", 1)
        return f"{job_id} missed {count} slot{'' if count == 1 else 's'}"
    if event == "late":
        return f"{job_id} is late"
    if event == "overrunning":
        return f"{job_id} takes too long"
    what = _ENDED.get(facts.get("status", ""), "failed")
    return f"{job_id} still fails: it {what}" if facts.get("repeat") else f"{job_id} {what}"


def _rows(
    facts: Mapping[str, Any], author: str | None, slot: str | None
) -> Iterable[tuple[str, Any]]:
    yield "job", _named(facts.get("jobId"), facts.get("jobTitle"))
    yield "owner", facts.get("owner")
    yield "execution", facts.get("executionId")
    yield "status", facts.get("status")
    yield "error", _cut(facts.get("error"))
    if facts.get("exitCode") is not None:
        yield "exit code", str(facts["exitCode"])
    yield "attempt", _attempts(facts)
    if facts.get("missed"):
        missed = facts["missed"]
        yield "missed", f"{missed['count']}, from {missed['from']} to {missed['to']}"
    yield "trigger", facts.get("trigger")
    yield "started", facts.get("startedAt")
    if facts.get("tookSeconds") is not None:
        yield "took", f"{facts['tookSeconds']:.1f} s"
    if facts.get("since") and facts["since"] != facts.get("at"):
        yield "since", facts["since"]
    yield "revision", _named(str(facts.get("revision") or "")[:10], author and f"by {author}")
    yield "next slot", slot


def _named(what: str | None, name: str | None) -> str | None:
    return f"{what} ({name})" if what and name else what


def _attempts(facts: Mapping[str, Any]) -> str | None:
    if facts.get("attempt") is None:
        return None
    return f"{facts['attempt']} of {facts.get('maxAttempts', 1)}"


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST_ERROR:
        return text
    return text[: LONGEST_ERROR - 1] + "…"


def _line(text: str) -> str:
    """One line: a title with a line break in it could forge a header."""
    text = " ".join(_CONTROLS.sub(" ", _ESCAPES.sub("", text)).split())
    return text.encode("utf-8", "replace").decode()
