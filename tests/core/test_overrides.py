"""What a trigger may set, where it comes from, and what a run then gets."""

from __future__ import annotations

from typing import Any

import pytest

from jobreconciler.core.overrides import chosen, merged, picked
from jobreconciler.errors import Invalid

ALLOWED = ("limits.batchSize", "full", "parameters.database")


def config() -> dict[str, Any]:
    return {
        "payload": {
            "parameters": {"full": False, "env": {"A": "1"}},
            "limits": {"timeoutSeconds": 9},
        }
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"full": True}, {"full": True}),
        ({"parameters.full": True}, {"full": True}),
        ({"database": "x"}, {"database": "x"}),
        ({"limits.batchSize": 5}, {"limits.batchSize": 5}),
        ({"batchSize": 5}, {"limits.batchSize": 5}),
        ({}, {}),
    ],
)
def test_what_is_allowed_gets_the_name_of_the_file(given: Any, expected: Any) -> None:
    assert chosen(given, ALLOWED) == expected


@pytest.mark.parametrize("name", ["argv", "limits.timeoutSeconds", "limits", ""])
def test_what_is_not_is_refused_by_name(name: str) -> None:
    with pytest.raises(Invalid, match="may not be set by hand") as refused:
        chosen({name: 1}, ALLOWED)
    assert refused.value.reason == "ParameterNotAllowed"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"full": True, "sender": {"id": 1}}, {"full": True}),
        ({"limits": {"batchSize": 5}}, {"limits.batchSize": 5}),
        ({"limits.batchSize": 5}, {"limits.batchSize": 5}),
        ({"full": None}, {"full": None}),
        ({"limits": 5}, {}),
        ([{"full": True}], {}),
        ("full", {}),
        (None, {}),
    ],
)
def test_a_body_sets_what_is_allowed_and_nothing_else(body: Any, expected: Any) -> None:
    assert picked(body, ALLOWED) == expected


def test_a_run_gets_the_batch_size_and_the_parameters_and_the_config_stays_as_it_is() -> None:
    given = config()
    changed, parameters = merged(given, {"limits.batchSize": 7, "full": True, "env.B": "2"})
    assert changed["payload"]["limits"] == {"timeoutSeconds": 9, "batchSize": 7}
    assert parameters == {"full": True, "env": {"A": "1", "B": "2"}}
    assert given == config()


@pytest.mark.parametrize("size", [0, -1, 1_000_001, "5", 5.0, True, None])
def test_a_batch_size_out_of_bounds_is_refused(size: Any) -> None:
    with pytest.raises(Invalid, match=r"limits\.batchSize: expected a whole number"):
        merged(config(), {"limits.batchSize": size})
