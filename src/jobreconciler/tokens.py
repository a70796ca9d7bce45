"""The operator token of the first start, and which addresses only this machine can reach."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path

from jobreconciler.errors import Refused


def leave_first_token(
    path: Path, is_known: Callable[[str], bool], create: Callable[[], str]
) -> None:
    """See to it that `path` holds a token the store knows, with mode 0600. Raises Refused.

    A file with no token, or with one that is unknown (the store is another one), is written anew.
    """
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read().strip()
    except FileNotFoundError:
        token, mode = "", 0
    except OSError as error:
        raise Refused(f"the token file {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise Refused(
            f"the token file {path} can be read by others (mode {mode & 0o777:04o})",
            hint=f"chmod 600 {path}, or delete it so that a new token is made",
        )
    if token and is_known(token):
        return
    _write(path, create())


def _write(path: Path, token: str) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        fresh.replace(path)
    except OSError as error:
        raise Refused(f"the token file {path} cannot be written: {error.strerror}") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
