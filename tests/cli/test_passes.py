"""One reconcile in words."""

from __future__ import annotations

from typing import Any

import pytest

from jobreconciler.cli.passes import pass_text, went_well

REVISION = "a" * 40


def record(result: str, **more: Any) -> dict[str, Any]:
    return {"result": result, "revision": REVISION, "summary": {}, "error": None, **more}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (record("applied", summary={"create": 2, "unchanged": 4}), "2 created, 4 unchanged"),
        (record("held", summary={"hold": 1}), "hint: `jobreconciler status` shows what is held"),
        (record("blocked", summary={"hold": 7}), "what is blocked and how to approve it"),
        (
            record("failed", error={"message": "there is no ref", "hint": "push it"}),
            "failed; aaaaaaaaaaaa stays applied\nerror: there is no ref\nhint: push it",
        ),
        (
            record("failed", revision=None, error={"message": "empty", "hint": ""}),
            "failed; nothing is applied yet\nerror: empty",
        ),
    ],
)
def test_a_pass_says_what_came_of_it_and_what_to_do(given: dict[str, Any], said: str) -> None:
    assert said in pass_text(given)


@pytest.mark.parametrize(
    ("result", "well"),
    [("applied", True), ("unchanged", True), ("held", False), ("blocked", False)],
)
def test_only_a_commit_applied_in_full_went_well(result: str, well: bool) -> None:
    assert went_well(record(result)) is well
