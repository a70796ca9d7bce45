"""Runs that start in the repository's own tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from execute.arena import Arena, next_end, shell, within
from gitrepo import GitRepo
from jobreconciler.errors import Invalid
from jobreconciler.source.export import TreeExport


class Counted(TreeExport):
    """Counts how often a tree was written."""

    exports = 0

    def _export(self, revision: str, final: Path) -> None:
        self.exports += 1
        super()._export(revision, final)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "repo")
    made.write({"scripts/run.sh": "echo v1; cat ../data", "data": "of the top\n"})
    made.link("out", "..").link("scripts/top", "..").commit("first")
    return made


@pytest.fixture
def trees(repo: GitRepo, arena: Arena) -> Counted:
    return Counted(str(repo.path), arena.state_dir)


def start(name: str, script: str = "sh run.sh; pwd") -> dict[str, Any]:
    return shell(script, cwd={"repo": name})


def test_a_program_starts_in_a_directory_of_its_revision(
    arena: Arena, repo: GitRepo, trees: Counted
) -> None:
    first = repo.head
    repo.write({"scripts/run.sh": "echo v2", "data": ""}).commit("second")
    outcome = arena.once(start("scripts"), trees=trees, revision=first)
    assert outcome.status == "succeeded"
    assert arena.output() == f"v1\nof the top\n{trees.path(first)}/scripts\n"


def test_the_top_of_the_tree_and_a_link_inside_it(
    arena: Arena, repo: GitRepo, trees: Counted
) -> None:
    arena.once(start(".", "ls"), trees=trees, revision=repo.head)
    assert arena.output() == "data\nscripts\n"
    arena.once(start("scripts/top", "pwd"), trees=trees, revision=repo.head)
    assert arena.output(2) == f"{trees.path(repo.head)}\n"


def test_a_python_job_starts_there_as_well(arena: Arena, repo: GitRepo, trees: Counted) -> None:
    parameters = {"entryPoint": "execute.example_jobs:look_around", "cwd": {"repo": "scripts"}}
    outcome = arena.once(parameters, job_type="python", trees=trees, revision=repo.head)
    assert outcome.result is not None
    assert outcome.result["cwd"] == f"{trees.path(repo.head)}/scripts"


NOT_THERE = {
    "a directory that the commit does not hold": (
        "nothing/here",
        "the repository has no directory 'nothing/here' at commit {revision}",
    ),
    "a file": ("data", "the repository has no directory 'data' at commit {revision}"),
    "a link that leads out, which is not exported": (
        "out",
        "the repository has no directory 'out' at commit {revision}",
    ),
}


@pytest.mark.parametrize("case", NOT_THERE.values(), ids=NOT_THERE.keys())
def test_nothing_starts_in(
    arena: Arena, repo: GitRepo, trees: Counted, case: tuple[str, str]
) -> None:
    name, message = case
    with pytest.raises(Invalid) as caught:
        arena.once(start(name), trees=trees, revision=repo.head)
    assert caught.value.message == message.format(revision=repo.head[:12])
    assert not (arena.state_dir / "runs").exists()


def test_a_work_tree_s_link_that_leads_out_is_refused(
    arena: Arena, repo: GitRepo, tmp_path: Path
) -> None:
    from jobreconciler.source.export import WorkTree

    (tmp_path / "beside").mkdir()
    repo.link("scripts/beside", "../../beside")
    with pytest.raises(Invalid, match="'scripts/beside' leads out of the repository"):
        arena.once(start("scripts/beside"), trees=WorkTree(lambda: repo.path))


def test_a_commit_that_is_gone_starts_nothing(arena: Arena, trees: Counted) -> None:
    with pytest.raises(Invalid) as caught:
        arena.once(start("scripts"), trees=trees, revision="1" * 40)
    assert caught.value.reason == "RevisionGone"
    assert not (arena.state_dir / "runs").exists()


def test_many_runs_of_a_revision_export_it_once(
    arena: Arena, repo: GitRepo, trees: Counted
) -> None:
    async def many() -> list[str]:
        import asyncio

        async with arena.executor(trees=trees) as executor:
            launches = [arena.launch(start("scripts"), revision=repo.head) for _ in range(8)]
            await asyncio.gather(*map(executor.start, launches))
            return [(await next_end(executor)).status for _ in launches]

    assert within(many()) == ["succeeded"] * 8
    assert trees.exports == 1


def test_a_revision_that_could_not_be_exported_is_tried_again(
    arena: Arena, repo: GitRepo, trees: Counted
) -> None:
    (repo.path / ".git").rename(repo.path / "away")
    with pytest.raises(Exception, match="not a git repository"):
        arena.once(start("scripts"), trees=trees, revision=repo_head(repo))
    (repo.path / "away").rename(repo.path / ".git")
    assert arena.once(start("scripts"), trees=trees, revision=repo.head).status == "succeeded"


def repo_head(repo: GitRepo) -> str:
    return (repo.path / "away/refs/heads/main").read_text().strip()
