"""Access tokens. Only hashes are stored: a token is shown once, when it is made."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from jobreconciler.errors import Invalid
from jobreconciler.model.choices import ROLES
from jobreconciler.store.rows import instant, instant_or_none, storable
from jobreconciler.store.sql import Statement, Tx

_INSERT = Statement(
    "INSERT INTO tokens (name, role, hash, first_start, created_at) "
    "VALUES (:name, :role, :hash, :first_start, :at) ON CONFLICT DO NOTHING"
)
_REPLACE_FIRST = Statement(
    "INSERT INTO tokens (name, role, hash, first_start, created_at) "
    "VALUES (:name, :role, :hash, :first_start, :at) ON CONFLICT (name) DO UPDATE SET "
    "role = excluded.role, hash = excluded.hash, created_at = excluded.created_at, "
    "revoked_at = NULL WHERE tokens.first_start"
)
_LIST = Statement(
    "SELECT name, role, first_start, created_at, revoked_at FROM tokens ORDER BY name"
)
_REVOKE = Statement("UPDATE tokens SET revoked_at = :at WHERE name = :name AND revoked_at IS NULL")
_ROLE = Statement("SELECT role FROM tokens WHERE hash = :hash AND revoked_at IS NULL")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as listed. `first_start` is the one the daemon made for itself."""

    name: str
    role: str
    first_start: bool
    created_at: datetime
    revoked_at: datetime | None


def create(tx: Tx, name: str, role: str, first_start: bool, at: int) -> str:
    """The new token's text. Raises Invalid for an unknown role or a name that is taken.

    The first-start token replaces the one before it: its file may have been lost.
    """
    if role not in ROLES:
        raise Invalid(f"role {role!r} is not known; it is one of {', '.join(ROLES)}")
    token = f"jr_{secrets.token_urlsafe(32)}"
    row = {
        "name": storable(name),
        "role": role,
        "hash": _hash(token),
        "first_start": first_start,
        "at": at,
    }
    if tx.run(_REPLACE_FIRST if first_start else _INSERT, row) == 0:
        raise Invalid(
            f"there is already a token named {name!r}",
            hint="choose another name; a revoked token keeps its name, for the record",
        )
    return token


def revoke(tx: Tx, name: str, at: int) -> bool:
    """False where no valid token has that name."""
    return tx.run(_REVOKE, {"name": storable(name), "at": at}) == 1


def list_all(tx: Tx) -> list[TokenRow]:
    return [
        TokenRow(name, role, bool(first_start), instant(created_at), instant_or_none(revoked_at))
        for name, role, first_start, created_at, revoked_at in tx.all(_LIST)
    ]


def role_of(tx: Tx, token: str) -> str | None:
    """Its role; None for a token that never was or was revoked."""
    row = tx.one(_ROLE, {"hash": _hash(token)})
    return None if row is None else row[0]


def _hash(token: str) -> str:
    """Plain SHA-256 is enough: a token is 256 random bits, not a password."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
