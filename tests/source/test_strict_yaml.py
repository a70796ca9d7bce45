"""Strict YAML: which values come out, and what is refused where."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobreconciler.source.located_yaml import read_located
from jobreconciler.source.scalars import Unusable, plain_value
from jobreconciler.source.strict_yaml import CloserLook, read_quickly

SCALARS: list[tuple[str, Any]] = [
    ("no", "no"),
    ("on", "on"),
    ("yes", "yes"),
    ("y", "y"),
    ("12:30", "12:30"),
    ("1:30:00", "1:30:00"),
    ("0o17", "0o17"),
    ("0x1F", "0x1F"),
    ("0b11", "0b11"),
    ("017", 17),
    ("-0017", -17),
    ("1_000", "1_000"),
    ("2026-01-31", "2026-01-31"),
    ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
    ("2026-02-31", "2026-02-31"),
    ("1.2.0", "1.2.0"),
    ("=", "="),
    ("", None),
    ("~", None),
    ("null", None),
    ("nUll", "nUll"),
    ("true", True),
    ("FALSE", False),
    ("tRue", "tRue"),
    ("0", 0),
    ("-0", 0),
    ("+5", 5),
    ("- 5", "- 5"),
    ("1.5", 1.5),
    ("1.", 1.0),
    (".5", 0.5),
    (".", "."),
    ("1e3", 1000.0),
    ("1e", "1e"),
    ("٣", "٣"),
    ("9223372036854775807", 2**63 - 1),
    ("9223372036854775808", Unusable.OUT_OF_RANGE),
    ("9" * 5000, Unusable.OUT_OF_RANGE),
    ("0" * 5000 + "7", 7),
    ("-" + "0" * 50 + "7", -7),
    ("1e999", Unusable.OUT_OF_RANGE),
    (".inf", Unusable.NOT_FINITE),
    ("-.INF", Unusable.NOT_FINITE),
    (".nan", Unusable.NOT_FINITE),
    ("<<", Unusable.MERGE_KEY),
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=lambda one: repr(one)[:30])
def test_an_unquoted_scalar_means(text: str, value: Any) -> None:
    found = plain_value(text)

    assert found == value
    assert type(found) is type(value)


def test_a_quoted_scalar_is_always_text() -> None:
    data = b"a: 'no'\nb: \"5\"\nc: '~'\nd: |\n  true\ne: '<<'\n"

    assert read_quickly(data).value == {"a": "no", "b": "5", "c": "~", "d": "true\n", "e": "<<"}
    assert read_located(data).value == read_quickly(data).value


ACCEPTED: list[tuple[str, bytes]] = [
    ("a byte order mark", b"\xef\xbb\xbfa: 1\n"),
    ("Windows line ends", b"a: 1\r\n"),
    ("a document start", b"---\na: 1\n"),
    ("a document end", b"a: 1\n...\n"),
    ("comments and blank lines", b"# x\n\na: 1 # y\n\n#z"),
    ("no final line break", b"a: 1"),
    ("flow style", b"{a: 1}"),
    ("a quoted key", b'"a": 1'),
    ("an explicit key", b"? a\n: 1\n"),
    ("an anchor used once", b"a: &x 1\n"),
    ("a tab before a comment", b"a: 1\t# y\n"),
    ("a tab after the colon", b"a:\t1\n"),
    ("a line that begins with a percent sign, in a comment", b"#\n#%\na: 1\n"),
]


@pytest.mark.parametrize("data", [data for _, data in ACCEPTED], ids=[name for name, _ in ACCEPTED])
def test_is_accepted(data: bytes) -> None:
    located = read_located(data)

    assert (located.value, located.mistakes, located.complete) == ({"a": 1}, [], True)


def test_tabs_within_texts_are_content() -> None:
    data = b"a: |\n  x\n  \ty\nb: 'x\ty'\n"

    assert read_located(data).mistakes == []
    assert read_located(data).value == {"a": "x\n\ty\n", "b": "x\ty"}


def test_aliases_repeat_what_was_anchored() -> None:
    located = read_located(b"a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]\n")

    assert located.mistakes == []
    assert located.value == {
        "a": {"k": [1, 2]},
        "b": {"k": [1, 2]},
        "c": [{"k": [1, 2]}, {"k": [1, 2]}],
    }


REFUSED: list[tuple[str, bytes, list[tuple[str, int, int]]]] = [
    ("an empty file", b"", [("empty_file", 1, 1)]),
    ("comments alone", b"# nothing\n\n", [("empty_file", 1, 1)]),
    ("an empty document", b"---\n", [("empty_file", 1, 1)]),
    ("one null", b"~", [("empty_file", 1, 1)]),
    ("a duplicate key", b"a: 1\nb: 2\na: 3\n", [("duplicate_key", 3, 1)]),
    ("a duplicate key in flow style", b"x: {a: 1, 'a': 2}", [("duplicate_key", 1, 11)]),
    ("a merge key", b"a: &x {b: 1}\nc:\n  <<: *x\n", [("merge_key", 3, 3)]),
    ("two merge keys", b"{<<: 1, <<: 2}", [("merge_key", 1, 2), ("merge_key", 1, 9)]),
    ("a tag", b"a: !!int '5'\n", [("tag", 1, 4)]),
    ("a tag of one's own", b"a: !env X\n", [("tag", 1, 4)]),
    ("a lone exclamation mark", b"a: ! 5\n", [("tag", 1, 4)]),
    ("a tag on a map", b"a: !!map {b: 1}\n", [("tag", 1, 4)]),
    ("a python object", b"!!python/object/apply:os.system [id]", [("tag", 1, 1)]),
    ("a second document", b"a: 1\n---\nb: 2\n", [("several_documents", 2, 1)]),
    ("an empty second document", b"a: 1\n---\n", [("several_documents", 2, 1)]),
    ("a YAML directive", b"%YAML 1.1\n---\na: 1\n", [("directive", 1, 1)]),
    ("an unknown directive", b"# x\n%FOO\n---\na: 1\n", [("directive", 2, 1)]),
    ("a number as a key", b"5: x\n", [("key_not_text", 1, 1)]),
    ("true as a key", b"true: x\n", [("key_not_text", 1, 1)]),
    ("null as a key", b"~: x\n", [("key_not_text", 1, 1)]),
    ("a list as a key", b"? [a, b]\n: {c: 1}\nd: 2\n", [("key_not_text", 1, 3)]),
    ("an unknown anchor", b"a: *x\n", [("unknown_anchor", 1, 4)]),
    ("a recursive anchor", b"a: &x [*x]\n", [("recursive_anchor", 1, 8)]),
    ("an infinity", b"a: .inf\n", [("number_not_finite", 1, 4)]),
    ("a number beyond 64 bits", b"a: 99999999999999999999\n", [("number_out_of_range", 1, 4)]),
    ("a tab as indentation", b"a:\n\tb: 1\n", [("tab_indentation", 2, 1)]),
    ("a tab after spaces as indentation", b"a:\n  b: [\n  \t1]\n", [("tab_indentation", 3, 1)]),
    ("a tab as indentation of a text", b"a: |\n \tx\n  y\n", [("tab_indentation", 2, 2)]),
    ("a NUL byte", b"a: x\nb: \0\n", [("nul", 2, 4)]),
    ("an escaped NUL", b'a: "\\0"\n', [("nul", 1, 4)]),
    ("a long escaped NUL", b'a: "\\u0000"\n', [("nul", 1, 4)]),
    ("a control character", "a: é\nb: \x07\n".encode(), [("control_character", 2, 4)]),
    ("a next-line character", "a: x\nb: 'y\x85'".encode(), [("control_character", 2, 6)]),
    ("a line separator", "a: é\u2028".encode(), [("control_character", 1, 5)]),
    ("UTF-16 with a mark", "a: 1\n".encode("utf-16"), [("not_utf8", 1, 1)]),
    ("UTF-16 without a mark", "a: 1\n".encode("utf-16-le"), [("nul", 1, 2)]),
    ("Latin-1", "a: ok\nb: grün\n".encode("latin-1"), [("not_utf8", 2, 6)]),
    ("half a character", b"a: \xf0\x9f", [("not_utf8", 1, 4)]),
    ("a surrogate", b'a: "\\ud800"\n', [("syntax", 1, 7)]),
    ("a colon too many", b"a: b: c\n", [("syntax", 1, 5)]),
    ("no space after the colon", b"a: 1\nb:2\nc: 3\n", [("syntax", 2, 1)]),
    ("an open list", b"a: [1,\nb: 2\n", [("syntax", 3, 1)]),
    ("an open quote", b"a: 1\nb: 'x\n", [("syntax", 2, 4)]),
    ("a key out of line", b"a: 1\n b: 2\n", [("syntax", 2, 3)]),
    ("a reserved character", b"a: @x\n", [("syntax", 1, 4)]),
    ("text after the end", b"a: 1\n...\nb: 2\n", [("syntax", 3, 1)]),
    (
        "several mistakes at once",
        b"a: !x 1\na: 2\n<<: {}\n5: .nan\n",
        [
            ("tag", 1, 4),
            ("duplicate_key", 2, 1),
            ("merge_key", 3, 1),
            ("key_not_text", 4, 1),
            ("number_not_finite", 4, 4),
        ],
    ),
    (
        "33 levels",
        b"[" * 33 + b"]" * 33,
        [("too_deep", 1, 33)],
    ),
]


@pytest.mark.parametrize(
    ("data", "expected"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_is_refused_with_its_place(data: bytes, expected: list[tuple[str, int, int]]) -> None:
    located = read_located(data)

    assert [(one.code, *one.at) for one in located.mistakes] == expected
    with pytest.raises(CloserLook):
        read_quickly(data)


def test_every_refusal_says_what_to_do() -> None:
    for _, data, expected in REFUSED:
        for mistake in read_located(data).mistakes:
            assert mistake.message
            assert mistake.hint or mistake.code == "syntax", expected


def test_32_levels_are_fine() -> None:
    data = b"a: " + b"[" * 31 + b"]" * 31

    assert read_quickly(data).value == read_located(data).value


def test_what_was_read_before_a_syntax_error_is_kept() -> None:
    located = read_located(b"meta:\n  id: my-job\npayload: [\n")

    assert not located.complete
    assert located.value["meta"] == {"id": "my-job"}


keys = st.text("abcdef-é: #'\"", min_size=1, max_size=8)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20),
    st.sampled_from(["no", "12:30", "0o17", "~", "<<", "1e3", "2026-01-31", "- x", "a: b"]),
)
documents = st.dictionaries(
    keys,
    st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=12,
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(documents)
def test_json_is_read_as_json(document: dict[str, Any]) -> None:
    located = read_located(json.dumps(document, ensure_ascii=False).encode())

    assert located.mistakes == []
    assert located.value == document


@settings(max_examples=150, deadline=None)
@given(documents, st.booleans())
def test_both_readers_see_the_same(document: dict[str, Any], flow: bool) -> None:
    data = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True).encode()
    located = read_located(data)
    try:
        quick = read_quickly(data)
    except CloserLook:
        return

    assert located.mistakes == []
    assert repr(located.value) == repr(quick.value)


@settings(max_examples=250, deadline=None)
@given(
    st.text("ab:-[]{}#&*!|>'\"%@ \n\t?,~0", max_size=40).map(str.encode) | st.binary(max_size=30)
)
def test_any_bytes_get_an_answer_and_the_readers_never_disagree(data: bytes) -> None:
    located = read_located(data)
    try:
        quick = read_quickly(data)
    except CloserLook:
        return

    assert located.mistakes == []
    assert repr(located.value) == repr(quick.value)
