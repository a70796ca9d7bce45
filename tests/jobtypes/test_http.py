"""The `http` type against real servers on loopback: where it goes, and what it makes of answers."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execute.arena import ENVIRON, Arena
from jobreconciler.errors import Invalid, Transient
from jobreconciler.jobtypes.http_exchange import exchange
from jobreconciler.model.execution import Outcome
from jobtypes.webservers import (
    LOOPBACK,
    Web,
    call,
    certificate,
    drip,
    raw_server,
    silent,
    web_server,
)

TOKEN = 'tok"en-\\0123456789'


# --------------------------------------------------------------------------------------- answers


def test_the_request_is_sent_as_it_is_declared(web: Web) -> None:
    made = call(f"{web.root}/?a=b%20c#part", method="POST", headers={"X-One": "1"}, body=b"{}",
                content_type="application/json")  # fmt: skip
    answer = exchange(made)
    assert (answer.status, answer.body, answer.redirects) == (200, b"hello", 0)
    [asked] = web.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/?a=b%20c", b"{}")
    assert asked.host == f"127.0.0.1:{web.port}"
    assert asked.headers["x-one"] == "1"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"].startswith("jobreconciler/")


def test_a_header_of_one_s_own_takes_the_place_of_the_usual_one(web: Web) -> None:
    exchange(call(f"{web.root}/", headers={"user-agent": "mine", "ACCEPT": "text/plain"}))
    [asked] = web.asked
    assert (asked.headers["user-agent"], asked.headers["accept"]) == ("mine", "text/plain")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
def test_other_methods(web: Web, method: str) -> None:
    assert exchange(call(f"{web.root}/", method=method)).status == 200
    assert web.asked[0].method == method


def test_redirects_are_followed_up_to_their_bound(web: Web) -> None:
    answer = exchange(call(f"{web.root}/to?url=/to%3Furl%3D/"))
    assert (answer.status, answer.redirects, answer.body) == (200, 2, b"hello")
    with pytest.raises(Invalid, match="redirected more than 3 times"):
        exchange(call(f"{web.root}/loop", max_redirects=3))
    assert len(web.asked) == 3 + 4


@pytest.mark.parametrize("target", ["/nowhere", "/to?url=/"])
def test_a_redirect_that_leads_nowhere_or_may_not_be_followed_is_the_answer(
    web: Web, target: str
) -> None:
    most = 5 if target == "/nowhere" else 0
    assert exchange(call(f"{web.root}{target}", max_redirects=most)).status == 302


def test_a_redirect_that_is_expected_is_not_followed(web: Web) -> None:
    answer = exchange(call(f"{web.root}/to?url=/", expected=frozenset({302})))
    assert (answer.status, answer.redirects) == (302, 0)


@pytest.mark.parametrize(
    "target", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://u:p@127.0.0.1/"]
)
def test_a_redirect_to_anything_else_is_refused(web: Web, target: str) -> None:
    with pytest.raises(Invalid, match="no http:// or https:// address") as caught:
        exchange(call(f"{web.root}/to?url={target}"))
    assert caught.value.reason == "RedirectRefused"


def test_a_post_becomes_a_get_by_302_and_stays_one_by_307(web: Web) -> None:
    made = call("", method="POST", body=b"all", content_type="text/plain")
    exchange(replace(made, url=f"{web.root}/to?url=/"))
    exchange(replace(made, url=f"{web.root}/to307?url=/"))
    sent = [(each.method, each.body, each.headers.get("content-type")) for each in web.asked]
    assert sent[1] == ("GET", b"", None)
    assert sent[3] == ("POST", b"all", "text/plain")


def test_secrets_stay_with_the_host_they_are_for(web: Web) -> None:
    other = f"http://localhost:{web.port}"
    back = f"{other}/to?url={web.root}/"
    made = call(
        f"{web.root}/to?url=/to%3Furl%3D{back.replace('?', '%253F').replace('=', '%253D')}",
        headers={"X-Plain": "1", "Cookie": "session=1"},
        secret_headers={"X-Api-Key": "key", "Authorization": "Bearer token"},
    )
    assert exchange(made).status == 200
    told = [
        (each.host.partition(":")[0], "x-api-key" in each.headers, "authorization" in each.headers,
         "cookie" in each.headers, "x-plain" in each.headers)
        for each in web.asked
    ]  # fmt: skip
    assert told == [
        ("127.0.0.1", True, True, True, True),
        ("127.0.0.1", True, True, True, True),
        ("localhost", False, False, False, True),
        ("127.0.0.1", False, False, False, True),
    ]


def test_another_port_is_another_host(web: Web) -> None:
    with web_server() as second:
        made = call(f"{web.root}/to?url={second.root}/", secret_headers={"X-Api-Key": "key"})
        assert exchange(made).status == 200
        assert "x-api-key" not in second.asked[0].headers


@pytest.mark.parametrize("path", ["/big?n=2000", "/endless"])
def test_an_answer_that_is_too_large_is_a_failure(web: Web, path: str) -> None:
    with pytest.raises(Invalid, match="with more than 1 KiB") as caught:
        exchange(call(f"{web.root}{path}", most_bytes=1024))
    assert caught.value.reason == "ResponseTooLarge"
    assert len(exchange(call(f"{web.root}/big?n=1024", most_bytes=1024)).body) == 1024


STALLING = {
    "never answers": silent,
    "sends its status line letter by letter": drip(b"HTTP/1.1 200 ", b"O"),
    "sends headers for ever": drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "goes on with 100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "sends a byte of its body now and then": drip(
        b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"z"
    ),
}


@pytest.mark.parametrize("serve", STALLING.values(), ids=STALLING.keys())
def test_one_deadline_holds_for_a_server_that(serve: Any) -> None:
    with raw_server(serve) as root, pytest.raises(Transient) as caught:
        exchange(call(f"{root}/", total_timeout=0.5))
    assert caught.value.reason == "RequestTimeout"


BROKEN = {
    "speaks something else": (b"SSH-2.0-OpenSSH_9.2\r\n", "BadAnswer"),
    "ends at once": (b"", "BadAnswer"),
    "sends endless headers": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "BadAnswer"),
    "cuts its body short": (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nx", "BadAnswer"),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_a_server_is_not_believed_that(case: tuple[bytes, str]) -> None:
    said, reason = case

    def serve(line: socket.socket) -> None:
        line.recv(65_536)
        line.sendall(said)

    with raw_server(serve) as root, pytest.raises(Transient) as caught:
        exchange(call(f"{root}/"))
    assert caught.value.reason == reason


def test_a_port_where_nobody_listens() -> None:
    with pytest.raises(Transient, match="Connection refused") as caught:
        exchange(call("http://127.0.0.1:1/path?token=x"))
    assert caught.value.message == "http://127.0.0.1:1/path: Connection refused"


# ------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def localhost(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"), "localhost")


def test_a_certificate_is_checked_by_name_while_the_connection_goes_by_number(
    localhost: tuple[Path, ssl.SSLContext],
) -> None:
    authority, context = localhost
    names: list[str | None] = []
    context.sni_callback = lambda _line, name, _context: names.append(name)
    with web_server(context) as server:
        url = f"https://localhost:{server.port}/"
        assert exchange(call(url, ca_file=str(authority))).status == 200
        assert names == ["localhost"]
        with pytest.raises(Invalid, match="its certificate is refused: self-signed") as caught:
            exchange(call(url))
        assert caught.value.reason == "CertificateRefused"
        with pytest.raises(Invalid, match="its certificate is refused: IP address mismatch"):
            exchange(call(f"https://127.0.0.1:{server.port}/", ca_file=str(authority)))
        with pytest.raises(Invalid, match="from https to http"):
            exchange(call(f"{url}to?url=http://localhost:1/", ca_file=str(authority)))


def test_a_ca_file_that_is_none(web: Web) -> None:
    url = web.root.replace("http:", "https:")
    with pytest.raises(Invalid, match="/etc/hostname is no readable PEM file"):
        exchange(call(f"{url}/", ca_file="/etc/hostname"))


# ---------------------------------------------------------------------------- as a job, in a worker


def run(arena: Arena, url: Any, networks: tuple[str, ...] = LOOPBACK, **parameters: Any) -> Outcome:
    kw = {key: parameters.pop(key) for key in ("dry_run",) if key in parameters}
    environ = {**ENVIRON, "API_TOKEN": TOKEN, "HOOK_URL": "http://127.0.0.1:1/hook/s3cret-path"}
    outcome: Outcome = arena.once(
        {"url": url, **parameters}, job_type="http", environ=environ, networks=networks, **kw
    )
    return outcome


def test_an_expected_answer_is_a_success(arena: Arena, web: Web) -> None:
    parameters = {"method": "POST", "json": {"a": ["ü", None]}, "bearerToken": {"env": "API_TOKEN"}}
    outcome = run(arena, f"{web.root}/", **parameters)
    assert outcome.error is None
    assert outcome.result == {"status": 200, "bytes": 5, "redirects": 0, "dryRun": False}
    assert outcome.metrics["response_size"] == {"value": 5, "unit": "bytes"}
    assert set(outcome.metrics) == {"response_time", "response_size"}
    [asked] = web.asked
    assert asked.body == '{"a":["ü",null]}'.encode()
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


STATUSES = {
    "any 2xx will do": (204, {}, "succeeded", 0),
    "404 where nothing is said": (404, {}, "failed", 1),
    "404 where it is expected": (404, {"expectedStatus": 404}, "succeeded", 0),
    "one of a list": (410, {"expectedStatus": [404, 410]}, "succeeded", 0),
    "200 where another is expected": (200, {"expectedStatus": [201]}, "failed", 1),
    "503, which may pass": (503, {}, "failed", 75),
    "429, which may pass": (429, {}, "failed", 75),
}


@pytest.mark.parametrize("case", STATUSES.values(), ids=STATUSES.keys())
def test_a_status(arena: Arena, web: Web, case: tuple[int, dict[str, Any], str, int]) -> None:
    status, parameters, expected, code = case
    outcome = run(arena, f"{web.root}/status/{status}?q=1", **parameters)
    assert (outcome.status, outcome.exit_code) == (expected, code)
    if expected == "failed":
        assert outcome.error is not None
        assert outcome.error.startswith(f"{web.root}/status/{status} answered {status}, expected ")
        assert "because\ufffd[31m\n" in arena.output()


def test_a_secret_header_is_in_no_output_error_or_result_also_where_it_is_echoed(
    arena: Arena, web: Web
) -> None:
    outcome = run(
        arena,
        f"{web.root}/echo",
        headers={"X-Api-Key": {"env": "API_TOKEN"}},
        bearerToken={"env": "API_TOKEN"},
    )
    assert outcome.status == "failed"
    assert web.asked[0].headers["x-api-key"] == TOKEN
    everything = f"{outcome.error} {outcome.result} {arena.output()}"
    assert '"X-Api-Key": "***"' in everything
    assert TOKEN not in everything
    assert "en-" not in everything, "nor as JSON writes it"
    for path in arena.state_dir.rglob("*"):
        if path.is_file():
            assert TOKEN not in path.read_text()


def test_a_url_that_is_a_secret_is_called_by_its_reference(arena: Arena) -> None:
    outcome = run(arena, {"env": "HOOK_URL"})
    assert outcome.error == "the URL of {env: HOOK_URL}: Connection refused"
    assert "s3cret" not in arena.output()


def test_a_secret_that_no_header_can_carry_is_refused_without_being_shown(arena: Arena) -> None:
    environ = {**ENVIRON, "API_TOKEN": "abc\r\nX-Evil: 1"}
    parameters = {"url": "http://127.0.0.1:1/", "headers": {"X-Api-Key": {"env": "API_TOKEN"}}}
    outcome = arena.once(parameters, job_type="http", environ=environ, networks=LOOPBACK)
    assert outcome.error == (
        "the secret for the header X-Api-Key holds a line break or another character no header "
        "can carry"
    )
    assert "abc" not in arena.output()


def test_loopback_is_refused_unless_the_daemon_allows_it(arena: Arena, web: Web) -> None:
    outcome = run(arena, f"{web.root}/", networks=())
    assert outcome.error == (
        f"{web.root}/ leads to 127.0.0.1, a loopback address, which jobs may not reach"
    )
    assert "allow-http-networks" in arena.output()
    assert web.asked == []


def test_a_dry_run_judges_the_target_and_sends_nothing(arena: Arena, web: Web) -> None:
    outcome = run(arena, f"{web.root}/", method="POST", dry_run=True)
    assert outcome.result == {"status": None, "bytes": 0, "redirects": 0, "dryRun": True}
    assert web.asked == []
