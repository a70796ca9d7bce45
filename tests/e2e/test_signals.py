"""What `make run` shows: the shipped signal jobs, working on data, within a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from jobreconciler.welcome import FIRST_RUNS

from .running import Running, until

ROOT = Path(__file__).parents[2]


def test_make_run_fills_a_database_and_starts_the_aggregations_once(daemon: Running) -> None:
    files = {f"jobs.d/{path.name}": path.read_text() for path in (ROOT / "jobs.d").glob("*.yaml")}
    daemon.repo.write(files)
    daemon.repo.commit("The jobs as they ship")
    said = subprocess.run(
        [sys.executable, "-m", "jobreconciler.welcome", "jobreconciler"],
        cwd=daemon.repo.path,
        env=daemon.environment()
        | {
            "JOBRECONCILER_STATE_DIR": str(daemon.state),
            "JOBRECONCILER_LISTEN": f"127.0.0.1:{daemon.port}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (said.stdout.startswith("· making a database"), said.stderr) == (True, "")
    daemon.start()
    for job in FIRST_RUNS:
        [run] = until(
            lambda job=job: [e for e in daemon.executions(job) if e["status"] == "succeeded"],
            f"the first run of {job}",
        )
        assert run["result"]["itemsSucceeded"] == 500
        assert len(daemon.executions(job)) == 1
    done = daemon.cli("trigger", "advancement-batch", "--wait")
    assert done.returncode == 0, done.stderr
    [advanced] = daemon.executions("advancement-batch")
    assert advanced["result"]["metadata"]["advanced"] > 50
    assert set(advanced["result"]["metadata"]["byRule"]) == {
        "seed-to-sprout",
        "sprout-to-sapling",
        "sapling-to-tree",
        "tree-to-grove",
    }
    report = json.loads(daemon.cli("signals", "report", "-o", "json").stdout)
    assert [each["documents"] for each in report["aggregations"]] == [500, 500, 500]
    assert report["advancements"][0]["executionId"] == advanced["id"]
