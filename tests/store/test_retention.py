"""A sweep over a real spool and either database."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from jobreconciler.core.retention import Retention
from jobreconciler.execute import spool
from jobreconciler.execute.spool_space import SpoolSpace
from jobreconciler.loops.retention import RetentionLoop, Swept
from jobreconciler.model.execution import Attempt
from jobreconciler.store.store import SqlStore

from .made import NOW, FixedClock, add, begin, change, change_set, desired, end, execution, outcome

POLICY = Retention(executions_a_job=2)
MONTHS = timedelta(days=100)


def ran(store: SqlStore, id_: str, days: int, state_dir: Path | None = None) -> None:
    """A scheduled run that ended so many days ago, with its own config and some output."""
    at = NOW - timedelta(days=days)
    pinned = execution(id_, slot=at, queued_at=at, config_digest=f"digest-{id_}")
    assert store.release(pinned, {"of": id_}).result()
    begin(store, id_, Attempt(1, at))
    end(store, id_, 1, outcome(at=at))
    if state_dir is not None:
        wrote(state_dir, id_, days)


def wrote(state_dir: Path, id_: str, days: int) -> None:
    attempt = state_dir / "runs" / id_ / "1"
    attempt.mkdir(parents=True)
    (attempt / "output").write_bytes(b"x" * 5000)
    at = (NOW - timedelta(days=days)).timestamp()
    for path in (attempt / "output", attempt, attempt.parent):
        os.utime(path, (at, at))


def sweep(store: SqlStore, state_dir: Path, policy: Retention = POLICY) -> Swept:
    loop = RetentionLoop(store, SpoolSpace(state_dir), FixedClock(), policy)
    return asyncio.run(loop.sweep())


def test_old_executions_go_with_their_attempts_and_configs(store: SqlStore, tmp_path: Path) -> None:
    add(store, desired(), at=NOW - MONTHS)
    for days in (60, 50, 40, 35, 1):
        ran(store, f"e{days}", days)
    swept = sweep(store, tmp_path)
    assert (swept.executions, swept.config_versions) == (3, 3)
    assert [one.id for one in store.executions("nightly").items] == ["e1", "e35"]
    assert store.config_versions(["digest-e35"]).get("digest-e35") == {"of": "e35"}
    assert store.config_versions(["digest-e60"]).get("digest-e60") is None
    assert sweep(store, tmp_path) == Swept(), "a second sweep finds nothing"


def test_claims_and_silent_results_go_as_output_does(store: SqlStore, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, days in (("e60", 60), ("e1", 1)):
        run = str(runs / name / "1")
        assert spool.claim(run, "boot", days, 1)
        spool.write_silent(run, days, 1, b'{"status":"succeeded"}')
        at = (NOW - timedelta(days=days)).timestamp()
        for path in (runs / f"{name}@1", runs / f".ended@{days}.1"):
            os.utime(path, (at, at), follow_symlinks=False)
    sweep(store, tmp_path)
    assert sorted(path.name for path in runs.iterdir()) == [".ended@1.1", "e1@1"]


def test_a_forgotten_slot_is_not_opened_again(store: SqlStore, tmp_path: Path) -> None:
    add(store, desired(), at=NOW - MONTHS)
    for days in (60, 50, 40, 35):
        ran(store, f"e{days}", days)
    sweep(store, tmp_path)
    assert store.execution("e60") is None
    again = execution("again", slot=NOW - timedelta(days=60))
    assert not store.release(again, {}).result()


def test_unfinished_executions_are_never_touched(store: SqlStore, tmp_path: Path) -> None:
    add(store, desired(), at=NOW - MONTHS)
    old = NOW - timedelta(days=90)
    waiting = execution("waiting", queued_at=old, config_digest="w")
    running = execution("running", queued_at=old, config_digest="r")
    for one in (waiting, running):
        store.release(one, {"of": one.id}).result()
        wrote(tmp_path, one.id, 90)
    begin(store, "running", Attempt(1, old))
    for days in (35, 34, 33):
        ran(store, f"e{days}", days, tmp_path)
    swept = sweep(store, tmp_path, Retention(executions_a_job=1, output_bytes=0))
    assert (swept.executions, swept.outputs) == (2, 3)
    assert {one.id for one in store.unfinished()} == {"waiting", "running"}
    assert store.config_versions(["w"]).get("w") is not None
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["running", "waiting"]


def test_a_config_that_went_is_stored_again_when_it_is_run_again(
    store: SqlStore, tmp_path: Path
) -> None:
    add(store, desired(), at=NOW - MONTHS)
    for days in (60, 50, 40):
        ran(store, f"e{days}", days)
    sweep(store, tmp_path)
    store.release(execution("later", config_digest="digest-e60"), {"of": "later"}).result()
    assert store.config_versions(["digest-e60"]).get("digest-e60") == {"of": "later"}


def test_a_config_that_is_run_between_look_and_deletion_stays(store: SqlStore) -> None:
    add(store, desired(), at=NOW - MONTHS)
    for days in (60, 50, 40):
        ran(store, f"e{days}", days)
    store.forget_executions(["e60", "e50"]).result()
    watched = store.watch_pins().result()
    unused = store.unused_versions()
    assert sorted(unused) == ["digest-e50", "digest-e60"]
    store.release(execution("later", config_digest="digest-e60"), {"of": "e60"}).result()
    assert store.forget_versions(unused, watched).result() == 1
    assert store.config_versions(["digest-e60"]).get("digest-e60") == {"of": "e60"}


def test_a_file_version_goes_when_no_job_comes_from_it(store: SqlStore, tmp_path: Path) -> None:
    job = desired(blob="b1")
    blobs = {"b1": b"one", "b2": b"two"}
    store.apply(change_set(change("created", job), blobs=blobs)).result()
    assert sweep(store, tmp_path).blobs == 1
    assert store.blobs(["b1", "b2"]) == {"b1": b"one"}


def test_the_changelog_stays(store: SqlStore, tmp_path: Path) -> None:
    add(store, desired(), at=NOW - 10 * MONTHS)
    sweep(store, tmp_path)
    assert len(store.changelog().items) == 1
    assert store.audit_break() is None
