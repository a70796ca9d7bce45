"""Errors that carry how they are handled, so that no caller has to guess.

`Invalid` waits for a new input, `Transient` is tried again, `Stalled` needs a person,
`Refused` means the caller asked for something it may not have.
"""

from __future__ import annotations


class JobReconcilerError(Exception):
    """Base of every error this program raises on purpose. `hint` says what to do next."""

    reason = "Error"

    def __init__(self, message: str, *, reason: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if reason is not None:
            self.reason = reason


class Invalid(JobReconcilerError):
    """The input is wrong; trying again without another input cannot help."""

    reason = "Invalid"


class NotFound(Invalid):
    """What was asked for does not exist."""

    reason = "NotFound"


class Transient(JobReconcilerError):
    """May pass by itself; try again, not before `retry_after` seconds (None: by backoff)."""

    reason = "Transient"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.retry_after = retry_after


class Stalled(JobReconcilerError):
    """Cannot go on until a person changes something; what runs keeps running."""

    reason = "Stalled"


class Refused(JobReconcilerError):
    """Wrong usage or no access (exit code 2, HTTP 4xx)."""

    reason = "Refused"
