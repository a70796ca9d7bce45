"""Named points that a daemon passes: before and after each commit, each launch, each outcome read.

Only a test gives `hook` a value, in a daemon it started from its own script: to end the process
right there. Nothing in the program, no setting and no variable, ever does.
"""

from __future__ import annotations

from collections.abc import Callable

BEFORE_LAUNCH = "before launch"
AFTER_LAUNCH = "after launch"
OUTCOME_READ = "outcome read"

hook: Callable[[str], None] | None = None


def passing(name: str) -> None:
    if hook is not None:
        hook(name)
