"""Who may do what: roles by bearer token, and what a request must look like before that.

reader < operator < admin. On loopback, as long as nobody created a token, reading is open;
writing always needs a token, and the first start leaves an operator token in the state directory
where the CLI finds it. Tokens are checked in the store, which knows hashes only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Protocol
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from jobreconciler.model.choices import ROLES, Role
from jobreconciler.web.problems import Denied

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ACTOR_HEADER: Final = "x-jobreconciler-actor"
_TOKEN_HINT: Final = (
    "Send `Authorization: Bearer TOKEN`. The first start wrote an operator token to the file "
    "`token` in the daemon's state directory (--state-dir); the CLI on the same machine finds "
    "it there, elsewhere set JOBRECONCILER_TOKEN."
)


class Token(Protocol):
    """A token as the store lists it; `first_start` is the one the daemon made for itself."""

    @property
    def first_start(self) -> bool: ...

    @property
    def revoked_at(self) -> datetime | None: ...


class Tokens(Protocol):
    """The store's tokens. It keeps hashes only and looks a token up by its hash, so how long the
    look-up takes tells nothing about the token. Both calls block."""

    def check_token(self, token: str) -> str | None:
        """The token's role; None for one that never was or was revoked."""

    def list_tokens(self) -> Sequence[Token]: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `actor` is what gets recorded: the name given, and the role that was proven."""

    role: Role
    actor: str


ANYBODY: Final = Caller("reader", "anonymous")


class Access:
    """The daemon's rules of access. `loopback` says that it listens on loopback only."""

    def __init__(self, tokens: Tokens, *, loopback: bool) -> None:
        self._tokens = tokens
        self._loopback = loopback

    def identify(self, token: str | None, claimed: str = "") -> Caller | None:
        """Who sends this token; None for nobody. Raises Denied for a token nobody was given.

        Blocks: asks the store.
        """
        if token is None:
            return ANYBODY if self._loopback and not self._any_created() else None
        known = self._tokens.check_token(token)
        role = next((each for each in ROLES if each == known), None)
        if role is None:
            raise Denied(
                401,
                "This token is not known; it may have been revoked.",
                reason="UnknownToken",
                hint=_TOKEN_HINT,
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        name = "".join(letter for letter in claimed if letter.isprintable())[:100].strip()
        return Caller(role, f"{name} ({role})" if name else role)

    def _any_created(self) -> bool:
        """Whether somebody made a token on purpose: from then on reading needs one too."""
        return any(
            not token.first_start and token.revoked_at is None
            for token in self._tokens.list_tokens()
        )

    def check_host(self, host: str | None) -> None:
        """Refuse names that aren't loopback's where it listens there alone: a page elsewhere may
        have rebound its own to 127.0.0.1. Elsewhere any name may lead here, and needs a token."""
        if self._loopback and not _is_loopback(_host_name(host or "")):
            raise Denied(
                421,
                f"This daemon is not known as {host or 'a request without Host'}.",
                reason="UnknownHost",
                hint="Use http://127.0.0.1 or http://localhost; a proxy has to send such a Host.",
            )


def check_origin(method: str, host: str | None, origin: str | None, site: str | None) -> None:
    """Refuse a write that a page of another origin sends through somebody's browser."""
    if method not in _WRITES:
        return
    foreign = origin is not None and _authority(origin) != (host or "").lower()
    if foreign or site in ("cross-site", "same-site"):
        raise Denied(
            403,
            f"A page of {origin or 'another site'} may not change anything here.",
            reason="ForeignOrigin",
            hint="Changes come from the console this daemon serves, or from a program.",
        )


def _authority(origin: str) -> str | None:
    """Host and port of an Origin header, in lower case; None where it is no URL: nobody's then."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """The name in a Host header: without port, brackets and a final dot, in lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


# ----------------------------------------------------------------------------------- dependencies

_bearer = HTTPBearer(auto_error=False, description="A token's role: reader, operator or admin.")


def caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller | None:
    """Not async on purpose: FastAPI then runs it in a thread, and asking the store may block."""
    access: Access = request.app.state.access
    token = None if credentials is None else credentials.credentials
    return access.identify(token, request.headers.get(_ACTOR_HEADER, ""))


def require(role: Role) -> Callable[..., Caller]:
    """A dependency that lets callers of this role, or a higher one, pass."""

    def check(who: Annotated[Caller | None, Depends(caller)]) -> Caller:
        if who is None or (who is ANYBODY and role != "reader"):
            raise Denied(
                401,
                f"This needs a token with the role {role}.",
                reason="TokenNeeded",
                hint=_TOKEN_HINT,
                headers={"WWW-Authenticate": "Bearer"},
            )
        if ROLES.index(who.role) < ROLES.index(role):
            raise Denied(
                403,
                f"This needs the role {role}; your token has {who.role}.",
                reason="RoleTooLow",
                hint="Create another with `jobreconciler token create --role`.",
            )
        return who

    return check


Reader = Annotated[Caller, Depends(require("reader"))]
Operator = Annotated[Caller, Depends(require("operator"))]
