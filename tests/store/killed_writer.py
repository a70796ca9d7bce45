"""Writes as fast as it can and says what was acknowledged, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from jobreconciler.clock import SystemClock
from jobreconciler.model.execution import Attempt
from jobreconciler.ports import Ending
from jobreconciler.store.opening import open_store

sys.path.insert(0, str(Path(__file__).parents[1]))
from store.made import NOW, add, after, change, change_set, desired, execution, outcome


def main(url: str, state_dir: Path, first: int) -> None:
    store = open_store(url or None, state_dir, SystemClock())
    if not store.index():
        add(store, desired())
    for n in range(first, first + 1_000_000):
        run, at = f"e{n:08}", after(seconds=n)
        released = store.release(execution(run, slot=at), {"n": n})
        started = store.start_attempts([(run, Attempt(1, at))])
        ended = store.finish_all([Ending(run, 1, outcome("failed", at))])
        applied = store.apply(change_set(change("updated", desired(priority=n)), at=NOW))
        moved = [*started.result(), *ended.result()]
        if released.result() and all(moved) and applied.result():
            sys.stdout.write(f"{n}\n")
            sys.stdout.flush()


main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
