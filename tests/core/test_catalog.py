from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jobreconciler.core.catalog import (
    COMPONENTS,
    CONTAINERS,
    STATUS_COMPONENTS,
    catalog,
    render_tree_schema,
)

PROPS = {
    "JobPhaseIndicator": ({"phase"}, {"startedAt", "completedAt"}),
    "JobProgressBar": ({"itemsProcessed", "itemsTotal", "percentage"}, set()),
    "JobMetricRow": ({"metrics"}, set()),
    "JobLogEntry": ({"timestamp", "level", "message"}, set()),
    "JobErrorAlert": ({"error", "retryable"}, {"retryCount"}),
    "NextRunCountdown": ({"nextRunAt", "timezone"}, set()),
}


@pytest.mark.parametrize("name", PROPS)
def test_the_six_status_components_take_exactly_their_props(name: str) -> None:
    required, optional = PROPS[name]
    props = STATUS_COMPONENTS[name]["props"]
    assert set(props["required"]) == required
    assert set(props["properties"]) == required | optional
    assert props["additionalProperties"] is False


def test_there_are_no_other_components_than_these_and_four_containers() -> None:
    assert set(STATUS_COMPONENTS) == set(PROPS)
    assert set(CONTAINERS) == {"FleetSummary", "JobCard", "ExecutionHistory", "Stack"}


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_declares_a_valid_schema(name: str) -> None:
    Draft202012Validator.check_schema(COMPONENTS[name]["props"])


@pytest.mark.parametrize(
    ("name", "props"),
    [
        ("JobPhaseIndicator", {"phase": "done"}),
        ("JobPhaseIndicator", {"phase": "running", "startedAt": "yesterday"}),
        ("JobPhaseIndicator", {"phase": "running", "startedAt": None}),
        ("JobProgressBar", {"itemsProcessed": 1, "itemsTotal": 2, "percentage": 101}),
        ("JobMetricRow", {"metrics": [{"label": "Rows", "value": 1, "color": "pink"}]}),
        ("JobLogEntry", {"timestamp": "2026-03-14T09:30:00Z", "level": "fatal", "message": ""}),
        ("JobErrorAlert", {"error": "exit code 1", "retryable": "yes"}),
        ("NextRunCountdown", {"nextRunAt": "2026-03-14T09:30:00+01:00", "timezone": "UTC"}),
    ],
)
def test_props_that_mean_nothing_are_refused(name: str, props: dict[str, Any]) -> None:
    assert not Draft202012Validator(COMPONENTS[name]["props"]).is_valid(props)


def test_the_catalog_is_plain_json_with_every_component_and_action() -> None:
    document = json.loads(json.dumps(catalog()))
    assert set(document["components"]) == set(COMPONENTS)
    assert document["actions"]["retryExecution"]["params"]["required"] == ["executionId"]


def test_the_schema_of_a_tree_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(render_tree_schema())


def _tree(element: dict[str, Any]) -> dict[str, Any]:
    return {"root": "a", "elements": {"a": element}, "state": {}}


@pytest.mark.parametrize(
    ("mistake", "element"),
    [
        ("an unknown component", {"type": "Button", "props": {}, "children": []}),
        ("no children", {"type": "Stack", "props": {"direction": "row"}}),
        (
            "an unknown prop",
            {"type": "Stack", "props": {"direction": "row", "gap": 1}, "children": []},
        ),
        ("a missing prop", {"type": "Stack", "props": {}, "children": []}),
        (
            "children of a component that draws none",
            {"type": "JobMetricRow", "props": {"metrics": []}, "children": ["b"]},
        ),
        (
            "an event of a component that has none",
            {
                "type": "JobMetricRow",
                "props": {"metrics": []},
                "children": [],
                "on": {"press": {"action": "retryExecution", "params": {"executionId": "1"}}},
            },
        ),
        (
            "an unknown action",
            {
                "type": "JobErrorAlert",
                "props": {"error": "", "retryable": True},
                "children": [],
                "on": {"press": {"action": "setState", "params": {}}},
            },
        ),
        (
            "two sources in one condition",
            {
                "type": "JobMetricRow",
                "props": {"metrics": []},
                "children": [],
                "visible": {"$state": "/a", "$item": "b"},
            },
        ),
    ],
)
def test_a_tree_is_refused_for(mistake: str, element: dict[str, Any]) -> None:
    assert not Draft202012Validator(render_tree_schema()).is_valid(_tree(element)), mistake


def test_a_prop_may_be_a_binding() -> None:
    element = {"type": "JobMetricRow", "props": {"metrics": {"$state": "/m"}}, "children": []}
    Draft202012Validator(render_tree_schema()).validate(_tree(element))
