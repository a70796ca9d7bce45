"""Values survive the way into a column and back."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from jobreconciler.store.rows import instant, micros, storable


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
