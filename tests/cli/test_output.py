from __future__ import annotations

import io
import json

import pytest

from jobreconciler.cli import output
from jobreconciler.cli.output import Cell, Column
from jobreconciler.cli.words import clean


def drawn(columns: list[Column | str], rows: list[list[Cell | str]], limit: int = 80) -> list[str]:
    return output.table(columns, rows, limit=limit, colour=False).splitlines()


def test_columns_are_aligned_and_lines_have_no_trailing_space() -> None:
    lines = drawn(
        ["job", Column("took", right=True), "status"],
        [["a", "1.2s", "failed"], ["longer-id", "12m 01s", ""]],
    )
    assert lines == [
        "job           took  status",
        "a             1.2s  failed",
        "longer-id  12m 01s",
    ]


def test_a_column_that_shrinks_gives_way_before_the_others() -> None:
    lines = drawn(["id", Column("message", shrinks=True)], [["i" * 30, "m" * 60]], limit=60)
    assert lines[1] == "i" * 30 + "  " + "m" * 27 + "…"


def test_a_column_that_wraps_goes_on_below() -> None:
    lines = drawn(["id", Column("meaning", wraps=True)], [["x", "one two three four"]], limit=15)
    assert lines == ["id  meaning", "x   one two", "    three four"]


def test_no_line_is_wider_than_the_page_even_when_no_column_offers_to_shrink() -> None:
    lines = drawn(["a", "b"], [["x" * 63, "y" * 63]], limit=80)
    assert max(map(len, lines)) <= 80
    assert lines[1].count("…") == 2


def test_wide_characters_keep_the_columns_aligned() -> None:
    lines = drawn(["owner", "x"], [["日本", "1"], ["team", "2"]])
    assert lines[1:] == ["日本   1", "team   2"]


def test_text_from_outside_cannot_add_lines_to_a_table() -> None:
    assert len(drawn(["a"], [["one\ntwo\r\nthree"]])) == 2


def test_colour_does_not_change_the_alignment() -> None:
    plain = output.table(["s", "t"], [[Cell("failed", "bad"), "x"]], limit=80, colour=False)
    colour = output.table(["s", "t"], [[Cell("failed", "bad"), "x"]], limit=80, colour=True)
    assert "\x1b[31mfailed\x1b[0m" in colour
    stripped = colour.replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert stripped == plain


@pytest.mark.parametrize(
    ("tty", "environment", "colour"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_said_otherwise(
    tty: bool, environment: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: tty  # type: ignore[method-assign]
    assert output.coloured(stream) is colour


def test_names_and_values_wrap_below_themselves() -> None:
    text = output.pairs([("job", "a"), ("what it does", "one two three four")], limit=24)
    assert text.splitlines() == [
        "job           a",
        "what it does  one two",
        "              three four",
    ]


def test_json_holds_no_character_that_a_terminal_obeys() -> None:
    said = {"text": "h\u00e9 \u65e5 \x1b[2J \x9b2J \x7f \u202e \u2028"}
    text = output.json_text(said)
    assert json.loads(text) == said
    assert "h\u00e9 \u65e5" in text
    assert clean(text) == text.replace("\n", " ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("text", "text"),
        (True, "true"),
        (3, "3"),
        (["a", 1], '["a", 1]'),
        ({"env": "TOKEN"}, '{"env": "TOKEN"}'),
    ],
)
def test_config_values_stand_on_one_line(value: object, shown: str) -> None:
    assert output.flatten(value) == shown
