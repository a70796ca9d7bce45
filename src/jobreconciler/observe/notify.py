"""Sends one message through one channel. Blocks; called in a thread of its own.

`slack` and `webhook` are one POST, `email` is SMTP; every other service is Apprise's, which takes
most of a second to import and is imported only then. Secrets are resolved here and forgotten. An
address is a secret as well (a Slack URL *is* the password), so errors name neither.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import smtplib
import ssl
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from jobreconciler.errors import Invalid, JobReconcilerError, Transient
from jobreconciler.model.notice import Message
from jobreconciler.ports import Sender

TIMEOUT_SECONDS = 10.0
LONGEST_SLACK_TEXT = 12_000
DEFAULT_FROM = "jobreconciler@localhost"

Resolve = Callable[[Mapping[str, Any]], str]
"""Secret reference → its value. Raises Invalid, with no value in it."""


class ChannelSender:
    """The `Sender` for all channel types.

    `smtp_url` is the daemon's mail server: `smtp[s]://[user:password@]host[:port][?from=address]`.
    """

    def __init__(
        self, resolve: Resolve, smtp_url: str | None = None, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._resolve = resolve
        self._smtp_url = smtp_url
        self._timeout = timeout

    def send(self, channel: Mapping[str, Any], message: Message) -> None:
        senders = {
            "slack": self._slack,
            "webhook": self._webhook,
            "email": self._email,
            "apprise": self._apprise,
        }
        send = senders.get(channel.get("type", ""))
        if send is None:
            raise Invalid("this version knows no channel of that type", reason="ChannelUnknown")
        try:
            send(channel, message)
        except JobReconcilerError:
            raise
        except Exception as error:
            raise Transient(_harmless(error), reason="NotDelivered") from None

    # --------------------------------------------------------------------------------- by HTTP

    def _slack(self, channel: Mapping[str, Any], message: Message) -> None:
        text = f"*{_escaped(message.title)}*\n```\n{_escaped(message.body)}\n```"
        if len(text) > LONGEST_SLACK_TEXT:
            text = text[: LONGEST_SLACK_TEXT - 6] + "…\n```"
        self._post(self._resolve(channel["url"]), {"text": text}, message, {})

    def _webhook(self, channel: Mapping[str, Any], message: Message) -> None:
        url, secret = self._resolve(channel["url"]), channel.get("secret")
        fields = {**message.fields, "title": message.title, "body": message.body}
        key = None if secret is None else self._resolve(secret).encode()
        self._post(url, fields, message, {}, key)

    def _post(
        self,
        url: str,
        fields: Mapping[str, Any],
        message: Message,
        headers: Mapping[str, str],
        key: bytes | None = None,
    ) -> None:
        """One POST. Redirects are not followed: they could lead anywhere."""
        parts = _address(url, ("http", "https"))
        body = json.dumps(fields).encode()
        sent = {
            "Content-Type": "application/json",
            "User-Agent": "jobreconciler",
            "X-JobReconciler-Id": message.id,
            "X-JobReconciler-Event": message.event,
            **headers,
        }
        if key is not None:
            signature = hmac.new(key, body, hashlib.sha256).hexdigest()
            sent["X-JobReconciler-Signature"] = f"sha256={signature}"
        connection = self._connect(parts)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, sent)
            status = connection.getresponse().status
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise Transient(f"the receiver answered {status}", reason="NotDelivered")

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        assert parts.hostname is not None, "an address has a host"
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                parts.hostname,
                parts.port,
                timeout=self._timeout,
                context=ssl.create_default_context(),
            )
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self._timeout)

    # --------------------------------------------------------------------------------- by mail

    def _email(self, channel: Mapping[str, Any], message: Message) -> None:
        reference = channel.get("server")
        url = self._resolve(reference) if reference is not None else self._smtp_url
        if url is None:
            raise Invalid(
                "the daemon knows no mail server",
                reason="NoMailServer",
                hint="set smtp_url (JOBRECONCILER_SMTP_URL), or name a server in the channel",
            )
        parts = _address(url, ("smtp", "smtps"))
        sender = parse_qs(parts.query).get("from", [DEFAULT_FROM])[0]
        mail = _mail(message, sender, channel["to"])
        with self._mail_server(parts) as server:
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            refused = server.send_message(mail, sender, list(channel["to"]))
        if refused:
            raise Transient(
                f"the mail server refused {len(refused)} of {len(channel['to'])} receivers",
                reason="NotDelivered",
            )

    def _mail_server(self, parts: SplitResult) -> smtplib.SMTP:
        """A connection, encrypted where the server can; a password never goes in the clear
        to another machine."""
        host = parts.hostname or ""
        context = ssl.create_default_context()
        if parts.scheme == "smtps":
            return smtplib.SMTP_SSL(host, parts.port or 465, timeout=self._timeout, context=context)
        server = smtplib.SMTP(host, parts.port or 587, timeout=self._timeout)
        try:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif parts.username and host not in ("localhost", "127.0.0.1", "::1"):
                raise Invalid(
                    "the mail server offers no encryption, and a password is to be sent",
                    reason="NoEncryption",
                    hint="use smtps://, or a server with STARTTLS",
                )
        except BaseException:
            server.close()
            raise
        return server

    # ------------------------------------------------------------------------------ by Apprise

    def _apprise(self, channel: Mapping[str, Any], message: Message) -> None:
        url = self._resolve(channel["url"])
        import apprise

        # What Apprise logs may hold parts of an address.
        logging.getLogger("apprise").disabled = True
        asset = apprise.AppriseAsset(
            app_id="jobreconciler", app_desc="jobreconciler", secure_logging=True
        )
        service = apprise.Apprise(asset=asset)
        if not service.add(url):
            raise Invalid(
                "that is no address Apprise knows",
                reason="AddressInvalid",
                hint="write it as Apprise's documentation says, such as tgram://TOKEN/CHAT",
            )
        if not service.notify(body=message.body, title=message.title):
            raise Transient("the service did not take it", reason="NotDelivered")


def _address(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Raises Invalid without saying the address."""
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in schemes and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        expected = " or ".join(f"{scheme}://" for scheme in schemes)
        raise Invalid(
            f"the channel's address is not a valid {expected} address", reason="AddressInvalid"
        )
    return parts


def _mail(message: Message, sender: str, receivers: list[str]) -> EmailMessage:
    """Its Message-ID is the notice's, so that mail programs drop repeats."""
    mail = EmailMessage()
    mail["Subject"] = f"[jobreconciler] {message.title}"
    mail["From"] = sender
    mail["To"] = ", ".join(receivers)
    mail["Message-ID"] = f"<{message.id}@jobreconciler>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-JobReconciler-Id"] = message.id
    mail.set_content(message.body)
    return mail


def _escaped(text: str) -> str:
    """Slack's three marks; a fence inside would end ours."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("```", "'''")


def _harmless(error: Exception) -> str:
    """What went wrong, without the error's own text: it often quotes the address."""
    if isinstance(error, TimeoutError):
        return "the receiver did not answer in time"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return f"the receiver cannot be reached: {type(error).__name__} ({error.errno})"
    return f"not delivered: {type(error).__name__}"


def _port(sender: ChannelSender) -> Sender:
    """Let the type checker hold ChannelSender against the port."""
    return sender
