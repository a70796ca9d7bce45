"""The generated schemas: sound, complete, committed, and of use to an editor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jobreconciler.core.catalog import render_tree_schema
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.schema import check, render_schemas, write

ROOT = Path(__file__).parents[2]
TYPES = load_job_types()
RENDERED = render_schemas(TYPES)
JOB_FILE = json.loads(RENDERED["job-config.schema.json"])


def test_there_is_one_for_job_files_one_for_defaults_and_one_for_each_type() -> None:
    assert list(RENDERED) == sorted(
        [
            "job-config.schema.json",
            "defaults.schema.json",
            *(f"job-types/{name}.schema.json" for name in TYPES.names()),
        ]
    )


@pytest.mark.parametrize("name", RENDERED)
def test_each_is_a_valid_schema_of_draft_2020_12(name: str) -> None:
    schema = json.loads(RENDERED[name])

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]


@pytest.mark.parametrize("name", RENDERED)
def test_each_refers_only_to_itself(name: str) -> None:
    schema = json.loads(RENDERED[name])
    for node in nodes(schema):
        target = node.get("$ref")
        if isinstance(target, str):
            assert target.startswith("#/$defs/")
            assert target.removeprefix("#/$defs/") in schema["$defs"]


@pytest.mark.parametrize("name", RENDERED)
def test_every_field_has_a_description_and_examples_that_are_valid(name: str) -> None:
    schema = json.loads(RENDERED[name])
    seen = 0
    for node in nodes(schema):
        if node.get("type") != "object":
            continue
        for key, field in node.get("properties", {}).items():
            seen += 1
            assert field.get("description"), (name, key)
            assert field.get("examples"), (name, key)
            whole = {**field, "$defs": schema.get("$defs", {})}
            for example in field["examples"]:
                errors = list(Draft202012Validator(whole).iter_errors(example))
                # A job file's examples may be a part of what they stand for.
                assert all(error.validator == "required" for error in errors), (key, errors)
    assert seen > 2


@pytest.mark.parametrize("name", ["job-config.schema.json", "defaults.schema.json"])
def test_every_number_text_and_list_is_bounded(name: str) -> None:
    bounds = {
        "integer": {"minimum", "maximum"},
        "string": {"maxLength", "pattern", "enum", "const"},
        "array": {"maxItems"},
    }
    own = {**json.loads(RENDERED[name])}
    own["$defs"] = {key: value for key, value in own["$defs"].items() if "." not in key}
    for node in nodes(own):
        kind = node.get("type")
        if isinstance(kind, str) and kind in bounds:
            found = bounds[kind] & node.keys()
            assert found if kind == "string" else found == bounds[kind], node


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema; names of properties and values of examples are none."""
    if isinstance(value, list):
        for one in value:
            yield from nodes(one)
    elif isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key in ("properties", "$defs", "patternProperties"):
                for one in inner.values():
                    yield from nodes(one)
            elif key not in ("examples", "default", "enum", "const"):
                yield from nodes(inner)


def completions(job_type: str) -> set[str]:
    """The keys an editor offers below `parameters`, once `jobType` is there."""
    for branch in JOB_FILE["$defs"]["Payload"]["allOf"]:
        if branch["if"]["properties"]["jobType"]["const"] == job_type:
            target = branch["then"]["properties"]["parameters"]
            target = target.get("$ref") or target["anyOf"][0]["$ref"]
            return set(JOB_FILE["$defs"][target.removeprefix("#/$defs/")]["properties"])
    raise AssertionError(job_type)


@pytest.mark.parametrize("name", TYPES.names())
def test_the_job_type_decides_which_parameters_an_editor_offers(name: str) -> None:
    fields = TYPES.get(name).parameters.model_fields.items()

    assert completions(name) == {field.alias or key for key, field in fields}
    assert name in JOB_FILE["$defs"]["Payload"]["properties"]["jobType"]["enum"]


def test_writing_makes_them_current_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    names = sorted(RENDERED)

    assert check(tmp_path, RENDERED) == names
    assert write(tmp_path, RENDERED) == names
    assert check(tmp_path, RENDERED) == []
    assert write(tmp_path, RENDERED) == []


def test_an_edited_a_missing_and_a_left_over_schema_are_stale(tmp_path: Path) -> None:
    write(tmp_path, RENDERED)
    (tmp_path / "defaults.schema.json").write_text("{}\n")
    (tmp_path / "job-types/command.schema.json").unlink()
    (tmp_path / "job-types/retired.schema.json").write_text("{}\n")
    stale = [
        "defaults.schema.json",
        "job-types/command.schema.json",
        "job-types/retired.schema.json",
    ]

    assert check(tmp_path, RENDERED) == stale
    assert write(tmp_path, RENDERED) == stale
    assert not (tmp_path / "job-types/retired.schema.json").exists()
    assert check(tmp_path, RENDERED) == []


def test_schemas_made_elsewhere_are_taken_in() -> None:
    extra = {"render-tree.schema.json": render_tree_schema()}

    assert (
        json.loads(render_schemas(TYPES, extra)["render-tree.schema.json"])
        == extra["render-tree.schema.json"]
    )


def test_the_committed_schemas_are_current() -> None:
    extra = {"render-tree.schema.json": render_tree_schema()}

    assert check(ROOT / "schemas", render_schemas(TYPES, extra)) == []
