"""Jobs that keep a daemon busy every second: short, long, failing, waiting, following, suspended,
and Python ones, which its workers run several in a row.

They are what the tests that kill daemons run; `aftermath.py` says what must hold then.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from e2e.running import Running, until
from jobreconciler.clock import SystemClock
from jobreconciler.store.opening import open_store

from . import aftermath

RETRIED = "{maxAttempts: 3, initialDelay: 1s, backoffStrategy: fixed}"
EACH_SECOND = "* * * * * *"
ROOM = "maxConcurrent: 20"


@dataclass(frozen=True)
class Job:
    """`step`: seconds between two slots. `succeeds_at`: the attempt that does. `python`: a function
    of python_jobs.py stands in the place of `command`."""

    schedule: str
    limits: str
    command: str = "true"
    retry: str = "{maxAttempts: 1}"
    step: int = 1
    succeeds_at: int = 1
    more: str = ""
    python: str = ""


def each(seconds: int, more: str) -> str:
    cron = EACH_SECOND if seconds == 1 else f"*/{seconds} * * * * *"
    return f'cronExpression: "{cron}", {more}'


JOBS = {
    "tick": Job(each(1, "catchUp: latest"), ROOM),
    "every": Job(each(1, "catchUp: all"), ROOM),
    "none": Job(each(1, "catchUp: none"), ROOM),
    "slow": Job(each(3, "catchUp: latest"), "overlap: skip", "sleep 2", step=3),
    "long": Job(each(3, "catchUp: latest"), ROOM, "sleep 4", step=3),
    "flaky": Job(
        each(2, "catchUp: latest"),
        ROOM,
        '[ "$JOBRECONCILER_ATTEMPT" -ge 2 ]',
        RETRIED,
        step=2,
        succeeds_at=2,
    ),
    "waiting": Job(
        each(1, "catchUp: latest, startingDeadlineSeconds: 2"), "overlap: queue", "sleep 2.5"
    ),
    "late": Job(
        each(4, "catchUp: latest, startingDeadlineSeconds: 2"),
        "overlap: queue",
        "sleep 7",
        step=4,
    ),
    "spread": Job(each(2, "catchUp: latest, jitterSeconds: 9"), ROOM, step=2),
    "halted": Job(each(1, "catchUp: latest"), ROOM),
    "after": Job("", ROOM, more="  dependency: {jobs: [tick]}\n"),
    **{f"short-{n}": Job(each(1, "catchUp: all"), ROOM, python="mark") for n in range(8)},
    "python-slow": Job(each(1, "catchUp: latest"), ROOM, python="mark_and_wait"),
    "python-flaky": Job(
        each(2, "catchUp: latest"), ROOM, "", RETRIED, step=2, succeeds_at=2, python="fail_once"
    ),
    "python-queue": Job(each(1, "catchUp: latest"), "overlap: queue", python="mark"),
}
SCHEDULED = [name for name, job in JOBS.items() if job.schedule]


def text_of(name: str, marks: Path, *, on: bool, priority: int, upstream: str = "tick") -> str:
    job = JOBS[name]
    more = job.more.replace("tick", upstream)
    schedule = f"  schedule: {{{job.schedule}, isEnabled: {str(on).lower()}}}\n"
    return f"""\
meta:
  id: {name}
payload:
  jobType: {"python" if job.python else "command"}
  priority: {priority}
{schedule if job.schedule else ""}{more}  limits: {{{job.limits}}}
  retry: {job.retry}
  parameters:
{_call(job.python, marks / name) if job.python else _shell(job.command, marks, name)}
"""


def _shell(command: str, marks: Path, name: str) -> str:
    return f"""\
    shell: |
      {aftermath.marking(marks, name)}
      {command}"""


def _call(function: str, marks: Path) -> str:
    return f"""\
    entryPoint: faults.python_jobs:{function}
    kwargs: {{marks: {marks}}}"""


class Fleet:
    """The jobs above, in a daemon's repository."""

    def __init__(self, daemon: Running) -> None:
        self.daemon = daemon
        self._commits = 0

    def commit(self, *names: str, on: bool = True) -> str:
        """Another version of these jobs."""
        self._commits += 1
        priority = 40 + self._commits % 20
        files = {
            f"jobs.d/{name}.yaml": text_of(name, self.daemon.path, on=on, priority=priority)
            for name in names
        }
        return self.daemon.repo.write(files).commit(f"version {self._commits}")

    def follow(self, upstream: str) -> None:
        """Let `after` wait for these, in the place of whatever it waited for."""
        self._commits += 1
        priority = 40 + self._commits % 20
        text = text_of("after", self.daemon.path, on=True, priority=priority, upstream=upstream)
        self.daemon.repo.write({"jobs.d/after.yaml": text}).commit(f"after {upstream}")

    def start(self, *, ready: bool = True) -> None:
        self.daemon.start("--max-running", "60", ready=ready)

    def come_to_rest(self) -> None:
        """Once every job came to a run, turn their schedules off, let all end, and stop."""
        if self.daemon.process is None:
            self.start()
        until(self.daemon.is_ready, "the daemon to be ready")
        until(lambda: self._released() == set(JOBS), "each job to be released", 60)
        self.applied(self.commit(*JOBS, on=False))
        until(lambda: not self._unfinished(), "every execution to end", 60)
        assert self.daemon.stop() == 0
        until(lambda: not aftermath.left_behind(self.daemon.path), "the last processes to end")

    def applied(self, revision: str) -> None:
        """Wait for it."""

        def seen() -> bool:
            fleet = self.daemon.get("/api/v1/status?limit=1")["state"]["fleet"]
            return bool(fleet["source"]["revision"] == revision)

        until(seen, f"{revision} to be applied", 60)

    def _released(self) -> set[str]:
        """Jobs of which anything is recorded, if it is only that a slot was skipped."""
        with closing(sqlite3.connect(self.daemon.state / "store.db")) as connection:
            rows = connection.execute("SELECT DISTINCT job_id FROM job_executions").fetchall()
        return {job_id for (job_id,) in rows}

    def _unfinished(self) -> list[object]:
        path = "/api/v1/executions?status=queued&status=running"
        found: list[object] = self.daemon.get(path)["executions"]
        return found

    def check(self) -> None:
        """Everything that must hold once it came to rest."""
        marks = self.daemon.path
        with closing(sqlite3.connect(self.daemon.state / "store.db")) as connection:
            aftermath.nothing_is_unfinished(connection)
            for name in SCHEDULED:
                aftermath.each_slot_is_accounted_for_once(connection, name, JOBS[name].step)
            for name, job in JOBS.items():
                if name == "halted":
                    continue
                aftermath.each_attempt_ran_once(connection, marks, name)
                succeeds_at = job.succeeds_at
                aftermath.each_end_is_the_true_one(connection, name, succeeds_at=succeeds_at)
                if job.limits != ROOM:
                    aftermath.no_two_ran_at_once(connection, name)
            aftermath.each_outcome_released_once(connection, "after")
            aftermath.the_changelog_agrees(connection)
        assert not aftermath.marks_of(marks, "halted"), "a suspended job ran"
        store = open_store(None, self.daemon.state, SystemClock(), read_only=True)
        try:
            assert store.audit_break() is None
            assert store.drifted() == []
        finally:
            store.close()


def running(daemon: Running) -> Fleet:
    """A fleet whose daemon was up once, long enough to suspend a job."""
    fleet = Fleet(daemon)
    fleet.commit(*JOBS, on=False)
    fleet.start()
    status, _ = daemon.post("/api/v1/jobs/halted/suspend", {"reason": "for the test"})
    assert status == 201
    fleet.applied(fleet.commit(*JOBS))
    return fleet
