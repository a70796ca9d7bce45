"""The field diff: exact, complete, and in one order whatever the order of keys."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobreconciler.core.diff import diff_configs
from jobreconciler.model.change import FieldChange

CASES = {
    "nothing changed": ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
    "a field changed": ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)]),
    "a field appeared": ({"a": {}}, {"a": {"b": 1}}, [("a.b", None, 1)]),
    "a field went away": ({"a": {"b": 1}}, {"a": {}}, [("a.b", 1, None)]),
    "a subtree appeared as one change": (
        {},
        {"a": {"b": 1, "c": 2}},
        [("a", None, {"b": 1, "c": 2})],
    ),
    "a created job is meta and payload": (
        None,
        {"payload": {"x": 1}, "meta": {"id": "a"}},
        [("meta", None, {"id": "a"}), ("payload", None, {"x": 1})],
    ),
    "true is not one": ({"a": True}, {"a": 1}, [("a", True, 1)]),
    "an integer is not a float": ({"a": [1]}, {"a": [1.0]}, [("a", [1], [1.0])]),
    "a plain list changes as a whole": (
        {"a": ["x", "y"]},
        {"a": ["y"]},
        [("a", ["x", "y"], ["y"])],
    ),
    "a list of objects is compared by position": (
        {"a": [{"t": 1}, {"t": 2}]},
        {"a": [{"t": 1}, {"t": 3}, {"t": 4}]},
        [("a[1].t", 2, 3), ("a[2]", None, {"t": 4})],
    ),
    "a value that becomes a map is one change": ({"a": 1}, {"a": {"b": 2}}, [("a", 1, {"b": 2})]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_differs(name: str) -> None:
    old, new, expected = CASES[name]
    assert diff_configs(old, new) == tuple(FieldChange(*change) for change in expected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("abc", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)
CONFIGS = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, max_size=4)


def _shuffled(value: object, rng: random.Random) -> object:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: _shuffled(value[key], rng) for key in keys}
    if isinstance(value, list):
        return [_shuffled(item, rng) for item in value]
    return value


@given(CONFIGS, st.randoms(use_true_random=False))
def test_the_order_of_keys_is_no_change(config: dict[str, object], rng: random.Random) -> None:
    assert diff_configs(config, _shuffled(config, rng)) == ()  # type: ignore[arg-type]


@given(CONFIGS, CONFIGS, st.randoms(use_true_random=False))
def test_changes_are_sorted_and_the_same_whatever_the_order_of_keys(
    old: dict[str, object], new: dict[str, object], rng: random.Random
) -> None:
    changes = diff_configs(old, new)
    assert changes == diff_configs(_shuffled(old, rng), _shuffled(new, rng))  # type: ignore[arg-type]
    assert len({change.path for change in changes}) == len(changes)
    assert (changes == ()) == (diff_configs(new, old) == ())
