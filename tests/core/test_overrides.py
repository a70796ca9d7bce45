"""What a trigger may set, where it comes from, and what a run then gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobreconciler.core.nesting import MOST_LEVELS
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


UNFIT = {
    "too deep": (
        [[*range(3), None]] * 2 + [json.loads("[" * 250 + "]" * 250)],
        "nested more than 64 levels deep",
    ),
    "half a character": ({"a": ["x", "\ud800"]}, "holds half a character"),
    "half a character in a key": ({"\udfff": 1}, "holds half a character"),
    "no number": ({"a": [1.5, float("nan")]}, "holds NaN or an infinity"),
    "too large a number": (json.loads("1e999"), "holds NaN or an infinity"),
}


@pytest.mark.parametrize("case", UNFIT.values(), ids=UNFIT.keys())
def test_what_could_not_be_read_again_is_refused_by_name(case: tuple[Any, str]) -> None:
    value, why = case
    for refusing in (
        lambda: chosen({"full": value}, ALLOWED),
        lambda: picked({"full": value, "sender": {}}, ALLOWED),
    ):
        with pytest.raises(Invalid, match=f"^full: {why}") as refused:
            refusing()
        assert refused.value.reason == "InvalidParameters"


def test_what_nobody_may_set_is_not_looked_at() -> None:
    assert picked({"sender": "\ud800", "full": True}, ALLOWED) == {"full": True}


def test_as_deep_as_a_value_may_be_it_is_taken() -> None:
    value = json.loads("[" * MOST_LEVELS + "]" * MOST_LEVELS)
    assert chosen({"full": value}, ALLOWED) == {"full": value}
