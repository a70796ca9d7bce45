"""Watching refs: moved branches wake, objects and lock files don't, nothing raises."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gitrepo import GitRepo
from jobreconciler.source.git import GitSource
from jobreconciler.source.watch import _filter, watch

HANG = 20.0
"""Seconds after which a wake-up that never came fails the test."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


class Watching:
    """Counts wake-ups of `watch` over a source."""

    def __init__(self, folders: Callable[[], tuple[Path, ...]]) -> None:
        self.folders = folders
        self.stop = asyncio.Event()
        self.woken = asyncio.Event()
        self.count = 0
        self.told: list[str] = []

    async def __aenter__(self) -> Watching:
        self.task = asyncio.create_task(self._run())
        await self.wakes()  # the one that says: from now on nothing is missed
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, HANG)

    async def _run(self) -> None:
        async for _ in watch(self.folders, self.stop, self.told.append):
            self.count += 1
            self.woken.set()

    async def wakes(self) -> None:
        await asyncio.wait_for(self.woken.wait(), HANG)
        self.woken.clear()


def source_of(path: Path, ref: str | None = None) -> GitSource:
    return GitSource(str(path), ref, "jobs.d", path, timeout=20, observer=lambda *_: None)


async def until(watching: Watching, is_so: Callable[[], bool]) -> None:
    while not is_so():
        await watching.wakes()


@pytest.mark.parametrize("move", ["commit", "pack-refs", "new branch in a new folder", "worktree"])
def test_a_moved_ref_wakes(tmp_path: Path, move: str) -> None:
    repo = GitRepo(tmp_path / "repo")
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    path = repo.path
    if move == "worktree":
        repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
        path = tmp_path / "tree"
    source = source_of(path)
    before = source.resolve()

    async def scenario() -> None:
        async with Watching(source.watch_paths) as watching:
            if move == "new branch in a new folder":
                await asyncio.to_thread(repo.git, "checkout", "-q", "-b", "team/deep/new")
            if move == "pack-refs":
                await asyncio.to_thread(repo.git, "pack-refs", "--all")
                await watching.wakes()
            at = GitRepo(path).write({"jobs.d/a.yaml": "2"})
            await asyncio.to_thread(at.commit, "two")
            await until(watching, lambda: source.resolve() != before)
            assert watching.told == []

    asyncio.run(scenario())
    source.close()


@pytest.mark.parametrize(
    ("what", "path", "wakes"),
    [
        ("a branch", "refs/heads/main", True),
        ("packed refs", "packed-refs", True),
        ("another branch checked out", "HEAD", True),
        ("a new folder of branches", "refs/heads/team", True),
        ("the refs folder itself", "refs", True),
        ("a branch's lock file", "refs/heads/main.lock", False),
        ("the index", "index", False),
        ("the index's lock file", "index.lock", False),
        ("a commit message", "COMMIT_EDITMSG", False),
        ("a fetch", "FETCH_HEAD", False),
        ("a new object's folder", "objects", False),
    ],
)
def test_who_wakes_whom(tmp_path: Path, what: str, path: str, wakes: bool) -> None:
    repo = GitRepo(tmp_path / "repo")
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = source_of(repo.path)
    source.resolve()
    relevant = _filter(source.watch_paths())
    source.close()
    assert relevant(None, str(repo.path / ".git" / path)) is wakes, what


def test_a_repository_that_is_removed_and_comes_back_is_watched_again(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "repo")
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = source_of(repo.path)
    source.resolve()

    async def scenario() -> None:
        async with Watching(source.watch_paths) as watching:
            shutil.rmtree(repo.path)
            await watching.wakes()
            new = GitRepo(tmp_path / "repo").write({"jobs.d/b.yaml": "2"})
            tip = await asyncio.to_thread(new.commit, "again")
            await until(watching, lambda: _resolves_to(source, tip))
            later = await asyncio.to_thread(new.write({"jobs.d/b.yaml": "3"}).commit, "more")
            await until(watching, lambda: _resolves_to(source, later))

    asyncio.run(scenario())
    source.close()


def _resolves_to(source: GitSource, tip: str) -> bool:
    try:
        return source.resolve() == tip
    except Exception:
        return False


def test_a_remote_has_nothing_to_be_watched() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        assert [event async for event in watch(lambda: (), stop, pytest.fail)] == []

    asyncio.run(scenario())


def test_a_failure_is_told_and_never_raised(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        stop = asyncio.Event()
        told: list[str] = []

        def tell(message: str) -> None:
            told.append(message)
            stop.set()

        async def run() -> None:
            async for _ in watch(lambda: (tmp_path / "nowhere",), stop, tell):
                pytest.fail("nothing is there to wake anybody")

        await asyncio.wait_for(run(), HANG)
        return told

    (message,) = asyncio.run(scenario())
    assert "polling goes on" in message


def test_cancelling_leaves_the_callers_stop_event_alone(tmp_path: Path) -> None:
    async def scenario() -> bool:
        stop = asyncio.Event()
        ready = asyncio.Event()

        async def run() -> None:
            async for _ in watch(lambda: (tmp_path,), stop, pytest.fail):
                ready.set()

        task = asyncio.create_task(run())
        await asyncio.wait_for(ready.wait(), HANG)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return stop.is_set()

    assert asyncio.run(scenario()) is False
