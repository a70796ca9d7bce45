"""What a job tells through its report descriptor."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from execute.arena import Arena, eventually, next_end, python, shell, within
from jobreconciler.core.nesting import MOST_LEVELS
from jobreconciler.execute import spool
from jobreconciler.execute.reports import LONGEST_LINE, MOST_METRICS, Reports
from jobreconciler.model.execution import Outcome


class Heard:
    """Reports, and what they passed on."""

    def __init__(self) -> None:
        self.logs: list[tuple[str, str, dict[str, Any]]] = []
        self.notes: list[str] = []
        self.reports = Reports(
            lambda value: value,
            lambda level, message, fields: self.logs.append((level, message, fields)),
            self.notes.append,
        )

    def hear(self, *lines: str) -> Reports:
        self.reports.feed("".join(f"{line}\n" for line in lines).encode())
        self.reports.flush()
        return self.reports


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


UNDERSTOOD = {
    "progress": ('{"progress": {"done": 3, "total": 9}}', "progress", [3, 9]),
    "a metric": (
        '{"metric": {"name": "rows", "value": 2.5, "unit": "1"}}',
        "metrics",
        {"rows": {"value": 2.5, "unit": "1"}},
    ),
    "a metric without a unit": (
        '{"metric": {"name": "rows", "value": 2}}',
        "metrics",
        {"rows": {"value": 2, "unit": ""}},
    ),
    "a result": ('{"result": {"rows": [1, 2]}}', "result", {"rows": [1, 2]}),
    "an error": ('{"error": "the file is empty"}', "error", "the file is empty"),
    "a result as deep as they may be": (
        f'{{"result": {deep(MOST_LEVELS)}}}',
        "result",
        json.loads(deep(MOST_LEVELS)),
    ),
    "two kinds in one line": (
        '{"progress": {"done": 1, "total": 1}, "result": {}}',
        "progress",
        [1, 1],
    ),
}


@pytest.mark.parametrize("case", UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_understood(case: tuple[str, str, Any]) -> None:
    line, attribute, value = case
    heard = Heard().hear(line)
    assert getattr(heard, attribute) == value
    assert heard.malformed == 0


NOT_UNDERSTOOD = {
    "no JSON": ("progress 3 of 9", "it is not JSON"),
    "no object": ("[1]", "it is not a JSON object"),
    "an empty object": ("{}", "it is not a JSON object"),
    "an unknown kind": ('{"percent": 5}', "'percent' is not a kind of report"),
    "progress that is no object": ('{"progress": 5}', "progress must be an object"),
    "progress below nothing": (
        '{"progress": {"done": -1, "total": 9}}',
        "progress needs whole numbers `done` and `total`, none below 0",
    ),
    "a fraction of an item": (
        '{"progress": {"done": 0.5, "total": 9}}',
        "progress needs whole numbers `done` and `total`, none below 0",
    ),
    "a metric that is no number": (
        '{"metric": {"name": "rows", "value": NaN}}',
        "metric 'rows' needs a finite number `value` and a text `unit`",
    ),
    "a metric beyond what a float holds": (
        f'{{"metric": {{"name": "rows", "value": {10**400}}}}}',
        "metric 'rows' needs a finite number `value` and a text `unit`",
    ),
    "a result that is too deep": (
        f'{{"result": {deep(MOST_LEVELS + 1)}}}',
        "result is nested more than 64 levels deep",
    ),
    "a field of a log line that is too deep": (
        f'{{"log": {{"message": "x", "field": {deep(900)}}}}}',
        "log is nested more than 64 levels deep",
    ),
    "a metric without a name": (
        '{"metric": {"value": 1}}',
        "metric needs a `name` of 1 to 200 characters",
    ),
    "a result that is no object": ('{"result": 5}', "result must be an object"),
    "a result with NaN in it": ('{"result": {"x": NaN}}', "result holds NaN or an infinity"),
    "a log without a message": ('{"log": {"level": "info"}}', "log needs a text `message`"),
    "an unknown level": (
        '{"log": {"level": "loud", "message": "x"}}',
        "log level must be one of debug, info, warn, error",
    ),
    "nesting without end": ("[" * 100_000, "it is not JSON"),
    "a line without end": ("x" * (LONGEST_LINE + 1), f"it is longer than {LONGEST_LINE} bytes"),
}


@pytest.mark.parametrize("case", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD.keys())
def test_a_line_that_is_not_understood_is_noted_and_the_next_one_counts(
    case: tuple[str, str],
) -> None:
    line, why = case
    heard = Heard()
    reports = heard.hear(line, '{"progress": {"done": 1, "total": 2}}')
    assert heard.notes == [f"report line 1 was not understood: {why}"]
    assert reports.malformed == 1
    assert reports.progress == [1, 2]


def test_lines_may_come_in_any_pieces() -> None:
    heard = Heard()
    for byte in b'{"progress": {"done": 3, "total": 9}}\n\n{"error": "x"}':
        heard.reports.feed(bytes([byte]))
    heard.reports.flush()
    assert (heard.reports.progress, heard.reports.error) == ([3, 9], "x")
    assert heard.reports.malformed == 0


def test_there_is_an_end_to_how_many_metrics_are_kept() -> None:
    heard = Heard()
    heard.hear(
        *(f'{{"metric": {{"name": "m{n}", "value": {n}}}}}' for n in range(MOST_METRICS + 5)),
        '{"metric": {"name": "m0", "value": 99}}',
    )
    assert len(heard.reports.metrics) == MOST_METRICS
    assert heard.reports.malformed == 5
    assert heard.reports.metrics["m0"]["value"] == 99


def test_a_shell_script_reports_with_echo(arena: Arena) -> None:
    outcome = arena.once(
        shell(
            r"""
            r() { printf '%s\n' "$1" >&$JOBRECONCILER_REPORT_FD; }
            r '{"progress": {"done": 1, "total": 2}}'; r '{"progress": {"done": 2, "total": 2}}'
            r '{"metric": {"name": "rows", "value": 5, "unit": "1"}}'
            r '{"log": {"level": "warning", "message": "two\nlines", "file": "a b", "n": 3}}'
            r 'nonsense'; r '{"result": {"rows": 5}}'
            """
        )
    )
    assert outcome.progress == (2, 2)
    assert outcome.metrics == {"rows": {"value": 5, "unit": "1"}}
    assert outcome.result == {"rows": 5}
    log, note, count = arena.output().splitlines()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn two lines file="a b" n=3', log
    )
    assert note == "[jobreconciler: report line 5 was not understood: it is not JSON]"
    assert count == "[jobreconciler: 1 report lines were not understood]"


def test_a_result_that_no_reader_takes_harms_neither_its_run_nor_the_server(arena: Arena) -> None:
    async def both() -> tuple[Outcome, Outcome]:
        async with arena.executor() as executor:
            said = python(f"import os; os.write(3, b'{{\"result\": ' + b'{deep(250)}' + b'}}')")
            return await arena.outcome(executor, said), await arena.outcome(executor, shell("true"))

    first, second = within(both())
    supervisors = [spool.claimed(str(arena.directory(number))) for number in (1, 2)]
    assert supervisors[0] == supervisors[1], "the server ended"
    assert (first.status, first.result) == ("succeeded", None)
    assert second.status == "succeeded"
    assert arena.output() == (
        "[jobreconciler: report line 1 was not understood: result is nested more than 64 levels "
        "deep]\n[jobreconciler: 1 report lines were not understood]\n"
    )


def test_half_a_character_in_a_result_becomes_a_whole_one(arena: Arena) -> None:
    outcome = arena.once(shell(r"""printf '{"result": {"name": "a\\ud800b"}}' >&3"""))
    assert outcome.result == {"name": "a?b"}


def test_a_failed_job_may_say_why(arena: Arena) -> None:
    outcome = arena.once(shell("""echo '{"error": "the file is empty"}' >&3; exit 2"""))
    assert (outcome.status, outcome.exit_code, outcome.error) == (
        "failed",
        2,
        "the file is empty",
    )


def test_progress_is_seen_while_the_job_runs(arena: Arena) -> None:
    async def watch() -> None:
        async with arena.executor() as executor:
            script = """
            echo '{"progress": {"done": 1, "total": 2}}' >&3
            echo '{"metric": {"name": "rows", "value": 1}}' >&3
            sleep 600
            """
            launch = arena.launch(shell(script))
            await executor.start(launch)
            live = await eventually(
                lambda: (seen := executor.live(launch.execution_id)) and seen.metrics and seen
            )
            assert live.progress == (1, 2)
            assert live.metrics == {"rows": {"value": 1, "unit": ""}}
            await executor.stop(launch.execution_id, "cancelled")
            outcome = await next_end(executor)
            assert outcome.progress == (1, 2)

    within(watch())
