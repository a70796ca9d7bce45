"""Errors become exit codes here and nowhere else. Typer would make some of an interrupt and of a
closed pipe by itself: typer_program.py hands them on as errors.

0 fine · 1 the answer is "no" (invalid, failed, not found) · 2 wrong usage or no access ·
3 `plan --exit-code` found changes · 130 interrupted · 141 the reader of a pipe went away.
A user never sees a traceback unless `JOBRECONCILER_DEBUG` is set.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from jobreconciler.errors import JobReconcilerError, Refused

FINE = 0
NO = 1
USAGE = 2
CHANGES = 3
INTERRUPTED = 130
PIPE_CLOSED = 141


class PipeClosed(Exception):
    """Whoever read our output has gone; there is nobody left to tell anything."""


class Interrupted(Exception):
    """Ctrl-C, while Typer calls a verb: of the interpreter's own it would make an exit code."""


class Unreachable(Refused):
    """No daemon answers where one was expected; some commands read the store instead."""

    reason = "Unreachable"


def exit_code(error: BaseException) -> int:
    if isinstance(error, PipeClosed):
        return PIPE_CLOSED
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return INTERRUPTED
    if isinstance(error, JobReconcilerError) and not isinstance(error, Refused):
        return NO
    return USAGE


def report(error: BaseException) -> int:
    """Say on standard error what went wrong and what to do; return the exit code."""
    code = exit_code(error)
    if isinstance(error, PipeClosed):
        return code
    if os.environ.get("JOBRECONCILER_DEBUG"):
        import traceback

        traceback.print_exception(error)
        return code
    from jobreconciler.cli.words import clean

    for line in _lines(error):
        # Of a message a part may be somebody else's: a daemon's answer, a name, a path.
        say(clean(line))
    return code


def say(line: str) -> None:
    """On standard error; nobody can be told where that cannot be written."""
    try:
        print(line, file=sys.stderr)  # noqa: T201
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Let what a stream still holds, and the interpreter's own flush at exit, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def drop_unwritten() -> None:
    """What standard output did not take was complained about; the interpreter would once more."""
    try:
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)


def _lines(error: BaseException) -> list[str]:
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return ["interrupted"]
    if isinstance(error, JobReconcilerError):
        lines = [f"error: {line}" for line in error.message.splitlines()] or ["error"]
        return [*lines, f"hint: {error.hint}"] if error.hint else lines
    if hasattr(error, "format_message"):
        return _usage_lines(error)
    if isinstance(error, ModuleNotFoundError):
        return [
            f"error: the module {error.name} is not installed",
            "hint: reinstall jobreconciler with its dependencies, or the extra this needs",
        ]
    if isinstance(error, UnicodeEncodeError):
        return ["error: an argument is no UTF-8 text", "hint: check what the terminal sends"]
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return [f"error: {where}{error.strerror or error}"]
    return [
        f"error: this is a fault of the program: {type(error).__name__}: {error}",
        "hint: set JOBRECONCILER_DEBUG=1 to see where, and report it",
    ]


def _usage_lines(error: BaseException) -> list[str]:
    """Typer's own complaints, in the same two lines as ours."""
    context = getattr(error, "ctx", None)
    said = error.format_message().strip()  # type: ignore[attr-defined]
    said = said[:1].lower() + said[1:].rstrip(".")
    lines = [f"error: {said}"]
    if context is not None:
        lines.append(f"hint: `{context.command_path} --help` shows how it is used")
    return lines
