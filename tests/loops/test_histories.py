"""Random histories: after each pass nothing is left to do that a fresh look would find."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from jobreconciler.core.index import JobIndex
from jobreconciler.core.plan import Desired, Rules, make_plan
from jobreconciler.loops.selection import read_files, select
from jobreconciler.model.change import Plan

from .world import World, job_file

HISTORIES = 8
COMMITS = 14
NAMES = [f"j{number}" for number in range(8)]
TYPO = ("jobType: command", "jobType: commnd")
DEFAULTS = ("limits: {timeoutSeconds: 77}\n", "timezone: Europe/Berlin\n", "nonsense: 1\n")


def fresh_plan(world: World) -> Plan:
    """What somebody would do who knows nothing but the store and the newest commit."""
    index = JobIndex(world.store.index())
    revision = world.source.resolve()
    selection = select(world.source, index, revision, None, "jobs.d")
    files = read_files(world.source, world.loader, selection)
    return make_plan(Desired(revision, None, tuple(files), selection.gone), index, Rules())


def left_over(world: World) -> list[tuple[str, str]]:
    return [(one.action, one.job_id) for one in fresh_plan(world).changes if one.action != "hold"]


class Author:
    """Writes one commit after another, most of them sensible."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._draw = random.Random(seed)
        self._files = {name: job_file(name) for name in NAMES[:6]}
        self._past: list[dict[str, str]] = []
        self._written: set[str] = set()

    def commit(self, number: int) -> str:
        """Its kind."""
        kinds = ("edit", "typo", "mend", "delete", "new", "rename", "copy", "undo", "undo", "base")
        kind = "new" if number == 0 else self._draw.choice(kinds)
        if number:
            self._change(kind, number)
        changed = {f"jobs.d/{name}.yaml": text for name, text in self._files.items()}
        gone = self._written - changed.keys()
        if gone:
            self._world.repo.delete(*sorted(gone))
        self._world.repo.write({**changed, "README": str(number)})
        self._written = set(changed)
        self._past.append(dict(self._files))
        allowed = "\n\nAllow-Prune: true" if self._draw.random() < 0.7 else ""
        self._world.repo.commit(f"{kind} {number}{allowed}")
        return kind

    def _change(self, kind: str, number: int) -> None:
        files, name = self._files, self._draw.choice(NAMES)
        some = self._draw.choice(sorted(files) or NAMES)
        if kind == "edit" or kind == "new":
            files[name] = job_file(name, priority=self._draw.choice((10, 50, 60)))
        elif kind == "typo" and some in files:
            files[some] = files[some].replace(*TYPO)
        elif kind == "mend":
            for each in files:
                files[each] = files[each].replace(TYPO[1], TYPO[0])
        elif kind == "delete":
            files.pop(some, None)
        elif kind == "rename" and some in files:
            files[f"{some}-{number}"] = files.pop(some)
        elif kind == "copy" and some in files:
            files[f"{some}-{number}"] = files[some]
        elif kind == "undo":
            self._files = dict(self._draw.choice(self._past[-3:]))
        elif kind == "base":
            files["_defaults"] = self._draw.choice(DEFAULTS)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_each_pass_does_all_that_a_fresh_look_would(seed: int, tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        author = Author(world, seed)
        kinds = []
        for number in range(COMMITS):
            kinds.append(author.commit(number))
            result = world.reconcile()
            assert result.result != "failed", result.error
            assert left_over(world) == [], f"after {kinds} it was {result.result}"
    finally:
        world.close()


def broken(world: World) -> None:
    world.commit("a typo", broken="meta: [")
    world.reconcile()


def test_what_was_applied_beside_a_held_file_can_be_undone(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    broken(world)
    world.commit(a=job_file("a", priority=90))
    world.reconcile()
    world.commit("back", a=job_file("a"))
    assert world.reconcile().changed == {"a"}
    job = world.store.job("a")
    assert job is not None and job.config["payload"]["priority"] == 50


def test_a_job_that_came_beside_a_held_file_can_go_again(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    broken(world)
    world.commit(b=job_file("b"))
    world.reconcile()
    world.commit("not that one\n\nAllow-Prune: true", b="")
    world.reconcile()
    world.commit("mended", broken="")
    world.reconcile()
    assert world.jobs() == {"a": 1}
