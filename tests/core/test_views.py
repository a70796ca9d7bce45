from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobreconciler.core import views
from jobreconciler.core.coming import coming_slots
from jobreconciler.model.change import ChangelogRow, FieldChange, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.execution import Trigger
from jobreconciler.model.views import Live, Page, SourceState
from samples import FAILED, HELD, MISSED, NOW, REVISION, SOURCE, execution, job

EXECUTION_KEYS = {
    "id",
    "jobId",
    "status",
    "trigger",
    "retryOf",
    "missed",
    "revision",
    "generation",
    "configDigest",
    "queuedAt",
    "notBefore",
    "startedAt",
    "finishedAt",
    "waitsFor",
    "exitCode",
    "signal",
    "error",
    "attempts",
    "progress",
    "metrics",
    "result",
    "dryRun",
}


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 3, 14, 9, 30, tzinfo=UTC), "2026-03-14T09:30:00Z"),
        (datetime(2026, 3, 14, 9, 30, 0, 5, tzinfo=UTC), "2026-03-14T09:30:00.000005Z"),
        (datetime(2026, 3, 14, 9, 30, tzinfo=timezone(timedelta(hours=2))), "2026-03-14T07:30:00Z"),
    ],
)
def test_an_instant_is_rfc_3339_in_utc(at: datetime, text: str) -> None:
    assert views.instant(at) == text
    assert datetime.fromisoformat(text) == at


def test_an_execution_shows_every_key_also_where_it_has_no_value() -> None:
    body = views.execution_json(execution("queued"))
    assert set(body) == EXECUTION_KEYS
    assert body["startedAt"] is None
    assert body["missed"] is None
    assert body["attempts"] == []
    assert sorted(body["trigger"]) == sorted(
        ["type", "slot", "actor", "reason", "deliveryId", "upstream", "parameters"]
    )


def test_a_running_execution_shows_what_it_reports_live() -> None:
    running = execution("running", progress=(1, 10), metrics={"rows": 1})
    assert views.execution_json(running)["progress"] == {"done": 1, "total": 10}
    live = views.execution_json(running, Live((7, 10), {"rows": 9}))
    assert live["progress"] == {"done": 7, "total": 10}
    assert live["metrics"] == {"rows": 9}
    assert views.execution_json(running, Live())["progress"] == {"done": 1, "total": 10}


def test_missed_slots_are_one_row_with_their_first_last_and_number() -> None:
    assert views.execution_json(MISSED)["missed"] == {
        "from": "2026-03-14T04:30:00Z",
        "to": "2026-03-14T08:30:00Z",
        "count": 5,
        "reason": "daemon_down",
    }


def test_parameters_of_a_trigger_are_shown_as_they_were_set() -> None:
    given = {"limits.batchSize": 5, "argv": ["a", "b"]}
    triggered = execution(trigger=Trigger("manual", actor="ada", parameters=given))
    assert views.execution_json(triggered)["trigger"]["parameters"] == given


def test_a_job_shows_its_conditions_its_last_execution_and_its_next_slot() -> None:
    body = views.job_json(job(conditions=(HELD,)), last_execution=FAILED, next_slot=NOW)
    assert body["jobId"] == "nightly"
    assert body["file"] == "jobs.d/nightly.yaml"
    assert body["conditions"] == [
        {
            "type": "Held",
            "status": "True",
            "reason": "InvalidFile",
            "message": "line 4: unknown key",
            "since": "2026-03-14T09:30:00Z",
        }
    ]
    assert body["lastExecution"]["exitCode"] == 3
    assert body["nextSlot"] == "2026-03-14T09:30:00Z"
    assert body["suspension"] is None
    json.dumps(body)


def test_a_change_shows_its_fields_and_its_place_in_the_chain() -> None:
    row = ChangelogRow(
        sequence=7,
        job_id="nightly",
        action="updated",
        generation=2,
        file="jobs.d/nightly.yaml",
        revision=REVISION,
        commits=(REVISION,),
        author={"name": "Ada"},
        committer={"name": "Ada"},
        message="Run it every hour",
        pull_request="#12",
        reviewers=("Grace",),
        signature=None,
        fields=(FieldChange("payload.schedule.cronExpression", "0 2 * * *", "0 * * * *"),),
        applied_at=NOW,
        actor="reconcile",
        instance="one",
        hash="h2",
        previous_hash="h1",
    )
    body = views.changes_json(Page((row,), "more"))
    assert body["nextCursor"] == "more"
    (change,) = body["changes"]
    assert change["fields"] == [
        {"path": "payload.schedule.cronExpression", "old": "0 2 * * *", "new": "0 * * * *"}
    ]
    assert (change["hash"], change["previousHash"]) == ("h2", "h1")
    assert change["pullRequest"] == "#12"


def test_a_reconcile_shows_its_summary_and_its_error() -> None:
    record = ReconcileRecord(REVISION, NOW, NOW, "failed", "poll", {"create": 1}, "gone")
    body = views.reconciles_json(Page((record,)))
    assert body["nextCursor"] is None
    assert body["reconciles"][0]["summary"] == {"create": 1}
    assert body["reconciles"][0]["error"] == "gone"


@pytest.mark.parametrize(
    ("situation", "source", "healthy"),
    [
        ("nothing was read yet", None, False),
        ("a revision is applied", SOURCE, True),
        ("no revision could be applied", replace(SOURCE, revision=None), False),
        ("the repository is out of reach", "SourceReady", False),
        ("somebody has to help", "Stalled", False),
        ("deletions wait for approval", "PruneBlocked", True),
    ],
)
def test_the_source_is_healthy_unless_something_is_wrong_with_it(
    situation: str, source: SourceState | str | None, healthy: bool
) -> None:
    if isinstance(source, str):
        status = "False" if source == "SourceReady" else "True"
        condition = Condition(source, status, "Why", situation, NOW)  # type: ignore[arg-type]
        source = replace(SOURCE, conditions=(condition,))
    assert views.source_json(source)["healthy"] is healthy


class TestComingSlots:
    """What `next` shows of a job whose clock is Berlin's, on the eve of summer time."""

    EVE = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)

    def payload(self, expression: str, **schedule: object) -> dict[str, object]:
        return {
            "isEnabled": True,
            "schedule": {
                "cronExpression": expression,
                "timezone": "Europe/Berlin",
                "isEnabled": True,
                **schedule,
            },
        }

    def test_each_slot_has_the_instant_and_the_wall_clock(self) -> None:
        found = coming_slots("a", self.payload("0 9 * * *"), self.EVE, 2)
        assert found == [
            {"utc": "2026-03-29T07:00:00Z", "local": "2026-03-29T09:00:00+02:00", "note": ""},
            {"utc": "2026-03-30T07:00:00Z", "local": "2026-03-30T09:00:00+02:00", "note": ""},
        ]

    def test_a_time_the_clock_passes_over_is_remarked_on(self) -> None:
        (found,) = coming_slots("a", self.payload("30 2 * * *"), self.EVE, 1)
        assert found["local"] == "2026-03-29T03:00:00+02:00"
        assert "02:30" in found["note"]

    def test_jitter_is_shown_beside_the_slot(self) -> None:
        (found,) = coming_slots("a", self.payload("0 9 * * *", jitterSeconds=600), self.EVE, 1)
        assert found["utc"] == "2026-03-29T07:00:00Z"
        assert found["note"].startswith("starts at 2026-03-29T07:0")

    @pytest.mark.parametrize(
        "payload",
        [
            {"isEnabled": True},
            {"isEnabled": True, "schedule": {"cronExpression": "@daily", "isEnabled": False}},
            {"isEnabled": False, "schedule": {"cronExpression": "@daily", "timezone": "UTC"}},
        ],
        ids=["no schedule", "schedule off", "job off"],
    )
    def test_nothing_comes_where_nothing_is_scheduled(self, payload: dict[str, object]) -> None:
        assert coming_slots("a", payload, self.EVE, 3) == []
