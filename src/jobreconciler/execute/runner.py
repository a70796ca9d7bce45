"""One Python job in its worker: builds the JobContext, calls the type, tells how it went.

What to run is the payload (see request.py); what to tell goes through the report descriptor.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

from jobreconciler.errors import JobReconcilerError, Transient
from jobreconciler.execute.signals import set_handler

REPORT_FD = 3
_MOST_TOLD = 8000
_TRACEBACK_FRAMES = 12
_PROGRESS_INTERVAL = 0.1
CANCELLED_CODE = 143
"""128 + SIGTERM: what a shell reports for a child that TERM ended."""
WORTH_ANOTHER_TRY = 75
"""EX_TEMPFAIL, for a Transient error: `retry.onExitCodes: [75]` picks it out."""


class Cancelled(BaseException):
    """Raised in a job that is told to stop and never asks `cancelled()`; `finally` runs."""


class RunnerContext:
    """The `JobContext` inside a child. Progress is sent at most ten times a second."""

    def __init__(self, payload: dict[str, Any], parameters: Any, report: int) -> None:
        self.parameters = parameters
        self.batch_size: int | None = payload["batchSize"]
        self.timeout_seconds: int = payload["timeoutSeconds"]
        self.networks: tuple[str, ...] = tuple(payload["networks"])
        self.dry_run: bool = payload["dryRun"]
        self.execution_id: str = payload["executionId"]
        self.attempt: int = payload["attempt"]
        slot = payload["slot"]
        self.slot: datetime | None = None if slot is None else datetime.fromisoformat(slot)
        self.trigger: str = payload["trigger"]
        self.config_revision: str = payload["revision"]
        self._secrets: dict[str, str] = payload["secrets"]
        self._report = report
        self._asks = False
        self._stopped = False
        self._next_progress = 0.0
        self._unsent: dict[str, Any] | None = None

    def progress(self, done: int, total: int) -> None:
        self._unsent = {"progress": {"done": done, "total": total}}
        now = time.monotonic()
        if now >= self._next_progress or done >= total:
            self._next_progress = now + _PROGRESS_INTERVAL
            self.flush()

    def metric(self, name: str, value: float, unit: str = "") -> None:
        self.tell({"metric": {"name": name, "value": value, "unit": unit}})

    def log(self, level: str, message: str, **fields: Any) -> None:
        sys.stdout.flush()
        self.tell({"log": {**fields, "level": level, "message": message}})

    def cancelled(self) -> bool:
        self._asks = True
        return self._stopped

    def secret(self, reference: Any) -> str:
        named = reference if isinstance(reference, dict) else reference.model_dump()
        ((kind, name),) = named.items()
        return self._secrets[f"{kind}:{name}"]

    def flush(self) -> None:
        """Sends the progress that was held back."""
        if self._unsent is not None:
            self.tell(self._unsent)
            self._unsent = None

    def tell(self, said: dict[str, Any]) -> None:
        line = memoryview(json.dumps(said, default=str).encode() + b"\n")
        while line:
            line = line[os.write(self._report, line) :]

    def on_term(self, *_: object) -> None:
        self._stopped = True
        if not self._asks:
            raise Cancelled


def run(payload: dict[str, Any], report: int) -> int:
    """Runs one job; its exit code. Never raises but for SystemExit's own reasons."""
    context: RunnerContext | None = None
    try:
        module, _, name = payload["jobType"].partition(":")
        job_type = reduce(getattr, name.split("."), importlib.import_module(module))()  # type: ignore[operator]
        parameters = job_type.parameters.model_validate(payload["parameters"])
        context = RunnerContext(payload, parameters, report)
        set_handler(signal.SIGTERM, context.on_term)
        result = job_type.run(context)
        context.flush()
        if result is not None:
            context.tell({"result": result})
    except Cancelled:
        return CANCELLED_CODE
    except SystemExit as error:
        return _exit_code(error, report)
    except JobReconcilerError as error:
        _tell_sentence(error, report)
        return WORTH_ANOTHER_TRY if isinstance(error, Transient) else 1
    except BaseException as error:
        _tell_failure(error, report)
        return 1
    return 0


def _exit_code(error: SystemExit, report: int) -> int:
    """As the interpreter does it: None is 0, a number is itself, anything else is shown and 1."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    text = _text(error.code)
    sys.stderr.write(f"{text}\n")
    _tell_error(text, report)
    return 1


def _tell_failure(error: BaseException, report: int) -> None:
    """A short traceback, without this program's own frames, and one line for the history."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = str(Path(__file__).resolve().parents[1])
    theirs = [frame for frame in frames if not frame.filename.startswith(own)]
    if theirs:
        sys.stderr.write("Traceback (most recent call last):\n")
        sys.stderr.writelines(traceback.format_list(theirs[-_TRACEBACK_FRAMES:]))
    text = "".join(traceback.format_exception_only(error)).strip()
    sys.stderr.write(f"{text}\n")
    name, said = type(error).__name__, _text(error)
    _tell_error(f"{name}: {said}" if said else name, report)


def _tell_sentence(error: JobReconcilerError, report: int) -> None:
    """What was raised on purpose says what is wrong; where it was raised helps nobody."""
    sys.stderr.write(f"{error.message}\n")
    if error.hint:
        sys.stderr.write(f"{error.hint}\n")
    _tell_error(error.message, report)


def _text(value: object) -> str:
    """Empty where its own code fails to say it."""
    try:
        return str(value)
    except Exception:
        return ""


def _tell_error(message: str, report: int) -> None:
    # Far more than is kept: what is cut here, the end of a secret too, is cut there anyway.
    line = json.dumps({"error": " ".join(message.split())[:_MOST_TOLD]}) + "\n"
    os.write(report, line.encode())
