from __future__ import annotations

from dataclasses import replace

import pytest

from jobreconciler.core.render_words import duration_text, history_text
from jobreconciler.model.execution import Execution
from samples import FAILED, MISSED, SKIPPED, execution


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (execution(), "succeeded after 42 s"),
        (execution(dry_run=True), "succeeded after 42 s (dry run)"),
        (execution("queued"), "queued"),
        (FAILED, "failed after 42 s, 3 attempts: failed: exit code 3"),
        (execution("failed", error="disk full"), "failed after 42 s: disk full"),
        (execution("lost"), "lost after 42 s"),
        (
            MISSED,
            "missed: 5 slots, 2026-03-14T04:30:00Z to 2026-03-14T08:30:00Z (daemon_down)",
        ),
        (SKIPPED, "skipped: overlap"),
        (replace(SKIPPED, error=None), "skipped: no reason recorded"),
    ],
)
def test_the_history_says_in_one_line(shown: Execution, text: str) -> None:
    assert history_text(shown) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4217, "0.42 s"),
        (12.4, "12 s"),
        (59.9, "1 min"),
        (185, "3 min 5 s"),
        (7440, "2 h 4 min"),
        (7200, "2 h"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
