"""The git source beside bare git: look-ups, one change among many files, reading, watching.

Every peer is measured in the same run, alternating with ours, on the same repository.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import fleet
from jobreconciler.source.git import GitSource
from jobreconciler.source.gitpython import repo_class
from jobreconciler.source.watch import watch

JOBS = 10_000
MANY = 100_000
FOLDERS = 100
ROUNDS = 9
CHANGES = 20
IDLE_SECONDS = 5.0


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "small").mkdir()
        (work / "large").mkdir()
        small = fleet.make_repo(work / "small/jobs.git", _files(JOBS, 10))
        large = fleet.make_repo(work / "large/jobs.git", _files(MANY, FOLDERS))
        return [
            _resolve(large),
            _one_change(large),
            _snapshot(small),
            *_read(small),
            _first_history(small),
            *asyncio.run(_watching(small)),
        ]


def _files(count: int, folders: int) -> Iterator[tuple[str, str]]:
    for number in range(count):
        text = fleet.job_text(number, cron="0 3 * * *", zone="UTC")
        yield f"jobs.d/team-{number % folders:03}/usage-{number:06}.yaml", text


@contextmanager
def _source(repo: Path) -> Iterator[GitSource]:
    source = GitSource(
        str(repo), "main", "jobs.d", repo.parent, timeout=60, observer=lambda *_: None
    )
    try:
        yield source
    finally:
        source.close()


def _resolve(repo: Path) -> dict[str, Any]:
    with _source(repo) as source:
        source.resolve()
        ours, peer = _alternate(
            lambda: [source.resolve() for _ in range(100)],
            lambda: _git(repo, "rev-parse", "refs/heads/main"),
        )
    return _row("look at a ref that has not moved", ours / 100, "git rev-parse", peer, 0.1)


def _one_change(repo: Path) -> dict[str, Any]:
    """The whole way from a moved ref to everything a reconcile needs of it."""
    ours, peers = [], []
    with _source(repo) as source:
        base = source.resolve()
        source.snapshot(base)
        for number in range(CHANGES):
            path = f"jobs.d/team-{number % FOLDERS:03}/usage-{number:06}.yaml"
            fleet.commit(
                repo, [(path, f"# change {number}\n")], "Change one", base, "refs/heads/main"
            )
            began = time.perf_counter()
            tip = source.resolve()
            diff = source.diff(base, tip)
            assert diff is not None
            source.read([entry.blob for entry in diff.changed])
            history = source.history(base, tip, [entry.path for entry in diff.changed])
            ours.append(time.perf_counter() - began)
            assert [c.revision for c in history.of(path)] == [tip]
            began = time.perf_counter()
            _git(repo, "diff-tree", "-r", "-z", base, tip, "--", "jobs.d")
            peers.append(time.perf_counter() - began)
            base = tip
    return _row(
        f"one change among {MANY:,}: ref, diff, blob, author",
        statistics.median(ours),
        "git diff-tree alone",
        statistics.median(peers),
        1.5,
    )


def _snapshot(repo: Path) -> dict[str, Any]:
    def peer() -> list[tuple[bytes, bytes]]:
        lines = _git(repo, "ls-tree", "-r", "-z", "refs/heads/main", "jobs.d").split(b"\0")
        return [(line[53:], line[12:52]) for line in lines if line]

    with _source(repo) as source:
        tip = source.resolve()
        assert len(source.snapshot(tip).entries) == len(peer()) == JOBS
        ours, theirs = _alternate(lambda: source.snapshot(tip), peer)
    return _row(f"list {JOBS:,} files", ours, "git ls-tree -r, split", theirs, 3.0)


def _read(repo: Path) -> list[dict[str, Any]]:
    with _source(repo) as source:
        blobs = [entry.blob for entry in source.snapshot(source.resolve()).entries]
        asked = "\n".join(blobs).encode() + b"\n"

        def bare() -> bytes:
            return _git(repo, "cat-file", "--batch", stdin=asked)

        ours, floor = _alternate(lambda: source.read(blobs), bare)
    with repo_class()(repo) as repository:

        def streams() -> list[bytes]:
            return [repository.odb.stream(bytes.fromhex(b)).read() for b in blobs]

        gitpython = _median(streams, 3)
    what = f"read {JOBS:,} files, hashes checked"
    return [
        _row(what, ours, "git cat-file --batch", floor, 1.3),
        _row(what, ours, "GitPython's streams", gitpython, 1.0),
    ]


def _first_history(repo: Path) -> dict[str, Any]:
    with _source(repo) as source:
        tip = source.resolve()
        paths = [entry.path for entry in source.snapshot(tip).entries]
        assert len(source.history(None, tip, paths).by_path) == JOBS
        ours, peer = _alternate(
            lambda: source.history(None, tip, paths),
            lambda: _git(repo, "log", "--raw", "-z", "--format=%H", tip, "--", "jobs.d"),
        )
    row = _row(f"the commit of each of {JOBS:,} files", ours, "git log --raw", peer, None)
    return {**row, "target": "300 ms", "ok": ours <= 0.3}


async def _watching(repo: Path) -> list[dict[str, Any]]:
    """How long a moved ref takes to wake, and what watching costs while nothing happens."""
    stop, woken = asyncio.Event(), asyncio.Event()
    with _source(repo) as source:
        tip = source.resolve()

        async def listen() -> None:
            async for _ in watch(source.watch_paths, stop, print):
                woken.set()

        task = asyncio.create_task(listen())
        await woken.wait()
        await asyncio.sleep(0.5)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(IDLE_SECONDS)
        after = resource.getrusage(resource.RUSAGE_SELF)
        late = []
        for number in range(CHANGES):
            await asyncio.sleep(0.1)
            woken.clear()
            at = time.perf_counter()
            (repo / f"refs/heads/side-{number}").write_text(tip + "\n")
            await woken.wait()
            late.append(time.perf_counter() - at)
        stop.set()
        await task
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wakes = (after.ru_nvcsw - before.ru_nvcsw) / IDLE_SECONDS
    share = cpu / IDLE_SECONDS * 100
    return [
        {
            "what": "a written ref wakes after",
            "ours": f"{statistics.median(late) * 1000:.0f} ms",
            "floor_or_peer": "98 ms with watchfiles' default step",
            "ratio": None,
            "target": "30 ms",
            "ok": statistics.median(late) <= 0.03,
        },
        {
            "what": "watching while nothing happens",
            "ours": f"{share:.1f} % of a core",
            "floor_or_peer": f"{wakes:.0f} wake-ups a second",
            "ratio": None,
            "target": "1 %",
            "ok": share <= 1.0,
        },
    ]


def _git(repo: Path, *args: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", f"--git-dir={repo}", *args],
        input=stdin,
        stdout=subprocess.PIPE,
        env=fleet.environment(repo),
        check=True,
    ).stdout


def _alternate(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of each, taken in turn, so that a busy machine is fair to both."""
    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine.append(_median(ours, 1))
        theirs.append(_median(peer, 1))
    return statistics.median(mine), statistics.median(theirs)


def _median(call: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _row(what: str, ours: float, name: str, peer: float, target: float | None) -> dict[str, Any]:
    ratio = ours / peer
    return {
        "what": what,
        "ours": _shown(ours),
        "floor_or_peer": f"{_shown(peer)} ({name})",
        "ratio": f"{ratio:.2f}x",
        "target": f"{target:g}x" if target is not None else None,
        "ok": ratio <= target if target is not None else None,
    }


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"
