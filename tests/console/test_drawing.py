"""The real json-render 0.20 draws our trees, and has nothing to complain about."""

from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jobreconciler.core.catalog import COMPONENTS, catalog
from jobreconciler.core.render_tree import Card, fleet_tree, job_tree
from jobreconciler.model.views import FleetCounts, Live, Printed
from samples import COUNTS, FAILED, HELD, MISSED, NOW, SKIPPED, SOURCE, execution, job

HERE = Path(__file__).parent
INSTALLED = HERE / "node_modules" / ".package-lock.json"

FLEET = fleet_tree(
    COUNTS,
    SOURCE,
    [
        Card(job(), FAILED, None, NOW + timedelta(hours=1)),
        Card(job("busy"), execution("running", number=7), Live((1, 4), {"rows": 3})),
        Card(job("new", conditions=(HELD,))),
    ],
    NOW,
    next_cursor="more",
)

TREES: dict[str, dict[str, Any]] = {
    "an empty fleet": fleet_tree(FleetCounts(), None, [], NOW),
    "a fleet": {**FLEET, "update": {"/jobs/1/progress/percentage": 75.5}},
    "a fleet that grows": {
        **FLEET,
        "update": {
            "/jobs": [
                *FLEET["state"]["jobs"],
                fleet_tree(COUNTS, SOURCE, [Card(job("fourth"))], NOW)["state"]["jobs"][0],
            ]
        },
    },
    "a failed job": job_tree(Card(job(), FAILED), [FAILED, MISSED, SKIPPED], NOW),
    "a running job": job_tree(
        Card(job(), execution("running"), Live((3, 8), None)),
        [execution("running")],
        NOW,
        printed=Printed(b"begun\n3 of 8 rows\n", NOW),
    ),
    "a job that never ran": job_tree(Card(job()), [], NOW),
    "a job called constructor": fleet_tree(COUNTS, SOURCE, [Card(job("constructor"))], NOW),
}


def _missing(what: str) -> None:
    if "node" in os.environ.get("JOBRECONCILER_TEST_REQUIRE", ""):
        pytest.fail(f"{what}, and node is required here")
    pytest.skip(what)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    """What json-render made of each tree; installs its locked packages once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _missing("node or npm is not installed (apt-get install nodejs npm)")
    lock = HERE / "package-lock.json"
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime:
        installed = subprocess.run(
            ["npm", "ci", "--ignore-scripts"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if installed.returncode:
            _missing(f"npm ci failed: {installed.stderr[-500:]}")
    ran = subprocess.run(
        ["node", "draw.mjs"],
        cwd=HERE,
        input=json.dumps({"catalog": catalog(), "trees": TREES}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def texts(markup: str) -> str:
    return html.unescape(markup)


@pytest.mark.parametrize("name", TREES)
def test_json_render_has_nothing_to_complain_about(drawn: dict[str, Any], name: str) -> None:
    assert drawn[name]["complaints"] == []


@pytest.mark.parametrize("name", TREES)
def test_what_a_component_is_given_is_what_the_catalog_promises(
    drawn: dict[str, Any], name: str
) -> None:
    assert drawn[name]["drawn"]
    for element in drawn[name]["drawn"]:
        Draft202012Validator(COMPONENTS[element["type"]]["props"]).validate(element["props"])


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("an empty fleet", {"Stack": 2, "FleetSummary": 1, "JobMetricRow": 1}),
        (
            "a fleet",
            {
                "Stack": 2,
                "FleetSummary": 1,
                "JobCard": 3,
                "JobPhaseIndicator": 2,
                "JobProgressBar": 1,
                "JobMetricRow": 3,
                "JobErrorAlert": 1,
                "NextRunCountdown": 1,
            },
        ),
        (
            "a failed job",
            {
                "Stack": 1,
                "JobCard": 1,
                "JobPhaseIndicator": 1,
                "JobMetricRow": 1,
                "JobErrorAlert": 1,
                "ExecutionHistory": 1,
                "JobLogEntry": 3,
            },
        ),
        (
            "a running job",
            {
                "Stack": 2,
                "JobCard": 1,
                "JobPhaseIndicator": 1,
                "JobProgressBar": 1,
                "ExecutionHistory": 1,
                "JobLogEntry": 3,
            },
        ),
        ("a job that never ran", {"Stack": 1, "JobCard": 1, "ExecutionHistory": 1}),
    ],
)
def test_only_what_there_is_something_to_say_about_is_drawn(
    drawn: dict[str, Any], name: str, counts: dict[str, int]
) -> None:
    types = [element["type"] for element in drawn[name]["drawn"]]
    assert {kind: types.count(kind) for kind in types} == counts


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a fleet", ["The nightly job", "The busy job", "Run it every hour", "Ada Lovelace"]),
        ("a fleet", ['"percentage":25', '"failed: exit code 3"', '"2026-03-14T10:30:00Z"']),
        ("a fleet", ["line 4: unknown key", '"label":"rows","value":3']),
        ("a running job", ['"message":"3 of 8 rows"', '"title":"Output"']),
        ("a running job", ['"phase":"running"', '"itemsProcessed":3', '"percentage":37.5']),
        ("a failed job", ["missed: 5 slots", "skipped: overlap", '"level":"warn"']),
        ("a job called constructor", ["The constructor job"]),
    ],
)
def test_bindings_reach_the_page(drawn: dict[str, Any], name: str, shown: list[str]) -> None:
    page = texts(drawn[name]["html"])
    assert [text for text in shown if text not in page] == []


def test_one_patched_pointer_changes_one_place_of_the_page(drawn: dict[str, Any]) -> None:
    before, after = texts(drawn["a fleet"]["html"]), texts(drawn["a fleet"]["updatedHtml"])
    assert after == before.replace('"percentage":25}', '"percentage":75.5}')
    assert after != before


def test_a_new_job_needs_a_patch_of_the_state_alone(drawn: dict[str, Any]) -> None:
    found = drawn["a fleet that grows"]
    assert "The fourth job" not in found["html"]
    assert "The fourth job" in found["updatedHtml"]


@pytest.mark.parametrize("name", ["a fleet", "a failed job"])
def test_pressing_the_alert_asks_to_retry_that_very_execution(
    drawn: dict[str, Any], name: str
) -> None:
    assert drawn[name]["pressed"] == [{"executionId": FAILED.id}]


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    assert not any("resolved" in package for package in lock["packages"].values())
    assert lock["packages"]["node_modules/@json-render/react"]["version"] == "0.20.0"
    assert lock["packages"]["node_modules/@json-render/core"]["version"] == "0.20.0"
