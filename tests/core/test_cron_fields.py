"""The dialect: what is accepted means what crontab(5) says, what is refused says why and where."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from jobreconciler.core import cron
from jobreconciler.core.cron_calendar import calendar_of
from jobreconciler.core.cron_fields import Field, read

from .cron_cases import random_expression

# the mistake, expression, reason, column, words of the message or the hint
REFUSED = [
    ("an empty text", "", "FieldCount", 1, "empty"),
    ("blanks alone", "  ", "FieldCount", 1, "empty"),
    ("four fields", "0 2 * *", "FieldCount", 0, "4 fields"),
    ("seven fields", "0 0 2 * * * 2030", "Years", 0, "year"),
    ("a year as sixth field", "0 0 1 1 * 2030", "OutOfRange", 11, "year field"),
    ("@reboot", "@reboot", "Reboot", 1, "one machine"),
    ("an unknown macro", "@fortnightly", "UnknownMacro", 1, "@weekly"),
    ("an interval", "@every 5m", "UnknownMacro", 1, "five fields"),
    ("a hashed field", "H * * * *", "Random", 1, "jitterSeconds"),
    ("a hashed range", "0 H(0-7) * * *", "Random", 3, "jitterSeconds"),
    ("a hashed step", "H/15 * * * *", "Random", 1, "jitterSeconds"),
    ("a random field", "R R * * *", "Random", 1, "random"),
    ("a question mark", "0 0 ? * 1", "QuestionMark", 5, "Write *"),
    ("the nearest weekday", "0 0 15W * *", "NearestWeekday", 5, "'15W'"),
    ("the last weekday", "0 0 LW * *", "NearestWeekday", 5, "nearest weekday"),
    ("wrapped hours", "0 22-2 * * *", "WrappedRange", 3, "22-23,0-2"),
    ("wrapped to the first value", "0 22-0 * * *", "WrappedRange", 3, "22-23,0 "),
    ("a range one down", "1-0 * * * *", "WrappedRange", 1, "1-59,0 "),
    ("wrapped months", "0 0 * nov-feb *", "WrappedRange", 7, "11-12,1-2"),
    ("wrapped weekdays by name", "0 0 * * sat-sun", "WrappedRange", 9, "6-7"),
    ("wrapped weekdays", "0 0 * * 5-1", "WrappedRange", 9, "5-7,1 "),
    ("a bare start with a step", "5/15 * * * *", "BareStep", 1, "5-59/15"),
    ("a step longer than the field", "*/60 * * * *", "StepTooLong", 1, "0-59"),
    ("a step longer than its range", "0-10/20 * * * *", "StepTooLong", 1, "0-10"),
    ("a step as long as a day", "0 */24 * * *", "StepTooLong", 3, "'*/24'"),
    ("a step of thousands of digits", f"*/{'9' * 240} * * * *", "StepTooLong", 1, "..."),
    ("a step of zero", "*/0 * * * *", "BadStep", 1, "1 or more"),
    ("a minute too many", "60 * * * *", "OutOfRange", 1, "0-59"),
    ("hour 24", "0 24 * * *", "OutOfRange", 3, "0-23"),
    ("day 0", "0 0 0 * *", "OutOfRange", 5, "1-31"),
    ("month 13", "0 0 1 13 *", "OutOfRange", 7, "1-12"),
    ("weekday 8", "0 0 * * 8", "OutOfRange", 9, "0-7"),
    ("second 60", "60 0 0 * * *", "OutOfRange", 1, "0-59"),
    ("a sixth weekday of a month", "0 0 * * 1#6", "OutOfRange", 9, "1 to 5"),
    ("a zeroth weekday", "0 0 * * 1#0", "OutOfRange", 9, "1 to 5"),
    ("L before the weekday", "0 0 * * L5", "BadLast", 9, "5L is the last Friday"),
    ("L alone as weekday", "0 0 * * L", "BadLast", 9, "last Friday"),
    ("days before the last", "0 0 L-3 * *", "BadLast", 5, "'L-3'"),
    ("a range to the last", "0 0 25-L * *", "BadLast", 5, "last day"),
    ("a range of nth weekdays", "0 0 * * 1-5#2", "BadNth", 9, "1#2,2#2"),
    ("a negative number", "-5 * * * *", "BadValue", 1, "negative"),
    ("an unknown name", "0 0 * foo *", "BadValue", 7, "such as jan"),
    ("a weekday's name as month", "0 0 * mon *", "BadValue", 7, "month"),
    ("an empty item", "1,,2 * * * *", "BadValue", 3, "extra comma"),
    ("a trailing comma", "0 1, * * *", "BadValue", 5, "extra comma"),
    ("the third item of the second field", "0 1,2,77 * * *", "OutOfRange", 7, "'77'"),
    ("a mistake behind wide blanks", "0   0 *\t* 9", "OutOfRange", 11, "'9'"),
    ("a no-break space", "0\u00a00 * * *", "BadCharacter", 2, "plain spaces"),
    ("an Arabic digit", "\u0665 * * * *", "BadCharacter", 1, "u0665"),
    ("a line break", "0 0 * * *\n", "BadCharacter", 10, "n'"),
    ("more than 256 characters", "0," * 130 + "0 * * * *", "TooLong", 0, "269"),
    ("the 31st of February", "0 0 31 2 *", "NeverFires", 5, "never comes true"),
    ("the 31st of short months", "0 0 31 2,4,6,9,11 *", "NeverFires", 5, "never"),
    ("the 30th of February or a Monday", "0 0 30 2 1", "NeverFires", 5, "only day-of-week '1'"),
    ("the 31st of February with seconds", "0 0 0 31 2 *", "NeverFires", 7, "Write L"),
    ("a second Monday on the 1st, 16th or 31st", "0 0 */15 * 1#2", "NeverFires", 5, "never meet"),
    ("a last Friday on the 1st or 21st", "0 0 */20 * 5L", "NeverFires", 5, "never meet"),
    ("a fifth Monday of February on the 28th", "0 0 */27 2 1#5", "NeverFires", 5, "never meet"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "reason", "column", "words"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_refused(expression: str, reason: str, column: int, words: str) -> None:
    with pytest.raises(cron.InvalidSchedule) as caught:
        cron.parse(expression)
    problem = caught.value
    assert (problem.reason, problem.column) == (reason, column)
    assert words in f"{problem.message} {problem.hint} "
    assert problem.hint
    assert len(problem.message) < 250


def test_a_long_expression_is_refused_before_it_is_read() -> None:
    with pytest.raises(cron.InvalidSchedule, match="200009 characters"):
        cron.parse("1," * 100_000 + "1 * * * *")


ALL_DAYS = set(range(1, 32))

# expression, one field of it, the values it means
ACCEPTED = [
    ("all values", "* * * * *", "minute", set(range(60))),
    ("a value", "5 * * * *", "minute", {5}),
    ("a value with a leading zero", "05 * * * *", "minute", {5}),
    ("a list", "50,5,5 * * * *", "minute", {5, 50}),
    ("a range", "10-12 * * * *", "minute", {10, 11, 12}),
    ("a range of one", "7-7 * * * *", "minute", {7}),
    ("a step", "*/20 * * * *", "minute", {0, 20, 40}),
    ("the longest step", "*/59 * * * *", "minute", {0, 59}),
    ("a step that does not divide", "*/25 * * * *", "minute", {0, 25, 50}),
    ("a stepped range", "5-59/15 * * * *", "minute", {5, 20, 35, 50}),
    ("ranges and values mixed", "1-3,*/30,59 * * * *", "minute", {0, 1, 2, 3, 30, 59}),
    ("hours", "0 8-18/5 * * *", "hour", {8, 13, 18}),
    ("days by step", "0 0 */10 * *", "day", {1, 11, 21, 31}),
    ("month names in any case", "0 0 1 JAN,Apr,oct *", "month", {1, 4, 10}),
    ("a range of month names", "0 0 1 mar-may *", "month", {3, 4, 5}),
    ("months by step", "0 0 1 */5 *", "month", {1, 6, 11}),
    ("weekday names", "0 0 * * Mon,FRI", "weekday", {1, 5}),
    ("a range of weekday names", "0 0 * * sun-tue", "weekday", {0, 1, 2}),
    ("a name with a number", "0 0 * * mon-5", "weekday", {1, 2, 3, 4, 5}),
    ("Sunday as 0", "0 0 * * 0", "weekday", {0}),
    ("Sunday as 7", "0 0 * * 7", "weekday", {0}),
    ("a range to Sunday", "0 0 * * 5-7", "weekday", {5, 6, 0}),
    ("the whole week and Sunday again", "0 0 * * 0-7", "weekday", set(range(7))),
    ("a stepped range that reaches Sunday", "0 0 * * 1-7/2", "weekday", {1, 3, 5, 0}),
    ("a stepped range that misses Sunday", "0 0 * * 2-7/2", "weekday", {2, 4, 6}),
    ("weekdays by step", "0 0 * * */3", "weekday", {0, 3, 6}),
    ("seconds first", "*/30 0 0 * * *", "second", {0, 30}),
    ("seconds default to 0", "* * * * *", "second", {0}),
    ("@hourly", "@hourly", "minute", {0}),
    ("@daily", "@DAILY", "hour", {0}),
    ("@midnight", "@midnight", "hour", {0}),
    ("@weekly", "@weekly", "weekday", {0}),
    ("@monthly", "@monthly", "day", {1}),
    ("@yearly", "@yearly", "month", {1}),
    ("@annually", "@annually", "month", {1}),
    ("blanks around and between", " 0\t 3  * * * ", "hour", {3}),
]  # fmt: skip


def values(field: Field) -> set[int]:
    return {v for low, high, step in field.spans for v in range(low, high + 1, step)}


@pytest.mark.parametrize(
    ("expression", "name", "meant"), [row[1:] for row in ACCEPTED], ids=[r[0] for r in ACCEPTED]
)
def test_accepted(expression: str, name: str, meant: set[int]) -> None:
    assert values(getattr(read(expression), name)) == meant


@pytest.mark.parametrize(
    ("field", "meant"), [("5L", {(5, 0)}), ("friL", {(5, 0)}), ("0#1,7#3", {(0, 1), (0, 3)})]
)
def test_ordinal_weekdays(field: str, meant: set[tuple[int, int]]) -> None:
    assert set(read(f"0 0 * * {field}").weekday.nth) == meant


def bits_of(found: set[int]) -> int:
    return sum(1 << value for value in found)


def test_croniter_expands_every_field_to_what_was_read() -> None:
    """The spelling handed to croniter avoids all that it reads in a way of its own."""
    draw = random.Random(3)
    seen = 0
    while seen < 1500:
        try:
            expression = read(random_expression(draw))
        except cron.InvalidSchedule:
            continue
        seen += 1
        calendar = calendar_of(expression)
        assert calendar._minutes == bits_of(values(expression.minute))
        assert calendar._hours == bits_of(values(expression.hour))
        assert calendar._days == bits_of(values(expression.day))
        assert calendar._months == bits_of(values(expression.month))
        assert calendar._weekdays == bits_of(values(expression.weekday))


@pytest.mark.parametrize("low", range(8))
@pytest.mark.parametrize("step", range(1, 8))
def test_every_weekday_range_is_read_alike_by_croniter(low: int, step: int) -> None:
    for high in range(low, 8):
        if step > max(high - low, 1):
            continue
        expression = read(f"0 0 * * {low}-{high}/{step}")
        meant = {value % 7 for value in range(low, high + 1, step)}
        assert values(expression.weekday) == meant
        assert calendar_of(expression)._weekdays == bits_of(meant)


def test_croniter_still_reads_ordinals_as_they_are_spelled_for_it() -> None:
    assert croniter.expand("* * * * l5,2#1,0#3")[1] == {5: {"l"}, 2: {1}, 0: {3}}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789*/-,#LlWwHhRr?@ abcmonsunjan\t\u00a0", max_size=40))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        schedule = cron.parse(text)
    except cron.InvalidSchedule as problem:
        assert problem.reason != "InvalidSchedule"
        assert 0 <= problem.column <= len(text) + 1
        assert problem.hint
    else:
        assert calendar_of(schedule.fields).next(0) is not None


def test_checking_needs_no_croniter() -> None:
    code = (
        "import sys; from jobreconciler.core.cron_slots import parse;"
        "parse('*/5 0 L * 5L', 'Europe/Berlin');"
        "sys.exit('croniter' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
