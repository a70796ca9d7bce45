"""The `http` type against real servers on loopback: where it goes, and what it makes of answers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from execute.arena import ENVIRON, Arena
from jobreconciler.errors import Invalid, Transient
from jobreconciler.jobtypes.http_exchange import Call, exchange, look
from jobreconciler.jobtypes.http_targets import refusal
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.execution import Outcome
from jobreconciler.schema import parameters_schema
from jobtypes.webservers import Web, certificate, drip, raw_server, silent, web_server

LOOPBACK = ("127.0.0.0/8",)
TOKEN = 'tok"en-\\0123456789'


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


def call(url: str, **changed: Any) -> Call:
    made = Call(
        method="GET", url=url, named=None, headers={}, secret_headers={}, body=None,
        content_type="", expected=frozenset(), max_redirects=5, connect_timeout=10,
        total_timeout=30, most_bytes=65_536, ca_file=None, networks=LOOPBACK,
    )  # fmt: skip
    return replace(made, **changed)


# --------------------------------------------------------------------------------------- targets

REFUSED_ADDRESSES = {
    "loopback": ("127.0.0.1", "a loopback address, which jobs may not reach"),
    "loopback by another number": ("127.8.9.10", "a loopback address, which jobs may not reach"),
    "IPv6 loopback": ("::1", "a loopback address, which jobs may not reach"),
    "loopback mapped into IPv6": (
        "::ffff:127.0.0.1",
        "a loopback address, which jobs may not reach",
    ),
    "loopback behind NAT64": ("64:ff9b::7f00:1", "a loopback address, which jobs may not reach"),
    "a private address": ("10.1.2.3", "a private address, which jobs may not reach"),
    "a private address of the middle block": (
        "172.31.255.255",
        "a private address, which jobs may not reach",
    ),
    "a home network": ("192.168.0.1", "a private address, which jobs may not reach"),
    "a carrier's network": ("100.64.0.1", "a private address, which jobs may not reach"),
    "a private address mapped": ("::ffff:10.0.0.1", "a private address, which jobs may not reach"),
    "a private address behind NAT64": (
        "64:ff9b::a00:1",
        "a private address, which jobs may not reach",
    ),
    "a unique local address": ("fd12::1", "a private address, which jobs may not reach"),
    "NAT64 of one's own": ("64:ff9b:1::1", "a reserved address, which jobs may not reach"),
    "a documentation address": ("192.0.2.1", "a reserved address, which jobs may not reach"),
    "a benchmark's network": ("198.19.0.1", "a reserved address, which jobs may not reach"),
    "the block of the future": ("250.0.0.1", "a reserved address, which jobs may not reach"),
    "6to4": ("2002:a00:1::1", "a reserved address, which jobs may not reach"),
    "a block nobody was given": ("4000::1", "a reserved address, which jobs may not reach"),
    "a site-local address": ("fec0::1", "a reserved address, which jobs may not reach"),
    "link-local": ("169.254.169.254", "a link-local address, which no job may reach"),
    "IPv6 link-local": ("fe80::1%eth0", "a link-local address, which no job may reach"),
    "link-local mapped": ("::ffff:169.254.1.1", "a link-local address, which no job may reach"),
    "link-local behind NAT64": (
        "64:ff9b::a9fe:a9fe",
        "a link-local address, which no job may reach",
    ),
    "link-local as IPv6 used to be written": (
        "::169.254.169.254",
        "a link-local address, which no job may reach",
    ),
    "link-local in 6to4": ("2002:a9fe:a9fe::", "a link-local address, which no job may reach"),
    "a cloud's metadata over IPv6": (
        "fd00:ec2::254",
        "a cloud's metadata service, which no job may reach",
    ),
    "this machine": ("0.0.0.0", "an address of no machine, which no job may reach"),
    "this machine over IPv6": ("::", "an address of no machine, which no job may reach"),
    "multicast": ("224.0.0.1", "a multicast address, which no job may reach"),
    "broadcast": ("255.255.255.255", "a broadcast address, which no job may reach"),
}


@pytest.mark.parametrize("case", REFUSED_ADDRESSES.values(), ids=REFUSED_ADDRESSES.keys())
def test_a_job_may_not_reach(case: tuple[str, str]) -> None:
    address, why = case
    assert refusal(address, ()) == why


@pytest.mark.parametrize(
    "address", ["9.9.9.9", "2606:4700::1", "::ffff:9.9.9.9", "64:ff9b::909:909"]
)
def test_a_job_may_reach_the_internet(address: str) -> None:
    assert refusal(address, ()) is None


def test_allowed_networks_open_what_is_private_and_nothing_that_is_link_local() -> None:
    networks = ("10.0.0.0/8", "169.254.0.0/16", "fe80::/10", "0.0.0.0/0", "::/0")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "fd12::1"):
        assert refusal(address, networks) is None
    for address in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254"):
        assert refusal(address, networks) is not None
    assert refusal("10.1.2.3", ("10.1.0.0/16",)) is None
    assert refusal("10.2.2.3", ("10.1.0.0/16",)) is not None


SPELLINGS = [
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "017700000001", "127.1", "0177.0.0.1",
    "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "0", "LOCALHOST", "127.0.0.1.",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_this_machine_is_refused_however_it_is_spelt(web: Web, host: str) -> None:
    with pytest.raises(Invalid) as caught:
        exchange(call(f"http://{host}:{web.port}/", networks=()))
    assert caught.value.reason in ("TargetRefused", "HostUnknown")
    assert web.asked == []


def test_a_redirect_is_judged_like_any_other_target(web: Web) -> None:
    for target in ("http://169.254.169.254/latest/", "//169.254.169.254/", "http://2852039166/"):
        with pytest.raises(Invalid, match=r"169\.254\.169\.254, a link-local address"):
            exchange(call(f"{web.root}/to?url={target}", networks=("0.0.0.0/0",)))
    with pytest.raises(Invalid, match=r"10\.0\.0\.1, a private address") as caught:
        exchange(call(f"{web.root}/to?url=http://10.0.0.1/?token=x"))
    assert "token" not in caught.value.message


def test_the_connection_goes_to_the_address_that_was_judged(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing here can make a real name server change its mind between two questions.
    answers = [("127.0.0.1", web.port), ("127.0.0.2", 1)]
    asked = []

    def once(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers[len(asked) - 1])]

    monkeypatch.setattr(socket, "getaddrinfo", once)
    assert exchange(call("http://rebinding.example/")).status == 200
    assert asked == ["rebinding.example"]
    assert web.asked[0].host == "rebinding.example"


def test_of_a_name_s_addresses_only_those_that_are_allowed_are_tried(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [("10.0.0.1", web.port), ("127.0.0.1", web.port)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in both]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert exchange(call("http://two.example/")).status == 200
    assert look(call("http://two.example/")) == ["127.0.0.1"]


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


# ------------------------------------------------------------------------------------- parameters

ACCEPTED: dict[str, dict[str, Any]] = {
    "a URL": {"url": "https://example.org"},
    "a port, a path and a query": {"url": "http://a.example:8080/b/c?d=e&f=%20#g"},
    "an IPv6 address": {"url": "http://[2001:db8::1]:80/"},
    "a URL that is a secret": {"url": {"file": "hook"}},
    "headers of both kinds": {"url": "http://a/", "headers": {"A": "b", "C": {"env": "D"}}},
    "a text": {"url": "http://a/", "body": "x"},
    "a value": {"url": "http://a/", "json": [1, {"a": None}]},
    "false as a value": {"url": "http://a/", "json": False},
    "one status": {"url": "http://a/", "expectedStatus": 204},
    "several": {"url": "http://a/", "expectedStatus": [200, 302]},
    "no redirects, no body": {"url": "http://a/", "maxRedirects": 0, "maxResponseKiB": 0},
}
REFUSED: dict[str, dict[str, Any]] = {
    "no URL": {},
    "another scheme": {"url": "ftp://a/"},
    "a user name": {"url": "http://me@a/"},
    "a password": {"url": "http://me:secret@a/"},
    "a port with a host behind it": {"url": "http://a:80@b/"},
    "a backslash before the path": {"url": "http://a\\@b/"},
    "a blank": {"url": "http://a/ b"},
    "a line break at the end": {"url": "http://a/\n"},
    "letters beyond ASCII": {"url": "http://ä/"},
    "a header with a line break": {"url": "http://a/", "headers": {"A": "b\nC: d"}},
    "a header's name with a colon": {"url": "http://a/", "headers": {"A:": "b"}},
    "a length of one's own": {"url": "http://a/", "headers": {"Content-length": "5"}},
    "another host": {"url": "http://a/", "headers": {"HOST": "b"}},
    "a token in the file": {"url": "http://a/", "bearerToken": "abc"},
    "two bodies": {"url": "http://a/", "body": "x", "json": 1},
    "a status nobody sends": {"url": "http://a/", "expectedStatus": 600},
    "no status": {"url": "http://a/", "expectedStatus": []},
    "a status twice": {"url": "http://a/", "expectedStatus": [200, 200]},
    "a method in small letters": {"url": "http://a/", "method": "get"},
    "too many redirects": {"url": "http://a/", "maxRedirects": 21},
}


@pytest.mark.parametrize(
    ("parameters", "valid"),
    [*((each, True) for each in ACCEPTED.values()), *((each, False) for each in REFUSED.values())],
    ids=[*ACCEPTED, *REFUSED],
)
def test_model_and_schema_say_the_same_of(parameters: dict[str, Any], valid: bool) -> None:
    job_type = load_job_types().get("http")
    schema = parameters_schema(job_type)
    # Python's `$` also stands before a last line break; JSON Schema's does not.
    url = schema["properties"]["url"]["anyOf"][0]
    url["pattern"] = url["pattern"].removesuffix("$") + r"\Z"
    assert Draft202012Validator(schema).is_valid(parameters) is valid
    if valid:
        model = job_type.parameters.model_validate(parameters)
        stored = model.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert job_type.parameters.model_validate(stored) == model
    else:
        with pytest.raises(ValidationError):
            job_type.parameters.model_validate(parameters)
