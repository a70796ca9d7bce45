"""When a job that waits for others is released."""

from __future__ import annotations

import pytest

from jobreconciler.core.dependency import Ended, decide

ROWS = [
    ("all, both succeeded", "success", "all", "a+ b+", "", "run a b"),
    ("all, one has not ended since", "success", "all", "a+ b+", "a", None),
    ("all, one never ran", "success", "all", "a+", "", None),
    ("all, one failed", "success", "all", "a+ b-", "", "skip a b"),
    ("all, one was cancelled", "success", "all", "a+ bx", "", "skip a b"),
    ("all, on failure, both failed", "failure", "all", "a- b-", "", "run a b"),
    ("all, on failure, one was cancelled", "failure", "all", "a- bx", "", "skip a b"),
    ("all, on completion, whatever they did", "completion", "all", "a- bx", "", "run a b"),
    ("any, one succeeded", "success", "any", "a+", "", "run a"),
    ("any, one failed and the other may still succeed", "success", "any", "a-", "", None),
    ("any, one failed and the other succeeded", "success", "any", "a- b+", "", "run b"),
    ("any, the one that succeeded was used up", "success", "any", "a+", "a", None),
    ("nothing ended", "success", "all", "", "", None),
]
STATUS = {"+": "succeeded", "-": "failed", "x": "cancelled"}


@pytest.mark.parametrize(
    ("on", "mode", "ended", "used", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_release(on: str, mode: str, ended: str, used: str, expected: str | None) -> None:
    latest = {each[0]: Ended(f"{each[0]}1", STATUS[each[1]]) for each in ended.split()}
    consumed = {"a": "", "b": "", **{each: f"{each}1" for each in used.split()}}
    release = decide(("a", "b"), on, mode, latest, consumed)
    if expected is None:
        assert release is None
        return
    assert release is not None
    kind, *upstream = expected.split()
    assert (release.kind, list(release.upstream)) == (kind, [f"{each}1" for each in upstream])
    assert release.consumed == {job: end.execution_id for job, end in latest.items()}
