"""`_defaults.yaml`: maps merge, lists replace, null unsets; and who is blamed for what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobreconciler.model.desired import Entry
from jobreconciler.source.origins import field_origins
from source.loading import DEFAULTS, LOADER, PATH, VALID, as_bytes, load_files, load_text


def payload(job: str, defaults: str) -> dict[str, Any]:
    file = load_text(job, defaults)
    assert file.problems == ()
    assert file.job is not None
    config: dict[str, Any] = json.loads(file.job.config)
    return {**config["payload"], "environments": config["meta"]["environments"]}


def with_lines(*lines: str) -> str:
    return VALID + "".join(f"  {line}\n" for line in lines)


MERGES = [
    (
        "maps merge key by key",
        ["retry: {maxAttempts: 5}"],
        "retry: {maxAttempts: 2, initialDelay: 15s}",
        ("retry", {"maxAttempts": 5, "backoffStrategy": "exponential", "initialDelay": 15}),
    ),
    (
        "channels merge by name",
        ["notifications: {channels: {b: {type: email, to: [x@y]}}}"],
        "notifications: {channels: {a: {type: slack, url: {env: A}}}}",
        ("notifications.channels", {"a": {"type": "slack"}, "b": {"type": "email"}}),
    ),
    (
        "lists replace",
        ["notifications: {onFailure: []}"],
        "notifications: {onFailure: [a], channels: {a: {type: slack, url: {env: A}}}}",
        ("notifications.onFailure", []),
    ),
    (
        "null unsets one key",
        ["limits: {memoryMiB: null}"],
        "limits: {memoryMiB: 64, timeoutSeconds: 5}",
        ("limits", {"timeoutSeconds": 5, "memoryMiB": ...}),
    ),
    (
        "null unsets a whole section",
        ["retry:"],
        "retry: {maxAttempts: 7}",
        ("retry", {"maxAttempts": 1}),
    ),
    (
        "null unsets one channel",
        ["notifications: {channels: {a: null}}"],
        "notifications: {channels: {a: {type: slack, url: {env: A}}}}",
        ("notifications.channels", {"a": ...}),
    ),
    (
        "a time zone reaches a schedule that names none",
        ["schedule: {cronExpression: 0 * * * *}"],
        "timezone: Europe/Berlin",
        ("schedule", {"timezone": "Europe/Berlin"}),
    ),
    (
        "a time zone of its own stays",
        ["schedule: {cronExpression: 0 * * * *, timezone: UTC}"],
        "timezone: Europe/Berlin",
        ("schedule", {"timezone": "UTC"}),
    ),
    (
        "a null time zone is the program's default",
        ["schedule: {cronExpression: 0 * * * *, timezone: null}"],
        "timezone: Europe/Berlin",
        ("schedule", {"timezone": "UTC"}),
    ),
    ("environments are taken over", [], "environments: [test]", ("environments", ["test"])),
    (
        "a batch size passes by types that do not batch",
        [],
        "limits: {batchSize: 100}",
        ("limits", {"batchSize": ...}),
    ),
    ("an empty defaults file is fine", [], "# nothing yet\n", ("retry", {"maxAttempts": 1})),
]


@pytest.mark.parametrize(
    ("lines", "defaults", "expected"), [row[1:] for row in MERGES], ids=[row[0] for row in MERGES]
)
def test_merging(lines: list[str], defaults: str, expected: tuple[str, Any]) -> None:
    found: Any = payload(with_lines(*lines), defaults)
    for step in expected[0].split("."):
        found = found[step]

    if not isinstance(expected[1], dict):
        assert found == expected[1]
        return
    for key, value in expected[1].items():
        if value is ...:
            assert key not in found
        elif isinstance(value, dict):
            assert value.items() <= found[key].items()
        else:
            assert found[key] == value


def test_a_time_zone_alone_makes_no_schedule() -> None:
    assert "schedule" not in payload(VALID, "timezone: Europe/Berlin")


def test_a_batch_size_reaches_types_that_batch() -> None:
    text = "meta: {id: a}\npayload: {jobType: python, parameters: {entryPoint: 'a:b'}}\n"

    assert payload(text, "limits: {batchSize: 100}")["limits"]["batchSize"] == 100


def test_the_job_names_the_defaults_it_was_merged_with() -> None:
    with_defaults, without = load_text(VALID, "retry: {maxAttempts: 2}").job, load_text(VALID).job

    assert with_defaults is not None and without is not None
    assert (with_defaults.defaults_blob, without.defaults_blob) == (DEFAULTS.blob, "")
    assert with_defaults.digest != without.digest


def test_merging_leaves_the_defaults_as_they_were_for_the_next_file() -> None:
    first = with_lines("retry: {maxAttempts: 9}", "notifications: {channels: {a: null}}")
    defaults = """\
    retry: {maxAttempts: 2}
    notifications: {channels: {a: {type: slack, url: {env: A}}}}
    """
    files = load_files({"jobs.d/1.yaml": first, "jobs.d/2.yaml": VALID}, defaults)
    alone = load_files({"jobs.d/2.yaml": VALID}, defaults)

    assert files[1] == alone[0]


def test_an_invalid_defaults_file_holds_every_job_and_hides_none_of_their_own_mistakes() -> None:
    files = load_files(
        {
            "jobs.d/a.yaml": VALID,
            "jobs.d/b.yaml": "meta: {id: b, titel: x}\npayload: {jobType: comand}\n",
        },
        "retry: {maxAttempts: 1000}\ntimezone: Mars\nlimit: {}\n",
    )

    assert [(file.path, file.job, file.job_id) for file in files] == [
        ("jobs.d/_defaults.yaml", None, None),
        ("jobs.d/a.yaml", None, "job"),
        ("jobs.d/b.yaml", None, "b"),
    ]
    assert [[(one.code, one.line) for one in file.problems] for file in files] == [
        [("out_of_range", 1), ("unknown_timezone", 2), ("unknown_key", 3)],
        [("defaults_invalid", 0)],
        [("defaults_invalid", 0), ("unknown_key", 1), ("unknown_job_type", 2)],
    ]


BROKEN = ["- a list", "retry: {", "retry: 5", "payload: {retry: {}}", "retry: {maxAttempts: '2'}"]


@pytest.mark.parametrize("defaults", BROKEN)
def test_a_defaults_file_is_as_strict_as_a_job_file(defaults: str) -> None:
    files = load_files({PATH: VALID}, defaults)

    assert files[0].path == DEFAULTS.path
    assert files[0].problems
    assert [one.code for one in files[1].problems] == ["defaults_invalid"]


def test_channels_of_invalid_defaults_are_not_missed_in_the_jobs() -> None:
    text = with_lines("notifications: {onFailure: [ops]}")
    files = load_files({PATH: text}, "notifications: {channels: {ops: {type: slack}}}")

    assert [one.code for one in files[1].problems] == ["defaults_invalid"]


def test_a_mistake_that_a_default_causes_is_shown_in_the_defaults_file() -> None:
    text = with_lines("notifications: {channels: {ops: null}}")
    defaults = """\
    notifications:
      onFailure: [ops]
      channels: {ops: {type: slack, url: {env: A}}}
    """
    file = load_text(text, defaults)

    assert [(one.file, one.line, one.column, one.path) for one in file.problems] == [
        (DEFAULTS.path, 2, 15, "payload.notifications.onFailure[0]")
    ]


@pytest.mark.parametrize("name", ["sub/_defaults.yaml", "_defaults.yml", "sub/_defaults.yml"])
def test_defaults_anywhere_else_are_refused(name: str) -> None:
    (file,) = load_files({f"jobs.d/{name}": "retry: {}\n"})

    assert [one.code for one in file.problems] == ["misplaced_defaults"]


def test_the_defaults_file_among_the_entries_is_no_job() -> None:
    contents = {"a": VALID.encode(), DEFAULTS.blob: b"retry: {maxAttempts: 2}\n"}
    files = LOADER.load([DEFAULTS, Entry("jobs.d/a.yaml", "a")], contents, DEFAULTS)

    assert [file.path for file in files] == ["jobs.d/a.yaml"]


def test_origins_say_which_file_and_line_each_field_came_from() -> None:
    job = with_lines("limits:", "  timeoutSeconds: 5", "  memoryMiB: null")
    defaults = "retry:\n  maxAttempts: 2\nlimits: {memoryMiB: 64}\nenvironments: [a, b]\n"
    loaded = load_text(job, defaults).job
    assert loaded is not None
    origins = field_origins(json.loads(loaded.config), as_bytes(job), as_bytes(defaults))

    assert {
        path: tuple(origin) for path, origin in origins.items() if origin.source != "type-default"
    } == {
        "meta.id": ("job", 2),
        "meta.environments": ("defaults", 4),
        "payload.jobType": ("job", 4),
        "payload.parameters.argv": ("job", 5),
        "payload.limits.timeoutSeconds": ("job", 7),
        "payload.retry.maxAttempts": ("defaults", 2),
    }
    assert origins["payload.retry.maxDelay"] == ("type-default", 0)
    assert origins["payload.parameters.successExitCodes"] == ("type-default", 0)
