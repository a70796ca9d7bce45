"""The types over signals: their parameters, and that they cost nothing until they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.schema.tidy import tidied

DATABASE = {"database": {"file": "signals-database-url"}}
CRITERION = {"signal": "retrievals", "operator": ">=", "threshold": 10}
RULE = {"id": "r", "fromTier": "sprout", "toTier": "sapling", "criteria": [CRITERION]}


def rule(**changed: Any) -> dict[str, Any]:
    return {**DATABASE, "rules": [{**RULE, **changed}]}


def criterion(**changed: Any) -> dict[str, Any]:
    return rule(criteria=[{**CRITERION, **changed}])


AGGREGATION, BATCH, ROLLBACK = (
    "signal-aggregation-7d",
    "advancement-batch",
    "advancement-rollback",
)

ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "a database in a file": (AGGREGATION, DATABASE),
    "a database in the environment": (AGGREGATION, {"database": {"env": "URL"}, "full": True}),
    "no rules": (BATCH, {**DATABASE, "rules": []}),
    "a rule": (BATCH, rule()),
    "a rule that is off, without criteria": (BATCH, rule(isEnabled=False, criteria=[])),
    "one of several criteria": (BATCH, rule(logic="OR", criteria=[CRITERION, CRITERION])),
    "a column of the aggregation": (BATCH, criterion(signal="unique_sessions", threshold=0.5)),
    "another period": (BATCH, {**rule(), "signalPeriod": "last_30d", "maxErrors": 0}),
    "a rollback of a rule": (ROLLBACK, {**DATABASE, "ruleId": "r", "reason": "wrong"}),
    "a rollback since an instant": (
        ROLLBACK,
        {**DATABASE, "since": "2026-03-01T02:00:00+01:00", "reason": "wrong", "dryRun": True},
    ),
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no database": (AGGREGATION, {}),
    "a database that stands there": (AGGREGATION, {"database": "sqlite:////tmp/x.db"}),
    "no list of rules": (BATCH, DATABASE),
    "a period nobody knows": (BATCH, {**rule(), "signalPeriod": "last_90d"}),
    "fewer than no errors": (BATCH, {**rule(), "maxErrors": -1}),
    "a tier nobody knows": (BATCH, rule(fromTier="bush")),
    "two tiers at once": (BATCH, rule(fromTier="seed")),
    "a tier down": (BATCH, rule(fromTier="tree")),
    "above the highest": (BATCH, rule(fromTier="grove", toTier="grove")),
    "a rule without criteria's list": (
        BATCH,
        {**DATABASE, "rules": [{k: v for k, v in RULE.items() if k != "criteria"}]},
    ),
    "a signal nobody knows": (BATCH, criterion(signal="likes")),
    "an operator nobody knows": (BATCH, criterion(operator="=>")),
    "a threshold in words": (BATCH, criterion(threshold="10")),
    "a threshold that is a truth": (BATCH, criterion(threshold=True)),
    "logic in lower case": (BATCH, rule(logic="or")),
    "a rollback without a reason": (ROLLBACK, {**DATABASE, "ruleId": "r"}),
    "a rollback of everything": (ROLLBACK, {**DATABASE, "reason": "wrong"}),
    "an instant without an offset": (
        ROLLBACK,
        {**DATABASE, "since": "2026-03-01T02:00:00", "reason": "wrong"},
    ),
}


@pytest.mark.parametrize(
    ("case", "valid"),
    [*((case, True) for case in ACCEPTED.values()), *((case, False) for case in REFUSED.values())],
    ids=[*ACCEPTED, *REFUSED],
)
def test_model_and_schema_agree(case: tuple[str, dict[str, Any]], valid: bool) -> None:
    name, parameters = case
    model = load_job_types().get(name).parameters
    if valid:
        again = model.model_validate(parameters).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )
        assert model.model_validate(again) == model.model_validate(parameters)
    else:
        with pytest.raises(ValidationError):
            model.model_validate(parameters)
    schema = tidied(model.model_json_schema(by_alias=True))
    assert jsonschema.Draft202012Validator(schema).is_valid(parameters) == valid


ONLY_THE_MODEL_KNOWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "two rules of one name": (
        BATCH,
        {**DATABASE, "rules": [RULE, RULE]},
        "two rules are called 'r'; each needs an id of its own",
    ),
    "a day that no month has": (
        ROLLBACK,
        {**DATABASE, "since": "2026-02-30T02:00:00Z", "reason": "wrong"},
        "2026-02-30T02:00:00Z is no instant",
    ),
    "two tiers at once, in words": (
        BATCH,
        rule(fromTier="seed"),
        "documents of tier seed move to sprout, one tier up, not to sapling",
    ),
}


@pytest.mark.parametrize("case", ONLY_THE_MODEL_KNOWS.values(), ids=ONLY_THE_MODEL_KNOWS.keys())
def test_what_is_wrong_is_said(case: tuple[str, dict[str, Any], str]) -> None:
    name, parameters, said = case
    with pytest.raises(ValidationError) as caught:
        load_job_types().get(name).parameters.model_validate(parameters)
    assert said in str(caught.value)


def test_loading_the_types_imports_no_database(tmp_path: Path) -> None:
    code = (
        "import sys; from jobreconciler.jobtypes.registry import BUILT_IN, load_job_types\n"
        "types = load_job_types()\n"
        "types.get('command')\n"
        "print(sorted(name for name in sys.modules if 'signal' in name and 'jobrec' in name))\n"
        "[types.get(name) for name in BUILT_IN]\n"
        "print('sqlalchemy' in sys.modules, 'jobreconciler.signals.tables' in sys.modules)"
    )
    src = Path(sys.modules["jobreconciler"].__file__ or "").parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(src), "PYDANTIC_DISABLE_PLUGINS": "__all__"},
    )
    assert done.stdout.splitlines() == ["[]", "False False"]
