"""Kubernetes CronJobs field by field."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from importing.reading import FIXTURES, as_words, checked, cronjobs, findings, only, said
from jobreconciler.importing.cronjob import read_cronjobs
from jobreconciler.importing.report import Imported


def manifest(
    container: dict[str, Any] | None = None,
    *,
    job: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    one = {"name": "c", "image": "i", "command": ["/bin/x"], **(container or {})}
    inner = {"containers": [one], **(pod or {})}
    template = {"spec": {"template": {"spec": inner}, **(job or {})}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "a"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template, **spec},
    }


def imported(*arguments: Any, **options: Any) -> Imported:
    return cronjobs(json.dumps(manifest(*arguments, **options)))


def payload(*arguments: Any, **options: Any) -> dict[str, Any]:
    return only(imported(*arguments, **options))


@pytest.mark.parametrize(
    ("schedule", "expression"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("@hourly", "@hourly"),
        ("5/15 * * * *", "5-50/15 * * * *"),
        ("0 0 ? * mon", "0 0 * * 1"),
        ("0 0 */2 * 1", "0 0 1-31/2 * 1"),
        ("0 0 */2 * *", "0 0 */2 * *"),
        ("0 */6 * * 1-5", "0 */6 * * 1-5"),
        ("@every 1h", "0 * * * *"),
        ("@every 24h", "0 0 * * *"),
    ],
)
def test_a_schedule_means_what_it_means_to_kubernetes(schedule: str, expression: str) -> None:
    found = payload(schedule=schedule)["schedule"]
    assert (found["cronExpression"], found["catchUp"]) == (expression, "latest")
    assert "isEnabled" not in found


@pytest.mark.parametrize("schedule", ["@every 1h30m", "0 3 * *", "0 0 3 * * *", "0 0 30 2 *", "x"])
def test_one_without_a_counterpart_is_left_out_and_said(schedule: str) -> None:
    found = imported(schedule=schedule)
    assert "schedule" not in only(found)
    assert any(one.kind == "left_out" and schedule in one.what for one in findings(found))


@pytest.mark.parametrize(
    ("spec", "zone"),
    [
        ({"timeZone": "Europe/Berlin"}, "Europe/Berlin"),
        ({"schedule": "TZ=Asia/Tokyo 0 3 * * *"}, "Asia/Tokyo"),
        ({"schedule": "CRON_TZ=Asia/Tokyo 0 3 * * *"}, "Asia/Tokyo"),
        ({}, "UTC"),
    ],
)
def test_the_zone_may_stand_in_two_places(spec: dict[str, Any], zone: str) -> None:
    assert payload(**spec)["schedule"]["timezone"] == zone


def test_an_unknown_zone_leaves_the_schedule_off() -> None:
    found = imported(timeZone="Mars/Olympus")
    assert only(found)["schedule"]["isEnabled"] is False
    assert "1 left_out timeZone Mars/Olympus" in said(found)


def test_suspend_stops_the_schedule_and_not_the_job() -> None:
    found = payload(suspend=True)
    assert found["schedule"]["isEnabled"] is False
    assert "isEnabled" not in found


@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        ("Allow", {"maxConcurrent": 1000}),
        (None, {"maxConcurrent": 1000}),
        ("Forbid", {"overlap": "skip"}),
        ("Replace", {"overlap": "replace"}),
    ],
)
def test_concurrency_policies(policy: str | None, limits: dict[str, Any]) -> None:
    found = payload(**({"concurrencyPolicy": policy} if policy else {}))["limits"]
    assert found == {"timeoutSeconds": 2_592_000, **limits}


@pytest.mark.parametrize(
    ("job", "retry"),
    [
        ({}, {"maxAttempts": 7, "backoffStrategy": "exponential", "initialDelay": "10s",
              "maxDelay": "6m"}),
        ({"backoffLimit": 0}, {"maxAttempts": 1}),
        ({"backoffLimit": 500}, {"maxAttempts": 100, "backoffStrategy": "exponential",
                                 "initialDelay": "10s", "maxDelay": "6m"}),
    ],
)  # fmt: skip
def test_backoff_limit_counts_tries_after_the_first(
    job: dict[str, Any], retry: dict[str, Any]
) -> None:
    assert payload(job=job)["retry"] == retry


def test_deadlines() -> None:
    found = payload(startingDeadlineSeconds=100, job={"activeDeadlineSeconds": 60},
                    pod={"terminationGracePeriodSeconds": 45})  # fmt: skip
    assert found["schedule"]["startingDeadlineSeconds"] == 100
    assert (found["limits"]["timeoutSeconds"], found["limits"]["killGraceSeconds"]) == (60, 45)
    assert "startingDeadlineSeconds" not in payload(startingDeadlineSeconds=0)["schedule"]


@pytest.mark.parametrize(
    ("memory", "mebibytes"),
    [("128Mi", 128), ("1G", 954), ("1Gi", 1024), (134_217_728, 128), ("1e9", 954), ("1Mi", 16),
     ("128974848000m", 123), ("0.5Gi", 512)],
)  # fmt: skip
def test_memory_is_rounded_up_to_whole_mebibytes(memory: Any, mebibytes: int) -> None:
    found = payload({"resources": {"limits": {"memory": memory}}})
    assert found["limits"]["memoryMiB"] == mebibytes


# --------------------------------------------------------------------------------- the container


SHOW = ["/usr/bin/printf", "%s|"]


@pytest.mark.parametrize(
    ("args", "env", "output"),
    [
        (["$(A)"], [{"name": "A", "value": "1 2"}], "1 2|"),
        (["$$(A)"], [{"name": "A", "value": "1"}], "$(A)|"),
        (["$(B)", "$A", "$("], [{"name": "A", "value": "1"}], "$(B)|$A|$(|"),
        (["$(B)"], [{"name": "A", "value": "1"}, {"name": "B", "value": "<$(A)>"}], "<1>|"),
        (["$(A)"], [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "1"}], "$(B)|"),
        (["it's", "", "a b", "$(P)"], [{"name": "P_TOKEN", "value": "x"}], "it's||a b|$(P)|"),
    ],
)
def test_references_are_expanded_as_the_kubelet_does(
    args: list[str], env: list[dict[str, str]], output: str
) -> None:
    found = payload({"command": SHOW, "args": args, "env": env})
    assert run(found) == output


def run(found: dict[str, Any], **secrets: str) -> str:
    """Start what the job would start, with its variables and the secrets'."""
    parameters = found["parameters"]
    literal = {k: v for k, v in parameters.get("env", {}).items() if isinstance(v, str)}
    environment = {"PATH": os.environ["PATH"], **literal, **secrets}
    return subprocess.run(
        as_words(parameters), capture_output=True, text=True, check=True, env=environment,
        timeout=60,
    ).stdout  # fmt: skip


def test_a_reference_to_a_secret_is_put_in_at_run_time() -> None:
    env = [
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "URL", "value": "postgres://u:$(PW)@db"},
    ]
    found = imported({"command": SHOW, "args": ["--pw=$(PW)", "$(URL)", "'"], "env": env})
    job = only(found)
    assert job["parameters"]["env"] == {"PW": {"file": "db/password"}}
    assert run(job, PW="a b'\"$x") == "--pw=a b'\"$x|postgres://u:a b'\"$x@db|'|"
    assert "1 secret the value of PW" in said(found)


def test_without_a_command_only_the_image_knows_the_program() -> None:
    found = imported({"command": None, "args": ["--fast"]})
    job = only(found)
    assert (job["isEnabled"], job["parameters"]["argv"]) == (False, ["/bin/false", "--fast"])
    assert "1 left_out the program" in said(found)


def test_labels_and_annotations_that_name_an_app_or_an_owner_carry_over() -> None:
    text = manifest()
    text["metadata"] = {
        "name": "My.Job", "namespace": "prod", "labels": {"app": "shop", "team": "data", "x": "y"},
        "annotations": {"description": "What it does"},
    }  # fmt: skip
    [job] = checked(cronjobs(json.dumps(text))).values()
    assert job["meta"] == {
        "id": "my-job",
        "description": "What it does",
        "owner": "data",
        "tags": ["namespace:prod", "shop"],
    }
    assert "1 left_out the labels x" in said(cronjobs(json.dumps(text)))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"pod": {"volumes": [{"name": "v"}]}}, "volumes"),
        ({"pod": {"initContainers": [{"name": "i"}]}}, "initContainers"),
        ({"pod": {"serviceAccountName": "s"}}, "serviceAccountName s"),
        ({"pod": {"hostNetwork": True}}, "hostNetwork True"),
        ({"job": {"parallelism": 3}}, "jobTemplate.spec.parallelism 3"),
        ({"job": {"ttlSecondsAfterFinished": 9}}, "jobTemplate.spec.ttlSecondsAfterFinished 9"),
        ({"failedJobsHistoryLimit": 1}, "spec.failedJobsHistoryLimit 1"),
        ({"future": {"a": 1}}, "spec.future"),
    ],
)
def test_every_key_without_a_counterpart_is_said(options: dict[str, Any], what: str) -> None:
    assert f"1 left_out {what}" in said(imported(**options))


@pytest.mark.parametrize(
    ("container", "what"),
    [
        ({"envFrom": [{"configMapRef": {"name": "m"}}]}, "envFrom"),
        ({"volumeMounts": [{"name": "v"}]}, "volumeMounts"),
        ({"env": [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}, "the variable P"),
        ({"env": [{"name": "P", "value": 5}]}, "the variable P"),
        ({"env": {"P": "5"}}, "a part of env"),
        ({"livenessProbe": {"exec": {}}}, "livenessProbe"),
        ({"workingDir": "rel"}, "workingDir rel"),
        ({"resources": {"limits": {"cpu": "1"}}}, "resources.limits.cpu 1"),
        ({"resources": {"limits": {"memory": "much"}}}, "resources.limits.memory much"),
    ],
)
def test_every_key_of_a_container_too(container: dict[str, Any], what: str) -> None:
    assert f"1 left_out {what}" in said(imported(container))


def test_findings_name_the_line_in_the_manifest() -> None:
    path = FIXTURES / "cronjobs" / "report.yaml"
    lines = path.read_text().splitlines()
    found = findings(read_cronjobs("f", path.read_bytes()))
    named = {one.what.split()[0]: lines[one.line - 1] for one in found if one.line}
    for what in ("serviceAccountName", "initContainers", "volumes", "concurrencyPolicy"):
        assert f"{what}:" in named[what]


# ------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("kind: Deployment\napiVersion: apps/v1\n", 1, "this is a Deployment, not a CronJob"),
        ("a: 1\n---\nkind: Job\n", 1, "this is no Kubernetes object, not a CronJob"),
        ("apiVersion: example.org/v1\nkind: CronJob\n", 1, "a CronJob of example.org/v1"),
        ("- 1\n", 1, "this is no Kubernetes object"),
        ("a: [1\nb: 2\n", 2, "this is no YAML"),
        ("a: 1\na: 2\n", 2, "the key 'a' stands twice"),
        ("a: !!python/object:os.system x\n", 1, "the tag"),
        ("a: &x [*x]\n", 1, "*x refers to the very value it stands in"),
        ("\nkind: CronJob\napiVersion: batch/v1\nspec: {}\n", 4, "a CronJob without spec.schedule"),
        ("%PDF-1.4\n", 1, "this is a PDF"),
        ("<html>", 1, "this is an HTML page"),
        ("0 3 * * * /bin/x\n", 1, "this is no Kubernetes object"),
        ("kind: CronJob\napiVersion: batch/v1\nmetadata: {name: a}\nspec: {schedule: x}\n", 4,
         "a CronJob without spec.jobTemplate"),
    ],
)  # fmt: skip
def test_what_is_no_cronjob_is_an_error_at_its_line(text: str, line: int, message: str) -> None:
    found = cronjobs(text)
    assert found.drafts == []
    assert (found.errors[0].line, found.errors[0].message[: len(message)]) == (line, message)


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "aliases add more than" in cronjobs("\n".join(levels)).errors[0].message


def test_a_bomb_of_merge_keys_is_refused_at_once() -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(500))
    text = f"base: &b {{{keys}}}\n" + "".join(f"m{n}: {{<<: *b}}\n" for n in range(500))
    assert "aliases add more than" in cronjobs(text).errors[0].message


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5000, "- " * 5000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "levels deep" in cronjobs(text).errors[0].message


def test_objects_beside_a_cronjob_are_left_out_and_said() -> None:
    text = "kind: Secret\n---\n" + json.dumps(manifest()) + "\n---\n"
    assert "1 left_out a Secret" in said(cronjobs(text))


def test_same_names_in_two_namespaces_are_told_apart() -> None:
    one, other = manifest(), manifest()
    one["metadata"]["namespace"], other["metadata"]["namespace"] = "x", "y"
    items = {"kind": "List", "items": [one, other]}
    assert list(checked(cronjobs(json.dumps(items)))) == ["a", "y-a"]
