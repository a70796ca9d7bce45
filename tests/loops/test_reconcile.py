"""One reconcile pass over a real repository and a real store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from jobreconciler.model.desired import DesiredFile, Entry
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Loader

from .world import World, job_file


def data_version(world: World) -> tuple[int, int]:
    """Changes whenever anybody commits to the database, and how long the write-ahead log is."""
    size = (world.state / "store.db-wal").stat().st_size
    connection = world.sqlite()
    (rows,) = connection.execute("SELECT count(*) FROM reconciles").fetchone()
    connection.close()
    return size, rows


def test_a_commit_becomes_jobs_with_provenance(world: World) -> None:
    first = world.commit("Add a (#7)", a=job_file("a"), b=job_file("b", needs="a"))
    result = world.reconcile()
    assert (result.result, result.revision) == ("applied", first)
    assert world.jobs() == {"a": 1, "b": 1}
    (row,) = world.changelog("a")
    assert (row.action, row.revision, row.commits) == ("created", first, (first,))
    assert (row.author["name"], row.pull_request) == ("Ada Lovelace", "#7")
    assert [field.path for field in row.fields] == ["meta", "payload"]
    assert world.condition("Ready") == ("True", "Applied")


def test_a_second_reconcile_of_the_same_commit_writes_nothing(world: World) -> None:
    world.commit(a=job_file("a"), broken="meta: [", gone=job_file("gone"))
    world.reconcile()
    before = data_version(world)
    assert world.reconcile().result == "unchanged"
    assert world.reconcile(force=True).result in ("unchanged", "held")
    assert data_version(world) == before


def test_a_restart_over_the_same_commit_writes_nothing(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.restart()
    before = data_version(world)
    assert world.reconcile().result == "unchanged"
    assert data_version(world)[1] == before[1]


def test_an_edit_shows_every_field_and_every_commit_that_touched_the_file(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))
    world.reconcile()
    one = world.commit("faster", a=job_file("a", cron="*/5 * * * *"))
    world.commit("something else", b=job_file("b", priority=60))
    two = world.commit("more important", a=job_file("a", cron="*/5 * * * *", priority=90))
    world.reconcile()
    row = world.changelog("a")[0]
    assert (row.action, row.generation, row.commits) == ("updated", 2, (two, one))
    assert row.message.strip() == "more important"
    assert [(f.path, f.old, f.new) for f in row.fields] == [
        ("payload.priority", 50, 90),
        ("payload.schedule.cronExpression", "0 * * * *", "*/5 * * * *"),
    ]


def test_a_comment_is_no_change(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.commit(a="# why\n" + job_file("a"))
    assert world.reconcile().result == "unchanged"
    assert world.jobs() == {"a": 1}
    assert len(world.changelog()) == 1


def test_a_renamed_file_is_a_move_that_keeps_the_generation(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.repo.delete("jobs.d/a.yaml").write({"jobs.d/team/a.yml": job_file("a")})
    world.repo.commit("tidy up")
    world.reconcile()
    assert world.jobs() == {"a": 1}
    assert world.log() == [("created", "a"), ("moved", "a")]
    job = world.store.job("a")
    assert job is not None and job.path == "jobs.d/team/a.yml"


def test_a_deleted_job_keeps_its_history_and_declaring_it_again_restores_it(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))
    world.reconcile()
    world.commit(a="")
    world.reconcile()
    assert world.jobs() == {"b": 1}
    world.commit(a=job_file("a"))
    world.reconcile()
    assert world.log()[-2:] == [("deleted", "a"), ("restored", "a")]
    assert world.jobs()["a"] > 1


# ----------------------------------------------------------------------------------- holding


def test_a_typo_holds_its_own_job_and_blocks_no_other_change_or_deletion(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"), c=job_file("c"))
    world.reconcile()
    world.commit(a="meta: {id: a}\npayload: [", b=job_file("b", priority=60), c="")
    result = world.reconcile()
    assert result.result == "held"
    assert world.jobs() == {"a": 1, "b": 2}
    assert world.held() == {"a": "InvalidFile"}
    assert world.condition("Ready") == ("True", "AppliedWithHolds")
    assert world.figure("config_invalid_files") == 1


def test_mending_the_file_releases_the_job_and_names_all_commits(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    broke = world.commit("break", a="meta: [")
    world.reconcile()
    unrelated = world.commit("unrelated", b=job_file("b"))
    world.reconcile()
    mended = world.commit("mend", a=job_file("a", priority=70))
    world.reconcile()
    assert world.held() == {}
    assert world.changelog("a")[0].commits == (mended, broke)
    assert world.changelog("b")[0].commits == (unrelated,)
    assert world.condition("Ready") == ("True", "Applied")
    assert world.figure("config_invalid_files") == 0


def test_a_hold_survives_a_restart_and_later_commits(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.commit(a="meta: [")
    world.reconcile()
    world.restart()
    world.commit(b=job_file("b"))
    assert world.reconcile().result == "held"
    assert world.held() == {"a": "InvalidFile"}
    assert world.jobs() == {"a": 1, "b": 1}


def test_a_deletion_that_waited_for_an_unknown_file_goes_on_when_that_is_mended(
    world: World,
) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))
    world.reconcile()
    world.commit(a="", mystery="- what is this?")
    world.reconcile()
    assert world.held() == {"a": "UnmatchedInvalidFile"}
    assert world.jobs() == {"a": 1, "b": 1}
    world.commit(mystery=job_file("mystery"))
    world.reconcile()
    assert world.jobs() == {"b": 1, "mystery": 1}
    assert world.held() == {}


def test_two_files_with_one_id_keep_the_stored_one(world: World) -> None:
    world.commit(b=job_file("a"))
    world.reconcile()
    world.commit(a=job_file("a", priority=99))
    assert world.reconcile().result == "held"
    job = world.store.job("a")
    assert job is not None and (job.path, job.generation) == ("jobs.d/b.yaml", 1)
    world.commit(b="")
    world.reconcile()
    job = world.store.job("a")
    assert job is not None and (job.path, job.config["payload"]["priority"]) == (
        "jobs.d/a.yaml",
        99,
    )


def test_a_cycle_holds_what_closes_it(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b", needs="a"))
    world.reconcile()
    world.commit(a=job_file("a", needs="b"))
    result = world.reconcile()
    assert world.held() == {"a": "InvalidFile"}
    assert result.plan is not None
    assert any("→" in problem.message for problem in result.plan.problems)


def test_invalid_defaults_hold_every_job_and_mending_releases_them(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))
    world.reconcile()
    world.repo.write({"jobs.d/_defaults.yaml": "retry: [what"}).commit("bad defaults")
    world.reconcile()
    assert world.held() == {"a": "InvalidFile", "b": "InvalidFile"}
    assert world.jobs() == {"a": 1, "b": 1}
    world.repo.write({"jobs.d/_defaults.yaml": "timezone: Europe/Berlin\n"}).commit("good ones")
    world.reconcile()
    assert world.held() == {}
    job = world.store.job("a")
    assert job is not None and job.config["payload"]["schedule"]["timezone"] == "Europe/Berlin"


def test_atomic_applies_all_or_nothing(world: World) -> None:
    world.restart(atomic=True)
    first = world.commit(a=job_file("a"))
    world.reconcile()
    world.commit(a=job_file("a", priority=60), b="meta: [")
    result = world.reconcile()
    assert result.result == "refused"
    assert world.jobs() == {"a": 1}
    state = world.store.source_state()
    assert state is not None and state.revision == first
    assert world.condition("Ready") == ("False", "CommitRefused")
    world.commit(b=job_file("b"))
    assert world.reconcile().result == "applied"
    assert world.jobs() == {"a": 2, "b": 1}


# ------------------------------------------------------------------------------- prune guard


def fleet(count: int) -> dict[str, str]:
    return {f"job-{n}": job_file(f"job-{n}") for n in range(count)}


def test_a_jobs_directory_emptied_by_mistake_deletes_nothing(world: World) -> None:
    world.commit(**fleet(8))
    world.reconcile()
    world.repo.delete("jobs.d").write({"jobs.d/README": "moved", "README": "x"})
    emptied = world.repo.commit("oops")
    result = world.reconcile()
    assert result.result == "blocked"
    assert len(world.jobs()) == 8
    assert world.condition("PruneBlocked") == ("True", "TooManyAtOnce")
    assert world.reconcile().result == "unchanged", "asking again changes nothing"
    world.store.approve(emptied, "ada", world.clock.now()).result()
    assert world.reconcile(force=True).result == "applied"
    assert world.jobs() == {}
    assert world.condition("PruneBlocked") == ("", "")


def test_an_approval_is_used_up_when_its_commit_is_applied(world: World) -> None:
    full = world.commit(**fleet(8))
    world.reconcile()
    world.repo.delete(*[f"jobs.d/job-{n}.yaml" for n in range(8)])
    emptied = world.repo.write({"jobs.d/README": "empty"}).commit("retire all")
    world.store.approve(emptied, "ada", world.clock.now()).result()
    assert world.store.approved(emptied)
    assert world.reconcile().result == "applied"
    assert not world.store.approved(emptied)
    world.repo.reset(full)
    assert world.reconcile().result == "applied"
    world.repo.reset(emptied)
    assert world.reconcile().result == "blocked", "what was approved was another deletion"
    assert len(world.jobs()) == 8
    world.store.approve(emptied, "ada", world.clock.now()).result()
    assert world.reconcile(force=True).result == "applied"
    assert world.jobs() == {}


def test_an_approval_holds_for_no_commit_on_top_of_its_own(world: World) -> None:
    world.commit(**fleet(9))
    world.reconcile()
    retired = world.commit("retire most", **{f"job-{n}": "" for n in range(7)})
    world.store.approve(retired, "ada", world.clock.now()).result()
    world.commit("retire another", **{"job-7": ""})
    assert world.reconcile().result == "blocked"
    assert len(world.jobs()) == 9


def test_a_missing_jobs_directory_is_a_fault_and_no_deletion(world: World) -> None:
    world.commit(**fleet(3))
    world.reconcile()
    world.repo.delete("jobs.d").write({"README": "x"}).commit("oops")
    assert world.reconcile().result == "failed"
    assert len(world.jobs()) == 3
    assert world.condition("Ready") == ("False", "JobsDirMissing")


def test_a_trailer_in_the_commit_allows_the_prune(world: World) -> None:
    world.commit(**fleet(8))
    world.reconcile()
    world.commit("Retire most\n\nAllow-Prune: true\n", **{f"job-{n}": "" for n in range(7)})
    assert world.reconcile().result == "applied"
    assert list(world.jobs()) == ["job-7"]


def test_a_blocked_prune_survives_later_commits_and_lets_other_changes_pass(world: World) -> None:
    world.commit(**fleet(8))
    world.reconcile()
    world.commit(**{f"job-{n}": "" for n in range(7)})
    world.reconcile()
    world.commit(new=job_file("new"))
    assert world.reconcile().result == "blocked"
    assert len(world.jobs()) == 9
    world.commit(**{f"job-{n}": job_file(f"job-{n}") for n in range(7)})
    assert world.reconcile().result != "blocked"
    assert world.held() == {}
    assert len(world.jobs()) == 9


# ------------------------------------------------------------------------------ environments


def test_another_environment_removes_what_is_not_desired_there(world: World) -> None:
    both = job_file("both")
    staging = job_file("staging").replace("meta:\n", "meta:\n  environments: [staging]\n")
    world.commit(both=both, staging=staging)
    world.restart(environment="production")
    world.reconcile()
    assert world.jobs() == {"both": 1}
    world.restart(environment="staging")
    world.reconcile()
    assert world.jobs() == {"both": 1, "staging": 1}


# ------------------------------------------------------------------------- drift and upgrades


def test_drift_is_healed_and_recorded_with_old_and_new(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))
    world.reconcile()
    other = world.sqlite()
    other.execute(
        "UPDATE job_configs SET config = replace(config, '\"priority\":50', '\"priority\":99') "
        "WHERE job_id = 'a'"
    )
    other.close()
    assert world.reconciler.heal() == {"a"}
    assert world.reconciler.heal() == frozenset()
    row = world.changelog("a")[0]
    assert (row.action, row.actor) == ("healed", "drift-healing")
    assert [(f.path, f.old, f.new) for f in row.fields] == [("payload.priority", 99, 50)]
    job = world.store.job("a")
    assert job is not None and job.config["payload"]["priority"] == 50
    assert world.figure("drift_healed_total") == 1
    assert world.figure("config_changes_total", action="healed") == 1
    assert world.figure("audit_head_info", hash=row.hash) == 1


def test_drift_is_healed_while_git_is_away(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.repo.path.rename(world.path / "away")
    other = world.sqlite()
    other.execute("UPDATE job_configs SET config = '{}' WHERE job_id = 'a'")
    other.close()
    world.restart()
    assert world.reconciler.heal() == {"a"}
    job = world.store.job("a")
    assert job is not None and job.config["meta"]["id"] == "a"


def test_drift_that_cannot_be_healed_is_said_until_it_can(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"), c=job_file("c"))
    world.reconcile()
    other = world.sqlite()
    (whole,) = other.execute(
        "SELECT text FROM blobs JOIN job_configs USING (blob) WHERE job_id = 'a'"
    ).fetchone()
    broken = "(SELECT blob FROM job_configs WHERE job_id = '{}')"
    other.execute(
        f"UPDATE blobs SET text = CAST('meta: [' AS BLOB) WHERE blob = {broken.format('a')}"
    )
    other.execute(f"DELETE FROM blobs WHERE blob = {broken.format('b')}")
    other.execute("UPDATE job_configs SET config = '{}'")
    world.repo.path.rename(world.path / "away")
    world.restart()
    assert world.reconciler.heal() == {"c"}

    def drifted() -> dict[str, str]:
        return {
            job_id: condition.message
            for job_id in ("a", "b", "c")
            if (job := world.store.job(job_id)) is not None
            for condition in job.conditions
            if condition.type == "Drifted"
        }

    assert set(drifted()) == {"a", "b"}
    assert all("cannot put it back: " in message for message in drifted().values())
    assert world.reconciler.heal() == frozenset()
    assert set(drifted()) == {"a", "b"}
    other.execute(f"UPDATE blobs SET text = ? WHERE blob = {broken.format('a')}", (whole,))
    other.close()
    assert world.reconciler.heal() == {"a"}
    assert set(drifted()) == {"b"}
    (world.path / "away").rename(world.repo.path)
    world.restart()
    assert world.reconciler.heal() == {"b"}
    assert drifted() == {}


def test_a_row_deleted_behind_the_back_is_found_at_the_next_start(world: World) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))
    world.reconcile()
    other = world.sqlite()
    other.execute("PRAGMA foreign_keys = OFF")
    other.execute("DELETE FROM job_configs WHERE job_id = 'a'")
    other.close()
    world.restart()
    world.reconcile()
    assert set(world.jobs()) == {"a", "b"}


class Counting:
    """Knows how many files it was asked to load."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.version = loader.version
        self.loaded: list[str] = []

    def load(
        self, entries: Sequence[Entry], contents: Mapping[str, bytes], defaults: Entry | None
    ) -> list[DesiredFile]:
        self.loaded += [entry.path for entry in entries]
        return self._loader.load(entries, contents, defaults)


def test_a_change_of_one_file_among_many_reads_that_file_alone(world: World) -> None:
    world.commit(**fleet(60))
    world.reconcile()
    counting = Counting(world.loader)
    world.restart(loader=counting)
    world.reconcile()
    assert counting.loaded == [], "what is stored is not read again"
    world.commit(**{"job-7": job_file("job-7", priority=60)})
    assert world.reconcile().summary["update"] == 1
    assert counting.loaded == ["jobs.d/job-7.yaml"]
    world.repo.write({"elsewhere/README": "x"}).commit("not about jobs")
    world.reconcile()
    assert counting.loaded == ["jobs.d/job-7.yaml"]


class NextVersion:
    """The loader of a later program: the same bytes now mean another priority."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.version = loader.version + "+1"

    def load(
        self, entries: Sequence[Entry], contents: Mapping[str, bytes], defaults: Entry | None
    ) -> list[DesiredFile]:
        changed = {
            blob: text.replace(b"priority: 60", b"priority: 61") for blob, text in contents.items()
        }
        return self._loader.load(entries, changed, defaults)


def test_an_upgrade_that_reads_the_same_files_differently_is_migrated_and_no_drift(
    world: World,
) -> None:
    touched = world.commit(a=job_file("a", priority=60), b=job_file("b"))
    world.reconcile()
    world.restart(loader=NextVersion(world.loader))
    result = world.reconcile()
    assert result.result == "applied"
    assert world.log()[-1] == ("migrated", "a")
    assert world.changelog("a")[0].commits == (touched,)
    assert world.jobs() == {"a": 2, "b": 1}
    assert world.figure("drift_healed_total") == 0
    assert world.reconcile().result == "unchanged"


def test_what_is_stored_is_what_the_file_says(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    job = world.store.job("a")
    assert job is not None
    assert job.config["payload"]["parameters"]["argv"] == ["/bin/true"]
    assert json.dumps(job.config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert world.store.audit_break() is None


def test_a_merge_names_the_commit_that_changed_the_file_and_its_pull_request(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.repo.branch("feature")
    changed = world.commit("more important", a=job_file("a", priority=60))
    world.repo.checkout("main")
    world.repo.merge("feature", "Merge pull request #12 from ada/feature")
    world.reconcile()
    row = world.changelog("a")[0]
    assert (row.commits, row.pull_request) == ((changed,), "#12")


def test_a_change_of_the_defaults_is_owed_to_the_commit_that_made_it(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.repo.write({"jobs.d/_defaults.yaml": "timezone: Europe/Berlin\n"})
    made = world.repo.commit("Berlin for all")
    world.reconcile()
    row = world.changelog("a")[0]
    assert (row.action, row.commits) == ("updated", (made,))
    assert [field.path for field in row.fields] == ["payload.schedule.timezone"]


def test_a_folder_that_becomes_a_link_holds_the_jobs_below_it(world: World) -> None:
    world.repo.write({f"jobs.d/team/{n}.yaml": job_file(n) for n in "ab"})
    world.commit(c=job_file("c"))
    world.reconcile()
    world.repo.git("mv", "jobs.d/team", "elsewhere")
    world.repo.link("jobs.d/team", "../elsewhere").commit("oops")
    assert world.reconcile().result == "held"
    assert world.jobs() == {"a": 1, "b": 1, "c": 1}
    assert world.held() == {"a": "InvalidFile", "b": "InvalidFile"}


def test_an_invalid_file_that_disables_its_job_says_so_loudly(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.commit(a=job_file("a", isEnabled="false", priority="high"))
    result = world.reconcile()
    assert world.held() == {"a": "InvalidFile"}
    assert result.plan is not None
    codes = [problem.code for problem in result.plan.problems]
    assert "disable_held" in codes
    assert "jobreconciler suspend" in world.store.held()["a"].message


def test_the_head_of_the_changelog_is_known_after_a_restart(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    world.restart()
    world.metrics = Metrics("0")
    world._wire()
    world.reconcile()
    assert world.figure("audit_head_info", hash=world.changelog()[0].hash) == 1
