from __future__ import annotations

from typing import Any

import pytest

from jobreconciler.cli.options import FLAGS, take_settings
from jobreconciler.errors import Refused


@pytest.mark.parametrize(
    ("line", "taken", "rest"),
    [
        ("validate a.yaml", {}, "validate a.yaml"),
        ("--repo x validate", {"repo": "x"}, "validate"),
        ("validate --repo x -o json", {"repo": "x"}, "validate -o json"),
        ("validate --repo=x=y", {"repo": "x=y"}, "validate"),
        ("--repo x validate --repo y", {"repo": "y"}, "validate"),
        ("run --atomic --drain", {"atomic": True, "drain": True}, "run"),
        ("run --atomic --no-atomic", {"atomic": False}, "run"),
        ("trigger a -- --repo x", {}, "trigger a -- --repo x"),
        ("schema --dir x --check", {}, "schema --dir x --check"),
        ("run --repos x", {}, "run --repos x"),
    ],
)
def test_settings_are_taken_wherever_they_stand(
    line: str, taken: dict[str, Any], rest: str
) -> None:
    assert take_settings(line.split()) == (taken, rest.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --repo", "--repo needs a value"),
        ("run --repo --atomic", "--repo needs a value"),
        ("run --atomic=yes", "--atomic is a switch and takes no value"),
    ],
)
def test_a_flag_without_its_value_is_refused(line: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        take_settings(line.split())


def test_every_flag_says_what_it_is() -> None:
    assert all(said.endswith(".") for _, said in FLAGS.values())
