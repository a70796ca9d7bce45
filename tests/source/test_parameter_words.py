"""What a trigger sets wrongly is said in the words that a file with the same mistake gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobreconciler.errors import Invalid
from jobreconciler.source.checks import check_parameters

from .loading import TYPES, problems

MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("a text for a list", {"argv": "true"}, "argv: expected a list, found 'true'"),
    ("a number in a list", {"argv": ["a", 5]}, "argv[1]: expected text, found the number 5"),
    ("an unknown key", {"argv": ["a"], "agv": 1}, "agv: unknown key 'agv' in payload.parameters"),
    ("two of which one is to be", {"argv": ["a"], "shell": "b"}, "parameters: "),
    ("a secret in a list", {"argv": [{"env": "A"}]}, "argv[0]: expected text, found a map"),
]


@pytest.mark.parametrize(("given", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_parameter_is_refused_in_the_words_of_validate(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_parameters(TYPES, "command", given)
    text = json.dumps(
        {"meta": {"id": "job"}, "payload": {"jobType": "command", "parameters": given}}
    )
    [problem] = problems(text)
    at = problem.path.removeprefix("payload.parameters").removeprefix(".") or "parameters"
    assert caught.value.message == f"{at}: {problem.message}"
    assert caught.value.message.startswith(said)
    assert caught.value.reason == "InvalidParameters"
    assert caught.value.hint == problem.hint or not problem.hint


def test_parameters_that_fit_are_taken() -> None:
    check_parameters(TYPES, "command", {"argv": ["true"]})
