"""Values survive the way into a column and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobreconciler.store.rows import instant, micros, read_json, storable, to_json


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_keeps_its_microseconds(at: datetime) -> None:
    assert instant(micros(at)) == at


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_stored_text_can_be_encoded_and_is_stable(text: str) -> None:
    kept = storable(text)
    assert "\0" not in kept
    assert kept.encode().decode() == kept
    assert storable(kept) == kept


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")))
def test_text_a_database_takes_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        pytest.param({"a": [1, 2.5, None, "\u00fc\0"]}, None, id="as most are"),
        pytest.param(json.loads("[" * 250 + "]" * 250), None, id="deep"),
        pytest.param({"\ud800": ["a\udfffb\0"]}, {"\ufffd": ["a\ufffdb\0"]}, id="half a character"),
    ],
)
def test_json_is_read_back_whatever_was_kept(kept: Any, read: Any) -> None:
    assert read_json(to_json(kept)) == (kept if read is None else read)
