"""The git source on real repositories: resolving, listing, comparing, reading."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitrepo import BOB, GitRepo, git_environment
from jobreconciler.errors import Invalid, Refused, Stalled
from jobreconciler.source import trees
from jobreconciler.source.git import BLOB_LIMIT, GitSource

MakeSource = Callable[..., GitSource]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HOME, so that no ambient git configuration reaches the source."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def make(tmp_path: Path, repo: GitRepo) -> Iterator[MakeSource]:
    made: list[GitSource] = []

    def build(
        where: str | None = None, ref: str | None = None, jobs_dir: str = "jobs.d"
    ) -> GitSource:
        source = GitSource(
            where or str(repo.path),
            ref,
            jobs_dir,
            tmp_path / "state",
            timeout=20,
            observer=lambda *_: None,
        )
        made.append(source)
        return source

    yield build
    for source in made:
        source.close()


def paths(source: GitSource, revision: str) -> list[str]:
    return [entry.path for entry in source.snapshot(revision).entries]


# ---------------------------------------------------------------------------------------- resolve


def test_a_moved_branch_is_seen_by_the_next_look_up(repo: GitRepo, make: MakeSource) -> None:
    first = repo.write({"jobs.d/a.yaml": "a"}).commit("one")
    source = make()
    assert source.resolve() == first
    second = repo.write({"jobs.d/a.yaml": "b"}).commit("two")
    assert source.resolve() == second
    repo.git("pack-refs", "--all")
    assert source.resolve() == second
    third = repo.write({"jobs.d/a.yaml": "c"}).commit("three")
    repo.git("gc", "-q", "--prune=now")
    assert source.resolve() == third
    repo.reset(first)
    assert source.resolve() == first


@pytest.mark.parametrize(
    ("ref", "means"),
    [
        (None, "tip"),
        ("main", "tip"),
        ("refs/heads/main", "tip"),
        ("v1", "tagged"),
        ("refs/tags/v1", "tagged"),
        ("light", "tagged"),
        ("feature/deep/name", "side"),
        ("both", "side"),
    ],
)
def test_a_ref_is_a_branch_or_a_tag_short_or_full(
    repo: GitRepo, make: MakeSource, ref: str | None, means: str
) -> None:
    expected = {"tagged": repo.write({"jobs.d/a.yaml": "1"}).commit("one")}
    repo.tag("v1", message="release").tag("light").tag("both")
    expected["side"] = repo.branch("feature/deep/name").write({"x": "2"}).commit("two")
    repo.git("branch", "both")
    expected["tip"] = repo.checkout("main").write({"x": "3"}).commit("three")
    assert make(ref=ref).resolve() == expected[means]


def test_no_process_is_started_and_nothing_is_read_twice_without_a_change(
    repo: GitRepo, make: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make()
    first = source.resolve()
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **_: started.append(a))
    assert [source.resolve() for _ in range(3)] == [first] * 3
    assert started == []


def test_a_change_one_commit_ahead_starts_no_process(
    repo: GitRepo, make: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = repo.write({"jobs.d/x/a.yaml": "1", "jobs.d/y/b.yaml": "1"}).commit("one")
    source = make()
    source.resolve()
    tip = repo.write({"jobs.d/x/a.yaml": "2"}).commit("two")
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **_: started.append(a))
    assert source.resolve() == tip
    diff = source.diff(base, tip)
    assert diff is not None
    assert source.read([e.blob for e in diff.changed]) == {diff.changed[0].blob: b"2"}
    assert source.is_ancestor(base, tip)
    assert [c.revision for c in source.history(base, tip, ["jobs.d/x/a.yaml"]).commits] == [tip]
    assert started == []


def test_a_bare_repository_a_folder_inside_and_a_linked_worktree_are_repositories_too(
    repo: GitRepo, make: MakeSource, tmp_path: Path
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    side = GitRepo(tmp_path / "tree").write({"jobs.d/b.yaml": "2"}).commit("two")
    assert make(str(repo.bare_clone(tmp_path / "bare.git")), "main").resolve() == tip
    assert make(str(repo.path / "jobs.d")).resolve() == tip
    worktree = make(str(tmp_path / "tree"))
    assert worktree.resolve() == side
    assert make(str(repo.path), "side").resolve() == side
    assert {repo.path / ".git", repo.path / ".git/worktrees/tree"} <= set(worktree.watch_paths())


def test_a_repository_with_sha256_ids_is_read_alike(tmp_path: Path, make: MakeSource) -> None:
    repo = GitRepo(tmp_path / "sha256", object_format="sha256")
    base = repo.write({"jobs.d/a.yaml": "1", "jobs.d/b.yaml": "1"}).commit("one")
    tip = repo.write({"jobs.d/a.yaml": "2"}).commit("two")
    source = make(str(repo.path))
    assert source.resolve() == tip
    assert len(tip) == 64
    diff = source.diff(base, tip)
    assert diff is not None
    assert [e.path for e in diff.changed] == ["jobs.d/a.yaml"]
    assert source.read([diff.changed[0].blob]) == {diff.changed[0].blob: b"2"}


def test_inherited_git_variables_lead_nowhere_else(
    repo: GitRepo, make: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    other = GitRepo(tmp_path / "other")
    other.write({"jobs.d/z.yaml": "z"}).commit("other")
    git_dir = str(other.path / ".git")
    monkeypatch.setenv("GIT_DIR", git_dir)
    monkeypatch.setenv("GIT_COMMON_DIR", git_dir)
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", git_dir + "/objects")
    source = make()
    assert source.resolve() == tip
    assert paths(source, tip) == ["jobs.d/a.yaml"]
    remote = make(f"file://{repo.path}")
    assert remote.resolve() == tip
    assert paths(remote, tip) == ["jobs.d/a.yaml"]


# --------------------------------------------------------------------------------------- snapshot


def test_every_yaml_file_below_the_jobs_directory_is_listed_by_path(
    repo: GitRepo, make: MakeSource
) -> None:
    repo.write(
        {
            "jobs.d/z.yaml": "1",
            "jobs.d/team/deep/b.yml": "2",
            "jobs.d/team/a.yaml": "1",
            "jobs.d/README.md": "no job",
            "jobs.d/naïve–ü.yaml": "3",
            "jobs.d/notes.yaml.bak": "no",
            "elsewhere/c.yaml": "no",
            "jobs.d.yaml": "no",
        }
    )
    tip = repo.commit("all")
    source = make()
    snapshot = source.snapshot(source.resolve())
    assert snapshot.revision == tip
    assert [e.path for e in snapshot.entries] == [
        "jobs.d/naïve–ü.yaml",
        "jobs.d/team/a.yaml",
        "jobs.d/team/deep/b.yml",
        "jobs.d/z.yaml",
    ]
    assert snapshot.refused == ()
    assert {e.mode for e in snapshot.entries} == {"100644"}
    assert source.read([snapshot.entries[0].blob]) == {snapshot.entries[0].blob: b"3"}
    assert source.entry(tip, "jobs.d/team/a.yaml") == snapshot.entries[1]
    assert source.entry(tip, "jobs.d/team") is None
    assert source.entry(tip, "jobs.d/none.yaml") is None
    assert source.entry(tip, "jobs.d/nowhere/none.yaml") is None


def test_the_jobs_directory_may_be_nested_or_the_whole_repository(
    repo: GitRepo, make: MakeSource
) -> None:
    tip = repo.write({"ops/jobs/a.yaml": "1", "b.yaml": "2"}).commit("all")
    assert paths(make(jobs_dir="./ops/jobs/"), tip) == ["ops/jobs/a.yaml"]
    whole = make(jobs_dir=".")
    assert paths(whole, tip) == ["b.yaml", "ops/jobs/a.yaml"]
    assert list(whole.history(None, tip, ["b.yaml"]).by_path) == ["b.yaml"]
    assert whole.entry(tip, "b.yaml") is not None


def raw_tree(repo: GitRepo, lines: list[bytes]) -> str:
    """A tree of (mode SP type SP id TAB name) lines, also of names no file system would take."""
    done = subprocess.run(
        ["git", "mktree", "-z", "--missing"],
        cwd=repo.path,
        env=git_environment(repo.path.parent),
        input=b"".join(line + b"\0" for line in lines),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def raw_object(repo: GitRepo, kind: str, data: bytes) -> str:
    done = subprocess.run(
        ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"],
        cwd=repo.path,
        env=git_environment(repo.path.parent),
        input=data,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def raw_commit(repo: GitRepo, jobs_tree: str) -> str:
    root = raw_tree(repo, [b"040000 tree %s\tjobs.d" % jobs_tree.encode()])
    return repo.git("commit-tree", root, "-m", "raw", env=repo.identity())


@pytest.mark.parametrize(
    ("situation", "mode", "name", "code"),
    [
        ("a link with a job file's name", "120000", b"a.yaml", "symlink"),
        ("a link that could be a folder", "120000", b"team", "symlink"),
        ("a submodule", "160000", b"vendor", "submodule_refused"),
        ("a newline in a name", "100644", b"a\nb.yaml", "path_refused"),
        ("an escape sequence in a name", "100644", b"\x1b[31m.yaml", "path_refused"),
        ("a backslash in a name", "100644", b"a\\b.yaml", "path_refused"),
        ("bytes that are no UTF-8", "100644", b"\xff\xfe.yaml", "path_refused"),
        ("a text direction mark", "100644", "a\u202egpj.yaml".encode(), "path_refused"),
        ("a folder that leads out", "040000", b"..", "path_refused"),
    ],
)
def test_what_is_refused_is_a_problem_and_never_followed(
    repo: GitRepo, make: MakeSource, situation: str, mode: str, name: bytes, code: str
) -> None:
    blob = raw_object(repo, "blob", b"../../etc/passwd")
    folder = raw_tree(repo, [b"100644 blob %s\tinner.yaml" % blob.encode()])
    target = {"160000": blob, "040000": folder}.get(mode, blob)
    mode_text = mode.lstrip("0").encode()
    good = b"100644 good.yaml\0" + bytes.fromhex(blob)
    odd = mode_text + b" " + name + b"\0" + bytes.fromhex(target)
    tip = raw_commit(repo, raw_object(repo, "tree", b"".join(sorted([good, odd]))))
    snapshot = make().snapshot(tip)
    assert [e.path for e in snapshot.entries] == ["jobs.d/good.yaml"], situation
    assert [p.code for p in snapshot.refused] == [code], situation
    assert snapshot.refused[0].file.isprintable(), situation
    assert snapshot.refused[0].hint, situation


def test_a_link_with_another_files_name_is_nobodys_business(
    repo: GitRepo, make: MakeSource
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).link("jobs.d/README.md", "../README.md").commit("x")
    assert make().snapshot(tip).refused == ()


@pytest.mark.parametrize(
    ("situation", "reason", "says"),
    [
        ("absent", "JobsDirMissing", "there is no 'jobs.d'"),
        ("a file", "JobsDirMissing", "'jobs.d' is a file"),
        ("a link", "JobsDirRefused", "'jobs.d' is a symbolic link"),
    ],
)
def test_a_commit_without_the_jobs_directory_stalls_and_never_reads_as_empty(
    repo: GitRepo, make: MakeSource, situation: str, reason: str, says: str
) -> None:
    base = repo.write({"jobs.d/a.yaml": "1", "other/b.yaml": "1"}).commit("one")
    repo.delete("jobs.d")
    if situation == "a file":
        repo.write({"jobs.d": "text"})
    if situation == "a link":
        repo.link("jobs.d", "other")
    tip = repo.commit("two")
    source = make()
    for read in (lambda: source.snapshot(tip), lambda: source.diff(base, tip)):
        with pytest.raises(Stalled) as raised:
            read()
        assert raised.value.reason == reason
        assert says in raised.value.message
        assert raised.value.hint
    assert paths(source, base) == ["jobs.d/a.yaml"]


def test_trees_that_repeat_each_other_a_billion_times_are_refused_early(
    repo: GitRepo, make: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "MAX_FILES", 10_000)
    blob = raw_object(repo, "blob", b"x")
    tree = raw_tree(repo, [b"100644 blob %s\t%d.yaml" % (blob.encode(), n) for n in range(10)])
    for _ in range(12):
        tree = raw_tree(repo, [b"040000 tree %s\t%d" % (tree.encode(), n) for n in range(10)])
    with pytest.raises(Stalled) as raised:
        make().snapshot(raw_commit(repo, tree))
    assert raised.value.reason == "TreeTooLarge"


# ------------------------------------------------------------------------------------------- diff


def test_a_diff_names_what_changed_and_what_is_gone(repo: GitRepo, make: MakeSource) -> None:
    repo.write({f"jobs.d/{team}/{n}.yaml": f"{team}{n}" for team in "ab" for n in range(3)})
    base = repo.write({"jobs.d/mode.yaml": "m", "README.md": "x"}).commit("one")
    repo.write({"jobs.d/a/0.yaml": "new", "jobs.d/c/new.yaml": "n", "README.md": "y"})
    repo.delete("jobs.d/b/1.yaml")
    (repo.path / "jobs.d/mode.yaml").chmod(0o755)
    tip = repo.commit("two")
    source = make()
    diff = source.diff(base, tip)
    assert diff is not None
    assert (diff.base, diff.revision) == (base, tip)
    assert [e.path for e in diff.changed] == ["jobs.d/a/0.yaml", "jobs.d/c/new.yaml"]
    assert diff.gone == ("jobs.d/b/1.yaml",)
    assert diff.refused == ()
    same = source.diff(tip, tip)
    assert same is not None
    assert (same.changed, same.gone) == ((), ())


def test_a_diff_and_two_snapshots_always_agree(repo: GitRepo, make: MakeSource) -> None:
    steps = [
        ({"jobs.d/a.yaml": "1", "jobs.d/x/b.yaml": "1"}, ()),
        ({"jobs.d/a.yaml/c.yaml": "1"}, ("jobs.d/a.yaml",)),
        ({"jobs.d/x": "now a file"}, ("jobs.d/x",)),
        ({"jobs.d/x/y/z.yml": "1", "jobs.d/a.yaml/c.yaml": "2"}, ("jobs.d/x",)),
        ({"jobs.d/.keep": ""}, ("jobs.d/x", "jobs.d/a.yaml")),
        ({"jobs.d/a.yaml": "1"}, ()),
    ]
    revisions = []
    for files, gone in steps:
        revisions.append(repo.delete(*gone).write(files).commit("step"))
    source = make()
    for base in revisions:
        for revision in revisions:
            before = {e.path: e for e in source.snapshot(base).entries}
            after = {e.path: e for e in source.snapshot(revision).entries}
            diff = source.diff(base, revision)
            assert diff is not None
            assert {e.path: e for e in diff.changed} == {
                p: e for p, e in after.items() if before.get(p) != e
            }
            assert set(diff.gone) == before.keys() - after.keys()


def test_a_file_that_becomes_a_link_is_refused_and_not_gone(
    repo: GitRepo, make: MakeSource
) -> None:
    base = repo.write({"jobs.d/a.yaml": "1", "jobs.d/b.yaml": "1"}).commit("one")
    linked = repo.link("jobs.d/a.yaml", "b.yaml").commit("two")
    removed = repo.delete("jobs.d/a.yaml").commit("three")
    source = make()
    diff = source.diff(base, linked)
    assert diff is not None
    assert (diff.changed, diff.gone) == ((), ())
    assert [(p.file, p.code) for p in diff.refused] == [("jobs.d/a.yaml", "symlink")]
    later = source.diff(linked, removed)
    assert later is not None
    assert later.gone == ("jobs.d/a.yaml",)
    back = source.diff(linked, base)
    assert back is not None
    assert [e.path for e in back.changed] == ["jobs.d/a.yaml"]


def test_a_folder_that_becomes_a_link_needs_a_whole_snapshot(
    repo: GitRepo, make: MakeSource
) -> None:
    base = repo.write({"jobs.d/team/a.yaml": "1", "other/a.yaml": "1"}).commit("one")
    linked = repo.link("jobs.d/team", "../other").commit("two")
    source = make()
    assert source.diff(base, linked) is None
    assert source.diff(linked, base) is None
    assert [p.file for p in source.snapshot(linked).refused] == ["jobs.d/team"]


def test_a_base_that_is_not_there_any_more_needs_a_whole_snapshot(
    repo: GitRepo, make: MakeSource
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make()
    assert source.diff("0" * 40, tip) is None
    assert source.is_ancestor("0" * 40, tip) is False


# ------------------------------------------------------------------------------------------- read


def test_files_are_read_whole_up_to_the_limit_and_cut_after_it(
    repo: GitRepo, make: MakeSource
) -> None:
    sizes = {"none": 0, "small": 100, "limit": BLOB_LIMIT, "over": BLOB_LIMIT + 1, "huge": 9 << 20}
    contents = {name: os.urandom(size) for name, size in sizes.items()}
    repo.write({f"jobs.d/{name}.yaml": data for name, data in contents.items()}).commit("all")
    source = make()
    entries = source.snapshot(source.resolve()).entries
    # The huge one in the middle must not disturb what follows it.
    blobs = [e.blob for e in entries] + [e.blob for e in entries]
    found = source.read(blobs)
    assert {Path(e.path).stem: found[e.blob] for e in entries} == {
        name: data[:BLOB_LIMIT] for name, data in contents.items()
    }


def test_many_files_are_read_through_one_child(repo: GitRepo, make: MakeSource) -> None:
    contents = {f"jobs.d/{n // 100}/{n}.yaml": f"job {n}\n" * (n % 40) for n in range(1000)}
    tip = repo.write(contents).commit("many")
    source = make()
    entries = source.snapshot(tip).entries
    found = source.read([entry.blob for entry in entries])
    assert {e.path: found[e.blob].decode() for e in entries} == contents


def test_read_of_nothing_is_nothing(repo: GitRepo, make: MakeSource) -> None:
    repo.commit("empty")
    assert make().read([]) == {}


# ----------------------------------------------------------------------------------------- commit


def test_a_commit_tells_who_when_and_why(repo: GitRepo, make: MakeSource) -> None:
    base = repo.commit("base")
    repo.write({"jobs.d/a.yaml": "1"}).git("add", "-A")
    env = repo.identity("Zoë Ünal <zoe@example.com>", BOB, "2026-03-29T02:30:00+02:00")
    env["GIT_COMMITTER_DATE"] = "2026-03-29T00:31:00Z"
    repo.git("commit", "-q", "-m", "Add a\n\nBecause.", env=env)
    commit = make().commit(repo.head)
    assert commit.parents == (base,)
    assert (commit.author_name, commit.author_email) == ("Zoë Ünal", "zoe@example.com")
    assert commit.authored_at == "2026-03-29T02:30:00+02:00"
    assert (commit.committer_name, commit.committer_email) == ("Bob Ross", "bob@example.com")
    assert commit.committed_at == "2026-03-29T00:31:00Z"
    assert commit.message == "Add a\n\nBecause."


@pytest.mark.parametrize(
    ("situation", "headers", "name", "at", "message"),
    [
        (
            "another encoding",
            "author J\xf6rg <j@x> 1 +0000\ncommitter J\xf6rg <j@x> 1 +0000\nencoding ISO-8859-1",
            "Jörg",
            "1970-01-01T00:00:01Z",
            "m\xfc",
        ),
        (
            "an unknown encoding",
            "author A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\nencoding no-such",
            "A",
            "1970-01-01T00:00:01Z",
            "m\ufffd",
        ),
        (
            "a time no calendar holds",
            "author A <a@x> 999999999999999 +0000\ncommitter A <a@x> 1 +0000",
            "A",
            "1970-01-01T00:00:00Z",
            "m\ufffd",
        ),
        (
            "no time at all",
            "author A <a@x>\ncommitter A <a@x>",
            "A",
            "1970-01-01T00:00:00Z",
            "m\ufffd",
        ),
        (
            "a signature over many lines",
            "author A <a@x> 1 -0330\ncommitter A <a@x> 1 +0000\n"
            "gpgsig -----BEGIN\n author x\n -----END",
            "A",
            "1969-12-31T20:30:01-03:30",
            "m\ufffd",
        ),
    ],
)
def test_odd_commits_are_read_all_the_same(
    repo: GitRepo,
    make: MakeSource,
    situation: str,
    headers: str,
    name: str,
    at: str,
    message: str,
) -> None:
    tree = raw_tree(repo, [])
    data = f"tree {tree}\n{headers}\n\nm\xfc\n".encode("latin-1")
    commit = make().commit(raw_object(repo, "commit", data))
    assert (commit.author_name, commit.authored_at, commit.message) == (name, at, message), (
        situation
    )


# ------------------------------------------------------------------------------------ is_ancestor


def test_ancestry_is_told_near_and_far(repo: GitRepo, make: MakeSource) -> None:
    commits = [repo.commit(str(n)) for n in range(5)]
    side = repo.branch("side", commits[1]).commit("side")
    source = make(ref="main")
    assert source.is_ancestor(commits[4], commits[4])
    assert source.is_ancestor(commits[3], commits[4])
    assert source.is_ancestor(commits[0], commits[4])
    assert not source.is_ancestor(commits[4], commits[0])
    assert not source.is_ancestor(side, commits[4])


# ----------------------------------------------------------------------------------------- lookup


def test_a_revision_is_found_by_every_name_people_use(repo: GitRepo, make: MakeSource) -> None:
    first = repo.commit("one")
    repo.tag("v1", message="x")
    tip = repo.commit("two")
    source = make()
    for name in (first, first[:10], "v1", "refs/tags/v1", "main~1", "HEAD^"):
        assert source.lookup(name) == first
    assert source.lookup("main") == tip
    with pytest.raises(Invalid, match="no commit, branch or tag 'nope'"):
        source.lookup("nope")
    with pytest.raises(Refused):
        source.lookup("--upload-pack=x")


# -------------------------------------------------------------------------------------- listening


def test_watched_folders_hold_refs_and_never_objects(repo: GitRepo, make: MakeSource) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("checkout", "-q", "-b", "team/deep/x")
    source = make()
    source.resolve()
    watched = source.watch_paths()
    git_dir = repo.path / ".git"
    assert {git_dir, git_dir / "refs/heads", git_dir / "refs/heads/team/deep"} <= set(watched)
    assert not any("objects" in path.parts for path in watched)
    assert make(f"file://{repo.path}").watch_paths() == ()


def test_the_observer_hears_of_each_operation_and_its_result(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    heard: list[tuple[str, str]] = []
    source = GitSource(
        str(repo.path),
        "main",
        "jobs.d",
        tmp_path,
        timeout=20,
        observer=lambda operation, result: heard.append((operation, result)),
    )
    tip = source.resolve()
    source.snapshot(tip)
    repo.git("checkout", "-q", "--orphan", "other")
    repo.git("branch", "-D", "main")
    with pytest.raises(Stalled):
        source.resolve()
    source.close()
    assert heard == [("resolve", "ok"), ("snapshot", "ok"), ("resolve", "RepositoryEmpty")]


@pytest.mark.parametrize("remote", [False, True])
def test_closing_leaves_no_child_behind(repo: GitRepo, make: MakeSource, remote: bool) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    others = _children()
    source = make(f"file://{repo.path}" if remote else None)
    assert paths(source, tip) == ["jobs.d/a.yaml"]
    assert source.resolve() == tip
    its_own = _children() - others
    assert its_own
    source.close()
    assert not _children() & its_own


def _children() -> set[int]:
    task = Path(f"/proc/{os.getpid()}/task")
    return {int(c) for t in task.iterdir() for c in (t / "children").read_text().split()}


def test_blob_ids_are_gits_own(repo: GitRepo, make: MakeSource) -> None:
    tip = repo.write({"jobs.d/a.yaml": "text\n"}).commit("one")
    (entry,) = make().snapshot(tip).entries
    assert entry.blob == hashlib.sha1(b"blob 5\0text\n").hexdigest()
