"""Reminders of what still fails, once a day."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from jobreconciler.core.notices import of_outcome
from jobreconciler.loops.notify import NotifyLoop
from jobreconciler.model.execution import Attempt
from jobreconciler.observe.metrics import Metrics
from jobreconciler.store.opening import open_store
from store.made import NOW, FixedClock, add, begin, desired, end, execution, outcome

NOTIFICATIONS = {"onFailure": ["ops"], "channels": {"ops": {"type": "webhook", "url": "x"}}}


def test_a_job_whose_stored_config_somebody_broke_keeps_no_other_from_being_reminded_of(
    tmp_path: Path,
) -> None:
    clock = FixedClock()
    store = open_store(None, tmp_path, clock)
    asked_for_nothing = cast(Any, None)
    reminders = NotifyLoop(
        store, asked_for_nothing, asked_for_nothing, clock, Metrics("0"), lambda: {}
    )
    jobs = [desired(job_id, notifications=NOTIFICATIONS) for job_id in ("broken", "whole")]
    add(store, *jobs)
    for job in jobs:
        made, ended = execution(f"of-{job.job_id}", job.job_id), outcome("failed", NOW)
        config: dict[str, Any] = {
            "meta": {"id": job.job_id},
            "payload": {"notifications": NOTIFICATIONS},
        }
        store.release(made, config).result()
        begin(store, made.id, Attempt(1, NOW))
        end(store, made.id, 1, ended, told=of_outcome(made, config, ended, 1, NOW))
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as behind:
        behind.execute("UPDATE job_configs SET config = 'x' WHERE job_id = 'broken'")
    clock.at = NOW + timedelta(days=2)
    try:
        assert asyncio.run(reminders.remind()) == 1
        assert store.lasting("failure", clock.at - timedelta(days=1)) == []
    finally:
        store.close()
