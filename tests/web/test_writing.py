"""What an operator does over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import pytest

from jobreconciler.errors import Invalid, JobReconcilerError, Refused, Stalled, Transient
from jobreconciler.model.execution import Execution
from jobreconciler.store.store import SqlStore
from samples import REVISION, config

from .daemon import Client, Daemon, FixedClock, declare, queued

TRIGGER = "/api/v1/jobs/nightly/trigger"


@pytest.fixture(autouse=True)
def nightly(store: SqlStore) -> None:
    declare(store, config("nightly"))


class TestTrigger:
    def test_a_job_is_queued_with_reason_and_actor(
        self, client: Client, operator: dict[str, str], store: SqlStore
    ) -> None:
        answer = client.post(
            TRIGGER,
            json={"reason": "late data", "dryRun": True, "parameters": {"a": 1}},
            headers={**operator, "X-JobReconciler-Actor": "ada"},
        )
        assert answer.status_code == 202
        execution = answer.json()
        assert execution["status"] == "queued"
        assert execution["trigger"]["type"] == "manual"
        assert execution["trigger"]["actor"] == "ada (operator)"
        assert execution["trigger"]["reason"] == "late data"
        assert execution["dryRun"] is True
        assert answer.headers["location"] == f"/api/v1/executions/{execution['id']}"
        assert client.get(answer.headers["location"]).json()["id"] == execution["id"]
        stored = store.execution(execution["id"])
        assert stored is not None
        assert stored.trigger.parameters == {"a": 1}

    def test_nobody_named_is_recorded_by_role(
        self, client: Client, operator: dict[str, str]
    ) -> None:
        answer = client.post(TRIGGER, json={}, headers=operator)
        assert answer.json()["trigger"]["actor"] == "operator"

    @pytest.mark.parametrize(
        "body",
        [
            {"reson": "typo"},
            {"dryRun": "perhaps"},
            {"reason": "x" * 501},
            {"parameters": []},
            [],
            None,
        ],
    )
    def test_a_body_of_another_form_is_refused(
        self, client: Client, daemon: Daemon, operator: dict[str, str], body: Any
    ) -> None:
        answer = client.post(TRIGGER, json=body, headers=operator)
        assert answer.status_code == 422
        assert answer.json()["errors"]
        assert daemon.triggered == 0

    def test_a_form_that_a_page_may_send_unasked_is_refused(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        headers = {**operator, "Content-Type": "text/plain"}
        assert client.post(TRIGGER, content=b"{}", headers=headers).status_code == 422
        assert daemon.triggered == 0

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (Invalid("the job is disabled", reason="JobDisabled", hint="enable it"), 422),
            (Refused("not yours"), 403),
            (Stalled("needs a person"), 409),
            (Transient("the store is busy", retry_after=1.2), 503),
            (JobReconcilerError("something else"), 500),
        ],
    )
    def test_what_hinders_it_is_said_as_it_is(
        self,
        client: Client,
        daemon: Daemon,
        operator: dict[str, str],
        error: JobReconcilerError,
        status: int,
    ) -> None:
        daemon.hindrance = error
        answer = client.post(TRIGGER, json={}, headers=operator)
        assert answer.status_code == status
        problem = answer.json()
        assert problem["detail"] == error.message
        assert problem["reason"] == error.reason
        assert problem.get("hint", "") == error.hint
        assert answer.headers.get("retry-after") == ("2" if status == 503 else None)

    def test_a_job_that_is_not_there_is_not_found(
        self, client: Client, operator: dict[str, str]
    ) -> None:
        answer = client.post("/api/v1/jobs/nobody/trigger", json={}, headers=operator)
        assert answer.status_code == 404


class TestIdempotencyKey:
    def send(
        self, client: Client, operator: dict[str, str], key: str, **body: Any
    ) -> httpx.Response:
        return client.post(TRIGGER, json=body, headers={**operator, "Idempotency-Key": key})

    def test_the_same_request_again_gives_the_same_execution(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        answers = [self.send(client, operator, "k1", reason="late") for _ in range(3)]
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert daemon.triggered == 1

    def test_another_key_starts_another(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        for key in ("k1", "k2"):
            self.send(client, operator, key)
        assert daemon.triggered == 2

    def test_a_key_that_comes_with_another_request_is_refused(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        self.send(client, operator, "k1", reason="late")
        answer = self.send(client, operator, "k1", reason="early")
        assert (answer.status_code, answer.json()["reason"]) == (422, "KeyReused")
        assert daemon.triggered == 1

    def test_a_request_that_failed_may_be_sent_again(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        daemon.hindrance = Transient("busy")
        assert self.send(client, operator, "k1").status_code == 503
        daemon.hindrance = None
        assert self.send(client, operator, "k1").status_code == 202

    def test_a_key_is_forgotten_after_a_day(
        self, client: Client, daemon: Daemon, operator: dict[str, str], clock: FixedClock
    ) -> None:
        self.send(client, operator, "k1")
        clock.seconds = 24 * 3600 - 1
        self.send(client, operator, "k1")
        assert daemon.triggered == 1
        clock.seconds = 24 * 3600 + 1
        self.send(client, operator, "k1")
        assert daemon.triggered == 2

    def test_two_at_once_start_one(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        async def both() -> list[httpx.Response]:
            may_go = asyncio.Event()
            daemon.before_trigger = may_go.wait  # type: ignore[assignment]
            headers = {**operator, "Idempotency-Key": "k1"}
            async with client.open() as http:
                sent = [
                    asyncio.create_task(http.post(TRIGGER, json={}, headers=headers))
                    for _ in range(2)
                ]
                await asyncio.sleep(0.2)
                may_go.set()
                return list(await asyncio.gather(*sent))

        answers = asyncio.run(both())
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert daemon.triggered == 1


class Watched(tuple[Execution, ...]):
    """Notes which threads look at all of them."""

    threads: ClassVar[list[int]] = []

    def __iter__(self) -> Iterator[Execution]:
        self.threads.append(threading.get_ident())
        return super().__iter__()


def test_a_long_backfill_is_put_in_words_beside_the_event_loop(
    client: Client, daemon: Daemon, operator: dict[str, str]
) -> None:
    daemon.backfilled = Watched(queued("nightly", number) for number in range(3))
    span = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}
    answer = client.post("/api/v1/jobs/nightly/backfill", json=span, headers=operator)
    assert answer.status_code == 202
    assert [each["id"] for each in answer.json()["executions"]] == [
        each.id for each in daemon.backfilled
    ]
    assert Watched.threads[0] != threading.get_ident()


def test_history_is_forgotten_on_request(
    client: Client, daemon: Daemon, operator: dict[str, str]
) -> None:
    answer = client.post("/api/v1/gc", json={"dryRun": True}, headers=operator)
    assert (answer.status_code, answer.json()["dryRun"]) == (200, True)
    assert client.post("/api/v1/gc", json={"keep": 0}, headers=operator).status_code == 422
    assert client.post("/api/v1/gc", json={}).status_code == 401
    assert daemon.calls == [("forget", "operator", "True")]


def test_a_reconcile_is_answered_with_its_record(
    client: Client, daemon: Daemon, operator: dict[str, str]
) -> None:
    answer = client.post("/api/v1/reconcile", json={}, headers=operator)
    assert answer.json() == {"revision": REVISION, "result": "unchanged"}
    assert daemon.calls == [("reconcile", "operator")]


def test_a_prune_is_approved_for_one_revision(
    client: Client, operator: dict[str, str], store: SqlStore
) -> None:
    path = "/api/v1/prune-approvals"
    answer = client.post(path, json={"revision": REVISION}, headers=operator)
    assert answer.status_code == 201
    assert answer.json() == {"revision": REVISION, "approvedBy": "operator"}
    assert store.approved(REVISION)
    assert not store.approved("0" * 40)


@pytest.mark.parametrize("revision", ["", "c0ffee", "main", "g" * 40, REVISION.upper()])
def test_only_a_whole_commit_id_is_approved(
    client: Client, operator: dict[str, str], revision: str
) -> None:
    path = "/api/v1/prune-approvals"
    answer = client.post(path, json={"revision": revision}, headers=operator)
    assert answer.status_code == 422
