"""Uncommitted files as a source, for local development."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitrepo import GitRepo
from jobreconciler.errors import Refused, Stalled
from jobreconciler.source.working_tree import WorkingTreeSource, dirty_paths

A, B = "jobs.d/a.yaml", "jobs.d/team/b.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def source(repo: GitRepo) -> Iterator[WorkingTreeSource]:
    source = WorkingTreeSource(str(repo.path), "jobs.d")
    yield source
    source.close()


def test_a_clean_tree_is_its_commit(repo: GitRepo, source: WorkingTreeSource) -> None:
    tip = repo.write({A: "1", B: "1", ".gitignore": "*.tmp.yaml\n"}).commit("one")
    repo.write({"jobs.d/x.tmp.yaml": "ignored", "README.md": "not a job"})
    assert source.resolve() == tip
    assert [e.path for e in source.snapshot(tip).entries] == [A, B]
    assert dirty_paths(str(repo.path), "jobs.d") == ()


def test_edits_new_files_and_deletions_make_another_revision(
    repo: GitRepo, source: WorkingTreeSource
) -> None:
    head = repo.write({A: "1", B: "1", "jobs.d/c.yaml": "1"}).commit("one")
    repo.write({A: "2", "jobs.d/new.yml": "n"}).delete(B)
    revision = source.resolve()
    assert revision.startswith(f"{head}-dirty-")
    assert source.resolve() == revision
    snapshot = source.snapshot(revision)
    assert [e.path for e in snapshot.entries] == [A, "jobs.d/c.yaml", "jobs.d/new.yml"]
    contents = source.read([e.blob for e in snapshot.entries])
    assert [contents[e.blob] for e in snapshot.entries] == [b"2", b"1", b"n"]
    diff = source.diff(head, revision)
    assert diff is not None
    assert [e.path for e in diff.changed] == [A, "jobs.d/new.yml"]
    assert diff.gone == (B,)
    assert dirty_paths(str(repo.path), "jobs.d") == (A, "jobs.d/new.yml", B)
    assert source.entry(revision, A) == snapshot.entries[0]
    repo.write({A: "3"})
    assert source.resolve() not in (revision, head)
    assert repo.commit("all of it") == source.resolve()


def test_history_names_the_uncommitted_change_first(
    repo: GitRepo, source: WorkingTreeSource
) -> None:
    base = repo.write({A: "1", B: "1"}).commit("one")
    tip = repo.write({A: "2", B: "2"}).commit("two")
    repo.write({A: "3"})
    revision = source.resolve()
    found = source.history(base, revision, [A, B])
    assert [c.revision for c in found.of(A)] == [revision, tip]
    assert [c.revision for c in found.of(B)] == [tip]
    newest = source.history(None, revision, [A, B])
    assert [[c.revision for c in newest.of(p)] for p in (A, B)] == [[revision], [tip]]
    own = source.commit(revision)
    assert (own.author_name, own.parents) == ("uncommitted", (tip,))
    assert source.is_ancestor(tip, revision)
    assert source.is_ancestor(base, revision)


def test_the_same_content_written_again_is_no_change(
    repo: GitRepo, source: WorkingTreeSource
) -> None:
    tip = repo.write({A: "1"}).commit("one")
    repo.write({A: "2"})
    assert source.resolve() != tip
    repo.write({A: "1"})
    os.utime(repo.path / A, (1, 1))
    assert source.resolve() == tip


def test_links_are_refused_here_too(repo: GitRepo, source: WorkingTreeSource) -> None:
    repo.write({A: "1", B: "1", "other/b.yaml": "secret"}).commit("one")
    repo.link("jobs.d/team", "../other").link("jobs.d/l.yaml", "a.yaml")
    snapshot = source.snapshot(source.resolve())
    assert [e.path for e in snapshot.entries] == [A]
    assert {p.file for p in snapshot.refused} >= {"jobs.d/l.yaml", "jobs.d/team"}


def test_a_repository_without_a_commit_works_as_well(
    repo: GitRepo, source: WorkingTreeSource
) -> None:
    repo.write({A: "1"})
    revision = source.resolve()
    assert [e.path for e in source.snapshot(revision).entries] == [A]
    found = source.history(None, revision, [A])
    assert [c.parents for c in found.of(A)] == [()]
    first = repo.commit("first")
    assert source.resolve() == first
    assert source.is_ancestor(revision, first)


def test_a_missing_jobs_directory_never_reads_as_empty(
    repo: GitRepo, source: WorkingTreeSource
) -> None:
    repo.write({A: "1"}).commit("one")
    repo.delete("jobs.d")
    with pytest.raises(Stalled) as raised:
        source.resolve()
    assert raised.value.reason == "JobsDirMissing"


def test_only_a_local_repository_with_a_work_tree_will_do(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({A: "1"}).commit("one")
    with pytest.raises(Refused):
        WorkingTreeSource("https://example.com/x.git", "jobs.d")
    bare = WorkingTreeSource(str(repo.bare_clone(tmp_path / "b.git")), "jobs.d")
    with pytest.raises(Refused, match="bare"):
        bare.resolve()
    bare.close()
    assert dirty_paths(str(tmp_path / "b.git"), "jobs.d") == ()


def test_folders_below_the_jobs_directory_are_watched(
    repo: GitRepo, source: WorkingTreeSource
) -> None:
    repo.write({A: "1", B: "1"}).commit("one")
    source.resolve()
    watched = set(source.watch_paths())
    assert {repo.path / "jobs.d", repo.path / "jobs.d/team", repo.path / ".git"} <= watched
