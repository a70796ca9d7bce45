"""Coming starts: each is handed out once, none too early, and a crowd's in time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobreconciler.core.starts import (
    AHEAD,
    BATCH,
    CLAIM_BY,
    CLAIM_WITHIN,
    EARLY_EACH,
    MOST_EARLY,
    Starts,
)

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)


def ms(number: float) -> timedelta:
    return timedelta(milliseconds=number)


def filled(count: int, at: datetime) -> Starts:
    """So many jobs that start at one instant, near enough to be seen to."""
    starts = Starts(NOW, lambda _job, _slot: True)
    for number in range(count):
        starts.put((at, f"job-{number:04}", at))
    starts.come_near(NOW)
    return starts


def test_what_is_far_off_comes_near_once() -> None:
    starts = filled(3, NOW + AHEAD * 2)
    assert starts.next_look(room=10) is None
    later = NOW + AHEAD * 1.5
    assert starts.come_near(later) == ["job-0000", "job-0001", "job-0002"]
    assert starts.come_near(later) == []
    assert starts.next_look(room=10) == NOW + AHEAD * 2 - CLAIM_BY


def test_few_are_claimed_a_moment_before() -> None:
    at = NOW + ms(900)
    starts = filled(5, at)
    assert starts.crowd(at - ms(200), room=5) == starts.coming(at - ms(21)) == []
    assert len(starts.coming(at - CLAIM_BY)) == 5
    assert starts.due(at) == []


def test_of_a_crowd_as_many_are_left_to_be_claimed_as_there_is_room_for() -> None:
    at = NOW + ms(900)
    starts = filled(300, at)
    lead = CLAIM_BY + 300 * EARLY_EACH
    assert starts.next_look(room=20) == at - lead
    assert starts.crowd(at - lead - ms(1), room=20) == []
    sizes = [len(starts.crowd(at - lead, room=20)) for _ in range(4)]
    assert sizes == [BATCH, BATCH, 80, 0]
    assert starts.next_look(room=20) == at - CLAIM_BY
    assert len(starts.coming(at - CLAIM_WITHIN / 2)) == 20


def test_the_rest_of_a_crowd_is_due_at_its_time() -> None:
    at = NOW + ms(900)
    starts = filled(250, at)
    first = starts.crowd(at - ms(80), room=10)
    assert len(first) == BATCH
    left = [*starts.due(at), *starts.due(at), *starts.due(at)]
    assert len(left) == 150
    assert not {job_id for _, job_id, _ in first} & set(left)


def test_however_many_they_are_nothing_is_done_earlier_than_half_a_second_before() -> None:
    at = NOW + ms(900)
    starts = filled(5_000, at)
    assert starts.next_look(room=0) == at - MOST_EARLY


def test_after_a_clock_that_was_set_back_nothing_is_done_long_before_its_time() -> None:
    at = NOW + ms(900)
    starts = filled(300, at)
    assert len(starts.crowd(at - ms(90), room=10)) == BATCH
    back = at - timedelta(hours=1)
    assert starts.crowd(back, room=10) == starts.coming(back) == starts.due(back) == []
    assert len(starts.crowd(at - ms(60), room=10)) == BATCH
    assert len({*starts.due(at), *starts.due(at)}) == 100


def test_those_whose_schedule_changed_are_passed_over() -> None:
    at = NOW + ms(900)
    stale = {"job-0001", "job-0003"}
    starts = Starts(NOW, lambda job_id, _slot: job_id not in stale)
    for number in range(6):
        starts.put((at, f"job-{number:04}", at))
    starts.come_near(NOW)
    crowd = starts.crowd(at - CLAIM_BY - ms(1), room=2)
    coming = starts.coming(at - CLAIM_BY)
    seen = {job_id for _, job_id, _ in (*crowd, *coming)} | {*starts.due(at)}
    assert seen == {f"job-{number:04}" for number in (0, 2, 4, 5)}


@pytest.mark.parametrize("seed", range(20))
def test_each_start_is_handed_out_once_and_none_of_them_late(seed: int) -> None:
    chance = random.Random(seed)
    given: dict[tuple[str, datetime], datetime] = {}
    starts = Starts(NOW, lambda job_id, slot: (job_id, slot) not in given)
    wanted = set()
    for number in range(chance.choice((3, 40, 400))):
        at = NOW + timedelta(seconds=chance.choice((1, 2, 2, 2.03, 5, chance.uniform(0, 6))))
        wanted.add((f"job-{number}", at))
        starts.put((at, f"job-{number}", at))
    now = NOW
    while now < NOW + timedelta(seconds=7):
        starts.come_near(now)
        room = chance.choice((0, 5, 30))
        before = [*starts.coming(now), *starts.crowd(now, room)]
        for start in before:
            if chance.random() < 0.3:
                starts.put_on_time(start)
            else:
                give(given, start[1:], now)
        for job_id in starts.due(now):
            give(given, next(one for one in wanted if one[0] == job_id), now)
        now += ms(chance.uniform(0.1, 15))
    assert given.keys() == wanted
    for (_, at), when in given.items():
        assert at - MOST_EARLY <= when <= at + ms(16 * len(wanted) / BATCH + 16)


def give(
    given: dict[tuple[str, datetime], datetime], start: tuple[str, datetime], now: datetime
) -> None:
    assert start not in given
    given[start] = now
