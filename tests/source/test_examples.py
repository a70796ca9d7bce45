"""The job files that ship with the repository: valid, complete, and understood by editors."""

from __future__ import annotations

from pathlib import Path

from jsonschema import Draft202012Validator

from jobreconciler.core.crossfile import cross_check
from jobreconciler.schema import defaults_schema, job_file_schema
from jobreconciler.source.files import load_directory
from jobreconciler.source.load import YamlLoader
from jobreconciler.source.located_yaml import read_located
from source.loading import TYPES

ROOT = Path(__file__).parents[2]


def test_they_are_valid_alone_and_together() -> None:
    found = load_directory(ROOT)
    files = YamlLoader(TYPES).load(found.entries, found.contents, found.defaults)

    assert found.refused == []
    assert [file.problems for file in files if file.problems] == []
    assert cross_check(files, all_environments=True) == {}
    assert len(files) >= 5


def test_each_is_valid_to_an_editor_that_follows_its_first_line() -> None:
    job_file = Draft202012Validator(job_file_schema(TYPES))
    defaults = Draft202012Validator(defaults_schema())
    for path in (ROOT / "jobs.d").rglob("*.yaml"):
        is_defaults = path.name == "_defaults.yaml"
        name = "defaults" if is_defaults else "job-config"
        first, *_ = path.read_text().splitlines()
        value = read_located(path.read_bytes()).value

        assert first == f"# yaml-language-server: $schema=../schemas/{name}.schema.json"
        errors = (defaults if is_defaults else job_file).iter_errors(value)
        assert [error.message for error in errors] == [], path
