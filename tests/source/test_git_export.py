"""A commit's tree as a directory: exact, read-only, made once, and gone when nobody needs it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gitrepo import GitRepo, git_environment
from jobreconciler.errors import Invalid, JobReconcilerError, Transient
from jobreconciler.source.export import TreeExport, WorkTree
from jobreconciler.source.git import GitSource
from jobreconciler.source.working_tree import local_work_tree

FILES: dict[str, str | bytes] = {
    "README": "top\n",
    "scripts/run.sh": "#!/bin/sh\necho v1\n",
    "scripts/deep/er/data.bin": bytes(range(256)),
    "jobs.d/a.yaml": "meta: {id: a}\n",
    ".hidden": "dot\n",
    "odd name\tä": "odd\n",
}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "repo")
    made.write(FILES)
    (made.path / "scripts/run.sh").chmod(0o755)
    made.commit("first")
    return made


@pytest.fixture
def export(repo: GitRepo, tmp_path: Path) -> TreeExport:
    return TreeExport(str(repo.path), tmp_path / "state")


def files(top: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def left_over(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "state/trees").glob("*/.*"))


def test_a_tree_is_what_the_commit_holds(repo: GitRepo, export: TreeExport, tmp_path: Path) -> None:
    repo.write({"README": "not committed\n", "new": "not committed\n"})
    top = export.path(repo.head)
    wanted = {n: c.encode() if isinstance(c, str) else c for n, c in FILES.items()}
    assert files(top) == wanted
    assert top.name == repo.head
    assert left_over(tmp_path) == []


def test_nobody_may_write_to_it(repo: GitRepo, export: TreeExport) -> None:
    top = export.path(repo.head)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (top, *top.rglob("*"))}
    assert modes.pop("run.sh") == 0o555
    assert {mode for name, mode in modes.items() if (top / name).is_dir()} == {0o555}
    assert modes["README"] == modes["data.bin"] == 0o444


def test_the_repository_is_left_as_it_was(repo: GitRepo, export: TreeExport) -> None:
    hook = repo.path / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repo.path}/hooked\n")
    hook.chmod(0o755)
    repo.git("config", "core.sparseCheckout", "true")
    repo.write({".git/info/sparse-checkout": "/jobs.d/\n"})
    before = {p: p.stat().st_mtime_ns for p in (repo.path / ".git").rglob("*")}
    assert "scripts/run.sh" in files(export.path(repo.head))
    assert {p: p.stat().st_mtime_ns for p in (repo.path / ".git").rglob("*")} == before
    assert not (repo.path / "hooked").exists()


def test_a_revision_is_exported_once(repo: GitRepo, export: TreeExport, tmp_path: Path) -> None:
    first = repo.head
    repo.write({"scripts/run.sh": "echo v2\n"}).commit("second")
    again = TreeExport(str(repo.path), tmp_path / "state")
    top = export.path(first)
    made = top.stat().st_ino
    assert again.path(first) == top
    assert top.stat().st_ino == made
    assert (top / "scripts/run.sh").read_text().endswith("v1\n")
    assert (again.path(repo.head) / "scripts/run.sh").read_text() == "echo v2\n"


def test_many_at_once_get_the_same_whole_tree(
    repo: GitRepo, export: TreeExport, tmp_path: Path
) -> None:
    found: list[tuple[Path, int]] = []
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        top = export.path(repo.head)
        found.append((top, len(files(top))))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(export.path(repo.head), len(FILES))] * 6
    assert left_over(tmp_path) == []


def _bare(repo: GitRepo, tmp_path: Path) -> str:
    return str(repo.bare_clone(tmp_path / "bare.git"))


def _worktree(repo: GitRepo, tmp_path: Path) -> str:
    repo.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    return str(tmp_path / "linked")


def _remote(repo: GitRepo, tmp_path: Path) -> str:
    url = f"file://{repo.path}"
    source = GitSource(
        url, "main", "jobs.d", tmp_path / "state", timeout=60, observer=lambda *_: None
    )
    source.resolve()
    source.close()
    return url


PLACES: dict[str, Callable[[GitRepo, Path], str]] = {
    "a bare repository": _bare,
    "a linked work tree": _worktree,
    "a folder below the top": lambda repo, _: str(repo.path / "scripts"),
    "the mirror of a remote": _remote,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_it_comes_out_of(
    repo: GitRepo, tmp_path: Path, place: Callable[[GitRepo, Path], str]
) -> None:
    export = TreeExport(place(repo, tmp_path), tmp_path / "state")
    assert files(export.path(repo.head)).keys() == FILES.keys()


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "repo", object_format="sha256")
    revision = repo.write({"a": "b"}).commit("first")
    assert files(TreeExport(str(repo.path), tmp_path / "state").path(revision)) == {"a": b"b"}


def test_links_stay_in_the_tree_or_are_left_out(repo: GitRepo, export: TreeExport) -> None:
    repo.link("inside", "scripts/run.sh").link("scripts/up", "../README")
    repo.link("dangling", "nothing/here").link("circle", "circle")
    repo.link("absolute", "/etc/passwd").link("climbs", "../../../../etc/passwd")
    # The way through `scripts/top` is longer than it looks: this one leads out as well.
    repo.link("scripts/top", "..").link("scripts/sly", "top/../../outside")
    revision = repo.commit("links")
    top = export.path(revision)
    there = sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_symlink())
    assert set(there) == {"circle", "dangling", "inside", "scripts/top", "scripts/up"}
    assert (top / "inside").read_text() == FILES["scripts/run.sh"]
    assert Path("/etc/passwd").stat().st_mode & 0o222, "and nothing outside was changed"


def test_a_submodule_is_an_empty_directory(repo: GitRepo, export: TreeExport) -> None:
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head},vendor/lib")
    repo.git("commit", "-q", "-m", "submodule", env=repo.identity())
    top = export.path(repo.head)
    assert list((top / "vendor/lib").iterdir()) == []


def raw_commit(repo: GitRepo, entries: list[tuple[bytes, bytes, str]]) -> str:
    """A commit of a tree that git itself would never write."""
    tree = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(i) for mode, name, i in entries)
    done = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
        cwd=repo.path, env=git_environment(repo.path.parent), input=tree, capture_output=True,
        check=True,
    )  # fmt: skip
    tree_id = done.stdout.decode().strip()
    return repo.git("commit-tree", tree_id, "-m", "hostile", env=repo.identity())


def blob(repo: GitRepo, text: str) -> str:
    return repo.git("hash-object", "-w", "--stdin", stdin=text)


HOSTILE = {
    "a name that climbs": [(b"100644", b"../climbed", "evil")],
    "a folder that is the parent": [(b"40000", b"..", "folder")],
    "a repository of its own": [(b"40000", b".git", "folder")],
    "the same in other letters": [(b"40000", b".GIT", "folder")],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_tree_writes_nothing_elsewhere(
    repo: GitRepo, export: TreeExport, tmp_path: Path, entries: list[tuple[bytes, bytes, str]]
) -> None:
    folder = repo.git("mktree", stdin=f"100644 blob {blob(repo, 'evil')}\tclimbed\n")
    ids = {"evil": blob(repo, "evil"), "folder": folder}
    revision = raw_commit(repo, [(mode, name, ids[what]) for mode, name, what in entries])
    with pytest.raises(JobReconcilerError):
        export.path(revision)
    assert list(tmp_path.rglob("climbed")) == []
    assert left_over(tmp_path) == []


def test_nothing_is_written_through_a_link(
    repo: GitRepo, export: TreeExport, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = repo.git("mktree", stdin=f"100644 blob {blob(repo, 'evil')}\tclimbed\n")
    link = blob(repo, str(outside))
    revision = raw_commit(repo, [(b"120000", b"a", link), (b"40000", b"a", folder)])
    assert files(export.path(revision)) == {"a/climbed": b"evil"}
    assert list(outside.iterdir()) == []


def test_a_commit_that_is_gone_is_said_to_be(
    repo: GitRepo, export: TreeExport, tmp_path: Path
) -> None:
    lost = repo.write({"README": "lost"}).commit("lost")
    repo.reset("HEAD~1")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    with pytest.raises(Invalid) as caught:
        export.path(lost)
    assert caught.value.reason == "RevisionGone"
    assert caught.value.message == (
        f"the commit {lost[:12]} that this run is pinned to is no longer in the repository: its "
        "history was rewritten"
    )
    with pytest.raises(Invalid, match="was never committed"):
        export.path(f"{repo.head}-dirty-0123456789ab")
    assert left_over(tmp_path) == []


def test_an_object_that_is_damaged_leaves_nothing_half_made(
    repo: GitRepo, export: TreeExport, tmp_path: Path
) -> None:
    missing = repo.git("rev-parse", "HEAD:README")
    (repo.path / ".git/objects" / missing[:2] / missing[2:]).unlink()
    with pytest.raises(Transient) as caught:
        export.path(repo.head)
    assert caught.value.reason == "ObjectMissing"
    assert left_over(tmp_path) == []
    assert not list((tmp_path / "state/trees").glob(f"*/{repo.head}"))


def test_only_needed_trees_are_kept_across_restarts(
    repo: GitRepo, export: TreeExport, tmp_path: Path
) -> None:
    revisions = [repo.head]
    for number in (2, 3):
        revisions.append(repo.write({"README": f"{number}\n"}).commit("next"))
    tops = [export.path(revision) for revision in revisions]
    half = tops[0].parent / ".part-of-a-killed-daemon"
    (half / "scripts").mkdir(parents=True)
    (half / "scripts").chmod(0o555)
    (half.with_name(".part-of-a-killed-daemon.index")).write_bytes(b"DIRC")
    before = tops[0].parent.with_name("another-boot") / revisions[1]
    before.mkdir(parents=True)
    later = TreeExport(str(repo.path), tmp_path / "state")
    assert later.keep(lambda: {revisions[1]}) == sorted([revisions[0], revisions[2]])
    assert [top.exists() for top in tops] == [False, True, False]
    assert files(tops[1]).keys() == FILES.keys()
    assert left_over(tmp_path) == []
    assert not before.parent.exists()
    assert later.path(revisions[0]) == tops[0], "and it is made anew when it is needed again"


def test_a_tree_that_is_asked_for_while_others_go_stays(repo: GitRepo, export: TreeExport) -> None:
    top = export.path(repo.head)

    def nobody() -> set[str]:
        assert export.path(repo.head) == top
        return set()

    assert export.keep(nobody) == []
    assert top.is_dir()
    assert export.keep(set) == [repo.head]


def test_without_any_tree_nobody_is_asked_what_is_needed(export: TreeExport) -> None:
    def never() -> set[str]:
        raise AssertionError("asked")

    assert export.keep(never) == []


def test_with_the_working_tree_files_are_used_as_they_lie_there(repo: GitRepo) -> None:
    trees = WorkTree(lambda: local_work_tree(str(repo.path / "scripts")))
    repo.write({"README": "not committed\n"})
    top = trees.path(f"{repo.head}-dirty-0123456789ab")
    assert (top / "README").read_text() == "not committed\n"
    assert trees.keep(set) == []
    assert os.access(top, os.W_OK)
