"""Whatever happens to the store: nothing applied is lost, and the next pass makes it good."""

from __future__ import annotations

from loops.world import World, job_file


def test_a_store_that_somebody_else_locks_is_tried_again(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.commit(a=job_file("a", priority=60))
    other = world.sqlite()
    other.execute("BEGIN IMMEDIATE")
    result = world.reconcile()
    assert result.result == "failed"
    assert result.error is not None and result.error.reason == "StoreBusy"
    assert world.jobs() == {"a": 1}
    other.execute("ROLLBACK")
    other.close()
    assert world.reconcile().result == "applied"
    assert world.jobs() == {"a": 2}
    assert world.condition("Ready") == ("True", "Applied")


def test_a_full_store_keeps_what_it_has_and_takes_the_rest_later(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    full = world.store.submit(lambda tx: tx.command("PRAGMA max_page_count = 1"))
    full.result(timeout=30)
    world.commit(**{f"job-{n}": job_file(f"job-{n}") for n in range(400)})
    result = world.reconcile()
    assert result.result == "failed"
    assert result.error is not None
    assert world.jobs() == {"a": 1}
    world.store.submit(lambda tx: tx.command("PRAGMA max_page_count = 1073741823")).result(
        timeout=30
    )
    assert world.reconcile().result == "applied"
    assert len(world.jobs()) == 401
    assert world.store.audit_break() is None
