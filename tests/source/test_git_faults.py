"""Everything that can go wrong with a repository: a typed error, a way out, and recovery."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitrepo import GitRepo, git_environment
from jobreconciler.errors import JobReconcilerError, Refused, Stalled, Transient
from jobreconciler.source.git import GitSource

MakeSource = Callable[..., GitSource]
SECRET = "s3cr3t-t0ken"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return home


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSource]:
    made: list[GitSource] = []

    def build(where: Path | str, ref: str | None = None, *, timeout: float = 20) -> GitSource:
        source = GitSource(
            str(where),
            ref,
            "jobs.d",
            tmp_path / "state",
            timeout=timeout,
            observer=lambda *_: None,
        )
        made.append(source)
        return source

    yield build
    for source in made:
        source.close()


def fault(call: Callable[[], object]) -> JobReconcilerError:
    with pytest.raises(JobReconcilerError) as raised:
        call()
    assert raised.value.hint, "an error says what to do next"
    assert "Traceback" not in raised.value.message
    assert SECRET not in raised.value.message + raised.value.hint
    return raised.value


# ----------------------------------------------------------------------------- where it should be


def test_a_missing_repository_is_found_once_it_is_there(tmp_path: Path, make: MakeSource) -> None:
    source = make(tmp_path / "later")
    assert fault(source.resolve).reason == "RepositoryMissing"
    assert source.watch_paths() == (tmp_path,)
    tip = GitRepo(tmp_path / "later").write({"jobs.d/a.yaml": "1"}).commit("one")
    assert source.resolve() == tip


def test_a_repository_that_goes_away_and_comes_back(repo: GitRepo, make: MakeSource) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(repo.path)
    source.resolve()
    shutil.rmtree(repo.path)
    for _ in range(2):
        error = fault(source.resolve)
        assert isinstance(error, Stalled)
        assert error.reason == "RepositoryMissing"
    again = GitRepo(repo.path).write({"jobs.d/b.yaml": "other"}).commit("another one")
    assert source.resolve() == again
    assert [e.path for e in source.snapshot(again).entries] == ["jobs.d/b.yaml"]


def test_a_repository_replaced_at_once_is_noticed(
    repo: GitRepo, tmp_path: Path, make: MakeSource
) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    other = GitRepo(tmp_path / "other")
    tip = other.write({"jobs.d/b.yaml": "2"}).commit("two")
    source = make(repo.path)
    source.resolve()
    shutil.rmtree(repo.path)
    other.path.rename(repo.path)
    assert source.resolve() == tip
    assert [e.path for e in source.snapshot(tip).entries] == ["jobs.d/b.yaml"]


def test_a_folder_and_a_file_are_no_repositories(tmp_path: Path, make: MakeSource) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("folder", "file"):
        assert fault(make(tmp_path / name).resolve).reason == "NotARepository"


def test_a_repository_without_commits_waits_for_the_first(repo: GitRepo, make: MakeSource) -> None:
    for source in (make(repo.path), make(f"file://{repo.path}")):
        assert fault(source.resolve).reason == "RepositoryEmpty"
    local, remote = make(repo.path), make(f"file://{repo.path}")
    assert fault(local.resolve).reason == "RepositoryEmpty"
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("first")
    assert local.resolve() == tip
    assert remote.resolve() == tip


@pytest.mark.parametrize("remote", [False, True])
def test_a_head_that_names_no_branch_is_not_taken_for_a_ref_that_was_asked_for(
    repo: GitRepo, make: MakeSource, remote: bool
) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    error = fault(make(f"file://{repo.path}" if remote else repo.path).resolve)
    assert error.reason == "RefMissing"
    assert error.message.endswith(" names a branch that is not there")
    assert error.hint == "name one with --ref, such as main"


@pytest.mark.parametrize("remote", [False, True])
def test_a_ref_that_never_was_and_one_that_is_gone(
    repo: GitRepo, make: MakeSource, remote: bool
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    where = f"file://{repo.path}" if remote else repo.path
    error = fault(make(where, "mian").resolve)
    assert error.reason == "RefMissing"
    assert "did you mean main?" in error.hint
    repo.git("branch", "live")
    source = make(where, "live")
    assert source.resolve() == tip
    repo.git("branch", "-D", "live")
    gone = fault(source.resolve)
    assert (type(gone), gone.reason) == (Stalled, "RefMissing")
    # What was applied is still there to be read.
    assert [e.path for e in source.snapshot(tip).entries] == ["jobs.d/a.yaml"]
    repo.git("branch", "live")
    assert source.resolve() == tip


def test_a_repository_that_lost_its_last_branch_is_not_said_to_have_no_commits(
    repo: GitRepo, make: MakeSource
) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("checkout", "--detach")
    repo.git("branch", "-D", "main")
    error = fault(make(repo.path, "main").resolve)
    assert error.reason == "RepositoryEmpty"
    assert error.message.endswith(" has no branch and no tag")
    assert "restore the branch" in error.hint


def test_a_ref_that_names_no_commit(repo: GitRepo, make: MakeSource) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("tag", "tree", "HEAD^{tree}")
    assert fault(make(repo.path, "tree").resolve).reason == "ObjectMissing"


# ----------------------------------------------------------------------------------------- objects


def loose(repo: GitRepo, object_id: str) -> Path:
    return repo.path / ".git/objects" / object_id[:2] / object_id[2:]


@pytest.mark.parametrize("kind", ["blob", "folder", "root", "commit"])
@pytest.mark.parametrize("damage", ["missing", "garbage", "empty", "another object"])
def test_a_lost_or_damaged_object_is_named_and_read_once_it_is_back(
    repo: GitRepo, make: MakeSource, kind: str, damage: str
) -> None:
    tip = repo.write({"jobs.d/team/a.yaml": "1", "jobs.d/b.yaml": "2"}).commit("one")
    spec = {
        "blob": ":jobs.d/team/a.yaml",
        "folder": ":jobs.d/team",
        "root": "^{tree}",
        "commit": "",
    }
    object_id = repo.git("rev-parse", f"{tip}{spec[kind]}")
    other = repo.git("rev-parse", f"{tip}:jobs.d/b.yaml")
    path = loose(repo, object_id)
    intact = path.read_bytes()
    path.unlink()
    if damage == "garbage":
        path.write_bytes(b"\x78\x01 nothing of the kind" * 5)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "another object":
        shutil.copy(loose(repo, other), path)
    source = make(repo.path)

    def read_all() -> dict[str, bytes]:
        entries = source.snapshot(tip).entries
        source.commit(tip)
        return source.read([entry.blob for entry in entries])

    error = fault(read_all)
    expected = {"missing": {"ObjectMissing"}, "empty": {"ObjectCorrupt", "ObjectMissing"}}
    assert error.reason in expected.get(damage, {"ObjectCorrupt"})
    # A root is read by its commit's name.
    assert object_id in error.message or (kind == "root" and f"{tip}:jobs.d" in error.message)
    path.unlink(missing_ok=True)
    path.write_bytes(intact)
    assert sorted(read_all().values()) == [b"1", b"2"]


def test_a_damaged_pack_is_an_error_and_no_empty_answer(repo: GitRepo, make: MakeSource) -> None:
    tip = repo.write({f"jobs.d/{n}.yaml": os.urandom(500).hex() for n in range(50)}).commit("one")
    repo.git("gc", "-q")
    (pack,) = (repo.path / ".git/objects/pack").glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[200:-200] = bytes(len(data) - 400)
    pack.chmod(0o600)
    pack.write_bytes(data)
    source = make(repo.path)
    error = fault(lambda: source.read([e.blob for e in source.snapshot(tip).entries]))
    assert error.reason in ("ObjectCorrupt", "ObjectMissing")


def test_a_partial_clone_says_what_is_missing_and_asks_nobody(
    repo: GitRepo, tmp_path: Path, make: MakeSource
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "partial"
    where = f"file://{repo.path}"
    repo.git("clone", "-q", "--no-checkout", "--filter=blob:none", where, str(clone))
    source = make(clone)
    assert source.resolve() == tip
    (entry,) = source.snapshot(tip).entries
    error = fault(lambda: source.read([entry.blob]))
    assert (type(error), error.reason) == (Transient, "ObjectMissing")
    assert entry.blob in error.message
    assert source.resolve() == tip


def test_a_cat_file_that_was_killed_is_replaced_unnoticed(repo: GitRepo, make: MakeSource) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(repo.path)
    source.resolve()
    for child in children():
        os.kill(child, 9)
    assert source.resolve() == tip


def children() -> list[int]:
    """Of git alone: other tests' servers are children of this process too."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    found = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    return [pid for pid in found if Path(f"/proc/{pid}/comm").read_text().startswith("git")]


# ----------------------------------------------------------------------------------------- remotes


def test_a_remote_is_fetched_when_it_moved_and_pruned(repo: GitRepo, tmp_path: Path) -> None:
    first = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("branch", "old")
    heard: list[str] = []
    source = GitSource(
        f"file://{repo.path}",
        None,
        "jobs.d",
        tmp_path / "state",
        timeout=20,
        observer=lambda operation, _: heard.append(operation),
    )
    assert source.resolve() == first
    assert source.resolve() == first
    assert heard == ["fetch", "resolve", "resolve"]
    second = repo.write({"jobs.d/a.yaml": "2"}).commit("two")
    repo.git("branch", "-D", "old")
    repo.git("branch", "old/now-a-folder")
    assert source.resolve() == second
    diff = source.diff(first, second)
    assert diff is not None
    assert source.read([diff.changed[0].blob]) == {diff.changed[0].blob: b"2"}
    refs = subprocess.run(
        [
            "git",
            f"--git-dir={tmp_path / 'state/mirror.git'}",
            "for-each-ref",
            "--format=%(refname)",
        ],
        env=git_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert refs == ["refs/heads/main", "refs/heads/old/now-a-folder"]
    assert (tmp_path / "state/mirror.git").stat().st_mode & 0o077 == 0
    source.close()


def test_a_forced_push_is_followed_and_told(repo: GitRepo, make: MakeSource) -> None:
    first = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    old = repo.write({"jobs.d/a.yaml": "2"}).commit("two")
    source = make(f"file://{repo.path}", "main")
    assert source.resolve() == old
    repo.reset(first)
    new = repo.write({"jobs.d/a.yaml": "3"}).commit("instead")
    assert source.resolve() == new
    assert not source.is_ancestor(old, new)
    assert source.is_ancestor(first, new)


def test_the_remotes_own_default_branch_is_followed(repo: GitRepo, make: MakeSource) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(f"file://{repo.path}")
    source.resolve()
    trunk = repo.branch("trunk").write({"jobs.d/a.yaml": "2"}).commit("two")
    assert source.resolve() == trunk


def test_an_annotated_tag_of_a_remote_is_peeled(repo: GitRepo, make: MakeSource) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.tag("v1", message="release")
    source = make(f"file://{repo.path}", "v1")
    assert [source.resolve(), source.resolve()] == [tip, tip]


@pytest.mark.parametrize("damage", ["removed", "emptied", "object lost", "another remote's"])
def test_a_damaged_mirror_is_made_anew(
    repo: GitRepo, tmp_path: Path, make: MakeSource, damage: str
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(f"file://{repo.path}")
    source.resolve()
    mirror = tmp_path / "state/mirror.git"
    if damage == "removed":
        shutil.rmtree(mirror)
    elif damage == "emptied":
        shutil.rmtree(mirror / "objects")
        (mirror / "HEAD").unlink()
    elif damage == "another remote's":
        config = (mirror / "config").read_text()
        (mirror / "config").write_text(config.replace(str(repo.path), "/elsewhere"))
        source = make(f"file://{repo.path}")
    else:
        for pack in (mirror / "objects").rglob("*"):
            if pack.is_file():
                pack.unlink()
        source.close()
        source = make(f"file://{repo.path}")
        fault(lambda: source.resolve() and source.snapshot(tip))
    assert source.resolve() == tip
    (entry,) = source.snapshot(tip).entries
    assert source.read([entry.blob]) == {entry.blob: b"1"}


def test_locks_that_a_killed_fetch_left_behind_are_removed(
    repo: GitRepo, tmp_path: Path, make: MakeSource
) -> None:
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(f"file://{repo.path}")
    source.resolve()
    mirror = tmp_path / "state/mirror.git"
    (mirror / "packed-refs.lock").touch()
    (mirror / "refs/heads/main.lock").touch()
    tip = repo.write({"jobs.d/a.yaml": "2"}).commit("two")
    assert source.resolve() == tip


def test_a_remote_that_is_away_leaves_the_mirror_readable_and_recovers(
    repo: GitRepo, make: MakeSource
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(f"file://{repo.path}")
    assert source.resolve() == tip
    away = repo.path.with_name("away")
    repo.path.rename(away)
    error = fault(source.resolve)
    assert error.reason in ("RepositoryMissing", "RemoteUnreachable")
    assert [e.path for e in source.snapshot(tip).entries] == ["jobs.d/a.yaml"]
    away.rename(repo.path)
    assert source.resolve() == tip


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_a_remote_that_hangs_is_given_up_with_all_its_children(
    make: MakeSource, silent: int, scheme: str
) -> None:
    source = make(f"{scheme}://127.0.0.1:{silent}/repo.git", timeout=0.5)
    before = session_leaders()
    error = fault(source.resolve)
    assert (type(error), error.reason) == (Transient, "GitTimeout")
    deadline = time.monotonic() + 30
    while session_leaders() - before:  # the kernel takes a moment to end what was killed
        assert time.monotonic() < deadline, "a child of git is still there"
        time.sleep(0.01)


def session_leaders() -> set[str]:
    """Processes whose command line names the silent server's kind of remote."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"127.0.0.1" in command and b"git" in command:
            found.add(entry.name)
    return found


def test_closing_ends_a_look_at_a_remote_that_hangs(make: MakeSource, silent: int) -> None:
    source = make(f"git://127.0.0.1:{silent}/repo.git", timeout=60)
    errors: list[JobReconcilerError] = []

    def look() -> None:
        try:
            source.resolve()
        except JobReconcilerError as error:
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    while not children():
        assert thread.is_alive()
    source.close()
    thread.join(30)
    assert len(errors) == 1
    assert fault(source.resolve).reason == "Closed"


def test_a_remote_nobody_listens_at(make: MakeSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = fault(make(f"http://bob:{SECRET}@127.0.0.1:{port}/r.git").resolve)
    assert (type(error), error.reason) == (Transient, "RemoteUnreachable")


@pytest.fixture
def guarded(repo: GitRepo) -> Iterator[tuple[int, list[str]]]:
    """A git server over HTTP that wants `bob` and the secret; (port, request paths)."""
    repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    repo.git("update-server-info")
    wanted = "Basic " + base64.b64encode(f"bob:{SECRET}".encode()).decode()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(repo.path / ".git"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            asked.append(self.path)
            if "missing" in self.path:
                self.send_error(404)
            elif "broken" in self.path:
                self.send_error(503)
            elif self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


def has_http() -> bool:
    where = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    return (Path(where.stdout.strip()) / "git-remote-http").exists()


needs_http = pytest.mark.skipif(not has_http(), reason="this git was built without HTTP")


@needs_http
@pytest.mark.parametrize(
    ("credentials", "path", "kind", "reason"),
    [
        ("", "/", Stalled, "AuthenticationFailed"),
        (f"bob:wrong-{SECRET}@", "/", Stalled, "AuthenticationFailed"),
        (f"{SECRET}@", "/", Stalled, "AuthenticationFailed"),
        (f"bob:{SECRET}@", "/missing.git", Stalled, "RepositoryMissing"),
        (f"bob:{SECRET}@", "/broken.git", Transient, "RemoteUnreachable"),
    ],
)
def test_a_remote_that_refuses(
    guarded: tuple[int, list[str]],
    make: MakeSource,
    credentials: str,
    path: str,
    kind: type[JobReconcilerError],
    reason: str,
) -> None:
    error = fault(make(f"http://{credentials}127.0.0.1:{guarded[0]}{path}").resolve)
    assert (type(error), error.reason) == (kind, reason)


@needs_http
def test_credentials_in_a_url_work_and_are_written_nowhere(
    guarded: tuple[int, list[str]],
    repo: GitRepo,
    make: MakeSource,
    tmp_path: Path,
) -> None:
    source = make(f"http://bob:{SECRET}@127.0.0.1:{guarded[0]}/")
    assert source.resolve() == repo.head
    assert SECRET not in repr(source) + repr(source.location) + source.location.shown
    assert source.location.warning
    for path in (tmp_path / "state").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_ssh_that_fails_is_told_apart(
    make: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for the ssh program, not for git: what it says is what OpenSSH says.
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for said, reason in (
        ("git@h: Permission denied (publickey).", "AuthenticationFailed"),
        ("Host key verification failed.", "AuthenticationFailed"),
        ("ssh: connect to host h port 22: Connection refused", "RemoteUnreachable"),
        ("ssh: Could not resolve hostname h: Name or service not known", "RemoteUnreachable"),
    ):
        (tools / "ssh").write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/args\necho "{said}" >&2\nexit 255\n'
        )
        (tools / "ssh").chmod(0o755)
        assert fault(make("git@host.example.com:team/jobs.git").resolve).reason == reason
        assert "BatchMode=yes" in (tmp_path / "args").read_text()


# ------------------------------------------------------------------------------------ surroundings


def test_without_git_on_the_path(
    repo: GitRepo, make: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    source = make(repo.path)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert fault(source.resolve).reason == "GitMissing"
    monkeypatch.setenv("PATH", path)
    assert source.resolve() == tip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_of_another_owner_is_refused_until_it_is_allowed(
    repo: GitRepo, make: MakeSource, home: Path
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    for path in (repo.path, repo.path / ".git"):
        os.chown(path, 12345, 12345)
    source = make(repo.path)
    error = fault(source.resolve)
    assert (type(error), error.reason) == (Stalled, "UnsafeOwnership")
    assert "safe.directory" in error.hint
    (home / ".gitconfig").write_text(f"[safe]\n\tdirectory = {repo.path}\n")
    assert source.resolve() == tip


@contextlib.contextmanager
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """Root may read anything, so what root runs is run as another user."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith("pytest-") or folder == tmp_path:
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", [".", ".git", ".git/refs", ".git/objects"])
def test_a_repository_this_user_may_not_read(
    repo: GitRepo, make: MakeSource, closed: str, tmp_path: Path, home: Path
) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
    source = make(repo.path)
    (repo.path / closed).chmod(0)
    with as_nobody(tmp_path):
        error = fault(source.resolve)
    assert (type(error), error.reason) == (Stalled, "NotPermitted")
    (repo.path / closed).chmod(0o700)
    assert source.resolve() == tip


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "repo_name",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-x",
        "ext::sh -c touch% /tmp/x",
        "fd::17/foo",
        "ext::https://example.com/x",
        "ssh://-oProxyCommand=touch/x",
        "ssh://host\n/x",
        "-oProxyCommand=x:path",
        "file://host/share",
        "ftp://example.com/x.git",
        f"rsync://bob:{SECRET}@example.com/x",
        "https:///no-host",
        "https://[::1/x",
        "https://host:99999999/x",
        "git@-host:x",
    ],
)
def test_repositories_that_could_do_more_than_be_read_are_refused(
    repo_name: str, make: MakeSource
) -> None:
    with pytest.raises(Refused) as raised:
        make(repo_name)
    assert raised.value.reason == "RepositoryRefused"
    assert SECRET not in raised.value.message


@pytest.mark.parametrize(
    "ref",
    [
        *("", "-x", "--upload-pack=x", "refs/-x", "a..b", "a b", "a~1", "a^", "a:b", "a\nb"),
        *("a@{1}", "@", "/a", "a/", "a.lock", "a//b", ".a", "*", "a\\b", "refs/"),
    ],
)
def test_refs_that_are_no_names_are_refused(ref: str, make: MakeSource, repo: GitRepo) -> None:
    with pytest.raises(Refused) as raised:
        make(repo.path, ref)
    assert raised.value.reason == "RefRefused"


@pytest.mark.parametrize(
    "jobs_dir", ["/etc", "..", "a/../b", "-x", "a\\b", "a\nb", ".git", "a/.git/b"]
)
def test_jobs_directories_outside_the_repository_are_refused(jobs_dir: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as raised:
        GitSource(str(tmp_path), None, jobs_dir, tmp_path, timeout=1, observer=lambda *_: None)
    assert raised.value.reason == "JobsDirRefused"


def test_a_repository_cannot_make_git_run_programs(
    repo: GitRepo, make: MakeSource, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    tip = repo.write({"jobs.d/a.yaml": "1", ".gitattributes": "*.yaml filter=x diff=x\n"}).commit(
        "x"
    )
    command = f"touch {witness}"
    for key in ("core.fsmonitor", "core.sshCommand", "filter.x.smudge", "diff.x.textconv"):
        repo.git("config", key, command)
    hook = repo.path / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{command}\n")
    hook.chmod(0o755)
    for where in (str(repo.path), f"file://{repo.path}"):
        source = make(where)
        assert source.resolve() == tip
        source.read([e.blob for e in source.snapshot(tip).entries])
        source.history(None, tip, ["jobs.d/a.yaml"])
    assert not witness.exists()


def test_a_replaced_object_is_read_as_it_was_committed(repo: GitRepo, make: MakeSource) -> None:
    tip = repo.write({"jobs.d/a.yaml": "1"}).commit("one")
    other = repo.write({"jobs.d/a.yaml": "replaced"}).commit("two")
    repo.reset(tip)
    repo.git("replace", tip, other)
    source = make(repo.path)
    (entry,) = source.snapshot(source.resolve()).entries
    assert source.read([entry.blob]) == {entry.blob: b"1"}


def test_what_the_remote_says_cannot_forge_a_terminal(
    make: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ssh").write_text(
        "#!/bin/sh\nprintf 'fatal: \\033[2J\\033]0;x\\007 no\\n' >&2\nexit 1\n"
    )
    (tools / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    error = fault(make("ssh://git@example.com/x.git").resolve)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", error.message)
