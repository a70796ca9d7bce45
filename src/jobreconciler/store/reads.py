"""Reads of the fleet as a whole: figures, counts, the source's state, files and their problems."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from jobreconciler.core.expectations import Limits
from jobreconciler.core.suspension import Subject, holding
from jobreconciler.model.problem import Problem
from jobreconciler.model.views import FleetCounts, JobStats, SourceState
from jobreconciler.ports import DriftedRow
from jobreconciler.store import suspensions
from jobreconciler.store.digests import DRIFTED
from jobreconciler.store.job_lists import suspended
from jobreconciler.store.jobs import expecting
from jobreconciler.store.rows import (
    instant_or_none,
    object_or_none,
    read_conditions,
    read_problems,
)
from jobreconciler.store.sql import Statement, Tx

_STATS_SQL = (
    "SELECT c.job_id, c.job_type, coalesce(c.owner, ''), c.enabled, c.schedule_enabled, "
    "c.generation, c.revision, s.last_run_at, s.last_success_at, s.last_status, "
    "coalesce(s.consecutive_failures, 0), c.tags "
    "FROM job_configs c LEFT JOIN job_states s ON s.job_id = c.job_id "
    "WHERE c.deleted_at IS NULL"
)
_STATS = Statement(_STATS_SQL)
_STATS_OF = Statement(f"{_STATS_SQL} AND c.job_id IN {{ids}}")
_JOB_COUNTS = Statement(
    "SELECT count(*), coalesce(sum(CASE WHEN c.enabled THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN s.consecutive_failures > 0 THEN 1 ELSE 0 END), 0), "
    "(SELECT count(*) FROM job_conditions h WHERE h.type = 'Held' AND h.status = 'True'), "
    "(SELECT count(*) FROM file_problems) "
    "FROM job_configs c LEFT JOIN job_states s ON s.job_id = c.job_id "
    "WHERE c.deleted_at IS NULL"
)
_EXECUTION_COUNTS = Statement(
    "SELECT status, count(*) FROM job_executions WHERE status IN ('queued', 'running') "
    "GROUP BY status"
)
_SOURCE = Statement(
    "SELECT revision, observed_revision, base_revision, environment, reader_version, conditions, "
    "last_success_at, author, message, committed_at FROM source_state"
)
_PROBLEMS = Statement("SELECT path, problems FROM file_problems ORDER BY path")
# Once the commit was applied with it, an approval is used up: the same commit, come back after
# another one, may delete other jobs by then.
_APPROVED = Statement(
    "SELECT 1 FROM prune_approvals a WHERE a.revision = :revision AND NOT EXISTS "
    "(SELECT 1 FROM reconciles r WHERE r.revision = a.revision "
    "AND r.result IN ('applied', 'held') AND r.finished_at > a.approved_at)"
)
_CONFIGS = Statement(
    "SELECT job_id, config FROM job_configs WHERE job_id IN {ids} AND deleted_at IS NULL"
)
_BLOBS = Statement("SELECT blob, text FROM blobs WHERE blob IN {ids}")
_VERSIONS = Statement("SELECT digest, config FROM config_versions WHERE digest IN {ids}")


_NO_LIMITS = Limits()


def stats(tx: Tx, now: datetime, job_ids: Collection[str] | None = None) -> list[JobStats]:
    """Figures of these live jobs, None: of all."""
    new = tuple.__new__
    stops = suspensions.active(tx, now)
    limits = expecting(tx, job_ids)
    found = tx.all(_STATS) if job_ids is None else tx.all(_STATS_OF, {"ids": tx.ids(job_ids)})
    return [
        new(
            JobStats,
            (
                id_,
                type_,
                owner,
                enabled == 1,
                scheduled == 1,
                generation,
                revision,
                None if run is None else run / 1e6,
                None if success is None else success / 1e6,
                status,
                failures,
                bool(stops) and holding(stops, _subject(id_, tags, owner), now) is not None,
                *_moments(limits.get(id_, _NO_LIMITS)),
            ),
        )
        for (
            id_,
            type_,
            owner,
            enabled,
            scheduled,
            generation,
            revision,
            run,
            success,
            status,
            failures,
            tags,
        ) in found
    ]


def _subject(job_id: str, tags: str, owner: str) -> Subject:
    return Subject(job_id, tuple(json.loads(tags)), owner or None)


def _moments(limits: Limits) -> tuple[float | None, float | None]:
    late, overrun = limits.late_after, limits.overrun_after
    return (
        None if late is None else late.timestamp(),
        None if overrun is None else overrun.timestamp(),
    )


def fleet_counts(tx: Tx, now: datetime) -> FleetCounts:
    jobs, enabled, failing, held, invalid_files = (int(n) for n in tx.one(_JOB_COUNTS) or [0] * 5)
    executions: dict[str, int] = dict(tx.all(_EXECUTION_COUNTS))
    return FleetCounts(
        jobs=jobs,
        enabled=enabled,
        disabled=jobs - enabled,
        suspended=suspended(tx, now),
        held=held,
        failing=failing,
        running=executions.get("running", 0),
        queued=executions.get("queued", 0),
        invalid_files=invalid_files,
    )


def source_state(tx: Tx) -> SourceState | None:
    row = tx.one(_SOURCE)
    if row is None:
        return None
    revision, observed, base, environment, reader, conditions, success, *commit = row
    author, message, committed_at = commit
    return SourceState(
        revision=revision,
        observed_revision=observed,
        environment=environment,
        reader_version=reader,
        base_revision=base,
        conditions=read_conditions(conditions),
        last_success_at=instant_or_none(success),
        author=author,
        message=message,
        committed_at=committed_at,
    )


def file_problems(tx: Tx) -> dict[str, tuple[Problem, ...]]:
    return {path: read_problems(problems) for path, problems in tx.all(_PROBLEMS)}


def configs(tx: Tx, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Configs of live jobs; one that is no JSON object any more is left out."""
    rows = tx.all(_CONFIGS, {"ids": tx.ids(job_ids)})
    found = ((job_id, object_or_none(text)) for job_id, text in rows)
    return {job_id: config for job_id, config in found if config is not None}


def config_versions(tx: Tx, digests: Collection[str]) -> dict[str, dict[str, Any]]:
    rows = tx.all(_VERSIONS, {"ids": tx.ids(digests)})
    found = ((digest, object_or_none(text)) for digest, text in rows)
    return {digest: config for digest, config in found if config is not None}


def blobs(tx: Tx, ids: Collection[str]) -> dict[str, bytes]:
    return {id_: bytes(text) for id_, text in tx.all(_BLOBS, {"ids": tx.ids(ids)})}


def drifted(tx: Tx) -> list[DriftedRow]:
    return [DriftedRow(*row) for row in tx.all(DRIFTED)]


def approved(tx: Tx, revision: str) -> bool:
    return tx.one(_APPROVED, {"revision": revision}) is not None
