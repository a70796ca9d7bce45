"""Schedules in words."""

from __future__ import annotations

import random

import pytest

from jobreconciler.core import cron

from .cron_cases import random_expression

WORDS = [
    ("* * * * *", "every minute"),
    ("*/15 * * * *", "every 15 minutes"),
    ("0,30 * * * *", "every 30 minutes"),
    ("0 * * * *", "every hour"),
    ("@hourly", "every hour"),
    ("5 * * * *", "every hour at :05"),
    ("5,17 * * * *", "every hour at :05 and :17"),
    ("*/7 * * * *", "every 7 minutes from :00 to :59 of every hour"),
    ("10-50 * * * *", "every minute from :10 to :50 of every hour"),
    ("0 */2 * * *", "every 2 hours"),
    ("15 */6 * * *", "every 6 hours at :15"),
    ("0 1-23/2 * * *", "every 2 hours from 01:00 to 23:00"),
    ("0 2 * * *", "every day at 02:00"),
    ("0 2 * * 1", "at 02:00 on Mondays"),
    ("0 2,14 * * *", "every day at 02:00 and 14:00"),
    ("0 0 1 1 *", "at 00:00 on day 1 of the month in January"),
    ("0 4 * jan,jul sun", "at 04:00 on Sundays in January and July"),
    ("0 4 * 3-5 *", "every day at 04:00 in March to May"),
    ("*/15 2 * * *", "every 15 minutes from 02:00 to 02:45"),
    ("* 3 * * *", "every minute from 03:00 to 03:59"),
    ("0 9-17 * * mon-fri", "every hour from 09:00 to 17:00 on Mondays to Fridays"),
    ("*/5 9-17 * * 1-5", "every 5 minutes from 09:00 to 17:55 on Mondays to Fridays"),
    ("0 0 * * 0,6", "at 00:00 on Saturdays and Sundays"),
    ("0 0 * * 5-7", "at 00:00 on Fridays to Sundays"),
    ("0 0 L * *", "at 00:00 on the last day of the month"),
    ("0 0 1,L * *", "at 00:00 on day 1 and the last day of the month"),
    ("0 0 * * 5L", "at 00:00 on the last Friday of the month"),
    ("0 0 * * 1#2", "at 00:00 on the second Monday of the month"),
    ("0 0 1,15 * 1", "at 00:00 on days 1 and 15 of the month and on Mondays"),
    ("0 0 */2 * *", "at 00:00 on every 2nd day of the month from the 1st"),
    ("0 0 */2 * 1", "at 00:00 on every 2nd day of the month from the 1st, Mondays only"),
    ("*/10 * * * * *", "every 10 seconds"),
    ("* * * * * *", "every second"),
    ("30 * * * * *", "every minute at second 30"),
    ("5 0 2 * * *", "every day at 02:00:05"),
    ("*/20 0 2 * * *", "every 20 seconds, at 02:00"),
]


@pytest.mark.parametrize(("expression", "words"), WORDS)
def test_words(expression: str, words: str) -> None:
    assert cron.describe(expression) == words


def test_any_schedule_has_words() -> None:
    draw = random.Random(11)
    for _ in range(500):
        try:
            words = cron.describe(random_expression(draw))
        except cron.InvalidSchedule as problem:
            assert problem.reason == "NeverFires"
            continue
        assert words == " ".join(words.split())
        assert words.startswith(("every ", "at "))


def test_what_is_no_schedule_has_none() -> None:
    with pytest.raises(cron.InvalidSchedule):
        cron.describe("@reboot")
