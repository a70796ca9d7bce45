"""Whether a failed attempt is followed by another, and when. Pure; jitter is a stable hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobreconciler.model.execution import Outcome

JITTER_SHARE = 0.25
"""A delay is shortened by up to this share, so that jobs that failed together don't retry so."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`payload.retry` of a normalised config. Delays in seconds; `exit_codes` None means any."""

    max_attempts: int
    strategy: str
    initial_delay: float
    max_delay: float
    exit_codes: frozenset[int] | None

    @classmethod
    def of(cls, config: dict[str, Any]) -> RetryPolicy:
        retry = config["payload"]["retry"]
        codes = retry.get("onExitCodes")
        return cls(
            retry["maxAttempts"],
            retry["backoffStrategy"],
            retry["initialDelay"],
            retry["maxDelay"],
            None if codes is None else frozenset(codes),
        )


def retry_at(
    policy: RetryPolicy, outcome: Outcome, attempt: int, now: datetime, seed: str
) -> datetime | None:
    """When attempt `attempt` + 1 may start, or None to give up. `seed` names the execution."""
    if attempt >= policy.max_attempts or not _worth_another(policy, outcome):
        return None
    return now + timedelta(seconds=_delay(policy, attempt, seed))


def _worth_another(policy: RetryPolicy, outcome: Outcome) -> bool:
    """`lost` and `timed_out` always are; a failure is unless its exit code is left out."""
    if outcome.status in ("lost", "timed_out"):
        return True
    if outcome.status != "failed":
        return False
    return policy.exit_codes is None or outcome.exit_code in policy.exit_codes


def _delay(policy: RetryPolicy, attempt: int, seed: str) -> float:
    """Seconds after attempt `attempt` (from 1): initial, initial × n, or initial × 2^(n-1)."""
    factor = {
        "fixed": 1.0,
        "linear": float(attempt),
        "exponential": 2.0 ** min(attempt - 1, 60),
    }[policy.strategy]
    full = min(policy.initial_delay * factor, policy.max_delay)
    digest = hashlib.sha256(f"{seed}:{attempt}".encode()).digest()
    return full * (1 - JITTER_SHARE * int.from_bytes(digest[:4], "big") / 2**32)
