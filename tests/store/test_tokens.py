"""Tokens: shown once, stored as hashes, gone when revoked."""

from __future__ import annotations

import pytest

from jobreconciler.errors import Invalid
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW


def test_a_token_has_the_role_it_was_made_with(store: SqlStore) -> None:
    tokens = {role: store.create_token(role, role).result() for role in ("reader", "admin")}
    assert {role: store.check_token(token) for role, token in tokens.items()} == {
        "reader": "reader",
        "admin": "admin",
    }
    assert [(t.name, t.role, t.created_at) for t in store.list_tokens()] == [
        ("admin", "admin", NOW),
        ("reader", "reader", NOW),
    ]


@pytest.mark.parametrize("token", ["", "jr_", "jr_wrong", "\0", "\ud800", "%", "x" * 10_000])
def test_what_is_no_token_has_no_role(store: SqlStore, token: str) -> None:
    store.create_token("ci", "admin").result()
    assert store.check_token(token) is None


def test_a_revoked_token_opens_nothing_and_keeps_its_name(store: SqlStore) -> None:
    token = store.create_token("ci", "operator").result()
    assert store.revoke_token("ci").result() is True
    assert store.revoke_token("ci").result() is False
    assert store.revoke_token("nobody").result() is False
    assert store.check_token(token) is None
    with pytest.raises(Invalid, match="already a token named 'ci'"):
        store.create_token("ci", "operator").result()
    assert store.list_tokens()[0].revoked_at == NOW


def test_an_unknown_role_is_refused_with_the_known_ones(store: SqlStore) -> None:
    with pytest.raises(Invalid, match="reader, operator, admin"):
        store.create_token("ci", "root").result()


def test_the_first_start_token_is_replaced_and_does_not_count(store: SqlStore) -> None:
    assert not store.has_tokens()
    first = store.create_token("first-start", "operator", first_start=True).result()
    second = store.create_token("first-start", "operator", first_start=True).result()
    assert (store.check_token(first), store.check_token(second)) == (None, "operator")
    assert not store.has_tokens()
    store.create_token("ada", "reader").result()
    assert store.has_tokens()
    store.revoke_token("ada").result()
    assert not store.has_tokens()


def test_a_first_start_never_takes_the_name_of_a_token_made_on_purpose(store: SqlStore) -> None:
    token = store.create_token("first-start", "reader").result()
    with pytest.raises(Invalid, match="already"):
        store.create_token("first-start", "operator", first_start=True).result()
    assert store.check_token(token) == "reader"


def test_the_token_itself_is_nowhere_in_the_store(store: SqlStore, place: Place) -> None:
    token = store.create_token("ci", "admin").result()
    ((row,),) = place.sql("SELECT hash FROM tokens")
    assert token not in row
    assert len(row) == 64
