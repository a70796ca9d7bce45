"""Reproducible documents and usage events, to try the jobs on: some are popular, some forgotten.

The same numbers, seed and instant give the same rows. Events lie in the 90 days before `until`, in
the order of their time, and thin out over the documents; one document in twenty has none at all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, func, inspect, select

from jobreconciler.errors import Invalid
from jobreconciler.signals.database import Database
from jobreconciler.signals.periods import DAY
from jobreconciler.signals.rules import TIERS
from jobreconciler.signals.tables import documents, usage_events

SPAN = 90 * DAY
AGE = 120 * DAY
CHUNK = 10_000
_TIERS = (40, 30, 20, 8, 2)
_TYPES = {
    "viewed": 45,
    "retrieved": 20,
    "searched": 12,
    "referenced": 8,
    "rated": 8,
    "exported": 3,
    "promoted": 2,
    "refined": 2,
}
_RATINGS = {"up": 75, "down": 20, None: 5}
_ADJECTIVES = ("Early", "Quiet", "Open", "Deep", "Small", "Plain", "Wild", "Slow")
_NOUNS = ("Roots", "Maps", "Methods", "Letters", "Fields", "Rivers", "Tools", "Gardens")


def fill(
    database: Database, *, document_count: int, event_count: int, seed: int, until: int
) -> None:
    """Write the rows, in one transaction. Raises Invalid where there are documents already."""
    if event_count and not document_count:
        raise Invalid("events need documents", hint="ask for at least one document")
    rng = random.Random(seed)
    ids = [f"doc-{number:06}" for number in range(1, document_count + 1)]
    with database.writing() as connection:
        if connection.scalar(select(func.count()).select_from(documents)):
            raise Invalid(
                "the database holds documents already",
                reason="NotEmpty",
                hint="name an empty one with --database, or look at it with `signals report`",
            )
        for rows in _chunks(_documents(rng, ids, until)):
            connection.execute(documents.insert(), rows)
        with _indexed_afterwards(connection):
            for rows in _chunks(_events(rng, ids, event_count, until)):
                connection.execute(usage_events.insert(), rows)


@contextmanager
def _indexed_afterwards(connection: Connection) -> Iterator[None]:
    """Sorting a million entries once takes a tenth of the time of putting each in its place."""
    there = {each["name"] for each in inspect(connection).get_indexes(usage_events.name)}
    indexes = [index for index in usage_events.indexes if index.name in there]
    for index in indexes:
        index.drop(connection)
    yield
    for index in indexes:
        index.create(connection)


def _documents(rng: random.Random, ids: list[str], until: int) -> Iterator[dict[str, Any]]:
    tiers = rng.choices(TIERS, _TIERS, k=len(ids))
    for number, (document_id, tier) in enumerate(zip(ids, tiers, strict=True), start=1):
        title = f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)} {number}"
        at = until - AGE + int(rng.random() * (AGE - SPAN))
        yield {
            "id": document_id,
            "title": title,
            "tier": tier,
            "created_at": at,
            "updated_at": at,
        }


def _events(rng: random.Random, ids: list[str], count: int, until: int) -> Iterator[dict[str, Any]]:
    popular = list(accumulate(_popularity(rng, len(ids))))
    types, weights = list(_TYPES), list(accumulate(_TYPES.values()))
    ratings, rated = list(_RATINGS), list(accumulate(_RATINGS.values()))
    sessions, users = max(count // 6, 1), max(len(ids) // 10, 3)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        chosen = rng.choices(ids, cum_weights=popular, k=size)
        kinds = rng.choices(types, cum_weights=weights, k=size)
        for n, (document_id, kind) in enumerate(zip(chosen, kinds, strict=True), start=start):
            draw = rng.random()
            yield {
                "document_id": document_id,
                "event_type": kind,
                "session_id": f"session-{int(draw * sessions):x}",
                "user_id": f"user-{int(rng.random() * users)}" if draw < 0.8 else None,
                "lens_id": f"lens-{int(rng.random() * 12)}" if draw > 0.3 else None,
                "hub_id": f"hub-{int(rng.random() * 8)}" if draw > 0.5 else None,
                "query_hash": (
                    f"{int(rng.random() * 5000):08x}" if kind in ("searched", "retrieved") else None
                ),
                "rating": (rng.choices(ratings, cum_weights=rated)[0] if kind == "rated" else None),
                "created_at": until - SPAN + int(SPAN * (n + rng.random()) / count),
            }


def _popularity(rng: random.Random, count: int) -> list[float]:
    """How often each document is used, in proportion: a few a lot, one in twenty never."""
    weights = [1 / (rank + 10) ** 0.7 for rank in range(count)]
    for forgotten in range(count - count // 20, count):
        weights[forgotten] = 0.0
    rng.shuffle(weights)
    return weights


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
