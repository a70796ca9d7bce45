"""Working files: found, named and hashed as git would, and refused where git's would be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gitrepo import GitRepo
from jobreconciler.errors import NotFound
from jobreconciler.source.files import blob_id, load_directory
from jobreconciler.source.git import GitSource
from jobreconciler.source.strict_yaml import MAX_BYTES
from source.loading import VALID


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d/sub").mkdir(parents=True)
    for name in ("b.yaml", "a.yml", "sub/c.yaml", "_defaults.yaml", "note.txt"):
        (tmp_path / "jobs.d" / name).write_text(f"# {name}\n")
    return tmp_path


def names(root: Path, *paths: str, jobs_dir: str = "jobs.d") -> list[str]:
    found = load_directory(root, [Path(path) for path in paths], jobs_dir=jobs_dir)
    return [entry.path for entry in found.entries]


def refused(root: Path, *paths: str) -> list[tuple[str, str]]:
    found = load_directory(root, [Path(path) for path in paths])
    return [(one.file, one.code) for one in found.refused]


def test_every_job_file_is_found_by_its_path_in_the_repository(repo: Path) -> None:
    found = load_directory(repo)

    assert [entry.path for entry in found.entries] == [
        "jobs.d/a.yml",
        "jobs.d/b.yaml",
        "jobs.d/sub/c.yaml",
    ]
    assert found.defaults is not None
    assert found.defaults.path == "jobs.d/_defaults.yaml"
    assert found.contents[found.entries[0].blob] == b"# a.yml\n"
    assert found.refused == []


CHOSEN = [
    (["jobs.d/b.yaml"], ["jobs.d/b.yaml"]),
    (["jobs.d/sub"], ["jobs.d/sub/c.yaml"]),
    (["jobs.d/sub", "jobs.d/sub/c.yaml", "jobs.d/b.yaml"], ["jobs.d/b.yaml", "jobs.d/sub/c.yaml"]),
    (["jobs.d/_defaults.yaml"], []),
    (["."], ["jobs.d/a.yml", "jobs.d/b.yaml", "jobs.d/sub/c.yaml"]),
    (["jobs.d/../jobs.d/b.yaml"], ["jobs.d/b.yaml"]),
]


@pytest.mark.parametrize(("paths", "expected"), CHOSEN)
def test_paths_choose_among_them_and_the_defaults_always_come_along(
    repo: Path, paths: list[str], expected: list[str]
) -> None:
    assert names(repo, *paths) == expected
    assert load_directory(repo, [Path(path) for path in paths]).defaults is not None


def test_the_jobs_directory_may_be_the_whole_repository(repo: Path) -> None:
    assert names(repo / "jobs.d", jobs_dir=".") == ["a.yml", "b.yaml", "sub/c.yaml"]


def test_blob_ids_are_gits(repo: Path) -> None:
    for data in (b"", b"x", "grün\n".encode(), b"\0" * 5000):
        (repo / "file").write_bytes(data)
        asked = subprocess.run(
            ["git", "hash-object", "--no-filters", "file"],
            cwd=repo,
            env={"PATH": os.environ["PATH"], "HOME": str(repo), "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert blob_id(data) == asked.stdout.strip()


def test_links_are_refused_wherever_they_stand_and_lead(repo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "d.yaml").write_text(VALID)
    jobs = repo / "jobs.d"
    (jobs / "away.yaml").symlink_to(outside / "d.yaml")
    (jobs / "beside.yaml").symlink_to("b.yaml")
    (jobs / "dangling.yaml").symlink_to("nowhere")
    (jobs / "folder").symlink_to(outside)
    (jobs / "loop").symlink_to(".")

    assert names(repo) == ["jobs.d/a.yml", "jobs.d/b.yaml", "jobs.d/sub/c.yaml"]
    assert refused(repo) == [
        (f"jobs.d/{name}", "symlink")
        for name in ("away.yaml", "beside.yaml", "dangling.yaml", "folder", "loop")
    ]
    assert refused(repo, "jobs.d/folder/d.yaml") == [("jobs.d/folder/d.yaml", "symlink")]
    assert refused(repo, "jobs.d/beside.yaml") == [("jobs.d/beside.yaml", "symlink")]


def test_what_is_refused_here_is_what_would_be_refused_of_a_commit(tmp_path: Path) -> None:
    made = GitRepo(tmp_path / "repo")
    odd = ("a\nb.yaml", "\x1b[31m.yaml", "a\\b.yaml", "a\u202egpj.yaml", "bad\tfolder/c.yaml")
    made.write({f"jobs.d/{name}": VALID for name in ("good.yaml", "sub.d/d.yml", *odd)})
    links = ("a.yaml", "team", "sub.d/x", "README.md", "old.d", "dangling.yml", "dangling")
    for name in links:
        made.link(f"jobs.d/{name}", "../nowhere" if "dangling" in name else ".")
    (made.path / "jobs.d" / os.fsdecode(b"\xff\xfe.yaml")).write_text(VALID)
    tip = made.commit("all there is")
    source = GitSource(
        str(made.path), None, "jobs.d", tmp_path, timeout=30, observer=lambda *_: None
    )
    snapshot = source.snapshot(tip)
    source.close()
    found = load_directory(made.path)
    assert [each.path for each in found.entries] == [each.path for each in snapshot.entries]
    there = [(one.file, one.code, one.message, one.hint) for one in snapshot.refused]
    here = [(one.file, one.code, one.message, one.hint) for one in found.refused]
    assert sorted(here) == sorted(there)
    assert len(here) == len(odd) + len(links) - 2 + 1


def test_a_submodules_folder_is_refused_as_in_a_commit(repo: Path) -> None:
    (repo / "jobs.d/vendor").mkdir()
    (repo / "jobs.d/vendor/.git").write_text("gitdir: ../../.git/modules/vendor\n")
    (repo / "jobs.d/vendor/a.yaml").write_text(VALID)
    assert refused(repo) == [("jobs.d/vendor", "submodule_refused")]


def test_defaults_that_are_a_link_are_refused_also_when_only_a_file_was_named(repo: Path) -> None:
    (repo / "jobs.d/_defaults.yaml").unlink()
    (repo / "jobs.d/_defaults.yaml").symlink_to("b.yaml")

    assert refused(repo) == [("jobs.d/_defaults.yaml", "symlink")]
    assert refused(repo, "jobs.d/b.yaml") == [("jobs.d/_defaults.yaml", "symlink")]
    assert load_directory(repo).defaults is None


def test_files_outside_the_jobs_directory_are_refused(repo: Path) -> None:
    (repo / "other.yaml").write_text(VALID)
    (repo / "jobs.d-old").mkdir()
    (repo / "jobs.d-old/x.yaml").write_text(VALID)

    assert refused(repo, "other.yaml", "jobs.d-old/x.yaml", "jobs.d/../other.yaml") == [
        ("jobs.d-old/x.yaml", "outside_jobs_dir"),
        ("other.yaml", "outside_jobs_dir"),
    ]


def test_what_is_no_file_or_no_job_file_is_refused(repo: Path) -> None:
    os.mkfifo(repo / "jobs.d/pipe.yaml")
    (repo / "jobs.d/folder.yaml").mkdir()

    assert refused(repo) == [("jobs.d/pipe.yaml", "not_a_file")]
    assert refused(repo, "jobs.d/note.txt") == [("jobs.d/note.txt", "not_a_job_file")]


def test_size_is_checked_before_anything_is_read(repo: Path) -> None:
    (repo / "jobs.d/a.yml").write_bytes(b"#" * MAX_BYTES)
    (repo / "jobs.d/b.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with (repo / "jobs.d/huge.yaml").open("wb") as file:
        file.truncate(10**12)
    found = load_directory(repo)

    assert [(one.file, one.code) for one in found.refused] == [
        ("jobs.d/b.yaml", "too_large"),
        ("jobs.d/huge.yaml", "too_large"),
    ]
    assert "1000000000000 bytes" in found.refused[1].message
    assert [entry.path for entry in found.entries] == ["jobs.d/a.yml", "jobs.d/sub/c.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_a_problem_of_its_own(repo: Path) -> None:
    (repo / "jobs.d/a.yml").chmod(0)

    assert refused(repo) == [("jobs.d/a.yml", "unreadable")]


def test_a_path_that_is_not_there_is_said_to_be_missing(repo: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no file jobs\.d/zzz\.yaml"):
        names(repo, "jobs.d/zzz.yaml")
    with pytest.raises(NotFound, match="there is no directory"):
        names(repo, jobs_dir="nowhere")
