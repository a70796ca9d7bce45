"""History: the commits that really set a file, through merges, conflicts and rewrites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitrepo import BOB, START, GitRepo
from jobreconciler.errors import Transient
from jobreconciler.source import history as history_module
from jobreconciler.source import provenance
from jobreconciler.source.git import GitSource

A, B = "jobs.d/a.yaml", "jobs.d/team/b.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture(params=["near", "far"])
def source(
    request: pytest.FixtureRequest,
    repo: GitRepo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[GitSource]:
    """Both ways to walk: commit by commit through cat-file, and by git's own list."""
    if request.param == "far":
        monkeypatch.setattr(history_module, "NEAR", 0)
    source = GitSource(
        str(repo.path), None, "jobs.d", tmp_path / "s", timeout=20, observer=lambda *_: None
    )
    yield source
    source.close()


def subjects(source: GitSource, base: str | None, revision: str, path: str) -> list[str]:
    found = source.history(base, revision, [path])
    return [provenance.subject(commit.message) for commit in found.of(path)]


def test_each_commit_since_the_base_that_touched_the_file_newest_first(
    repo: GitRepo, source: GitSource
) -> None:
    base = repo.write({A: "0", B: "0"}).commit("base")
    repo.write({A: "1"}).commit("a one", author=BOB)
    repo.write({B: "1"}).commit("b one")
    repo.write({"README.md": "x"}).commit("no job")
    tip = repo.write({A: "2", B: "2"}).commit("both")
    found = source.history(base, tip, [A, B])
    assert [c.message for c in found.commits] == ["both", "b one", "a one"]
    assert [c.message for c in found.of(A)] == ["both", "a one"]
    assert [c.message for c in found.of(B)] == ["both", "b one"]
    assert [c.message for c in found.of(A, B, None)] == ["both", "b one", "a one"]
    assert found.of(A)[1].author_name == "Bob Ross"
    assert found.of("jobs.d/never.yaml") == ()


def test_without_a_base_the_newest_commit_of_each_file(repo: GitRepo, source: GitSource) -> None:
    repo.write({A: "0", B: "0", "jobs.d/c.yaml": "0"}).commit("all")
    repo.write({A: "1"}).commit("a one")
    repo.write({A: "2"}).commit("a two")
    tip = repo.write({B: "1"}).commit("b one")
    found = source.history(None, tip, [A, B, "jobs.d/c.yaml", "jobs.d/never.yaml"])
    assert {path: [c.message for c in found.of(path)] for path in found.by_path} == {
        A: ["a two"],
        B: ["b one"],
        "jobs.d/c.yaml": ["all"],
    }


def test_a_deleted_file_owes_its_end_to_the_commit_that_deleted_it(
    repo: GitRepo, source: GitSource
) -> None:
    base = repo.write({A: "0", B: "0"}).commit("base")
    repo.delete(A).commit("drop a")
    tip = repo.write({B: "1"}).commit("b one")
    assert subjects(source, base, tip, A) == ["drop a"]
    assert subjects(source, None, tip, A) == ["drop a"]


def test_a_merge_is_not_blamed_for_what_its_branch_changed(
    repo: GitRepo, source: GitSource
) -> None:
    base = repo.write({A: "0", B: "0"}).commit("base")
    repo.branch("feature").write({A: "1"}).commit("feature: a", author=BOB)
    main = repo.checkout("main").write({B: "1"}).commit("main: b")
    tip = repo.merge("feature", "Merge pull request #12 from bob/feature")
    for start in (base, main):
        found = source.history(start, tip, [A])
        assert [c.message for c in found.of(A)] == ["feature: a"]
        assert [provenance.subject(c.message) for c in found.merged(A)] == [
            "Merge pull request #12 from bob/feature"
        ]
        made = provenance.build(tip, found.of(A), found.merged(A))
        assert made.pull_request == "#12"
        assert made.commits[0].author_name == "Bob Ross"
    assert subjects(source, None, tip, A) == ["feature: a"]
    assert subjects(source, base, tip, B) == ["main: b"]
    assert source.history(base, tip, [B]).merged(B) == ()


def test_a_branch_cut_long_before_the_base_is_found_too(repo: GitRepo, source: GitSource) -> None:
    fork = repo.write({A: "0", B: "0"}).commit("fork")
    repo.branch("old").write({A: "1"}).commit("old: a")
    repo.checkout("main")
    for n in range(12):
        base = repo.write({B: str(n + 1)}).commit(f"main {n}")
    tip = repo.merge("old")
    assert subjects(source, base, tip, A) == ["old: a"]
    assert subjects(source, base, tip, B) == []
    assert subjects(source, fork, tip, A) == ["old: a"]


def test_a_merge_that_resolved_a_conflict_stands_first(repo: GitRepo, source: GitSource) -> None:
    base = repo.write({A: "0"}).commit("base")
    repo.branch("side").write({A: "side"}).commit("side: a")
    repo.checkout("main").write({A: "main"}).commit("main: a")
    tip = repo.merge("side", "merge, by hand", resolve={A: "both"})
    assert subjects(source, base, tip, A)[0] == "merge, by hand"
    assert set(subjects(source, base, tip, A)[1:]) == {"side: a", "main: a"}
    assert subjects(source, None, tip, A) == ["merge, by hand"]


@pytest.mark.parametrize(("taken", "blamed"), [("side", "side: a"), ("main", "main: a")])
def test_where_a_merge_took_one_sides_version_that_sides_commit_is_blamed(
    repo: GitRepo, source: GitSource, taken: str, blamed: str
) -> None:
    base = repo.write({A: "0"}).commit("base")
    repo.branch("side").write({A: "side"}).commit("side: a")
    repo.checkout("main").write({A: "main"}).commit("main: a")
    tip = repo.merge("side", resolve={A: taken})
    assert subjects(source, base, tip, A) == [blamed]
    assert subjects(source, None, tip, A) == [blamed]


def test_a_merge_that_took_back_a_change_is_blamed_since_no_commit_did(
    repo: GitRepo, source: GitSource
) -> None:
    repo.write({A: "0", B: "0"}).commit("fork")
    repo.branch("side").write({B: "1"}).commit("side: b")
    base = repo.checkout("main").write({A: "1"}).commit("main: a")
    tip = repo.merge("side", "merge, dropping main's change", resolve={A: "0", B: "1"})
    assert subjects(source, base, tip, A) == ["merge, dropping main's change"]


def test_an_octopus_merge_credits_each_branch(repo: GitRepo, source: GitSource) -> None:
    base = repo.write({A: "0", B: "0"}).commit("base")
    for name, path in (("one", A), ("two", B)):
        repo.branch(name, base).write({path: name}).commit(f"{name}: its file")
    repo.checkout("main").write({"README.md": "x"}).commit("main")
    repo.git("merge", "-q", "-m", "octopus", "one", "two", env=repo.identity())
    tip = repo.head
    assert subjects(source, base, tip, A) == ["one: its file"]
    assert subjects(source, base, tip, B) == ["two: its file"]


def test_unrelated_histories_that_were_joined_are_followed(
    repo: GitRepo, source: GitSource
) -> None:
    base = repo.write({A: "0"}).commit("base")
    repo.git("checkout", "-q", "--orphan", "imported")
    repo.git("rm", "-rfq", ".")
    repo.write({B: "imported"}).commit("import b")
    repo.checkout("main")
    repo.git(
        "merge", "-q", "--allow-unrelated-histories", "-m", "join", "imported", env=repo.identity()
    )
    assert subjects(source, base, repo.head, B) == ["import b"]


def test_rewritten_history_names_the_commits_the_old_one_lacks(
    repo: GitRepo, source: GitSource
) -> None:
    first = repo.write({A: "0"}).commit("base")
    old = repo.write({A: "old"}).commit("old: a")
    repo.reset(first)
    tip = repo.write({A: "new"}).commit("new: a")
    assert subjects(source, old, tip, A) == ["new: a"]
    assert not source.is_ancestor(old, tip)


def test_a_rewound_branch_names_the_commit_whose_content_is_live_again(
    repo: GitRepo, source: GitSource
) -> None:
    repo.write({A: "0"}).commit("first: a")
    kept = repo.write({B: "0"}).commit("add b")
    old = repo.write({A: "1", "jobs.d/new.yaml": "1"}).commit("dropped")
    assert subjects(source, old, kept, A) == ["first: a"]
    # Nobody deleted this file: the commit that had added it was dropped.
    assert subjects(source, old, kept, "jobs.d/new.yaml") == []


def test_a_base_that_was_collected_reads_as_no_base(repo: GitRepo, source: GitSource) -> None:
    repo.write({A: "0"}).commit("first")
    tip = repo.write({A: "1"}).commit("second")
    assert subjects(source, "1" * 40, tip, A) == ["second"]


@pytest.mark.parametrize("clock", ["one second for all", "running backwards"])
def test_times_that_do_not_run_forward_lead_nowhere_wrong(
    repo: GitRepo, source: GitSource, clock: str
) -> None:
    when = iter(range(START, START - 60, -1))

    def date() -> int:
        return START if clock == "one second for all" else next(when)

    fork = repo.write({A: "0", B: "0"}).commit("fork", date=date())
    repo.branch("side").write({A: "1"}).commit("side: a", date=date())
    repo.checkout("main").write({B: "1"}).commit("main: b", date=date())
    base = repo.head
    tip = repo.merge("side", "join", date=date())
    tip = repo.write({A: "2"}).commit("main: a", date=date())
    assert subjects(source, base, tip, A) == ["main: a", "side: a"]
    assert subjects(source, base, tip, B) == []
    assert subjects(source, fork, tip, B) == ["main: b"]
    assert subjects(source, None, tip, A) == ["main: a"]


def test_history_agrees_with_gits_own(repo: GitRepo, source: GitSource) -> None:
    names = [f"jobs.d/{n % 3}/{n}.yaml" for n in range(9)]
    base = repo.write(dict.fromkeys(names, "0")).commit("base")
    for round_number in range(4):
        repo.branch(f"side{round_number}")
        for n in range(round_number, 9, 3):
            repo.write({names[n]: f"side {round_number}"}).commit(f"side {round_number} {n}")
        repo.checkout("main").write({names[8 - round_number]: f"m{round_number}"})
        repo.commit(f"main {round_number}")
        repo.git("merge", "-q", "-X", "ours", f"side{round_number}", env=repo.identity())
    tip = repo.head
    found = source.history(base, tip, names)
    newest = source.history(None, tip, names)
    for name in names:
        expected = repo.git("log", "--format=%H", f"{base}..{tip}", "--", name).split()
        assert [c.revision for c in found.of(name)] == expected, name
        last = repo.git("log", "-1", "--format=%H", tip, "--", name)
        assert [c.revision for c in newest.of(name)] == [last], name


def test_many_files_of_one_commit_are_found_in_one_pass(repo: GitRepo, source: GitSource) -> None:
    names = [f"jobs.d/{n // 100}/{n}.yaml" for n in range(300)]
    added = repo.write({name: name for name in names}).commit("all at once")
    for n in range(5):
        tip = repo.write({"README.md": str(n)}).commit(f"docs {n}")
    found = source.history(None, tip, names)
    assert {c.revision for c in found.commits} == {added}
    assert len(found.by_path) == 300


def test_a_shallow_clone_leaves_open_what_it_cannot_know(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({A: "0", B: "0"}).commit("first")
    repo.write({A: "1"}).commit("second")
    edge = repo.write({"README.md": "x"}).commit("edge")
    tip = repo.write({B: "1"}).commit("tip")
    shallow = tmp_path / "shallow"
    repo.git("clone", "-q", "--depth", "2", f"file://{repo.path}", str(shallow))
    clone = GitSource(str(shallow), None, "jobs.d", tmp_path, timeout=20, observer=lambda *_: None)
    try:
        assert clone.resolve() == tip
        found = clone.history(None, tip, [A, B])
        assert [c.message for c in found.of(B)] == ["tip"]
        assert found.of(A) == ()
        assert [c.message for c in clone.history(edge, tip, [B]).of(B)] == ["tip"]
    finally:
        clone.close()


def test_an_ancestor_that_was_lost_is_an_error_and_no_wrong_answer(
    repo: GitRepo, source: GitSource
) -> None:
    first = repo.write({A: "0", B: "0"}).commit("first")
    middle = repo.write({B: "1"}).commit("second")
    tip = repo.write({B: "2"}).commit("third")
    (repo.path / ".git/objects" / middle[:2] / middle[2:]).unlink()
    assert first
    with pytest.raises(Transient) as raised:
        source.history(None, tip, [A])
    assert raised.value.reason == "ObjectMissing"
