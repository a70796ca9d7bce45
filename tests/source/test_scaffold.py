"""New job files: valid at once for every registered type, and in their editor's eyes as well."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from jobreconciler.errors import Invalid
from jobreconciler.schema import job_file_schema
from jobreconciler.source.located_yaml import read_located
from jobreconciler.source.scaffold import scaffold
from source.loading import TYPES, load_text

IDS = ["my-job", "a", "0", "1e5", "null", "true", "no", "x" * 63]


@pytest.mark.parametrize("job_id", IDS)
@pytest.mark.parametrize("name", TYPES.names())
def test_a_new_file_is_valid_at_once(name: str, job_id: str) -> None:
    text = scaffold(TYPES.get(name), job_id)
    file = load_text(text)

    assert file.problems == ()
    assert (file.job_id, file.job and file.job.job_type) == (job_id, name)
    assert Draft202012Validator(job_file_schema(TYPES)).is_valid(read_located(text.encode()).value)


@pytest.mark.parametrize("name", TYPES.names())
def test_every_comment_with_a_parameter_can_be_put_to_use(name: str) -> None:
    text = scaffold(TYPES.get(name), "my-job")
    keys = {f.alias or n for n, f in TYPES.get(name).parameters.model_fields.items()}

    for key in keys:
        assert f"    {key}: " in text or f"    # {key}: " in text
    for line in text.splitlines():
        key = line.removeprefix("    # ").partition(":")[0]
        if line.startswith("    # ") and key in keys:
            value = read_located(line.removeprefix("    # ").encode())
            assert value.mistakes == []


@pytest.mark.parametrize("job_id", ["", "A", "a_b", "-a", "a\n", "x" * 64, "a: b"])
def test_an_id_that_no_job_may_have_is_refused(job_id: str) -> None:
    with pytest.raises(Invalid, match="cannot be the id of a job"):
        scaffold(TYPES.get("command"), job_id)
