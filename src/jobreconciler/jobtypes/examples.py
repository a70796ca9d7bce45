"""Small entry points for the `python` type, to try things out with."""

from __future__ import annotations

import time
from typing import Any

from jobreconciler.ports import JobContext


def countdown(context: JobContext, steps: int = 5, seconds: float = 0.2) -> dict[str, Any]:
    """Counts down, `seconds` a step, and reports progress and a metric on the way."""
    started = time.monotonic()
    context.log("info", "counting down", steps=steps)
    done = 0
    while done < steps and not context.cancelled():
        time.sleep(0 if context.dry_run else seconds)
        done += 1
        context.progress(done, steps)
        context.metric("steps_per_second", round(done / max(time.monotonic() - started, 1e-6), 3))
    context.log("info", "lift-off" if done == steps else "called off", done=done)
    return {
        "itemsProcessed": done,
        "itemsSucceeded": done,
        "itemsFailed": 0,
        "metadata": {"dryRun": context.dry_run},
    }
