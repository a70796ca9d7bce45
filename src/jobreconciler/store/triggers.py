"""What keeps a trigger from releasing twice: deliveries seen before, upstream outcomes used up.

Both are written in the transaction that inserts the execution, so a crash leaves either all of it
or nothing. A row of `dependency_releases` says up to which execution of an upstream a job's
releases have used up; '' where there was none when the two were first seen together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jobreconciler.core.dependency import Ended
from jobreconciler.model.execution import RAN_STATUSES, Execution
from jobreconciler.ports import Delivery, Dependent
from jobreconciler.store import executions, tables
from jobreconciler.store.rows import micros, storable
from jobreconciler.store.sql import Statement, Tx, overwrite

_SEEN = Statement(
    "SELECT execution_id FROM deliveries "
    "WHERE scope = :scope AND key = :key AND received_at >= :since"
)
_RECEIVE = overwrite(tables.deliveries, "scope, key", keep=("scope", "key"))

_DEPENDENTS = (
    "SELECT job_id, depends_on, enabled, deleted_at FROM job_configs WHERE depends_on <> '[]'"
)
_ABANDONED = Statement(
    "SELECT DISTINCT job_id FROM dependency_releases WHERE job_id NOT IN "
    "(SELECT job_id FROM job_configs WHERE depends_on <> '[]')"
)
_ALL_DEPENDENTS = Statement(_DEPENDENTS)
_SOME_DEPENDENTS = Statement(f"{_DEPENDENTS} AND job_id IN {{ids}}")
_USED = Statement("SELECT upstream_id, execution_id FROM dependency_releases WHERE job_id = :job")
_FORGET_ALL = Statement("DELETE FROM dependency_releases WHERE job_id = :job")
_FORGET_OTHERS = Statement(
    "DELETE FROM dependency_releases WHERE job_id = :job AND upstream_id NOT IN {ids}"
)
_SINCE = Statement("SELECT updated_at FROM job_configs WHERE job_id = :job")
_USE = overwrite(tables.dependency_releases, "job_id, upstream_id", keep=("job_id", "upstream_id"))

# Outcomes are told in the order they came. Only the newest runs can be the latest to have ended,
# save where more than 50 younger ones overtook it; looking at all would cost a scan a release.
_RAN = ", ".join(f"'{status}'" for status in sorted(RAN_STATUSES))
_LATEST = Statement(
    "SELECT id, status FROM (SELECT id, status, finished_at FROM job_executions "
    f"WHERE job_id = :job AND status IN ({_RAN}) AND NOT dry_run AND finished_at <= :until "
    "ORDER BY queued_at DESC, id DESC LIMIT 50) AS newest "
    "ORDER BY finished_at DESC, id DESC LIMIT 1"
)
_EVER = 2**62


def release_once(
    tx: Tx,
    execution: Execution,
    config: Mapping[str, Any],
    pinned: executions.Pinned,
    deliveries: Sequence[Delivery],
) -> str:
    """See ports.Store.release_once."""
    for delivery in deliveries:
        first = seen(tx, delivery)
        if first is not None:
            return first
    executions.release(tx, execution, config, pinned)
    received = [
        {
            "scope": storable(delivery.scope),
            "key": storable(delivery.key),
            "execution_id": execution.id,
            "received_at": micros(execution.queued_at),
        }
        for delivery in deliveries
    ]
    tx.many(_RECEIVE, received)
    return execution.id


def seen(tx: Tx, delivery: Delivery) -> str | None:
    wanted = {
        "scope": storable(delivery.scope),
        "key": storable(delivery.key),
        "since": 0 if delivery.since is None else micros(delivery.since),
    }
    row = tx.one(_SEEN, wanted)
    return None if row is None else str(row[0])


def dependents(tx: Tx, job_ids: Collection[str] | None) -> list[Dependent]:
    """Those, too, that wait for nothing any more and still have something used up."""
    rows = (
        tx.all(_ALL_DEPENDENTS)
        if job_ids is None
        else tx.all(_SOME_DEPENDENTS, {"ids": tx.ids(job_ids)})
    )
    waiting = [
        Dependent(job_id, tuple(json.loads(depends)), bool(enabled) and deleted is None)
        for job_id, depends, enabled, deleted in rows
    ]
    abandoned = (job_id for (job_id,) in tx.all(_ABANDONED))
    return waiting + [
        Dependent(each, (), False) for each in abandoned if job_ids is None or each in job_ids
    ]


def settle(tx: Tx, job_id: str, upstream: Sequence[str], at: int) -> None:
    """See ports.Store.settle_dependency."""
    if not upstream:
        tx.run(_FORGET_ALL, {"job": job_id})
        return
    tx.run(_FORGET_OTHERS, {"job": job_id, "ids": tx.ids(upstream)})
    known = _used(tx, job_id)
    missing = [each for each in upstream if each not in known]
    if not missing:
        return
    since = tx.one(_SINCE, {"job": job_id})
    for each in missing:
        past = _latest(tx, each, at if since is None else int(since[0]))
        _use(tx, job_id, {each: "" if past is None else past.execution_id}, at)


def outcomes(
    tx: Tx, job_id: str, upstream: Sequence[str]
) -> tuple[dict[str, Ended], dict[str, str]]:
    """See ports.Store.upstream_outcomes."""
    used = _used(tx, job_id)
    latest = {each: ended for each in upstream if (ended := _latest(tx, each, _EVER)) is not None}
    return latest, used


def release_dependent(
    tx: Tx,
    execution: Execution,
    config: Mapping[str, Any],
    pinned: executions.Pinned,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> bool:
    """See ports.Store.release_dependent."""
    used = _used(tx, execution.job_id)
    if any(used.get(upstream) != before.get(upstream) for upstream in after):
        return False
    if not executions.release(tx, execution, config, pinned):
        return False
    _use(tx, execution.job_id, after, micros(execution.queued_at))
    return True


def _used(tx: Tx, job_id: str) -> dict[str, str]:
    return dict(tx.all(_USED, {"job": job_id}))


def _latest(tx: Tx, job_id: str, until: int) -> Ended | None:
    row = tx.one(_LATEST, {"job": job_id, "until": until})
    return None if row is None else Ended(row[0], row[1])


def _use(tx: Tx, job_id: str, used: Mapping[str, str], at: int) -> None:
    rows = [
        {"job_id": job_id, "upstream_id": upstream, "execution_id": last, "released_at": at}
        for upstream, last in used.items()
    ]
    tx.many(_USE, rows)
