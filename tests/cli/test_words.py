from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobreconciler.cli import words

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0s"),
        (2.42, "2.4s"),
        (12.4, "12s"),
        (59.6, "1m 00s"),
        (185, "3m 05s"),
        (3600, "1h 00m"),
        (7860, "2h 11m"),
        (90_000, "1d 1h"),
        (-3, "0.0s"),
    ],
)
def test_a_length_of_time_is_said_in_two_units(seconds: float, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (5, "5s ago"),
        (-5, "in 5s"),
        (60, "1m ago"),
        (5400, "90m ago"),
        (7200, "2h ago"),
        (-7200, "in 2h"),
        (36 * 3600, "36h ago"),
        (49 * 3600, "2d ago"),
        (400 * 86_400, "400d ago"),
    ],
)
def test_an_instant_is_said_relative_to_now(seconds: int, said: str) -> None:
    assert words.relative(NOW - timedelta(seconds=seconds), NOW) == said


def test_what_never_was_is_never() -> None:
    assert words.relative(None, NOW) == "never"


def test_instants_of_our_json_are_read_as_utc() -> None:
    assert words.instant("2025-06-01T12:00:00Z") == NOW
    assert words.instant("2025-06-01T14:00:00+02:00") == NOW
    assert words.instant(None) is None


def test_control_characters_of_others_do_not_reach_a_terminal() -> None:
    assert words.clean("a\x1b[31mred\nline\u202e\u2028") == "a [31mred line  "


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("short", 10, "short"),
        ("exactly-10", 10, "exactly-10"),
        ("one too long", 11, "one too lo…"),
        ("ends at a space", 8, "ends at…"),
        ("日本語の仕事", 7, "日本語…"),
    ],
)
def test_text_is_cut_to_columns_not_characters(text: str, limit: int, shown: str) -> None:
    assert words.fit(text, limit) == shown
    assert words.columns_of(words.fit(text, limit)) <= limit


def test_wrapped_text_keeps_its_indent_and_its_width() -> None:
    lines = words.wrap("the quick brown fox jumps over the lazy dog", 20, "  ")
    assert lines == ["  the quick brown", "  fox jumps over the", "  lazy dog"]


def test_a_word_longer_than_the_line_stays_whole() -> None:
    assert words.wrap("a verylongwordindeed b", 8) == ["a", "verylongwordindeed", "b"]


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (12_345, "12,345 jobs")]
)
def test_counts_agree_with_their_noun(number: int, said: str) -> None:
    assert words.count(number, "job") == said
