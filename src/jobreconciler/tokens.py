"""The operator token of the first start, and which addresses only this machine can reach."""

from __future__ import annotations

import ipaddress
import os
import secrets
from pathlib import Path

from jobreconciler.errors import Refused

PREFIX = "jr_"


def new_token() -> str:
    """A fresh token: 256 random bits behind a prefix that secret scanners can look for."""
    return PREFIX + secrets.token_urlsafe(32)


def first_token(path: Path) -> str:
    """The operator token in `path`, made there with mode 0600 the first time. Raises Refused."""
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read().strip()
    except FileNotFoundError:
        return _write(path, new_token())
    except OSError as error:
        raise Refused(f"the token file {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise Refused(
            f"the token file {path} can be read by others (mode {mode & 0o777:04o})",
            hint=f"chmod 600 {path}, and delete it first if somebody may have read it",
        )
    return token or _write(path, new_token())


def _write(path: Path, token: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
