"""A request that is filled in reads exactly as one that is put together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from jobreconciler.execute import request, templates
from jobreconciler.execute.request import Sent
from jobreconciler.execute.secret_values import SecretValues
from jobreconciler.execute.templates import Templates
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.execution import Launch, Trigger

ENVIRON = {"PATH": "/bin", "HOME": "/", "TOKEN": "a-secret-value"}
TYPES = load_job_types()


class Whole:
    """Puts requests together and counts how many."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, launch: Launch, directory: str) -> Sent:
        self.made += 1
        job_type = TYPES.get(launch.config["payload"]["jobType"])
        secrets = SecretValues(ENVIRON, None)
        return request.sent(request.build(launch, job_type, secrets, directory, ENVIRON))


def launch(number: int, parameters: dict[str, Any], job_type: str = "python") -> Launch:
    return Launch(
        execution_id=f"run-{number}",
        job_id="a-job",
        attempt=1,
        config={"meta": {"id": "a-job"}, "payload": {"jobType": job_type}},
        parameters=parameters,
        trigger=Trigger("schedule", slot=datetime(2026, 1, 1, 0, number, tzinfo=UTC)),
        revision="f" * 40,
        config_digest="d" * 64,
    )


PYTHON = {"entryPoint": "acme:run", "kwargs": {"text": 'ä "quoted" \\ \n'}}
CASES: dict[str, Launch] = {
    "a Python job": launch(7, PYTHON),
    "a program": replace(launch(7, {"argv": ["/bin/true"]}, "command"), config_digest="c" * 64),
    "no slot": replace(launch(7, PYTHON), trigger=Trigger("manual", actor="ada")),
    "another attempt": replace(launch(7, PYTHON), attempt=2),
    "a dry run": replace(launch(7, PYTHON), dry_run=True),
    "another commit": replace(launch(7, PYTHON), revision="e" * 40),
    "another config": replace(launch(7, {"entryPoint": "acme:other"}), config_digest="e" * 64),
    "parameters of its own": replace(launch(7, {"entryPoint": "acme:own"}), config_digest=None),
}


@pytest.mark.parametrize("wanted", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("state", ["/var/lib/x", '/var/ä "b" \\c'])
def test_one_that_is_filled_in_reads_as_one_put_together(wanted: Launch, state: str) -> None:
    filled = Templates(Whole())
    filled.request(launch(1, PYTHON), f"{state}/1")
    for number in (8, 9):
        one = replace(wanted, execution_id=f"run-{number}")
        directory = f"{state}/runs/run-{number}/1"
        assert filled.request(one, directory) == Whole()(one, directory)


def test_what_runs_again_is_put_together_once() -> None:
    whole = Whole()
    kept = Templates(whole)
    for number in range(50):
        kept.request(launch(number, PYTHON), f"/s/{number}")
    assert whole.made == 2, "the first as it is, and once more to be kept"


def test_a_secret_is_looked_up_each_time() -> None:
    whole = Whole()
    kept = Templates(whole)
    parameters = {"entryPoint": "acme:run", "env": {"TOKEN": {"env": "TOKEN"}}}
    for number in range(5):
        assert kept.request(launch(number, parameters), "/s").has_secrets
    assert whole.made == 5


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST", 2)
    whole = Whole()
    kept = Templates(whole)
    for digest in "abcabc":
        kept.request(replace(launch(1, PYTHON), config_digest=digest), "/s")
    assert whole.made == 12


@pytest.mark.parametrize(
    ("parameters", "light"),
    [
        pytest.param({}, True, id="as most are"),
        pytest.param({"env": {"LEVEL": "1"}}, True, id="with variables"),
        pytest.param({"env": {"KEY": {"env": "TOKEN"}}}, False, id="with a secret"),
        pytest.param({"isolation": "fork"}, False, id="in a process of its own"),
    ],
)
def test_which_launches_may_be_handed_out_with_others(
    parameters: dict[str, Any], light: bool
) -> None:
    assert Whole()(launch(7, {**PYTHON, **parameters}), "/d").light is light
