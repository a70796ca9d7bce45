"""The changelog's hash chain: one canonical form, and every way to break it shows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobreconciler.core.audit import (
    GENESIS,
    CanonicalRow,
    canonical_instant,
    canonical_json,
    content,
    first_break,
    hash_row,
)
from jobreconciler.model.change import ChangelogRow, FieldChange

AT = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)


def row(sequence: int = 1, previous_hash: str = GENESIS, **given: Any) -> ChangelogRow:
    made = ChangelogRow(
        sequence=sequence,
        job_id="nightly",
        action="updated",
        generation=3,
        file="jobs.d/nightly.yaml",
        revision="c0ffee",
        commits=("c0ffee",),
        author={"name": "Ada", "email": "ada@example.org", "at": "2026-03-14T10:30:00+01:00"},
        committer={},
        message="Später",
        pull_request="#7",
        reviewers=("Bo",),
        signature=None,
        fields=(FieldChange("payload.priority", 50, 60),),
        applied_at=AT,
        actor="reconcile",
        instance="host",
        hash="",
        previous_hash=previous_hash,
    )
    made = replace(made, **given)
    return replace(made, hash=hash_row(made))


def chain(length: int = 4) -> list[ChangelogRow]:
    rows: list[ChangelogRow] = []
    for n in range(1, length + 1):
        rows.append(row(n, rows[-1].hash if rows else GENESIS))
    return rows


def test_the_canonical_form_can_be_recomputed_with_other_tools() -> None:
    text = (
        '{"action":"updated","actor":"reconcile","appliedAt":"2026-03-14T09:30:00.000000Z",'
        '"author":{"at":"2026-03-14T10:30:00+01:00","email":"ada@example.org","name":"Ada"},'
        '"commits":["c0ffee"],"committer":{},'
        '"fields":[{"new":60,"old":50,"path":"payload.priority"}],'
        '"file":"jobs.d/nightly.yaml","generation":3,"instance":"host","jobId":"nightly",'
        '"message":"Sp\\u00e4ter","previousHash":"' + "0" * 64 + '","pullRequest":"#7",'
        '"reviewers":["Bo"],"revision":"c0ffee","sequence":1,"signature":null}'
    )
    assert canonical_json(content(row())) == text
    assert hash_row(row()) == hashlib.sha256(text.encode()).hexdigest()


def test_an_instant_has_one_spelling_in_every_zone() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert canonical_instant(elsewhere) == canonical_instant(AT) == "2026-03-14T09:30:00.000000Z"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    message=st.text(),
    author=st.dictionaries(st.text(), st.text(), max_size=3),
    old=json_values,
    pull_request=st.none() | st.text(),
)
def test_a_row_put_together_of_parts_hashes_as_the_whole(
    message: str, author: dict[str, str], old: Any, pull_request: str | None
) -> None:
    fields = (FieldChange("payload", old, None),)
    whole = row(message=message, author=author, fields=fields, pull_request=pull_request)
    parts = CanonicalRow._make(canonical_json(value) for value in content(whole).values())
    assert parts.hash() == hash_row(whole) == whole.hash


def test_a_row_read_back_from_json_hashes_the_same() -> None:
    values = json.loads(canonical_json(content(row())))
    fields = tuple(FieldChange(**field) for field in values["fields"])
    read = replace(row(), fields=fields, author=values["author"], commits=("c0ffee",))
    assert hash_row(read) == row().hash


def edited(rows: list[ChangelogRow], n: int, **given: Any) -> list[ChangelogRow]:
    return [replace(r, **given) if r.sequence == n else r for r in rows]


WHOLE = chain()
BREAKS = [
    ("nothing happened", WHOLE, None),
    ("an empty log is whole", [], None),
    ("the newest rows were cut off, which only a hash kept outside shows", WHOLE[:2], None),
    ("a message was edited", edited(WHOLE, 2, message="x"), (2, "changed after it was written")),
    ("an author was edited", edited(WHOLE, 4, author={}), (4, "changed after it was written")),
    ("a row was taken out", [*WHOLE[:1], *WHOLE[2:]], (3, "row 2 is missing")),
    ("the first row was taken out", WHOLE[1:], (2, "row 1 is missing")),
    ("a row was put in twice", [*WHOLE[:2], WHOLE[1]], (2, "row 3 was expected")),
    (
        "a row was edited and hashed anew",
        [WHOLE[0], row(2, WHOLE[0].hash, message="x"), *WHOLE[2:]],
        (3, "row 3 follows"),
    ),
]


@pytest.mark.parametrize(("rows", "expected"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS])
def test_breaks(rows: list[ChangelogRow], expected: tuple[int, str] | None) -> None:
    found = first_break(rows)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.sequence == expected[0]
        assert expected[1] in found.message


def test_a_walk_may_begin_in_the_middle() -> None:
    assert first_break(WHOLE[2:], sequence=2, previous_hash=WHOLE[1].hash) is None
