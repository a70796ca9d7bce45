"""Edited job files that no commit holds: whoever looks for an edit is told why it is not there."""

from __future__ import annotations

from collections.abc import Sequence

from jobreconciler.cli.words import count
from jobreconciler.errors import JobReconcilerError
from jobreconciler.settings import Settings

SHOWN = 5


def uncommitted(settings: Settings) -> list[str] | None:
    """Job files whose edits no commit holds, so that no daemon applies them; None where there is
    no repository to look at."""
    from jobreconciler.source.working_tree import dirty_paths

    try:
        return list(dirty_paths(settings.repo, settings.jobs_dir))
    except JobReconcilerError:
        return None


def uncommitted_text(paths: Sequence[str], so: str) -> str:
    """Which edits wait for a commit, the first few by name, and what they are `so` not."""
    more = len(paths) - SHOWN
    rest = f" and {count(more, 'other')}" if more > 0 else ""
    return f"not committed, so not {so}: {', '.join(paths[:SHOWN])}{rest}"
