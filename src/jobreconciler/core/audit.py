"""The changelog's hash chain: each row's hash covers the row and the hash of the row before it.

Canonical form of a row, so that anybody can recompute it with other tools: one JSON object with
exactly the keys of `content`, keys sorted at every depth, no white space, everything beyond ASCII
escaped as \\uXXXX, the instant as RFC 3339 in UTC with six decimals and `Z`. Its SHA-256, in hex,
is the row's hash. The first row's `previousHash` is 64 zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jobreconciler.model.change import ChangelogRow

GENESIS = "0" * 64
"""What stands for the hash before the first row."""

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first place where the chain doesn't hold, and in what way."""

    sequence: int
    message: str


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space, ASCII only: equal values give equal text."""
    return _encode(value)


def canonical_instant(at: datetime) -> str:
    """RFC 3339 in UTC with six decimals, whatever the microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def content(row: ChangelogRow) -> dict[str, Any]:
    """All that the hash covers, by its public names."""
    return {
        "action": row.action,
        "actor": row.actor,
        "appliedAt": canonical_instant(row.applied_at),
        "author": row.author,
        "commits": list(row.commits),
        "committer": row.committer,
        "fields": [change.to_json() for change in row.fields],
        "file": row.file,
        "generation": row.generation,
        "instance": row.instance,
        "jobId": row.job_id,
        "message": row.message,
        "previousHash": row.previous_hash,
        "pullRequest": row.pull_request,
        "reviewers": list(row.reviewers),
        "revision": row.revision,
        "sequence": row.sequence,
        "signature": row.signature,
    }


def hash_text(text: str) -> str:
    """SHA-256 in hex of a canonical form."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def hash_row(row: ChangelogRow) -> str:
    """The hash this row must carry; its own `hash` field is not looked at."""
    return hash_text(canonical_json(content(row)))


class CanonicalRow(NamedTuple):
    """The keys of `content`, in canonical order, each value as canonical JSON already.

    For writing thousands of rows that share most of their parts: a part is rendered once.
    """

    action: str
    actor: str
    applied_at: str
    author: str
    commits: str
    committer: str
    fields: str
    file: str
    generation: str
    instance: str
    job_id: str
    message: str
    previous_hash: str
    pull_request: str
    reviewers: str
    revision: str
    sequence: str
    signature: str

    def hash(self) -> str:
        """What `hash_row` gives for the same row."""
        return hash_text(_ROW % self)


_ROW = (
    '{"action":%s,"actor":%s,"appliedAt":%s,"author":%s,"commits":%s,"committer":%s,'
    '"fields":%s,"file":%s,"generation":%s,"instance":%s,"jobId":%s,"message":%s,'
    '"previousHash":%s,"pullRequest":%s,"reviewers":%s,"revision":%s,"sequence":%s,'
    '"signature":%s}'
)


def first_break(
    rows: Iterable[ChangelogRow], *, sequence: int = 0, previous_hash: str = GENESIS
) -> ChainBreak | None:
    """Walk rows in ascending order from the row after `sequence`. None: the chain holds.

    A chain whose newest rows were cut off still holds; only a hash kept outside shows that.
    """
    for row in rows:
        sequence += 1
        if row.sequence != sequence:
            missing = "is missing" if row.sequence > sequence else "was expected"
            return ChainBreak(
                row.sequence, f"row {sequence} {missing}; row {row.sequence} follows instead"
            )
        if row.previous_hash != previous_hash:
            return ChainBreak(
                sequence,
                f"row {sequence} follows {row.previous_hash[:12]}, but the row before it "
                f"is {previous_hash[:12]}",
            )
        if hash_row(row) != row.hash:
            return ChainBreak(sequence, f"row {sequence} was changed after it was written")
        previous_hash = row.hash
    return None
