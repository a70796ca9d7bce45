"""What may be named as a repository, and what is done with its credentials."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gitrepo import GitRepo
from jobreconciler.source.faults import redact
from jobreconciler.source.git import GitSource
from jobreconciler.source.refs import check_jobs_dir, check_ref, parse_location


@pytest.mark.parametrize(
    ("repo", "url", "protocols", "warns"),
    [
        ("https://example.com/a/b.git", "https://example.com/a/b.git", "https", False),
        ("https://bob:pw@example.com:8443/b", "https://example.com:8443/b", "https", False),
        ("https://token@example.com/b?x=1", "https://example.com/b?x=1", "https", False),
        ("http://example.com/b", "http://example.com/b", "http:https", True),
        ("ssh://git@example.com:2222/b", "ssh://git@example.com:2222/b", "ssh", False),
        ("ssh://git:pw@[::1]/b", "ssh://git@[::1]/b", "ssh", False),
        ("git@example.com:team/b.git", "git@example.com:team/b.git", "ssh", False),
        ("example.com:b", "example.com:b", "ssh", False),
        ("git://example.com/b", "git://example.com/b", "git", True),
        ("file:///srv/b.git", "file:///srv/b.git", "file", False),
    ],
)
def test_remotes_are_known_by_their_url(repo: str, url: str, protocols: str, warns: bool) -> None:
    location = parse_location(repo)
    assert (location.url, location.protocols, location.path) == (url, protocols, None)
    assert bool(location.warning) is warns
    assert "pw" not in location.shown + repr(location)
    assert "token" not in location.shown + repr(location)


def test_a_path_is_local_also_with_a_colon_in_it(tmp_path: Path) -> None:
    odd = tmp_path / "host:path"
    odd.mkdir()
    assert parse_location(str(odd)).path == odd
    assert parse_location("./relative").path == Path("relative").absolute()
    assert parse_location("~/repo").path == Path("~/repo").expanduser()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("at https://bob:pa@ss@host/x done", "at https://host/x done"),
        ("https://token@host/x?private_token=1", "https://host/x?…"),
        ("'ssh://git@host/x'", "'ssh://host/x'"),
        ("\x1b[31mred\x07", "[31mred"),
        ("git@host:x stays", "git@host:x stays"),
    ],
)
def test_what_is_shown_holds_no_secret_and_no_control_character(said: str, shown: str) -> None:
    assert redact(said) == shown


@pytest.mark.parametrize("ref", ["main", "feature/x", "v1.2", "refs/heads/main", "a@b", "HEAD"])
def test_names_of_branches_and_tags_pass(ref: str) -> None:
    assert check_ref(ref) == ref


@pytest.mark.parametrize(
    ("given", "kept"), [("jobs.d", "jobs.d"), ("./a//b/", "a/b"), (".", ""), ("", ""), ("ü", "ü")]
)
def test_a_jobs_directory_is_normalised(given: str, kept: str) -> None:
    assert check_jobs_dir(given) == kept


@pytest.mark.parametrize("remote", [False, True])
def test_threads_may_share_a_source(
    tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    repo = GitRepo(tmp_path / "repo")
    contents = {f"jobs.d/{n}.yaml": f"job {n}" for n in range(50)}
    tip = repo.write(contents).commit("all")
    where = f"file://{repo.path}" if remote else str(repo.path)
    source = GitSource(
        where, None, "jobs.d", tmp_path / "state", timeout=30, observer=lambda *_: None
    )
    found: list[dict[str, str]] = []

    def work() -> None:
        for _ in range(3):
            source.resolve()
            entries = source.snapshot(tip).entries
            read = source.read([entry.blob for entry in entries])
            found.append({e.path: read[e.blob].decode() for e in entries})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    source.close()
    assert found == [contents] * 12
