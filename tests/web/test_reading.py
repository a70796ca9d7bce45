"""What anybody may read of a daemon on loopback."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jobreconciler.core.catalog import catalog, render_tree_schema
from jobreconciler.model.execution import Attempt, Missed, Outcome, Trigger
from jobreconciler.model.views import Live
from jobreconciler.store.store import SqlStore
from samples import NOW, REVISION, config
from store.made import begin, end

from .daemon import Client, Daemon, FixedClock, declare, queued

TREE = Draft202012Validator(render_tree_schema())


def run(store: SqlStore, job_id: str, number: int, status: str = "succeeded", **out: Any) -> str:
    """One execution of the job, taken through the store to its end."""
    made = queued(job_id, number)
    assert store.release(made, config(job_id)).result(timeout=60)
    started = NOW + timedelta(seconds=number)
    assert begin(store, made.id, Attempt(1, started))
    outcome = Outcome(status, started + timedelta(seconds=42), **out)  # type: ignore[arg-type]
    assert end(store, made.id, 1, outcome)
    return made.id


def start(store: SqlStore, job_id: str, number: int) -> str:
    made = queued(job_id, number)
    store.release(made, config(job_id)).result(timeout=60)
    begin(store, made.id, Attempt(1, NOW))
    return made.id


class TestDaemon:
    def test_it_lives_and_says_so_without_a_token(self, client: Client) -> None:
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    @pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
    def test_it_says_whether_it_can_work_and_why_not(
        self, client: Client, daemon: Daemon, ready: bool, status: int
    ) -> None:
        daemon.readiness = (ready, "reconciling for the first time")
        answer = client.get("/readyz")
        assert answer.status_code == status
        assert answer.json() == {"ready": ready, "message": "reconciling for the first time"}

    def test_its_first_page_is_plain_links(self, client: Client) -> None:
        answer = client.get("/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert '<a href="/api/v1/status">' in answer.text
        assert "<script" not in answer.text

    def test_the_description_names_every_endpoint_and_what_it_needs(self, client: Client) -> None:
        described = client.get("/openapi.json").json()
        assert described["info"]["title"] == "jobreconciler"
        assert {
            "/healthz",
            "/readyz",
            "/metrics",
            "/api/v1/status",
            "/api/v1/status/{job_id}",
            "/api/v1/catalog",
            "/api/v1/jobs",
            "/api/v1/jobs/{job_id}",
            "/api/v1/jobs/{job_id}/executions",
            "/api/v1/jobs/{job_id}/changelog",
            "/api/v1/jobs/{job_id}/next",
            "/api/v1/jobs/{job_id}/trigger",
            "/api/v1/jobs/{job_id}/backfill",
            "/api/v1/executions/{execution_id}/cancel",
            "/api/v1/executions/{execution_id}/retry",
            "/hooks/jobs/{job_id}",
            "/api/v1/executions",
            "/api/v1/executions/{execution_id}",
            "/api/v1/executions/{execution_id}/logs",
            "/api/v1/reconciles",
            "/api/v1/changelog",
            "/api/v1/reconcile",
            "/api/v1/gc",
            "/api/v1/prune-approvals",
            "/api/v1/suspensions",
            "/api/v1/suspensions/lift",
            "/api/v1/jobs/{job_id}/suspend",
            "/api/v1/jobs/{job_id}/resume",
            "/api/v1/pause",
            "/api/v1/unpause",
        } == set(described["paths"])
        assert described["paths"]["/api/v1/reconcile"]["post"]["security"]

    def test_its_figures_are_prometheus_text(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("nightly"))
        daemon.slots["nightly"] = NOW
        client.get("/api/v1/jobs/nightly")
        client.get("/api/v1/nowhere")
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.text.splitlines()
        assert 'jobreconciler_job_enabled{job="nightly"} 1' in lines
        assert (
            f'jobreconciler_job_next_run_timestamp_seconds{{job="nightly"}} {1773480600}' in lines
        )
        labels = 'method="GET",route="/api/v1/jobs/{job_id}",status="200"'
        assert f"jobreconciler_http_requests_total{{{labels}}} 1.0" in lines
        assert "/api/v1/nowhere" not in answer.text


class TestStatus:
    @pytest.mark.parametrize("path", ["jobs", "status"])
    def test_sorted_by_next_the_job_that_runs_next_comes_first(
        self, client: Client, daemon: Daemon, store: SqlStore, path: str
    ) -> None:
        declare(store, config("a"), config("b"), config("c"))
        daemon.slots = {"b": NOW + timedelta(hours=2), "c": NOW + timedelta(hours=1)}
        found, query = [], "?sort=next&limit=2"
        while query:
            page = client.get(f"/api/v1/{path}{query}").json()
            page = page.get("state", page)
            found += [job["jobId"] for job in page["jobs"]]
            cursor = page.get("nextCursor") or page.get("page", {}).get("nextCursor")
            query = f"?sort=next&limit=2&cursor={cursor}" if cursor else ""
        assert found == ["c", "b", "a"]

    def test_an_empty_fleet_is_a_valid_tree(self, client: Client) -> None:
        tree = client.get("/api/v1/status").json()
        TREE.validate(tree)
        assert tree["state"]["jobs"] == []
        assert tree["state"]["fleet"]["counts"]["jobs"] == 0
        assert tree["state"]["fleet"]["source"]["healthy"] is False

    def test_a_fleet_shows_what_became_of_each_job(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("busy"), config("fine"), config("new"), config("sad"))
        run(store, "fine", 1, progress=(10, 10))
        run(store, "sad", 2, "failed", exit_code=3, error="disk full")
        busy = start(store, "busy", 3)
        daemon.spool.reports[busy] = Live((1, 4), {"rows": 9})
        daemon.slots = {"fine": NOW + timedelta(hours=1)}
        tree = client.get("/api/v1/status").json()
        TREE.validate(tree)
        cards = {card["jobId"]: card for card in tree["state"]["jobs"]}
        assert {job_id: card.get("lastRun", {}).get("phase") for job_id, card in cards.items()} == {
            "busy": "running",
            "fine": "complete",
            "new": None,
            "sad": "failed",
        }
        assert cards["busy"]["progress"]["percentage"] == 25.0
        assert cards["fine"]["nextRun"]["at"] == "2026-03-14T10:30:00Z"
        assert cards["sad"]["failure"]["error"] == "disk full"
        assert cards["sad"]["consecutiveFailures"] == 1
        assert tree["state"]["fleet"]["counts"]["running"] == 1
        assert tree["state"]["fleet"]["source"]["revision"] == REVISION

    def test_a_job_that_skipped_a_slot_still_shows_its_last_run(
        self, client: Client, store: SqlStore
    ) -> None:
        declare(store, config("nightly"))
        ran = run(store, "nightly", 1)
        missed = Missed(NOW, NOW + timedelta(hours=1), 2, "daemon_down")
        slots = Trigger("schedule", slot=NOW + timedelta(hours=1))
        row = queued("nightly", 2, status="missed", missed=missed, trigger=slots)
        assert store.release(row, config("nightly")).result(timeout=60)
        tree = client.get("/api/v1/status/nightly").json()
        TREE.validate(tree)
        assert tree["state"]["job"]["lastRun"]["executionId"] == ran
        newest = tree["state"]["executions"][0]
        assert (newest["status"], newest["level"]) == ("missed", "warn")
        assert newest["message"].startswith("missed: 2 slots")

    def test_a_running_job_shows_the_last_lines_it_printed(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("busy"))
        busy = start(store, "busy", 1)
        assert client.get("/api/v1/status/busy").json()["state"]["job"]["log"] == []
        printed = b"".join(b"line %d\n" % number for number in range(25))
        path = daemon.spool.write(busy, 1, printed + "caf\xe9 \u00e9\n".encode("latin-1"))
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        tree = client.get("/api/v1/status/busy").json()
        TREE.validate(tree)
        log = tree["state"]["job"]["log"]
        assert [line["message"] for line in log] == [
            *(f"line {number}" for number in range(6, 25)),
            "caf\ufffd \ufffd",
        ]
        assert {(line["timestamp"], line["level"]) for line in log} == {
            ("2026-03-14T09:30:00Z", "info")
        }

    def test_a_job_that_has_ended_shows_its_history_alone(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("nightly"))
        daemon.spool.write(run(store, "nightly", 1), 1, b"done\n")
        assert client.get("/api/v1/status/nightly").json()["state"]["job"]["log"] == []

    def test_a_fleet_comes_in_pages_and_takes_the_filters_of_jobs(
        self, client: Client, store: SqlStore
    ) -> None:
        declare(store, *(config(f"job-{number}") for number in range(5)))
        first = client.get("/api/v1/status?limit=2").json()["state"]
        assert [card["jobId"] for card in first["jobs"]] == ["job-0", "job-1"]
        cursor = first["page"]["nextCursor"]
        second = client.get(f"/api/v1/status?limit=3&cursor={cursor}").json()["state"]
        assert [card["jobId"] for card in second["jobs"]] == ["job-2", "job-3", "job-4"]
        assert second["page"] == {}
        found = client.get("/api/v1/status?q=job-4").json()["state"]["jobs"]
        assert [card["jobId"] for card in found] == ["job-4"]

    def test_the_catalog_is_the_one_trees_are_checked_against(self, client: Client) -> None:
        assert client.get("/api/v1/catalog").json() == json.loads(json.dumps(catalog()))


class TestJobs:
    def test_a_job_is_shown_with_config_last_execution_and_next_slot(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("nightly"))
        ran = run(store, "nightly", 1)
        daemon.slots["nightly"] = NOW
        job = client.get("/api/v1/jobs/nightly").json()
        assert job["config"] == config("nightly")
        assert job["lastExecution"]["id"] == ran
        assert job["lastExecution"]["attempts"][0]["number"] == 1
        assert job["nextSlot"] == "2026-03-14T09:30:00Z"
        listed = client.get("/api/v1/jobs").json()
        assert listed == {"jobs": [job], "nextCursor": None}

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["off", "on", "other"]),
            ("state=enabled", ["on", "other"]),
            ("state=disabled", ["off"]),
            ("type=python", ["other"]),
            ("tag=batch&limit=1", ["off"]),
            ("owner=nobody", []),
            ("trigger=schedule&q=ON", ["on"]),
        ],
    )
    def test_jobs_are_filtered(
        self, client: Client, store: SqlStore, query: str, found: list[str]
    ) -> None:
        plain = {"title": None, "owner": "team-a", "tags": ["batch"]}
        bodies = [
            config("on"),
            config("off", isEnabled=False),
            config("other", jobType="python"),
        ]
        for body in bodies:
            body["meta"].update(plain)
            del body["meta"]["title"]
        declare(store, *bodies)
        listed = client.get(f"/api/v1/jobs?{query}").json()["jobs"]
        assert [job["jobId"] for job in listed] == found

    def test_a_jobs_executions_and_changes_are_its_own(
        self, client: Client, store: SqlStore
    ) -> None:
        declare(store, config("nightly"), config("other"))
        mine, _ = run(store, "nightly", 1), run(store, "other", 2)
        executions = client.get("/api/v1/jobs/nightly/executions").json()["executions"]
        assert [each["id"] for each in executions] == [mine]
        (change,) = client.get("/api/v1/jobs/nightly/changelog").json()["changes"]
        assert (change["jobId"], change["action"]) == ("nightly", "created")
        assert change["pullRequest"] == "#12"
        assert change["author"]["name"] == "Ada"

    def test_coming_slots_are_as_the_command_line_shows_them(
        self, client: Client, store: SqlStore
    ) -> None:
        declare(store, config("nightly"))
        coming = client.get("/api/v1/jobs/nightly/next?n=2").json()
        assert coming == {
            "jobs": [
                {
                    "jobId": "nightly",
                    "slots": [
                        {
                            "utc": "2026-03-14T10:00:00Z",
                            "local": "2026-03-14T11:00:00+01:00",
                            "note": "",
                        },
                        {
                            "utc": "2026-03-14T11:00:00Z",
                            "local": "2026-03-14T12:00:00+01:00",
                            "note": "",
                        },
                    ],
                }
            ]
        }


class TestHistory:
    def test_executions_of_all_jobs_come_newest_first_in_pages(
        self, client: Client, store: SqlStore
    ) -> None:
        declare(store, config("a"), config("b"))
        ids = [run(store, "a" if number % 2 else "b", number) for number in range(5)]
        seen: list[str] = []
        query = "?limit=2"
        while True:
            page = client.get(f"/api/v1/executions{query}").json()
            seen += [each["id"] for each in page["executions"]]
            if page["nextCursor"] is None:
                break
            query = f"?limit=2&cursor={page['nextCursor']}"
        assert seen == list(reversed(ids))

    def test_executions_are_filtered_by_status(self, client: Client, store: SqlStore) -> None:
        declare(store, config("a"))
        failed, _ = run(store, "a", 1, "failed"), run(store, "a", 2)
        lost = run(store, "a", 3, "lost")
        page = client.get("/api/v1/executions?status=failed&status=lost").json()
        assert [each["id"] for each in page["executions"]] == [lost, failed]

    def test_a_running_execution_shows_live_figures(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("a"))
        started = start(store, "a", 1)
        daemon.spool.reports[started] = Live((7, 10), {"rows": 70})
        execution = client.get(f"/api/v1/executions/{started}").json()
        assert execution["progress"] == {"done": 7, "total": 10}
        assert execution["metrics"] == {"rows": 70}
        for path in ("executions", "jobs/a/executions"):
            assert client.get(f"/api/v1/{path}").json()["executions"] == [execution]
        assert client.get("/api/v1/jobs/a").json()["lastExecution"] == execution

    def test_a_waiting_execution_says_what_for(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("a"))
        made = queued("a", 1)
        store.release(made, config("a")).result(timeout=60)
        daemon.waiting[made.id] = "its group db, 1 at once"
        execution = client.get(f"/api/v1/executions/{made.id}").json()
        assert execution["waitsFor"] == "its group db, 1 at once"
        assert client.get("/api/v1/jobs/a/executions").json()["executions"] == [execution]
        assert client.get("/api/v1/jobs/a").json()["lastExecution"] == execution

    def test_figures_json_has_no_word_for_become_null(
        self, client: Client, daemon: Daemon, store: SqlStore
    ) -> None:
        declare(store, config("a"))
        started = start(store, "a", 1)
        daemon.spool.reports[started] = Live(None, {"rate": float("nan"), "rows": 1.5})
        execution = client.get(f"/api/v1/executions/{started}").json()
        assert execution["metrics"] == {"rate": None, "rows": 1.5}

    def test_reconciles_and_the_changelog_of_all_jobs(
        self, client: Client, store: SqlStore
    ) -> None:
        declare(store, config("a"), config("b"))
        (reconcile,) = client.get("/api/v1/reconciles").json()["reconciles"]
        assert (reconcile["revision"], reconcile["result"]) == (REVISION, "applied")
        changes = client.get("/api/v1/changelog").json()["changes"]
        assert {change["jobId"] for change in changes} == {"a", "b"}


class TestETag:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/status",
            "/api/v1/jobs",
            "/api/v1/catalog",
            "/openapi.json",
            "/api/v1/executions",
        ],
    )
    def test_what_a_client_has_already_is_not_sent_again(self, client: Client, path: str) -> None:
        etag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag

    def test_time_alone_changes_nothing(
        self, client: Client, clock: FixedClock, store: SqlStore
    ) -> None:
        declare(store, config("nightly"))
        etag = client.get("/api/v1/status").headers["etag"]
        clock.at += timedelta(minutes=5)
        again = client.get("/api/v1/status", headers={"If-None-Match": etag})
        assert again.status_code == 304

    def test_a_change_is_sent(self, client: Client, store: SqlStore) -> None:
        declare(store, config("nightly"))
        etag = client.get("/api/v1/status").headers["etag"]
        run(store, "nightly", 1)
        again = client.get("/api/v1/status", headers={"If-None-Match": etag})
        assert again.status_code == 200
        assert again.headers["etag"] != etag
