"""Channels against real servers on loopback."""

from __future__ import annotations

import email
import hashlib
import hmac
from collections.abc import Mapping
from email.policy import default
from typing import Any

import pytest

from jobreconciler.errors import Invalid, JobReconcilerError, Transient
from jobreconciler.model.notice import Message
from jobreconciler.observe.notify import ChannelSender
from receivers import http_receiver, mail_server

MESSAGE = Message("n1", "failure", "nightly failed", "error: <boom>\n\nnotice n1", {"id": "n1"})
URL = {"env": "ADDRESS"}


def sender(address: str = "", smtp_url: str | None = None, **secrets: str) -> ChannelSender:
    values = {"ADDRESS": address, **secrets}

    def resolve(reference: Mapping[str, Any]) -> str:
        return values[reference["env"]]

    return ChannelSender(resolve, smtp_url, timeout=5)


def refusal(given: ChannelSender, channel: Mapping[str, Any]) -> JobReconcilerError:
    with pytest.raises(JobReconcilerError) as caught:
        given.send(channel, MESSAGE)
    return caught.value


def test_a_webhook_gets_json_with_the_notices_id_and_a_signature() -> None:
    with http_receiver() as receiver:
        channel = {"type": "webhook", "url": URL, "secret": {"env": "KEY"}}
        sender(f"{receiver.url}/hook?team=ops", KEY="k3y").send(channel, MESSAGE)
    (post,) = receiver.posts
    assert post.path == "/hook?team=ops"
    assert post.json == {"id": "n1", "title": MESSAGE.title, "body": MESSAGE.body}
    assert post.headers["x-jobreconciler-id"] == "n1"
    expected = hmac.new(b"k3y", post.body, hashlib.sha256).hexdigest()
    assert post.headers["x-jobreconciler-signature"] == f"sha256={expected}"


def test_without_a_secret_nothing_is_signed() -> None:
    with http_receiver() as receiver:
        sender(receiver.url).send({"type": "webhook", "url": URL}, MESSAGE)
    assert "x-jobreconciler-signature" not in receiver.posts[0].headers


def test_slack_gets_text_whose_marks_are_escaped() -> None:
    with http_receiver() as receiver:
        sender(f"{receiver.url}/services/T/B/x").send({"type": "slack", "url": URL}, MESSAGE)
    (post,) = receiver.posts
    assert post.json["text"].startswith("*nightly failed*\n")
    assert "error: &lt;boom&gt;" in post.json["text"]


@pytest.mark.parametrize("status", [302, 404, 429, 500])
def test_any_other_answer_is_tried_again(status: int) -> None:
    with http_receiver() as receiver:
        receiver.status = status
        error = refusal(sender(receiver.url), {"type": "webhook", "url": URL})
    assert isinstance(error, Transient)
    assert error.message == f"the receiver answered {status}"
    assert len(receiver.posts) == 1


def test_a_mail_carries_the_notices_id() -> None:
    with mail_server() as box:
        url = f"smtp://127.0.0.1:{box.port}?from=jobs@example.org"
        to = ["a@example.org", "b@example.org"]
        sender(smtp_url=url).send({"type": "email", "to": to}, MESSAGE)
    (envelope,) = box.mails
    assert envelope.rcpt_tos == to
    assert envelope.mail_from == "jobs@example.org"
    mail = email.message_from_bytes(envelope.content or b"", policy=default)
    assert mail["Subject"] == "[jobreconciler] nightly failed"
    assert mail["Message-ID"] == "<n1@jobreconciler>"
    assert "error: <boom>" in mail.get_content()


def test_a_channels_own_mail_server_is_logged_in_to() -> None:
    with mail_server("ops", "p@ss") as box:
        own = f"smtp://ops:p%40ss@127.0.0.1:{box.port}"
        channel = {"type": "email", "to": ["a@example.org"], "server": URL}
        sender(own).send(channel, MESSAGE)
    assert len(box.mails) == 1
    assert box.logins == [True]


def test_without_a_mail_server_the_error_says_which_setting_is_missing() -> None:
    error = refusal(sender(), {"type": "email", "to": ["a@example.org"]})
    assert isinstance(error, Invalid)
    assert "JOBRECONCILER_SMTP_URL" in error.hint


@pytest.mark.filterwarnings("ignore:.*imghdr:DeprecationWarning")  # Apprise imports it
def test_any_apprise_address_will_do() -> None:
    with http_receiver() as receiver:
        url = receiver.url.replace("http://", "json://") + "/apprise"
        sender(url).send({"type": "apprise", "url": URL}, MESSAGE)
    (post,) = receiver.posts
    assert post.json["title"] == "nightly failed"
    assert "notice n1" in post.json["message"]


@pytest.mark.parametrize("kind", ["slack", "webhook", "apprise", "email"])
@pytest.mark.parametrize(
    "address",
    [
        "http://s3cret.invalid/hook",
        "http://127.0.0.1:1/s3cret",
        "json://127.0.0.1:1/s3cret",
        "smtp://s3cret:s3cret@127.0.0.1:1",
        "no address s3cret",
        "http://[s3cret",
    ],
)
def test_no_error_names_the_address(
    kind: str, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    channel = {"type": kind, "url": URL, "server": URL, "to": ["a@example.org"]}
    error = refusal(sender(address), channel)
    said = capfd.readouterr()
    assert "s3cret" not in error.message + error.hint + said.out + said.err
    assert error.__cause__ is None
