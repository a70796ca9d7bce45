"""Drift: whatever somebody changes in a row by hand, one statement finds it."""

from __future__ import annotations

import pytest

from jobreconciler.model.views import JobQuery
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import add, change, change_set, desired, execution

SET = "UPDATE job_configs SET {} WHERE job_id = 'nightly'"
TAMPERED = [
    ("the config", SET.format("config = '{\"payload\":{}}'")),
    ("the config, to no JSON at all", SET.format("config = 'rm -rf'")),
    ("one character of the config", SET.format("config = replace(config, 'true', 'tru3')")),
    ("enabled", SET.format("enabled = NOT enabled")),
    ("the expression", SET.format("expression = '* * * * *'")),
    ("the expression, to none", SET.format("expression = NULL")),
    ("the zone", SET.format("timezone = 'Asia/Tokyo'")),
    ("the path", SET.format("path = 'elsewhere.yaml'")),
    ("the type", SET.format("job_type = 'http'")),
    ("the generation", SET.format("generation = 9")),
    ("the digest", SET.format("digest = 'd'")),
    ("a jitter", SET.format("jitter_seconds = 86400")),
    ("a deadline", SET.format("starting_deadline_seconds = 1")),
    ("deletion", SET.format("deleted_at = 1")),
    ("the row, by taking it away", "DELETE FROM job_configs WHERE job_id = 'nightly'"),
]


@pytest.mark.parametrize("statement", [row[1] for row in TAMPERED], ids=[r[0] for r in TAMPERED])
def test_what_was_changed_behind_the_daemons_back_is_found_and_healed(
    store: SqlStore, place: Place, statement: str
) -> None:
    job = desired(meta={"title": "Nächtlich \U0001f600", "tags": ["a\nb"]})
    add(store, job, desired("other"))
    store.release(execution(), {}).result()
    place.sql(statement)
    (row,) = store.drifted()
    assert row.job_id == "nightly"
    (healed,) = store.apply(change_set(change("healed", job))).result()
    assert store.drifted() == []
    stored = store.job("nightly")
    assert stored is not None
    assert stored.digest == job.digest
    assert stored.path == job.path
    assert healed.generation == stored.generation > 1
    assert store.audit_break() is None


def test_the_drifted_config_is_shown_as_it_stands(store: SqlStore, place: Place) -> None:
    job = desired()
    add(store, job)
    place.sql("UPDATE job_configs SET config = 'x'")
    (row,) = store.drifted()
    assert (row.config, row.digest) == ("x", job.digest)


def test_a_row_that_is_gone_is_told_by_an_empty_config(store: SqlStore, place: Place) -> None:
    add(store, desired())
    place.sql("DELETE FROM job_configs")
    (row,) = store.drifted()
    assert (row.job_id, row.config, row.digest) == ("nightly", "", "")


def test_nothing_the_program_does_is_drift(store: SqlStore) -> None:
    add(store, desired(), desired("other"), desired("third"))
    store.apply(change_set(change("updated", desired(isEnabled=False)))).result()
    store.apply(change_set(change("deleted", "other"))).result()
    store.apply(change_set(change("moved", desired("third", path="x.yaml")))).result()
    store.observed(None).result()
    store.release(execution(job_id="third"), {}).result()
    assert store.drifted() == []
    store.apply(change_set(change("restored", desired("other")))).result()
    assert store.drifted() == []


def test_a_config_that_is_no_json_breaks_no_list_and_starts_nothing(
    store: SqlStore, place: Place
) -> None:
    add(store, desired(), desired("other"))
    place.sql(SET.format("config = '[]'"))
    assert [job.job_id for job in store.jobs(JobQuery()).items] == ["nightly", "other"]
    assert store.configs(["nightly", "other"]).keys() == {"other"}
    assert store.pinned(["nightly", "other"]).keys() == {"other"}
