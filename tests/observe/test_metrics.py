from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobreconciler.model.change import RESULTS
from jobreconciler.model.views import JobStats
from jobreconciler.observe.metrics import Metrics
from jobreconciler.observe.per_job import PIECE, Stats
from jobreconciler.ports import Observer

AT = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
ODD = 'we"ird\\name\nwith everything ü'


def row(job_id: str, **changes: object) -> JobStats:
    made = JobStats(
        job_id=job_id,
        job_type="command",
        owner="team-a",
        enabled=True,
        schedule_on=True,
        generation=3,
        revision="c0ffee",
        last_run=1_773_480_000.5,
        last_success=1_773_480_000.0,
        last_status="succeeded",
        consecutive_failures=0,
    )
    return made._replace(**changes)


class Text:
    """What one scrape gave, parsed by prometheus-client's own parser."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.families = list(text_string_to_metric_families(raw))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"jobreconciler_{name}", tuple(sorted(labels.items()))))

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for each, labels in self.samples if each == f"jobreconciler_{name}"]


def scrape(
    metrics: Metrics,
    rows: Sequence[JobStats] | Stats = (),
    slots: Mapping[str, datetime] | None = None,
    now: datetime = AT,
) -> Text:
    async def collect() -> str:
        stats = rows if callable(rows) else stored(rows)
        pieces = [piece async for piece in metrics.render(stats, lambda: slots or {}, now)]
        return b"".join(pieces).decode()

    return Text(asyncio.run(collect()))


def stored(rows: Sequence[JobStats]) -> Stats:
    """These rows as a store gives them: all, or those that are asked for."""
    return lambda job_ids: [row for row in rows if job_ids is None or row.job_id in job_ids]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def report_everything(metrics: Observer) -> None:
    metrics.reconcile_finished("applied", 0.2)
    metrics.commit_applied(1.5)
    metrics.config_changed("created", 3)
    metrics.invalid_files(2)
    metrics.held_jobs(3)
    metrics.drift_healed(1)
    metrics.source_seen("c0ffee", AT)
    metrics.source_applied("c0ffee")
    metrics.git_operation("fetch", "ok")
    metrics.audit_head("abc123")
    metrics.execution_finished("nightly", "command", "succeeded", 12.5)
    metrics.execution_finished("nightly", "command", "timed_out", 99)
    metrics.slot_missed("nightly", 4)
    metrics.notification("slack", "delivered")
    metrics.slot_skipped("nightly", "overlap")
    metrics.lateness(0.02)
    metrics.loop_error("work")
    metrics.running(2)
    metrics.waiting(5)
    metrics.jobs_changed()


def test_every_result_of_a_pass_is_counted_from_zero(metrics: Metrics) -> None:
    text = scrape(metrics, [], {})
    assert {labels["result"] for labels in text.labels("reconcile_total")} == set(RESULTS)
    assert all(text.value("reconcile_total", result=result) == 0 for result in RESULTS)


def test_what_the_loops_report_is_shown(metrics: Metrics) -> None:
    report_everything(metrics)
    text = scrape(metrics, [row("nightly")], {"nightly": AT})
    expected = {
        ("reconcile_total", ("result", "applied")): 1,
        ("reconcile_duration_seconds_count",): 1,
        ("commit_to_applied_seconds_sum",): 1.5,
        ("config_changes_total", ("action", "created")): 3,
        ("config_invalid_files",): 2,
        ("jobs_held",): 3,
        ("drift_healed_total",): 1,
        ("source_info", ("revision", "c0ffee")): 1,
        ("source_last_success_timestamp_seconds",): AT.timestamp(),
        ("git_operations_total", ("operation", "fetch"), ("result", "ok")): 1,
        ("audit_head_info", ("hash", "abc123")): 1,
        ("execution_duration_seconds_count", ("job_type", "command")): 2,
        ("executions_running",): 2,
        ("executions_waiting",): 5,
        ("schedule_lateness_seconds_count",): 1,
        ("loop_errors_total", ("loop", "work")): 1,
        ("executions_total", ("job", "nightly"), ("status", "succeeded")): 1,
        ("executions_total", ("job", "nightly"), ("status", "timed_out")): 1,
        ("slots_missed_total", ("job", "nightly")): 4,
        ("slots_skipped_total", ("job", "nightly"), ("reason", "overlap")): 1,
        ("job_next_run_timestamp_seconds", ("job", "nightly")): AT.timestamp(),
        ("job_last_run_timestamp_seconds", ("job", "nightly")): 1_773_480_000.5,
        ("job_enabled", ("job", "nightly")): 1,
    }
    shown = {key: text.value(key[0], **dict(key[1:])) for key in expected}
    assert shown == expected


def test_the_program_and_its_process_are_described(metrics: Metrics) -> None:
    text = scrape(metrics)
    assert [each["version"] for each in text.labels("build_info")] == ["1.2.3"]
    assert text.samples[("process_resident_memory_bytes", ())] > 0


def test_only_the_newest_revision_and_audit_head_are_shown(metrics: Metrics) -> None:
    for revision in ("one", "two", "two"):
        metrics.source_applied(revision)
        metrics.audit_head(f"hash of {revision}")
    text = scrape(metrics)
    assert text.labels("source_info") == [{"revision": "two"}]
    assert text.labels("audit_head_info") == [{"hash": "hash of two"}]


def test_a_job_is_counted_from_zero_so_that_its_first_failure_is_an_increase(
    metrics: Metrics,
) -> None:
    text = scrape(metrics, [row("new", last_run=None, last_success=None)])
    assert text.value("executions_total", job="new", status="failed") == 0
    assert text.value("slots_missed_total", job="new") == 0
    assert text.value("job_last_run_timestamp_seconds", job="new") is None
    assert text.value("job_next_run_timestamp_seconds", job="new") is None


def test_any_label_survives_the_text_format(metrics: Metrics) -> None:
    text = scrape(metrics, [row("odd", job_type=ODD, owner=ODD)])
    (labels,) = text.labels("job_info")
    assert labels == {"job": "odd", "job_type": ODD, "owner": ODD}


def test_figures_are_read_again_only_after_something_changed(metrics: Metrics) -> None:
    reads = []

    def stats(_job_ids: Collection[str] | None) -> list[JobStats]:
        reads.append(1)
        return [row("nightly", consecutive_failures=len(reads))]

    values = []
    for change in (None, None, "changed", None):
        if change:
            metrics.jobs_changed()
        text = scrape(metrics, stats)
        values.append(text.value("job_consecutive_failures", job="nightly"))
    assert values == [1, 1, 2, 2]


def test_only_jobs_of_which_something_was_told_are_read_again(metrics: Metrics) -> None:
    asked = []

    def stats(job_ids: Collection[str] | None) -> Sequence[JobStats]:
        asked.append(None if job_ids is None else sorted(job_ids))
        failed = int(len(asked) > 1)
        return stored([row(name, consecutive_failures=failed) for name in "abcde"])(job_ids)

    scrape(metrics, stats)
    metrics.execution_finished("a", "command", "failed", 1.0)
    metrics.slot_missed("b", 2)
    metrics.slot_skipped("c", "overlap")
    metrics.jobs_changed(["d"])
    text = scrape(metrics, stats)
    assert asked == [None, ["a", "b", "c", "d"]]
    failures = [text.value("job_consecutive_failures", job=name) for name in "abcde"]
    assert failures == [1, 1, 1, 1, 0]
    assert text.value("executions_total", job="a", status="failed") == 1
    assert text.value("slots_missed_total", job="b") == 2
    assert text.value("slots_skipped_total", job="c", reason="overlap") == 1
    assert len(text.labels("job_info")) == 5


def test_a_job_that_is_no_longer_there_when_it_is_read_again_is_not_shown(
    metrics: Metrics,
) -> None:
    rows = [row("stays"), row("goes", late_after=0.0)]
    scrape(metrics, rows, {"goes": AT})
    metrics.execution_finished("goes", "command", "succeeded", 1.0)
    text = scrape(metrics, rows[:1], {"goes": AT})
    assert "goes" not in text.raw
    assert text.value("job_info", job="stays", job_type="command", owner="team-a") == 1


def test_a_job_gets_late_and_is_in_time_again(metrics: Metrics) -> None:
    at = AT.timestamp()
    shown = []
    for late_after, overrun_after, seconds in (
        (at + 5, None, 4),
        (at + 5, None, 6),
        (at + 9, at + 3, 6),
        (at + 9, None, 6),
        (None, None, 6),
    ):
        metrics.jobs_changed(["nightly"])
        rows = [row("nightly", late_after=late_after, overrun_after=overrun_after)]
        text = scrape(metrics, rows, now=AT + timedelta(seconds=seconds))
        names = ("job_late", "job_overrunning")
        shown.append(tuple(text.value(name, job="nightly") for name in names))
    assert shown == [(0, None), (1, None), (0, 1), (0, None), (None, None)]


def test_a_next_run_is_never_served_from_the_cache(metrics: Metrics) -> None:
    later = AT.replace(hour=12)
    for slot in (AT, later):
        text = scrape(metrics, [row("nightly")], {"nightly": slot})
        assert text.value("job_next_run_timestamp_seconds", job="nightly") == slot.timestamp()
    text = scrape(metrics, [row("nightly")], {})
    assert text.value("job_next_run_timestamp_seconds", job="nightly") is None


def test_a_deleted_job_takes_its_series_with_it(metrics: Metrics) -> None:
    report_everything(metrics)
    assert "nightly" in scrape(metrics, [row("nightly")]).raw
    metrics.jobs_changed()
    assert "nightly" not in scrape(metrics, [row("other")]).raw
    metrics.jobs_changed()
    again = scrape(metrics, [row("nightly")])
    assert again.value("executions_total", job="nightly", status="succeeded") == 0


def test_a_store_that_fails_leaves_the_loops_figures_and_the_last_known_jobs(
    metrics: Metrics,
) -> None:
    def broken(_job_ids: Collection[str] | None) -> list[JobStats]:
        raise RuntimeError("disk I/O error")

    scrape(metrics, [row("nightly")])
    metrics.running(7)
    metrics.jobs_changed()
    text = scrape(metrics, broken)
    assert text.value("executions_running") == 7
    assert text.value("job_enabled", job="nightly") == 1
    assert scrape(metrics, [row("nightly", enabled=False)]).value("job_enabled", job="nightly") == 0
    metrics.jobs_changed(["nightly"])
    scrape(metrics, broken)
    assert scrape(metrics, [row("nightly")]).value("job_enabled", job="nightly") == 1


def test_many_jobs_come_in_many_pieces_and_the_loop_turns_in_between(metrics: Metrics) -> None:
    rows = [row(f"job-{number}") for number in range(3 * PIECE)]

    async def collect() -> tuple[int, int, str]:
        turns = pieces = 0
        over = False

        async def turn() -> None:
            nonlocal turns
            while not over:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(turn())
        raw = []
        async for piece in metrics.render(stored(rows), dict, AT):
            pieces += 1
            raw.append(piece)
        over = True
        await other
        assert max(piece.count(b"\n") for piece in raw) <= 2 * PIECE + 2
        return turns, pieces, b"".join(raw).decode()

    turns, pieces, raw = asyncio.run(collect())
    assert turns >= pieces > 9 * 3
    text = Text(raw)
    assert len(text.labels("job_enabled")) == len(rows)
    names = [family.name for family in text.families]
    assert len(names) == len(set(names)), "every family is in one piece"


def test_http_requests_are_told_apart_by_route_not_by_path(metrics: Metrics) -> None:
    metrics.http_request("GET", "/api/v1/jobs/{job_id}", 200, 0.01)
    metrics.http_request("BREW", "none", 404, 0.01)
    text = scrape(metrics)
    route = "/api/v1/jobs/{job_id}"
    assert text.value("http_requests_total", method="GET", route=route, status="200") == 1
    assert text.value("http_requests_total", method="other", route="none", status="404") == 1
    assert text.value("http_request_duration_seconds_count", route=route) == 1


def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    if shutil.which("promtool") is None:
        if "promtool" in os.environ.get("JOBRECONCILER_TEST_REQUIRE", ""):
            pytest.fail("promtool is required here and not installed")
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    report_everything(metrics)
    metrics.http_request("GET", "/api/v1/jobs/{job_id}", 200, 0.01)
    metrics.slot_skipped("odd", ODD)
    rows = [row("nightly"), row("odd", job_type=ODD, owner=""), row("0", enabled=False)]
    raw = scrape(metrics, rows, {"nightly": AT}).raw
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=raw.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
