"""The writer: many units a commit, each alone in its failure, and a death that nobody misses."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import wait as wait_for

import pytest

from jobreconciler.errors import JobReconcilerError, Stalled
from jobreconciler.store.sql import Statement, Tx
from jobreconciler.store.store import SqlStore
from jobreconciler.store.writer import Unit

from .conftest import Place
from .made import NOW, FixedClock, add, desired, execution

HANG = 60
_ADD = Statement("INSERT INTO prune_approvals (revision, actor, approved_at) VALUES (:id, '', 0)")
_COUNT = Statement("SELECT count(*) FROM prune_approvals")


def adding(id_: str) -> Unit[int]:
    return lambda tx: tx.run(_ADD, {"id": id_})


class Gate:
    """A unit that keeps the writer busy until it is opened, so that others gather behind it."""

    def __init__(self, store: SqlStore) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.future = store.submit(self._wait)
        assert self.entered.wait(HANG)

    def _wait(self, _tx: Tx) -> None:
        self.entered.set()
        assert self.opened.wait(HANG)


def test_units_that_gather_are_committed_together_and_in_order(store: SqlStore) -> None:
    gate = Gate(store)
    seen: list[int] = []

    def unit(n: int) -> Unit[int]:
        def note(_tx: Tx) -> int:
            seen.append(n)
            return n

        return note

    futures = [store.submit(unit(n)) for n in range(50)]
    gate.opened.set()
    assert [future.result(HANG) for future in futures] == list(range(50))
    assert seen == list(range(50))


def test_a_patient_unit_lets_one_transaction_of_others_pass_and_no_more(store: SqlStore) -> None:
    gate = Gate(store)
    order: list[str] = []
    ended = threading.Event()

    def others(n: int) -> Unit[None]:
        def unit(_tx: Tx) -> None:
            order.append(f"other {n}")
            if n < 4:
                store.submit(others(n + 1))
            else:
                ended.set()

        return unit

    patient = store.submit(lambda _tx: order.append("patient"), patient=True)
    store.submit(others(1))
    gate.opened.set()
    patient.result(HANG)
    assert ended.wait(HANG)
    assert order == ["other 1", "other 2", "patient", "other 3", "other 4"]


def test_a_unit_that_fails_takes_nobody_with_it(store: SqlStore) -> None:
    gate = Gate(store)
    good = [store.submit(adding(f"g{n}")) for n in range(5)]

    def broken(tx: Tx) -> None:
        tx.run(_ADD, {"id": "broken"})
        raise RuntimeError("a mistake of our own")

    bad = store.submit(broken)
    twice = store.submit(adding("g0"))
    more = store.submit(adding("last"))
    gate.opened.set()
    assert [future.result(HANG) for future in [*good, more]] == [1] * 6
    with pytest.raises(RuntimeError, match="mistake of our own"):
        bad.result(HANG)
    with pytest.raises(Stalled, match="the store failed"):
        twice.result(HANG)
    assert store.submit(lambda tx: tx.one(_COUNT)).result(HANG) == (6,)
    assert store.approved("g4")
    assert not store.approved("broken")


def test_a_future_resolves_when_others_can_see_what_was_written(store: SqlStore) -> None:
    for n in range(20):
        store.submit(adding(f"r{n}")).result(HANG)
        assert store.approved(f"r{n}")


def test_a_unit_whose_future_was_cancelled_is_not_run(store: SqlStore) -> None:
    gate = Gate(store)
    unwanted = store.submit(adding("unwanted"))
    wanted = store.submit(adding("wanted"))
    assert unwanted.cancel()
    gate.opened.set()
    wanted.result(HANG)
    assert not store.approved("unwanted")


def test_closing_finishes_what_was_submitted_and_takes_nothing_more(place: Place) -> None:
    store = place.open()
    gate = Gate(store)
    before = store.submit(adding("before"))
    closer = threading.Thread(target=store.close)
    closer.start()
    gate.opened.set()
    closer.join(HANG)
    assert before.result(0) == 1
    with pytest.raises(Stalled, match="closed"):
        store.submit(adding("after")).result(HANG)
    assert place.sql("SELECT revision FROM prune_approvals") == [("before",)]


def test_many_threads_may_submit_at_once(store: SqlStore) -> None:
    futures: list[Future[int]] = []
    lock = threading.Lock()

    def submit(name: int) -> None:
        mine = [store.submit(adding(f"{name}-{n}")) for n in range(50)]
        with lock:
            futures.extend(mine)

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert sum(future.result(HANG) for future in futures) == 400
    assert store.submit(lambda tx: tx.one(_COUNT)).result(HANG) == (400,)


def assert_dead(store: SqlStore, pending: list[Future[int]], deaths: list[BaseException]) -> None:
    done, left = wait_for(pending, HANG)
    assert not left
    assert all(isinstance(future.exception(), JobReconcilerError) for future in done)
    with pytest.raises(Stalled, match="writer has ended") as caught:
        store.submit(adding("late")).result(HANG)
    assert caught.value.reason == "StoreWriterEnded"
    assert len(deaths) == 1


def test_when_the_writer_dies_everybody_waiting_hears_of_it(place: Place) -> None:
    deaths: list[BaseException] = []
    store = place.open(on_death=deaths.append)
    gate = Gate(store)

    def fatal(_tx: Tx) -> int:
        raise SystemExit("out of memory, say")

    pending = [store.submit(adding("a")), store.submit(fatal), store.submit(adding("b"))]
    gate.opened.set()
    assert_dead(store, pending, deaths)
    store.close()
    assert place.sql("SELECT count(*) FROM prune_approvals") == [(0,)]


def test_a_lost_session_is_the_end_since_the_lock_went_with_it(
    shared_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = Place("postgresql", shared_url, tmp_path_factory.mktemp("lost"), FixedClock())
    place.sql("TRUNCATE prune_approvals")
    deaths: list[BaseException] = []
    store = place.open(on_death=deaths.append)
    gate = Gate(store)
    pending = [store.submit(adding("a")), store.submit(adding("b"))]
    place.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks "
        "WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    gate.opened.set()
    assert_dead(store, [*pending, gate.future], deaths)
    assert "connection to PostgreSQL is lost" in str(deaths[0])
    store.close()
    again = place.open()
    add(again, desired("after-the-loss"), at=NOW)
    assert again.release(execution(job_id="after-the-loss"), {}).result(HANG)
    again.close()
    place.sql("TRUNCATE job_executions, job_states, job_configs, changelog CASCADE")
