from __future__ import annotations

from typing import Any

import pytest

from jobreconciler.core.repository_tree import starts_in_tree

CASES: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "a directory of the repository": ({"cwd": {"repo": "a"}}, {}, True),
    "a path": ({"cwd": "/srv"}, {}, False),
    "nothing said": ({}, {}, False),
    "no parameters at all": (None, {}, False),
    "a trigger that names another directory": ({"cwd": "/srv"}, {"cwd": {"repo": "b"}}, True),
    "a trigger that changes the one there is": ({"cwd": {"repo": "a"}}, {"cwd.repo": "b"}, True),
    "a trigger that sets something else": ({"cwd": "/srv"}, {"cwdx": 1}, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_whether_a_run_starts_in_the_repository(case: tuple[Any, dict[str, Any], bool]) -> None:
    parameters, overrides, expected = case
    assert starts_in_tree({"payload": {"parameters": parameters}}, overrides) is expected
