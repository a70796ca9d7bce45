"""Packages that add job types, installed by pip as an engineer would, and used to the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.running import Running, until
from execute.arena import Arena
from jobreconciler.schema import form_fields

EXAMPLE = Path(__file__).parents[2] / "examples" / "acme-job-types"
JOB = """\
meta: {{id: backup-check}}
payload:
  jobType: file-freshness
  parameters: {{directory: {directory}, pattern: "*.dump", maxAge: 1h}}
"""
OTHER = "meta: {id: other}\npayload: {jobType: command, parameters: {argv: [/bin/true]}}\n"

Install = Callable[..., Path]


def installed(target: Path, source: Path) -> Path:
    """`pip install` without a network or an index, into a directory of its own."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("acme"), EXAMPLE)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another vendor's package that claims the same name."""
    source = changed(tmp_path_factory.mktemp("source"), "other_job_types", "")
    return installed(tmp_path_factory.mktemp("other"), source)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package after an upgrade that went wrong."""
    fault = "raise RuntimeError('the licence has run out')\n"
    source = changed(tmp_path_factory.mktemp("source"), "acme_job_types", fault)
    return installed(tmp_path_factory.mktemp("broken"), source)


def changed(folder: Path, module: str, fault: str) -> Path:
    """A copy of the example under another module's (and so package's) name."""
    copy = folder / "package"
    shutil.copytree(EXAMPLE, copy)
    described = (copy / "pyproject.toml").read_text()
    package = module.replace("_", "-")
    described = described.replace("acme_job_types", module).replace("acme-job-types", package)
    (copy / "pyproject.toml").write_text(described)
    (copy / "src" / "acme_job_types").rename(copy / "src" / module)
    code = copy / "src" / module / "file_freshness.py"
    code.write_text(code.read_text() + fault)
    return copy


class Shell:
    """A person's shell where some packages are installed."""

    def __init__(self, place: Path, *packages: Path) -> None:
        self.place = place
        self._paths = [*map(str, packages), *(p for p in sys.path if p)]
        (place / "jobs.d").mkdir(exist_ok=True)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobreconciler", *arguments],
            cwd=self.place,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(self._paths)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json").stdout)


def test_an_installed_type_is_listed_scaffolded_and_checked(tmp_path: Path, acme: Path) -> None:
    shell = Shell(tmp_path, acme)
    assert shell("new", "file-freshness", "backup-check").returncode == 0
    assert shell("validate").returncode == 0
    assert shell("schema").returncode == 0
    schema = json.loads((tmp_path / "schemas/job-types/file-freshness.schema.json").read_text())
    assert schema["required"] == ["directory", "maxAge"]
    whole = json.loads((tmp_path / "schemas/job-config.schema.json").read_text())
    assert "file-freshness" in whole["$defs"]["Payload"]["properties"]["jobType"]["enum"]
    told = shell.json("job-types", "file-freshness")
    assert told["parameters"] == schema
    assert told["form"] == form_fields(schema)
    assert [(each["name"], each["control"], each["required"]) for each in told["form"]] == [
        ("directory", "text", True),
        ("pattern", "text", False),
        ("maxAge", "text", True),
        ("minBytes", "number", False),
    ]


def test_the_job_file_on_its_page_is_valid(tmp_path: Path, acme: Path) -> None:
    shell = Shell(tmp_path, acme)
    [block] = re.findall(r"```yaml\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    (tmp_path / "jobs.d" / "a.yaml").write_text(block)
    assert shell.json("validate")["errors"] == []


MISTAKES = {
    "a key it does not have": (
        "{directory: /b, maxAge: 1h, maxAgee: 2h}",
        ("unknown_key", "payload.parameters.maxAgee", "did you mean maxAge?"),
    ),
    "no duration": (
        "{directory: /b, maxAge: soon}",
        (
            "bad_duration",
            "payload.parameters.maxAge",
            "write 30s, 5m, 1h30m, 2d or a whole number of seconds",
        ),
    ),
    "a required key left out": (
        "{directory: /b}",
        ("missing", "payload.parameters.maxAge", "add it"),
    ),
    "a number out of bounds": (
        "{directory: /b, maxAge: 1h, minBytes: -1}",
        ("out_of_range", "payload.parameters.minBytes", ""),
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_its_parameters_are_checked_as_any_others(
    tmp_path: Path, acme: Path, case: tuple[str, tuple[str, str, str]]
) -> None:
    parameters, expected = case
    shell = Shell(tmp_path, acme)
    text = f"meta: {{id: a}}\npayload:\n  jobType: file-freshness\n  parameters: {parameters}\n"
    (tmp_path / "jobs.d" / "a.yaml").write_text(text)
    [error] = shell.json("validate")["errors"]
    assert (error["code"], error["path"], error["hint"]) == expected
    assert error["line"] == 4 if expected[0] != "missing" else error["line"] > 0


def test_a_batch_size_is_refused_where_the_type_has_no_batches(tmp_path: Path, acme: Path) -> None:
    shell = Shell(tmp_path, acme)
    text = JOB.format(directory="/b") + "  limits: {batchSize: 5}\n"
    (tmp_path / "jobs.d" / "a.yaml").write_text(text)
    assert [error["code"] for error in shell.json("validate")["errors"]] == ["no_batches"]


def test_two_packages_that_claim_one_name_are_named_and_neither_is_used(
    tmp_path: Path, acme: Path, other: Path
) -> None:
    shell = Shell(tmp_path, acme, other)
    (tmp_path / "jobs.d" / "a.yaml").write_text(JOB.format(directory="/b"))
    (tmp_path / "jobs.d" / "b.yaml").write_text(OTHER)
    listed = shell("job-types", "-o", "json")
    assert listed.returncode == 1
    answer = json.loads(listed.stdout)
    assert "file-freshness" not in [each["name"] for each in answer["jobTypes"]]
    why = answer["broken"]["file-freshness"]
    assert "package acme-job-types (acme_job_types.file_freshness:FileFreshness)" in why
    assert "package other-job-types (other_job_types.file_freshness:FileFreshness)" in why
    [error] = shell.json("validate")["errors"]
    assert (error["file"], error["code"]) == ("jobs.d/a.yaml", "broken_job_type")
    assert why in error["message"]


@pytest.fixture
def runs(arena: Arena, acme: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    monkeypatch.syspath_prepend(str(acme))
    return arena


def test_it_runs(runs: Arena, tmp_path: Path) -> None:
    (tmp_path / "app.dump").write_text("x" * 100)
    parameters = {"directory": str(tmp_path), "pattern": "*.dump", "maxAge": "1h"}
    outcome = runs.once(parameters, job_type="file-freshness")
    assert outcome.error is None
    assert outcome.result is not None
    assert (outcome.result["newest"], outcome.result["bytes"]) == ("app.dump", 100)
    assert outcome.metrics["newest_size"]["value"] == 100


def test_its_failure_is_a_sentence(runs: Arena, tmp_path: Path) -> None:
    (tmp_path / "app.dump").write_text("x")
    os.utime(tmp_path / "app.dump", (0, 0))
    parameters = {"directory": str(tmp_path), "pattern": "*.dump", "maxAge": "1h"}
    outcome = runs.once(parameters, job_type="file-freshness")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith("app.dump is ")
    assert outcome.error.endswith(" s old, 3600 s are allowed")
    assert "Traceback" not in runs.output()


def test_a_broken_package_holds_its_jobs_and_nothing_else(
    daemon: Running, tmp_path: Path, acme: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.dump").write_text("x")
    daemon.repo.write({"jobs.d/check.yaml": JOB.format(directory=tmp_path)})
    daemon.repo.write({"jobs.d/other.yaml": OTHER}).commit("two jobs")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(acme))
        daemon.start()
        assert ended(daemon, "backup-check")["status"] == "succeeded"
        daemon.stop()
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(broken))
        daemon.start()
        job = daemon.get("/api/v1/jobs/backup-check")
        assert job["generation"] == 1
        [held] = [each for each in job["conditions"] if each["type"] == "Held"]
        assert (held["status"], held["reason"]) == ("True", "InvalidFile")
        assert "RuntimeError: the licence has run out" in held["message"]
        assert not any(
            each["type"] == "Held" and each["status"] == "True"
            for each in daemon.get("/api/v1/jobs/other")["conditions"]
        )
        assert ended(daemon, "other")["status"] == "succeeded"
        status, answer = daemon.post("/api/v1/jobs/backup-check/trigger")
        assert (status, answer["reason"]) == (404, "BrokenJobType")
        daemon.stop()
    monkeypatch.syspath_prepend(str(acme))
    daemon.start()
    until(lambda: "Held" not in str(daemon.get("/api/v1/jobs/backup-check")["conditions"]), "it")
    assert ended(daemon, "backup-check")["status"] == "succeeded"


def ended(daemon: Running, job_id: str) -> dict[str, Any]:
    """The job's newest run, once it is over, after another was started by hand."""
    status, answer = daemon.post(f"/api/v1/jobs/{job_id}/trigger")
    assert status in (200, 201, 202), answer

    def over() -> dict[str, Any] | None:
        newest = daemon.executions(job_id)[0]
        return newest if newest["status"] not in ("queued", "running") else None

    return until(over, f"{job_id} to end")
