"""The plan: what a commit does to jobs, what it holds, and that no order changes it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

import pytest

from jobreconciler.core.index import JobIndex
from jobreconciler.core.plan import Desired, Rules, make_plan
from jobreconciler.model.change import Plan
from jobreconciler.model.desired import DesiredFile, DesiredJob
from jobreconciler.model.job import IndexRow
from jobreconciler.model.problem import Problem

REVISION = "c" * 40


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def job(
    id: str,
    *,
    path: str | None = None,
    text: str = "1",
    needs: Iterable[str] = (),
    enabled: bool = True,
    environments: tuple[str, ...] = (),
    defaults: str = "",
) -> DesiredFile:
    where = path or f"jobs.d/{id}.yaml"
    needs = tuple(needs)
    desired = DesiredJob(
        job_id=id,
        path=where,
        blob=digest(f"{id}{text}{needs}{enabled}")[:40],
        defaults_blob=defaults,
        config="{}",
        digest=digest(f"{id}{text}{needs}{enabled}{defaults}"),
        job_type="command",
        environments=environments,
        enabled=enabled,
        depends_on=needs,
        depends_at=tuple((9, 9) for _ in needs),
    )
    return DesiredFile(where, desired.blob, desired, (), id, (2, 7))


def broken(path: str, id: str | None = None) -> DesiredFile:
    problem = Problem(path, 1, 1, "", "syntax", "this is no YAML")
    return DesiredFile(path, "f" * 40, None, (problem,), id)


def stored(*files: DesiredFile, deleted: bool = False) -> JobIndex:
    rows = {}
    for file in files:
        assert file.job is not None
        one = file.job
        rows[one.job_id] = IndexRow(
            one.job_id,
            one.path,
            one.blob,
            one.defaults_blob,
            one.digest,
            one.enabled,
            one.depends_on,
            deleted,
        )
    return JobIndex(rows)


def plan(index: JobIndex, *files: DesiredFile, gone: Iterable[str] = (), **rules: object) -> Plan:
    return make_plan(
        Desired(REVISION, None, files, frozenset(gone)),
        index,
        Rules(**rules),  # type: ignore[arg-type]
    )


def actions(made: Plan) -> dict[str, str]:
    return {change.job_id: change.action for change in made.changes}


def holds(made: Plan) -> dict[str, str]:
    return {change.job_id: change.reason for change in made.changes if change.action == "hold"}


FLEET = [job(name) for name in "abcdefghijklmnopqrst"]


# -------------------------------------------------------------------------------- plain changes


def test_a_new_file_is_a_create() -> None:
    made = plan(JobIndex(), job("a"))
    assert actions(made) == {"a": "create"}
    assert made.summary() == {
        "create": 1,
        "update": 0,
        "move": 0,
        "delete": 0,
        "hold": 0,
        "unchanged": 0,
    }


def test_the_same_file_is_nothing() -> None:
    made = plan(stored(job("a")), job("a"))
    assert (made.changes, made.seen, made.unchanged) == ((), (), 1)


def test_an_edit_is_an_update_and_the_rest_is_unchanged() -> None:
    made = plan(stored(job("a"), job("b")), job("a", text="2"))
    assert actions(made) == {"a": "update"}
    assert made.unchanged == 1


def test_a_comment_is_seen_and_changes_nothing() -> None:
    before = job("a")
    assert before.job is not None
    index = stored(before)
    row = index.rows["a"]
    index.put(row._replace(blob="0" * 40))
    made = plan(index, before)
    assert (made.changes, [one.job_id for one in made.seen]) == ((), ["a"])


def test_a_renamed_file_is_a_move() -> None:
    made = plan(stored(job("a")), job("a", path="jobs.d/sub/a.yaml"), gone=["jobs.d/a.yaml"])
    assert actions(made) == {"a": "move"}
    assert made.changes[0].old_path == "jobs.d/a.yaml"


def test_two_jobs_may_swap_their_files() -> None:
    made = plan(
        stored(job("a"), job("b")),
        job("a", path="jobs.d/b.yaml"),
        job("b", path="jobs.d/a.yaml"),
    )
    assert actions(made) == {"a": "move", "b": "move"}


def test_a_removed_file_is_a_delete() -> None:
    made = plan(stored(*FLEET), gone=["jobs.d/a.yaml"])
    assert actions(made) == {"a": "delete"}


def test_a_job_declared_again_is_restored() -> None:
    made = plan(stored(job("a"), deleted=True), job("a"))
    assert actions(made) == {"a": "restore"}


def test_another_id_in_a_file_is_a_delete_and_a_create_and_asks_about_a_rename() -> None:
    made = plan(stored(*FLEET), job("z", path="jobs.d/a.yaml"))
    assert actions(made) == {"a": "delete", "z": "create"}
    assert "was a rename meant?" in made.changes[0].reason


def test_the_same_blobs_read_differently_are_migrated() -> None:
    index = stored(job("a"))
    index.put(index.rows["a"]._replace(digest="old rules"))
    made = plan(index, job("a"))
    assert [(c.action, c.reason) for c in made.changes] == [("update", "migrated")]


# ----------------------------------------------------------------------------------- holding


def test_an_invalid_file_holds_its_own_job_and_nothing_else() -> None:
    made = plan(stored(*FLEET), broken("jobs.d/a.yaml"), job("b", text="2"), gone=["jobs.d/c.yaml"])
    assert actions(made) == {"a": "hold", "b": "update", "c": "delete"}
    assert holds(made) == {"a": "InvalidFile"}


def test_an_invalid_file_that_moved_holds_the_job_whose_id_it_shows() -> None:
    made = plan(stored(*FLEET), broken("jobs.d/new/a.yaml", "a"), gone=["jobs.d/a.yaml"])
    assert holds(made) == {"a": "InvalidFile"}


def test_an_invalid_file_that_names_no_job_stops_deletions_and_nothing_else() -> None:
    made = plan(
        stored(*FLEET), broken("jobs.d/new.yaml"), job("b", text="2"), gone=["jobs.d/a.yaml"]
    )
    assert actions(made) == {"a": "hold", "b": "update"}
    assert holds(made) == {"a": "UnmatchedInvalidFile"}


def test_a_new_invalid_file_with_an_id_of_its_own_stops_no_deletion() -> None:
    made = plan(stored(*FLEET), broken("jobs.d/new.yaml", "new"), gone=["jobs.d/a.yaml"])
    assert actions(made) == {"a": "delete"}
    assert [problem.file for problem in made.problems] == ["jobs.d/new.yaml"]


def test_a_second_file_with_a_stored_id_is_invalid_and_the_stored_one_wins() -> None:
    made = plan(stored(*FLEET), job("a", path="jobs.d/0-first.yaml"))
    assert actions(made) == {}
    assert [(p.file, p.line, p.column) for p in made.problems] == [("jobs.d/0-first.yaml", 2, 7)]


def test_two_new_files_with_one_id_are_one_job_and_one_problem() -> None:
    made = plan(JobIndex(), job("a", path="jobs.d/2.yaml"), job("a", path="jobs.d/1.yaml"))
    assert [(c.job_id, c.action, c.path) for c in made.changes] == [
        ("a", "create", "jobs.d/1.yaml")
    ]
    assert [p.file for p in made.problems] == ["jobs.d/2.yaml"]


def test_a_job_that_depends_on_a_held_change_is_held_with_it() -> None:
    made = plan(
        stored(job("a"), job("b", needs="a"), job("c", needs="b")),
        broken("jobs.d/a.yaml"),
        job("b", needs="a", text="2"),
        job("c", needs="b", text="2"),
    )
    assert holds(made) == {"a": "InvalidFile", "b": "DependencyHeld", "c": "DependencyHeld"}


def test_an_unchanged_dependent_of_a_held_job_is_left_alone() -> None:
    made = plan(stored(job("a"), job("b", needs="a")), broken("jobs.d/a.yaml"))
    assert holds(made) == {"a": "InvalidFile"}


def test_deleting_a_job_that_others_depend_on_is_held() -> None:
    made = plan(stored(job("user", needs="a"), *FLEET), gone=["jobs.d/a.yaml"])
    assert holds(made) == {"a": "HasDependents"}


def test_deleting_a_job_with_its_last_dependent_is_fine() -> None:
    made = plan(stored(job("user", needs="a"), *FLEET), gone=["jobs.d/a.yaml", "jobs.d/user.yaml"])
    assert actions(made) == {"a": "delete", "user": "delete"}


def test_deleting_a_job_whose_dependent_lets_go_is_fine() -> None:
    made = plan(
        stored(job("user", needs="a"), *FLEET), job("user", text="2"), gone=["jobs.d/a.yaml"]
    )
    assert actions(made) == {"a": "delete", "user": "update"}


def test_a_cycle_is_spelled_out_and_holds_its_jobs() -> None:
    made = plan(stored(job("a"), job("b", needs="a")), job("a", needs="b"))
    assert holds(made) == {"a": "InvalidFile"}
    assert any("a → b → a" in p.message or "b → a → b" in p.message for p in made.problems)


def test_an_unknown_upstream_is_invalid() -> None:
    made = plan(stored(job("a")), job("a", needs=["ghost"]))
    assert holds(made) == {"a": "InvalidFile"}
    assert "ghost" in made.problems[0].message


# ------------------------------------------------------------------------------ environments


def test_a_job_of_another_environment_is_not_desired_here() -> None:
    made = plan(JobIndex(), job("a", environments=("staging",)), environment="production")
    assert (actions(made), made.problems) == ({}, ())


def test_moving_a_job_to_another_environment_removes_it_here_and_is_no_prune() -> None:
    made = plan(stored(job("a")), job("a", environments=("staging",)), environment="production")
    assert actions(made) == {"a": "delete"}
    assert made.blocked is None


def test_without_an_environment_every_job_is_desired() -> None:
    assert actions(plan(JobIndex(), job("a", environments=("staging",)))) == {"a": "create"}


# ------------------------------------------------------------------------------- prune guard


def paths(count: int) -> list[str]:
    return [f"jobs.d/{name}.yaml" for name in "abcdefghijklmnopqrst"[:count]]


GUARD = {
    "five of twenty are few enough": (5, None),
    "six of twenty are too many": (6, "deletes 6 of 20 jobs"),
    "all of them are too many": (20, "deletes 20 of 20 jobs"),
}


@pytest.mark.parametrize("name", GUARD)
def test_the_prune_guard(name: str) -> None:
    count, message = GUARD[name]
    made = plan(stored(*FLEET), gone=paths(count))
    if message is None:
        assert made.blocked is None
        assert set(actions(made).values()) == {"delete"}
    else:
        assert made.blocked is not None
        assert message in made.blocked.message
        assert set(holds(made).values()) == {"PruneBlocked"}


def test_the_only_job_is_all_of_them() -> None:
    made = plan(stored(job("a")), gone=["jobs.d/a.yaml"])
    assert holds(made) == {"a": "PruneBlocked"}


def test_disabling_counts_like_deleting() -> None:
    made = plan(stored(*FLEET), *(job(n, enabled=False) for n in "abc"), gone=paths(6)[3:])
    assert made.blocked is not None
    assert made.blocked.disables == ("a", "b", "c")
    assert made.blocked.message == "the commit deletes 3 and disables 3 of 20 jobs"
    assert set(holds(made)) == set("abcdef")


def test_what_is_not_guarded_goes_on() -> None:
    made = plan(stored(*FLEET), job("t", text="2"), job("new"), gone=paths(6))
    assert {k: v for k, v in actions(made).items() if v != "hold"} == {
        "t": "update",
        "new": "create",
    }


def test_an_approval_lets_it_pass() -> None:
    made = plan(stored(*FLEET), gone=paths(20), allow_prune=True)
    assert set(actions(made).values()) == {"delete"}
    assert made.blocked is None


def test_defaults_that_alter_many_jobs_are_guarded() -> None:
    index = stored(*FLEET)
    made = plan(index, *(job(n, defaults="d" * 40) for n in "abcdef"))
    assert made.blocked is not None
    assert "defaults alters 6 of 20" in made.blocked.message
    few = plan(index, *(job(n, defaults="d" * 40) for n in "abcde"))
    assert few.blocked is None


# ------------------------------------------------------------------------------------ atomic


def test_atomic_refuses_the_whole_commit_for_one_problem() -> None:
    made = plan(stored(job("a")), broken("jobs.d/x.yaml"), job("a", text="2"), atomic=True)
    assert made.changes == ()
    assert made.refused
    assert made.problems


# ------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("seed", range(20))
def test_the_order_in_which_files_are_listed_changes_nothing(seed: int) -> None:
    index = stored(job("a"), job("b", needs="a"), job("user", needs="b"), *FLEET[2:])
    files = [
        broken("jobs.d/a.yaml"),
        job("b", needs="a", text="2"),
        job("n1", needs=["n2"]),
        job("n2", needs=["n1"]),
        job("dup", path="jobs.d/1.yaml"),
        job("dup", path="jobs.d/2.yaml"),
        job("z", path="jobs.d/c.yaml"),
        job("d", text="2"),
        job("e", path="jobs.d/f/e.yaml"),
    ]
    gone = ["jobs.d/g.yaml", "jobs.d/e.yaml"]
    expected = plan(index, *files, gone=gone)
    shuffled = list(files)
    random.Random(seed).shuffle(shuffled)
    assert plan(index, *shuffled, gone=reversed(gone)) == expected
