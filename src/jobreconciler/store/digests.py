"""The digest that makes a changed row show: over the config and every column taken from it.

Computed in Python when a row is written and in SQL when drift is looked for; both must spell the
row alike. NULL counts as the empty text; a deleted row carries the empty digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from operator import itemgetter
from typing import Any

from jobreconciler.store.sql import Statement

_TEXTS = (
    "job_id",
    "path",
    "blob",
    "defaults_blob",
    "digest",
    "depends_on",
    "revision",
    "job_type",
    "title",
    "owner",
    "tags",
    "expression",
    "timezone",
    "catch_up",
    "config",
)
_NUMBERS = ("generation", "jitter_seconds", "starting_deadline_seconds", "schedule_since")
_BOOLEANS = ("enabled", "schedule_enabled", "has_webhook")


_pick_texts = itemgetter(*_TEXTS)
_pick_numbers = itemgetter(*_NUMBERS)
_pick_booleans = itemgetter(*_BOOLEANS)


def row_digest(row: Mapping[str, Any]) -> str:
    """SHA-256 in hex of a `job_configs` row, its columns joined by line feeds."""
    columns = [text or "" for text in _pick_texts(row)]
    columns += ["" if number is None else str(number) for number in _pick_numbers(row)]
    columns += ["1" if on else "0" for on in _pick_booleans(row)]
    return sha256("\n".join(columns).encode()).hexdigest()


def _row_text() -> str:
    texts = [f"coalesce({name}, '')" for name in _TEXTS]
    numbers = [f"coalesce(CAST({name} AS TEXT), '')" for name in _NUMBERS]
    booleans = [f"CASE WHEN {name} THEN '1' ELSE '0' END" for name in _BOOLEANS]
    return " || '\n' || ".join((*texts, *numbers, *booleans))


def _drifted(digest: str) -> str:
    return f"""
        SELECT job_id, config, digest FROM job_configs
        WHERE (deleted_at IS NULL) <> ({digest} = row_digest)
        UNION ALL
        SELECT job_id, '', '' FROM job_states
        WHERE NOT EXISTS (SELECT 1 FROM job_configs c WHERE c.job_id = job_states.job_id)
        ORDER BY 1"""


DRIFTED = Statement(
    _drifted(f"encode(sha256(convert_to({_row_text()}, 'UTF8')), 'hex')"),
    sqlite=_drifted(f"sha256_hex({_row_text()})"),
)
"""Live rows that differ from their digest, live rows marked deleted, and rows that are gone."""
