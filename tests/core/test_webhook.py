"""Which requests prove that they know a webhook's secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest

from jobreconciler.core.webhook import verify
from samples import NOW

BODY = b'{"ref": "main"}'
SECRET = "It's a Secret to Everybody"


def mac(body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(body: bytes = BODY, at: int = 0, key: bytes = b"k" * 24) -> dict[str, str]:
    sent = str(int(NOW.timestamp()) + at)
    signed = hmac.new(key, b"msg_1." + sent.encode() + b"." + body, hashlib.sha256).digest()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": sent,
        "webhook-signature": f"v1a,bm8= v1,{base64.b64encode(signed).decode()}",
    }


WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()

GENUINE = [
    ("github", {"x-hub-signature-256": f"sha256={mac()}"}, SECRET),
    ("gitea", {"x-gitea-signature": mac()}, SECRET),
    ("hmac-sha256", {"x-signature-256": mac()}, SECRET),
    ("hmac-sha256", {"x-signature-256": f"sha256={mac().upper()}"}, SECRET),
    ("gitlab", {"x-gitlab-token": SECRET}, SECRET),
    ("bearer", {"authorization": f"bearer {SECRET}"}, SECRET),
    ("standard-webhooks", standard(), WHSEC),
    ("standard-webhooks", standard(at=-300), WHSEC),
    ("standard-webhooks", standard(key=SECRET.encode()), SECRET),
]
FORGED = [
    ("another body was signed", "github", {"x-hub-signature-256": f"sha256={mac(b'x')}"}),
    ("another secret signed it", "github", {"x-hub-signature-256": f"sha256={mac(secret='x')}"}),
    ("nothing was signed", "github", {}),
    ("the signature is empty", "hmac-sha256", {"x-signature-256": ""}),
    ("the header is another scheme's", "gitea", {"x-hub-signature-256": f"sha256={mac()}"}),
    ("the token is a part of the secret", "gitlab", {"x-gitlab-token": SECRET[:-1]}),
    ("the token is empty", "gitlab", {"x-gitlab-token": ""}),
    ("the kind is another", "bearer", {"authorization": f"Basic {SECRET}"}),
    ("the signature is no ASCII", "github", {"x-hub-signature-256": "sha256=é"}),
]


@pytest.mark.parametrize(("scheme", "headers", "secret"), GENUINE)
def test_who_knows_the_secret_passes(scheme: str, headers: dict[str, str], secret: str) -> None:
    assert verify(scheme, headers, BODY, [secret], NOW).genuine


@pytest.mark.parametrize(("scheme", "headers", "secret"), GENUINE)
def test_either_of_two_secrets_passes_and_none_does_not(
    scheme: str, headers: dict[str, str], secret: str
) -> None:
    assert verify(scheme, headers, BODY, ["other", secret], NOW).genuine
    assert not verify(scheme, headers, BODY, ["other"], NOW).genuine
    assert not verify(scheme, headers, BODY, ["", ""], NOW).genuine


@pytest.mark.parametrize(
    ("scheme", "headers"), [row[1:] for row in FORGED], ids=[r[0] for r in FORGED]
)
def test_who_does_not_is_refused(scheme: str, headers: dict[str, str]) -> None:
    verdict = verify(scheme, headers, BODY, [SECRET], NOW)
    assert (verdict.genuine, verdict.delivery_id, verdict.signed) == (False, None, None)


@pytest.mark.parametrize("at", [-301, 301])
def test_a_timestamp_more_than_five_minutes_away_is_refused(at: int) -> None:
    assert not verify("standard-webhooks", standard(at=at), BODY, [WHSEC], NOW).genuine


@pytest.mark.parametrize("sent", ["", "now", "-1", "1e9", "٣", "9" * 13])
def test_a_timestamp_that_is_none_is_refused(sent: str) -> None:
    headers = {**standard(), "webhook-timestamp": sent}
    assert not verify("standard-webhooks", headers, BODY, [WHSEC], NOW).genuine


def test_the_example_that_github_documents() -> None:
    headers = {
        "x-hub-signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }
    assert verify("github", headers, b"Hello, World!", [SECRET], NOW).genuine


def test_what_is_signed_is_told_apart_and_a_bare_secret_signs_nothing() -> None:
    one = verify("github", {"x-hub-signature-256": mac()}, BODY, [SECRET], NOW)
    again = verify("github", {"x-hub-signature-256": mac()}, BODY, [SECRET], NOW + timedelta(1))
    other = verify("github", {"x-hub-signature-256": mac(b"x")}, b"x", [SECRET], NOW)
    assert one.signed == again.signed != other.signed
    assert verify("gitlab", {"x-gitlab-token": SECRET}, BODY, [SECRET], NOW).signed is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-github-delivery": " 72d3162e "}, "72d3162e"),
        ({"x-github-delivery": "a\x00b\x1b"}, "ab"),
        ({"x-github-delivery": "x" * 256}, None),
        ({"x-delivery-id": "1"}, None),
        ({}, None),
    ],
)
def test_a_delivery_is_named_by_its_schemes_header(
    headers: dict[str, str], expected: str | None
) -> None:
    signed = {**headers, "x-hub-signature-256": mac()}
    assert verify("github", signed, BODY, [SECRET], NOW).delivery_id == expected
