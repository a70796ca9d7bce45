"""Entry points that the tests of Python jobs call."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from jobreconciler.ports import JobContext


def describe(context: JobContext, **kwargs: Any) -> dict[str, Any]:
    return {
        "kwargs": kwargs,
        "batchSize": context.batch_size,
        "dryRun": context.dry_run,
        "executionId": context.execution_id,
        "attempt": context.attempt,
        "slot": context.slot.isoformat() if context.slot else None,
        "trigger": context.trigger,
        "revision": context.config_revision,
        "job": os.environ["JOBRECONCILER_JOB"],
    }


def fail(_: JobContext) -> None:
    sys.stdout.write("about to fail\n")
    raise ValueError("the figures\ndo not add up")


def leave(_: JobContext, code: Any = None) -> None:
    sys.exit(code)


def wrong_result(_: JobContext) -> int:
    return 5


def secret_length(_: JobContext) -> dict[str, Any]:
    sys.stdout.write(os.environ["TOKEN"] + "\n")
    return {"length": len(os.environ["TOKEN"])}


def wait_politely(context: JobContext) -> dict[str, Any]:
    while not context.cancelled():
        context.progress(1, 2)
        time.sleep(0.01)
    return {"saved": True}


def wait_stubbornly(context: JobContext, path: str) -> None:
    context.log("info", "waiting")
    try:
        time.sleep(600)
    finally:
        Path(path).write_text("tidied")


def flood(context: JobContext) -> None:
    for number in range(20_000):
        context.progress(number + 1, 20_000)
