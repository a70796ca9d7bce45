"""Forgetting the past in small units. Watermarks, the changelog and unfinished rows stay."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from jobreconciler.core.retention import PastExecution
from jobreconciler.model.execution import ExecutionStatus
from jobreconciler.store.executions import Pinned
from jobreconciler.store.rows import instant
from jobreconciler.store.sql import Statement, Tx

_JOBS_WITH_OLD = Statement("SELECT DISTINCT job_id FROM job_executions WHERE queued_at < :before")
_ENDED = Statement(
    "SELECT id, status, finished_at FROM job_executions "
    "WHERE job_id = :job_id AND finished_at IS NOT NULL ORDER BY queued_at DESC, id DESC"
)
_FORGET_EXECUTIONS = Statement(
    "DELETE FROM job_executions WHERE id IN {ids} "
    "AND finished_at IS NOT NULL AND status NOT IN ('queued', 'running')"
)
_OLD_DELIVERIES = Statement(
    "SELECT d.scope, d.key FROM deliveries d WHERE d.received_at < :before "
    "AND NOT EXISTS (SELECT 1 FROM job_executions e WHERE e.id = d.execution_id)"
)
_FORGET_DELIVERY = Statement("DELETE FROM deliveries WHERE scope = :scope AND key = :key")
_UNUSED_VERSIONS = Statement(
    "SELECT digest FROM config_versions "
    "WHERE digest NOT IN (SELECT config_digest FROM job_executions) "
    "AND digest NOT IN (SELECT digest FROM job_configs)"
)
_FORGET_VERSIONS = Statement(
    "DELETE FROM config_versions WHERE digest IN {ids} "
    "AND digest NOT IN (SELECT digest FROM job_configs)"
)
_UNUSED_BLOBS = Statement(
    "SELECT blob FROM blobs WHERE blob NOT IN (SELECT blob FROM job_configs) "
    "AND blob NOT IN (SELECT defaults_blob FROM job_configs)"
)
_FORGET_BLOBS = Statement(
    "DELETE FROM blobs WHERE blob IN {ids} AND blob NOT IN (SELECT blob FROM job_configs) "
    "AND blob NOT IN (SELECT defaults_blob FROM job_configs)"
)


def jobs_with_old_executions(tx: Tx, before: int) -> list[str]:
    return [job_id for (job_id,) in tx.all(_JOBS_WITH_OLD, {"before": before})]


def ended(tx: Tx, job_id: str) -> list[PastExecution]:
    """A job's ended executions, newest first."""
    return [
        PastExecution(id_, cast(ExecutionStatus, status), instant(finished_at))
        for id_, status, finished_at in tx.all(_ENDED, {"job_id": job_id})
    ]


def forget_executions(tx: Tx, ids: Collection[str]) -> int:
    """Their attempts go with them. One that runs again by now stays."""
    return tx.run(_FORGET_EXECUTIONS, {"ids": tx.ids(ids)})


def old_deliveries(tx: Tx, before: int) -> list[tuple[str, str]]:
    """(scope, key) of deliveries whose execution is gone."""
    return [(scope, key) for scope, key in tx.all(_OLD_DELIVERIES, {"before": before})]


def forget_deliveries(tx: Tx, keys: Collection[tuple[str, str]]) -> int:
    return sum(tx.run(_FORGET_DELIVERY, {"scope": scope, "key": key}) for scope, key in keys)


def watch_pins(_: Tx, pinned: Pinned) -> int:
    """From here on `pinned` knows every config that a new execution refers to."""
    pinned.forget()
    return pinned.forgotten


def unused_versions(tx: Tx) -> list[str]:
    return [digest for (digest,) in tx.all(_UNUSED_VERSIONS)]


def forget_versions(tx: Tx, digests: Collection[str], pinned: Pinned, watched: int) -> int:
    """Configs that no execution refers to, `watched` being what `watch_pins` gave before they
    were looked up. Looking each up again here would walk every execution."""
    if pinned.forgotten != watched:
        return 0
    return tx.run(_FORGET_VERSIONS, {"ids": tx.ids(d for d in digests if d not in pinned)})


def unused_blobs(tx: Tx) -> list[str]:
    return [blob for (blob,) in tx.all(_UNUSED_BLOBS)]


def forget_blobs(tx: Tx, blobs: Collection[str]) -> int:
    return tx.run(_FORGET_BLOBS, {"ids": tx.ids(blobs)})
