"""Where an `http` job may go, and what its parameters may say."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from jobreconciler.errors import Invalid
from jobreconciler.jobtypes.http_exchange import exchange, look
from jobreconciler.jobtypes.http_targets import refusal
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.schema import parameters_schema
from jobtypes.webservers import Web, call

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
