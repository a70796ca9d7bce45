"""Who gets in, and what a request must look like."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from jobreconciler.observe.metrics import Metrics
from jobreconciler.store.store import SqlStore
from jobreconciler.web.app import create_app
from jobreconciler.web.auth import Access
from jobreconciler.web.guard import SECURITY_HEADERS
from samples import REVISION, config

from .daemon import Client, Daemon, declare


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token(store: SqlStore, role: str) -> dict[str, str]:
    return bearer(store.create_token(f"a {role}", role).result(timeout=60))


class TestOnLoopback:
    @pytest.mark.usefixtures("operator")
    def test_reading_is_open_while_only_the_first_token_exists(self, client: Client) -> None:
        assert client.get("/api/v1/jobs").status_code == 200

    def test_reading_needs_a_token_once_one_was_created(
        self, client: Client, store: SqlStore
    ) -> None:
        reader = token(store, "reader")
        for path in ("/api/v1/jobs", "/api/v1/status", "/metrics"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers=reader).status_code == 200, path

    def test_reading_is_open_again_when_that_token_is_revoked(
        self, client: Client, store: SqlStore
    ) -> None:
        token(store, "reader")
        assert store.revoke_token("a reader").result(timeout=60)
        assert client.get("/api/v1/jobs").status_code == 200

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/openapi.json"])
    def test_what_tells_nothing_about_jobs_is_always_open(
        self, client: Client, store: SqlStore, path: str
    ) -> None:
        token(store, "reader")
        assert client.get(path).status_code == 200

    def test_writing_without_a_token_is_told_where_one_lies(self, client: Client) -> None:
        answer = client.post("/api/v1/reconcile")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["reason"] == "TokenNeeded"
        assert "`token`" in problem["hint"]
        assert "state directory" in problem["hint"]

    def test_a_wrong_token_gets_nobody_in_not_even_to_read(self, client: Client) -> None:
        answer = client.get("/api/v1/jobs", headers=bearer("guess"))
        assert answer.status_code == 401
        assert answer.json()["reason"] == "UnknownToken"

    def test_a_revoked_token_is_a_wrong_one(self, client: Client, store: SqlStore) -> None:
        headers = token(store, "operator")
        assert client.post("/api/v1/reconcile", headers=headers).status_code == 200
        store.revoke_token("a operator").result(timeout=60)
        assert client.post("/api/v1/reconcile", headers=headers).status_code == 401

    @pytest.mark.parametrize(
        ("role", "status"), [("reader", 403), ("operator", 200), ("admin", 200)]
    )
    def test_writing_needs_an_operator(
        self, client: Client, store: SqlStore, role: str, status: int
    ) -> None:
        answer = client.post("/api/v1/reconcile", headers=token(store, role))
        assert answer.status_code == status

    @pytest.mark.parametrize("scheme", ["Basic", "bearer-ish", ""])
    def test_another_scheme_is_no_token(
        self, client: Client, operator: dict[str, str], scheme: str
    ) -> None:
        value = operator["Authorization"].replace("Bearer", scheme).strip()
        answer = client.post("/api/v1/reconcile", headers={"Authorization": value})
        assert answer.status_code == 401


class TestOffLoopback:
    @pytest.fixture
    def client(self, daemon: Daemon, metrics: Metrics, store: SqlStore) -> Client:
        return Client(create_app(daemon, metrics, Access(store, loopback=False)))

    def test_reading_always_needs_a_token(self, client: Client, store: SqlStore) -> None:
        assert client.get("/api/v1/jobs").status_code == 401
        assert client.get("/api/v1/jobs", headers=token(store, "reader")).status_code == 200

    def test_any_host_name_may_lead_here(self, client: Client) -> None:
        assert client.get("/healthz", headers={"Host": "jobs.example.org"}).status_code == 200


class TestHost:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1:8484", "localhost", "LOCALHOST:8484", "[::1]:8484", "127.8.9.10"]
    )
    def test_loopback_goes_by_these_names(self, client: Client, host: str) -> None:
        assert client.get("/healthz", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", "", "[::1", "@"],
    )
    def test_a_name_that_was_rebound_to_loopback_is_refused(
        self, client: Client, operator: dict[str, str], host: str
    ) -> None:
        answer = client.post("/api/v1/reconcile", headers={**operator, "Host": host})
        assert answer.status_code == 421
        assert answer.json()["reason"] == "UnknownHost"


class TestOrigin:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 200),
            ({"Origin": "http://127.0.0.1:8484"}, 200),
            ({"Origin": "http://127.0.0.1:8484", "Sec-Fetch-Site": "same-origin"}, 200),
            ({"Origin": "http://127.0.0.1:9999"}, 403),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://["}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
        ],
    )
    def test_only_its_own_pages_may_write(
        self, client: Client, operator: dict[str, str], headers: dict[str, str], status: int
    ) -> None:
        answer = client.post("/api/v1/reconcile", headers={**operator, **headers})
        assert answer.status_code == status

    def test_reading_is_left_to_the_browsers_own_rules(self, client: Client) -> None:
        answer = client.get("/api/v1/jobs", headers={"Origin": "https://evil.example"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


class TestAnswers:
    @pytest.mark.parametrize(
        "path", ["/", "/healthz", "/metrics", "/api/v1/jobs", "/api/v1/nowhere"]
    )
    def test_every_answer_carries_the_security_headers(self, client: Client, path: str) -> None:
        headers = client.get(path).headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "unsafe" not in headers["content-security-policy"]

    def test_a_refused_request_carries_them_too(self, client: Client) -> None:
        headers = client.get("/healthz", headers={"Host": "evil.example"}).headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS

    def test_a_secret_reference_is_shown_never_its_value(
        self, client: Client, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOME_TOKEN", "the value itself")
        declare(store, config("nightly"))
        bodies = [
            client.get(path).text
            for path in (
                "/api/v1/jobs/nightly",
                "/api/v1/status",
                "/api/v1/jobs/nightly/changelog",
                "/metrics",
            )
        ]
        assert '{"env":"SOME_TOKEN"}' in bodies[0]
        assert not any("the value itself" in body for body in bodies)


class TestProblems:
    @pytest.mark.parametrize(
        ("path", "status", "said"),
        [
            ("/api/v1/jobs/nobody", 404, "There is no job nobody"),
            ("/api/v1/jobs/nobody/executions", 404, "There is no job nobody"),
            ("/api/v1/jobs/nobody/changelog", 404, "There is no job nobody"),
            ("/api/v1/jobs/nobody/next", 404, "There is no job nobody"),
            ("/api/v1/status/nobody", 404, "There is no job nobody"),
            ("/api/v1/executions/0195", 404, "There is no execution 0195"),
            ("/api/v1/executions/0195/logs", 404, "There is no execution 0195"),
            ("/api/v1/nowhere", 404, "/api/v1/nowhere"),
            ("/api/v1/jobs?sort=luck", 422, "form this endpoint takes"),
            ("/api/v1/jobs?limit=0", 422, "form this endpoint takes"),
            ("/api/v1/jobs?cursor=made-up", 422, "cursor"),
            ("/api/v1/executions?status=fine", 422, "There is no status fine"),
            ("/api/v1/jobs/No_Such_Id", 422, "form this endpoint takes"),
        ],
    )
    def test_a_mistake_is_a_problem_document(
        self, client: Client, path: str, status: int, said: str
    ) -> None:
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["reason"]
        assert said in problem["detail"]

    def test_a_wrong_query_names_the_parameter(self, client: Client) -> None:
        (error,) = client.get("/api/v1/jobs?limit=0").json()["errors"]
        assert error["path"] == "query.limit"

    def test_a_wrong_method_says_which_are_right(self, client: Client) -> None:
        answer = client.send("DELETE", "/api/v1/jobs")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"
        assert answer.json()["reason"] == "MethodNotAllowed"

    def test_a_mistake_of_our_own_shows_no_traceback(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        daemon.hindrance = RuntimeError("internal detail")
        with capture_logs() as logged:
            answer = client.post("/api/v1/jobs/nightly/trigger", json={}, headers=operator)
        assert [line["exc_info"] for line in logged] == [daemon.hindrance]
        assert answer.status_code == 500
        assert answer.json()["reason"] == "InternalError"
        assert "internal detail" not in answer.text
        assert answer.headers["content-security-policy"]

    def test_a_request_that_the_server_gives_up_at_its_end_is_told_so(
        self, client: Client, daemon: Daemon, operator: dict[str, str]
    ) -> None:
        async def given_up() -> httpx.Response:
            begun = asyncio.Event()

            async def wait_for_ever() -> None:
                begun.set()
                await asyncio.Event().wait()

            daemon.before_trigger = wait_for_ever
            async with client.open() as http:
                path = "/api/v1/jobs/nightly/trigger"
                asked = asyncio.create_task(http.post(path, json={}, headers=operator))
                await begun.wait()
                asked.cancel()
                return await asked

        with capture_logs() as logged:
            answer = asyncio.run(given_up())
        assert (answer.status_code, answer.json()["reason"]) == (503, "Closing")
        assert logged == []

    @pytest.mark.parametrize("length", ["65537", "-1", "many", "0x10", "\u00b2", "9" * 5000])
    def test_a_body_that_is_too_long_is_not_read(
        self, client: Client, operator: dict[str, str], length: str
    ) -> None:
        headers = {**operator, "Content-Length": length.encode("latin-1")}
        answer = client.post("/api/v1/prune-approvals", headers=headers, content=b"{}")
        assert answer.status_code == 413

    def test_a_body_of_unknown_length_is_refused(
        self, client: Client, operator: dict[str, str]
    ) -> None:
        async def pieces():  # type: ignore[no-untyped-def]
            yield b'{"revision": "' + REVISION.encode() + b'"}'

        answer = client.post("/api/v1/prune-approvals", headers=operator, content=pieces())
        assert answer.status_code == 411
        hook = client.post("/hooks/jobs/nightly", content=pieces())
        assert hook.status_code == 411
