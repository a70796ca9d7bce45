"""What deploy/ holds works: alerts by promtool, the CI examples in a real clone."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitrepo import GitRepo, git_environment

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
JOB = """\
meta: {id: report}
payload:
  jobType: command
  schedule: {cronExpression: "0 3 * * *"}
  parameters: {argv: [/bin/true]}
"""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if "promtool" in os.environ.get("JOBRECONCILER_TEST_REQUIRE", "").split(","):
            pytest.fail("promtool is required here and not installed")
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments",
    [("test", "rules", "rules.test.yml"), ("check", "config", "prometheus.yml")],
    ids=["the alerts fire when they should", "the scrape configuration is one"],
)
def test_promtool_agrees(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_says_what_to_do_and_has_a_case_that_fires_and_one_that_does_not() -> None:
    [group] = read(PROMETHEUS / "rules.yml")["groups"]
    cases = [
        case
        for test in read(PROMETHEUS / "rules.test.yml")["tests"]
        for case in test["alert_rule_test"]
    ]
    alerts = {rule["alert"] for rule in group["rules"]}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts
    assert all(rule["annotations"]["runbook"] for rule in group["rules"])


def test_the_service_leaves_running_jobs_alone() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "jobreconciler.service")
    assert unit["Service"]["KillMode"] == "process"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"


class Checkout:
    """A clone on a feature branch that changes a job, as a CI machine has it."""

    def __init__(self, path: Path, job: str) -> None:
        origin = GitRepo(path / "origin")
        origin.write({"jobs.d/report.yaml": JOB}).commit("add the report")
        origin.branch("feature").write({"jobs.d/report.yaml": job}).commit("change it")
        origin.git("clone", "-q", "-b", "feature", str(origin.path), str(path / "clone"))
        self.path = path / "clone"
        programs = path / "bin"
        programs.mkdir()
        program = programs / "jobreconciler"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobreconciler "$@"\n')
        program.chmod(0o755)
        environment = git_environment(path)
        self.environment = environment | {
            "PATH": f"{programs}:{environment['PATH']}",
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        }

    def run(self, script: str, **variables: str) -> int:
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.path,
            env=self.environment | variables,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode

    def said(self, name: str) -> str:
        return (self.path / name).read_text("utf-8")


LATER = JOB.replace("0 3", "0 4")
WRONG = JOB.replace("0 3", "61 3")


@pytest.mark.parametrize(
    ("job", "code", "said"), [(LATER, 0, "1 to update"), (WRONG, 1, "1 held")], ids=["good", "bad"]
)
def test_the_github_example_posts_the_plan(tmp_path: Path, job: str, code: int, said: str) -> None:
    steps = read(DEPLOY / "ci" / "github-actions.yml")["jobs"]["plan"]["steps"]
    scripts = {step.get("name"): step["run"] for step in steps if "run" in step}
    checkout = Checkout(tmp_path, job)
    summary = {"GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": "summary.md"}
    assert checkout.run(scripts["Mistakes, beside their lines"]) == code
    assert checkout.run(scripts["Plan"], **summary) == code
    assert said in checkout.said("plan.md").splitlines()[0]
    assert checkout.said("summary.md") == checkout.said("plan.md")


@pytest.mark.parametrize(
    ("job", "code", "said"), [(LATER, 0, "1 to update"), (WRONG, 1, "1 held")], ids=["good", "bad"]
)
def test_the_gitlab_example_posts_the_plan(tmp_path: Path, job: str, code: int, said: str) -> None:
    lines = read(DEPLOY / "ci" / "gitlab-ci.yml")["jobs-plan"]["script"]
    script = "\n".join(line for line in lines if not line.startswith(("pip ", "curl ")))
    checkout = Checkout(tmp_path, job)
    assert checkout.run(script, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main") == code
    assert said in checkout.said("plan.md").splitlines()[0]
    assert checkout.said("code-quality.json").startswith("[")
