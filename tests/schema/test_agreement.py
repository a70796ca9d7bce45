"""What the JSON Schema accepts and what the models accept is the same.

Both are driven with the same inputs: a job file with every kind of field in it, changed in random
places. Only what a schema cannot say may differ, and it is named here.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.job_config import Defaults
from jobreconciler.schema import defaults_schema, job_file_schema
from jobreconciler.source.checks import TypeLookup, check
from jobreconciler.source.defaults import UNSET_IN_DEFAULTS, merged, without_nulls

NOT_SAID_BY_SCHEMAS = {"bad_cron", "unknown_timezone", "unknown_channel"}

JOBS: list[dict[str, Any]] = [
    {
        "meta": {
            "id": "signals-7d",
            "type": "job-config",
            "version": "1.2.0",
            "environments": ["production"],
            "title": "Title",
            "description": "Two\nlines",
            "owner": "team",
            "tags": ["a", "b"],
        },
        "payload": {
            "jobType": "command",
            "isEnabled": True,
            "priority": 50,
            "schedule": {
                "cronExpression": "0 * * * *",
                "timezone": "Europe/Berlin",
                "isEnabled": True,
                "catchUp": "latest",
                "startingDeadlineSeconds": 60,
                "jitterSeconds": 0,
            },
            "webhook": {
                "secret": {"env": "HOOK"},
                "scheme": "github",
                "allowParameters": ["argv"],
            },
            "manual": {"allowParameters": ["env"]},
            "dependency": {"jobs": ["other"], "on": "success", "mode": "all"},
            "retry": {
                "maxAttempts": 3,
                "backoffStrategy": "linear",
                "initialDelay": "30s",
                "maxDelay": 600,
                "onExitCodes": [75, 1],
            },
            "limits": {
                "timeoutSeconds": 900,
                "killGraceSeconds": 10,
                "maxConcurrent": 1,
                "overlap": "skip",
                "concurrencyGroup": "disk",
                "memoryMiB": 512,
                "outputKiB": 1024,
            },
            "expect": {"successWithin": "3h", "runtimeWithin": 600},
            "parameters": {
                "argv": ["/bin/true"],
                "env": {"A": "b", "TOKEN": {"file": "token"}},
                "successExitCodes": [0, 3],
            },
            "notifications": {
                "onSuccess": [],
                "onFailure": ["ops"],
                "onMissed": ["mail"],
                "onRecovery": ["any"],
                "includeLogs": True,
                "channels": {
                    "ops": {"type": "slack", "url": {"env": "URL"}},
                    "mail": {"type": "email", "to": ["a@example.org"]},
                    "hook": {"type": "webhook", "url": {"file": "hook"}},
                    "any": {"type": "apprise", "url": {"env": "ANY"}},
                },
            },
        },
    },
    {
        "meta": {"id": "countdown"},
        "payload": {
            "jobType": "python",
            "webhook": {"secret": [{"env": "NEW"}, {"file": "old"}]},
            "manual": {"allowParameters": ["kwargs", "limits.batchSize"]},
            "limits": {"batchSize": 500},
            "parameters": {"entryPoint": "a.b:c", "kwargs": {"x": 1}, "isolation": "fork"},
        },
    },
    {"meta": {"id": "a"}, "payload": {"jobType": "command", "parameters": {"shell": "true"}}},
    {
        "meta": {"id": "b"},
        "payload": {
            "jobType": "command",
            "parameters": {"argv": ["/bin/true"], "cwd": {"repo": "scripts/x"}},
        },
    },
    {
        "meta": {"id": "purge"},
        "payload": {
            "jobType": "sql",
            "manual": {"allowParameters": ["statements"]},
            "parameters": {
                "database": {"env": "DB"},
                "statements": ["DELETE FROM a", "SELECT 1"],
                "statementTimeoutSeconds": 5,
            },
        },
    },
    {
        "meta": {"id": "ping"},
        "payload": {
            "jobType": "http",
            "parameters": {
                "method": "POST",
                "url": "https://example.org/a?b",
                "headers": {"Accept": "text/plain", "X-Key": {"env": "KEY"}},
                "bearerToken": {"file": "token"},
                "json": {"a": [1]},
                "expectedStatus": [200, 404],
                "maxRedirects": 2,
                "maxResponseKiB": 64,
                "caFile": "/etc/ca.pem",
            },
        },
    },
]

DEFAULTS: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "environments": ["production"],
    **{key: JOBS[0]["payload"][key] for key in ("retry", "limits", "expect", "notifications")},
}


def ecma(value: Any) -> Any:
    """The schema with `$` as JSON Schema means it: the very end, not before a last line break."""
    if isinstance(value, list):
        return [ecma(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub(r"\$\Z", r"\\Z", key) if key.startswith("^") else key: (
            re.sub(r"\$\Z", r"\\Z", inner)
            if key == "pattern" and type(inner) is str
            else ecma(inner)
        )
        for key, inner in value.items()
    }


TYPES = load_job_types()
LOOKUP = TypeLookup(TYPES)
JOB_SCHEMA = Draft202012Validator(ecma(job_file_schema(TYPES)))
DEFAULTS_SCHEMA = Draft202012Validator(ecma(defaults_schema()))

words = st.sampled_from(
    [
        "",
        "a",
        "A",
        "a\n",
        "-",
        "env",
        "file",
        "ops",
        "slack",
        "email",
        "command",
        "python",
        "30s",
        "0s",
        "1h30m",
        "30s\n",
        "1234567890s",
        "5x",
        "٣s",
        "limits.batchSize",
        "argv",
        "a@b",
        "é",
        "\x07",
        "x" * 64,
        "x" * 300,
        "job-config",
        "queue",
        "true",
        "5",
        "sql",
        "repo",
        "a/../b",
        "a/b/",
        "..",
        "/srv",
        ".git",
        "commit",
        "-- x\nBEGIN",
        "http",
        "json",
        "body",
        "Host",
        "http://a/",
        "http://a@b/",
        "https://[::1]:80",
    ]
)
numbers = st.sampled_from(
    [0, 1, -1, 2, 5, 16, 75, 100, 101, 255, 256, 1000, 5.0, 0.5, 1e300, 315_360_001, 2**62]
)
scalars = st.one_of(st.none(), st.booleans(), words, numbers)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a document, the root's included."""
    found = [path]
    if isinstance(value, dict | list):
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        for step, inner in steps:
            found += places(inner, (*path, step))
    return found


@st.composite
def changed(draw: st.DrawFn, originals: list[dict[str, Any]]) -> Any:
    """One of the documents with up to three random changes."""
    document = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 3))):
        if not document:
            break
        *way, last = draw(st.sampled_from([path for path in places(document) if path]))
        holder = document
        for step in way:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "replace", "delete", "add", "swap"]))
        if change == "replace":
            holder[last] = draw(values)
        elif change == "delete" and len(places(document)) > 3:
            del holder[last]
        elif change == "add" and isinstance(holder, dict):
            holder[draw(words)] = draw(values)
        elif change == "swap":
            other = draw(st.sampled_from([path for path in places(document) if path]))
            value = document
            for step in other:
                value = value[step]
            holder[last] = copy.deepcopy(value)
    return document


def models_accept(document: dict[str, Any]) -> set[str]:
    """Codes of what is wrong, those left out that no schema could say."""
    job_type = LOOKUP.of(document)
    batches = getattr(job_type, "batches", False)
    found = check(merged(document, None, batches=batches), job_type).findings
    return {finding.code for finding in found} - NOT_SAID_BY_SCHEMAS


@settings(max_examples=250, deadline=None)
@given(changed(JOBS))
def test_the_schema_and_the_models_agree_on_job_files(document: dict[str, Any]) -> None:
    wrong = models_accept(document)
    said = [error.message for error in JOB_SCHEMA.iter_errors(document)]

    assert bool(said) == bool(wrong), (said, wrong)


@settings(max_examples=120, deadline=None)
@given(changed([DEFAULTS]))
def test_the_schema_and_the_models_agree_on_the_defaults_file(document: dict[str, Any]) -> None:
    wrong = None
    try:
        Defaults.model_validate(without_nulls(document, UNSET_IN_DEFAULTS))
    except ValidationError as error:
        wrong = error
    said = [error.message for error in DEFAULTS_SCHEMA.iter_errors(document)]

    assert bool(said) == bool(wrong), (said, wrong)


def test_the_documents_that_are_changed_are_valid_as_they_stand() -> None:
    for document in JOBS:
        assert models_accept(document) == set()
        assert JOB_SCHEMA.is_valid(document)
    assert DEFAULTS_SCHEMA.is_valid(DEFAULTS)
