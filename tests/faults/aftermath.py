"""What must hold in a store after its daemons were killed, whenever that was.

Jobs leave a mark for each attempt, so that what the world saw can be held against what is stored.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path


def marking(marks: Path, name: str) -> str:
    """A line of shell that leaves the mark of an attempt."""
    figures = "$JOBRECONCILER_EXECUTION $JOBRECONCILER_ATTEMPT ${JOBRECONCILER_SLOT:--}"
    return f'echo "{figures}" >> {marks}/{name}'


def left_behind(marks: Path) -> list[str]:
    """Processes of this directory's daemon that still live: runs, supervisors, workers, servers."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
            errors = str((entry / "fd/2").readlink())
        except OSError:
            continue
        is_run = b"JOBRECONCILER_EXECUTION=" in environ and str(marks).encode() in command
        if is_run or errors.startswith(f"{marks}/state/"):
            found.append(command.decode(errors="replace"))
    return found


def each_slot_is_accounted_for_once(
    connection: sqlite3.Connection, name: str, step: int = 1
) -> None:
    """From the first slot to the last one handled: one execution, or in one missed row."""
    rows = connection.execute(
        "SELECT trigger, missed_from, missed_to, missed_count FROM job_executions "
        "WHERE job_id = ? AND trigger_type = 'schedule'",
        (name,),
    ).fetchall()
    seconds: Counter[int] = Counter()
    for trigger, first, last, count in rows:
        if first is not None:
            covered = range(first // 1_000_000, last // 1_000_000 + 1, step)
            assert len(covered) == count
            seconds.update(covered)
        else:
            seconds[slot_of(trigger)] += 1
    assert seconds, f"{name} never came to a slot"
    assert set(seconds.values()) == {1}, f"{name}: a slot is in two rows"
    whole = range(min(seconds), max(seconds) + 1, step)
    assert sorted(seconds) == list(whole), f"{name}: a slot is in no row"


def slot_of(trigger: str) -> int:
    slot = json.loads(trigger)["slot"]
    if isinstance(slot, int):
        return slot // 1_000_000
    return int(datetime.fromisoformat(slot).timestamp())


def marks_of(marks: Path, name: str) -> Counter[tuple[str, int]]:
    """How often each (execution, attempt) ran."""
    path = marks / name
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return Counter((execution, int(attempt)) for execution, attempt, _ in lines)


def each_attempt_ran_once(connection: sqlite3.Connection, marks: Path, name: str) -> None:
    """What ran in the world is what is recorded as attempts, each once; nothing is half done."""
    ran = marks_of(marks, name)
    twice = [key for key, count in ran.items() if count > 1]
    assert not twice, f"{name}: {twice} ran twice"
    rows = connection.execute(
        "SELECT e.id, a.number, a.finished_at FROM job_executions e JOIN execution_attempts a "
        "ON a.execution_id = e.id WHERE e.job_id = ?",
        (name,),
    ).fetchall()
    assert {(id_, number) for id_, number, _ in rows} == set(ran), (
        f"{name}: runs and records differ"
    )
    assert all(finished is not None for *_, finished in rows), f"{name}: an attempt has no end"


def each_end_is_the_true_one(
    connection: sqlite3.Connection, name: str, *, succeeds_at: int = 1
) -> None:
    """Attempts fail before `succeeds_at` and succeed there; `cancelled` ones apart."""
    rows = connection.execute(
        "SELECT a.number, a.exit_code FROM job_executions e JOIN execution_attempts a "
        "ON a.execution_id = e.id WHERE e.job_id = ? AND e.status <> 'cancelled'",
        (name,),
    ).fetchall()
    wrong = [row for row in rows if row[1] != int(row[0] < succeeds_at)]
    assert not wrong, f"{name}: (attempt, exit code) {wrong}"


def no_two_ran_at_once(connection: sqlite3.Connection, name: str) -> None:
    rows = connection.execute(
        "SELECT a.started_at, a.finished_at FROM job_executions e JOIN execution_attempts a "
        "ON a.execution_id = e.id WHERE e.job_id = ? ORDER BY a.started_at",
        (name,),
    ).fetchall()
    overlapping = [pair for pair in pairwise(rows) if pair[1][0] < pair[0][1]]
    assert not overlapping, f"{name}: {overlapping}"


def nothing_is_unfinished(connection: sqlite3.Connection) -> None:
    left = connection.execute(
        "SELECT job_id, id, status FROM job_executions WHERE status IN ('queued', 'running')"
    ).fetchall()
    assert not left, f"stuck: {left}"


def each_outcome_released_once(connection: sqlite3.Connection, name: str) -> None:
    """No two releases of a dependent stand for the same run of an upstream."""
    rows = connection.execute(
        "SELECT trigger FROM job_executions WHERE job_id = ? AND trigger_type = 'dependency'",
        (name,),
    ).fetchall()
    used = Counter(each for (text,) in rows for each in json.loads(text)["upstream"])
    assert used, f"{name} was never released"
    assert set(used.values()) == {1}, f"{name}: an outcome released twice"


def the_changelog_agrees(connection: sqlite3.Connection) -> None:
    """Every job's generation and revision are those of its newest change."""
    jobs = connection.execute("SELECT job_id, generation, revision FROM job_configs").fetchall()
    for job_id, generation, revision in jobs:
        log = connection.execute(
            "SELECT generation, revision FROM changelog WHERE job_id = ? "
            "AND action NOT IN ('suspended', 'resumed') ORDER BY sequence",
            (job_id,),
        ).fetchall()
        assert [each for each, _ in log] == list(range(1, generation + 1)), job_id
        assert log[-1][1] == revision, job_id
