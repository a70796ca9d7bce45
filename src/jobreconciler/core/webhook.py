"""Whether a request knows a webhook's secret, and what makes it the same request as before.

Pure: bytes, headers, secrets and `now` in, a verdict out. The body is never parsed here, so that
nothing of an unproven sender reaches a parser. All comparisons take the same time, whatever they
find.

github             X-Hub-Signature-256: sha256=HEX          id: X-GitHub-Delivery
gitea              X-Gitea-Signature: HEX                   id: X-Gitea-Delivery
hmac-sha256        X-Signature-256: HEX or sha256=HEX       id: X-Delivery-Id or Idempotency-Key
standard-webhooks  webhook-signature: v1,BASE64 …           id: webhook-id (signed as well)
gitlab             X-Gitlab-Token: SECRET       id: Idempotency-Key or X-Gitlab-Event-UUID
bearer             Authorization: Bearer SECRET             id: X-Delivery-Id or Idempotency-Key

HEX is the HMAC-SHA-256 of the raw body. The last two schemes send the secret itself and sign
nothing: whoever reads one of their requests can replay it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request's body."""
TOLERANCE_SECONDS: Final = 300
"""How far a signed timestamp may lie from now, either way (Standard Webhooks, "Verifying")."""
SAME_BODY_SECONDS: Final = 24 * 3600
"""For how long the same signed body is the same request."""

_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("x-github-delivery",),
    "gitea": ("x-gitea-delivery",),
    "gitlab": ("idempotency-key", "x-gitlab-event-uuid"),
    "standard-webhooks": ("webhook-id",),
    "hmac-sha256": ("x-delivery-id", "idempotency-key"),
    "bearer": ("x-delivery-id", "idempotency-key"),
}
_SIGNATURES: Final = {
    "github": "x-hub-signature-256",
    "gitea": "x-gitea-signature",
    "hmac-sha256": "x-signature-256",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`delivery_id` as its sender named it; `signed` is a digest of what was signed, None where
    the scheme signs nothing."""

    genuine: bool
    delivery_id: str | None = None
    signed: str | None = None


def verify(
    scheme: str, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime
) -> Verdict:
    """`headers` have lower-case names. Any one of `secrets` may be the one that was used."""
    if scheme in ("gitlab", "bearer"):
        genuine = _knows(_sent_secret(scheme, headers), secrets)
        return Verdict(True, _delivery_id(scheme, headers)) if genuine else Verdict(False)
    if scheme == "standard-webhooks":
        content = _timed_content(headers, body, now)
        genuine = content is not None and _signed_v1(headers, content, secrets)
    else:
        content = body
        genuine = _signed_hex(headers.get(_SIGNATURES[scheme], ""), body, secrets)
    if not genuine or content is None:
        return Verdict(False)
    return Verdict(True, _delivery_id(scheme, headers), hashlib.sha256(content).hexdigest())


def _delivery_id(scheme: str, headers: Mapping[str, str]) -> str | None:
    """Header values are printable on the wire; what isn't is dropped, and so is what is too long
    to be an id."""
    for name in _IDS[scheme]:
        found = "".join(letter for letter in headers.get(name, "") if letter.isprintable()).strip()
        if 0 < len(found) <= 255:
            return found
    return None


def _sent_secret(scheme: str, headers: Mapping[str, str]) -> str:
    if scheme == "gitlab":
        return headers.get("x-gitlab-token", "")
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def _knows(sent: str, secrets: Sequence[str]) -> bool:
    given = _digest(sent)
    return sum(hmac.compare_digest(given, _digest(secret)) for secret in secrets if secret) > 0


def _digest(text: str) -> bytes:
    """Of equal length for all, so that the comparison doesn't tell how long the secret is."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _signed_hex(sent: str, body: bytes, secrets: Sequence[str]) -> bool:
    given = sent.strip().removeprefix("sha256=").lower().encode("utf-8", "surrogateescape")
    expected = [_mac(secret.encode(), body).hexdigest().encode() for secret in secrets if secret]
    return sum(hmac.compare_digest(given, each) for each in expected) > 0


def _mac(key: bytes, content: bytes) -> hmac.HMAC:
    return hmac.new(key, content, hashlib.sha256)


def _timed_content(headers: Mapping[str, str], body: bytes, now: datetime) -> bytes | None:
    """What Standard Webhooks sign: id, timestamp and body; None where it is too old or new."""
    id_, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id_ or not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        return None
    if abs(now.timestamp() - int(sent_at)) > TOLERANCE_SECONDS:
        return None
    return f"{id_}.{sent_at}.".encode("utf-8", "surrogateescape") + body


def _signed_v1(headers: Mapping[str, str], content: bytes, secrets: Sequence[str]) -> bool:
    sent = [
        value.encode("utf-8", "surrogateescape")
        for version, _, value in (
            each.partition(",") for each in headers.get("webhook-signature", "").split()[:16]
        )
        if version == "v1"
    ]
    expected = [
        base64.b64encode(_mac(key, content).digest())
        for secret in secrets
        for key in _standard_keys(secret)
    ]
    return sum(hmac.compare_digest(given, each) for given in sent for each in expected) > 0


def _standard_keys(secret: str) -> Iterator[bytes]:
    """`whsec_` and base64, as the standard has it; without the prefix also the text itself."""
    named = secret.startswith("whsec_")
    with_padding = secret.removeprefix("whsec_").rstrip("=")
    with_padding += "=" * (-len(with_padding) % 4)
    try:
        key = base64.b64decode(with_padding, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if key:
        yield key
    if secret and not named:
        yield secret.encode()
