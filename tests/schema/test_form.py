"""What an editor's form is made of: every parameter, with the control that fits it."""

from __future__ import annotations

import pytest

from jobreconciler.jobtypes.registry import BUILT_IN, load_job_types
from jobreconciler.schema import form_fields, parameters_schema

TYPES = load_job_types()

CONTROLS = {
    "command": {
        "argv": "list", "shell": "code", "env": "map", "successExitCodes": "list", "cwd": "json",
    },
    "http": {
        "method": "choice", "url": "json", "headers": "map", "bearerToken": "secret",
        "body": "code", "json": "json", "expectedStatus": "json", "maxRedirects": "number",
        "connectTimeoutSeconds": "number", "requestTimeoutSeconds": "number",
        "maxResponseKiB": "number", "caFile": "text",
    },
    "python": {
        "entryPoint": "text", "kwargs": "map", "env": "map", "cwd": "json", "isolation": "choice",
    },
    "sql": {
        "database": "secret", "statements": "list", "statementTimeoutSeconds": "number",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CONTROLS)
def test_each_parameter_has_a_control(name: str) -> None:
    form = form_fields(parameters_schema(TYPES.get(name)))
    assert {field["name"]: field["control"] for field in form} == CONTROLS[name]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_form_says_all_that_its_schema_says(name: str) -> None:
    schema = parameters_schema(TYPES.get(name))
    form = form_fields(schema)
    assert [field["name"] for field in form] == list(schema["properties"])
    assert {each["name"] for each in form if each["required"]} == set(schema.get("required", ()))
    for field in form:
        said = schema["properties"][field["name"]]
        assert (field["help"], field["example"]) == (said["description"], said["examples"][0])
        assert field.get("default") == said.get("default")


def test_labels_choices_and_kinds_of_code() -> None:
    http = {each["name"]: each for each in form_fields(parameters_schema(TYPES.get("http")))}
    assert http["connectTimeoutSeconds"]["label"] == "Connect timeout seconds"
    assert http["maxResponseKiB"]["label"] == "Max response KiB"
    assert http["method"]["choices"][:2] == ["GET", "HEAD"]
    sql = {each["name"]: each for each in form_fields(parameters_schema(TYPES.get("sql")))}
    assert sql["statements"]["mediaType"] == "application/sql"
    command = {each["name"]: each for each in form_fields(parameters_schema(TYPES.get("command")))}
    assert command["shell"]["mediaType"] == "text/x-shellscript"
