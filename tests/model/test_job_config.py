"""The models by themselves: durations, secrets, whole numbers, and nothing coerced."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobreconciler.model.job_config import JobConfig
from jobreconciler.model.job_parts import Limits, Retry, Webhook
from jobreconciler.model.strict import Duration, PositiveDuration, SecretReference

DURATIONS = [
    ("30s", 30),
    ("5m", 300),
    ("1h30m", 5400),
    ("2d", 172_800),
    ("1d1h1m1s", 90_061),
    ("90m", 5400),
    (45, 45),
    (45.0, 45),
    ("0s", 0),
    (0, 0),
]
NO_DURATIONS = [
    "",
    "s",
    "5",
    "5x",
    "5 m",
    "m5",
    "30s5m",
    "-5s",
    "1.5h",
    "5M",
    "5s\n",
    "٣s",
    "12345678s",
    -1,
    1.5,
    True,
    None,
    [],
    315_360_001,
]


@pytest.mark.parametrize(("written", "seconds"), DURATIONS)
def test_a_duration_is_held_as_whole_seconds(written: Any, seconds: int) -> None:
    assert TypeAdapter(Duration).validate_python(written) == seconds


@pytest.mark.parametrize("written", NO_DURATIONS)
def test_is_no_duration(written: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(written, strict=True)


@pytest.mark.parametrize("written", ["0s", 0, "0h0m"])
def test_some_durations_cannot_be_nothing(written: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PositiveDuration).validate_python(written)


@pytest.mark.parametrize("written", [{"env": "A"}, {"file": "a/b"}])
def test_a_secret_is_named_by_one_key(written: dict[str, str]) -> None:
    found: Any = TypeAdapter(SecretReference).validate_python(written)

    assert found.model_dump() == written


@pytest.mark.parametrize(
    "written",
    [
        "text",
        {},
        {"env": "A", "file": "b"},
        {"env": ""},
        {"env": "a-b"},
        {"env": "A\n"},
        {"env": None},
        {"file": ".."},
        {"file": "../a"},
        {"file": "/a"},
        {"file": "a/../b"},
        {"file": "a//b"},
        {"file": ".hidden"},
        {"file": "a/"},
        {"vault": "x"},
        5,
        None,
    ],
)
def test_is_no_secret_reference(written: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SecretReference).validate_python(written)


def test_a_webhook_has_one_secret_or_two_while_one_rotates() -> None:
    one = Webhook.model_validate({"secret": {"env": "A"}})
    two = Webhook.model_validate({"secret": [{"env": "A"}, {"file": "b"}]})

    assert one.model_dump(by_alias=True)["secret"] == {"env": "A"}
    assert two.model_dump(mode="json", by_alias=True)["secret"] == [{"env": "A"}, {"file": "b"}]
    for count in (0, 1, 3):
        with pytest.raises(ValidationError):
            Webhook.model_validate({"secret": [{"env": f"A{n}"} for n in range(count)]})
    with pytest.raises(ValidationError):
        Webhook.model_validate({})


@pytest.mark.parametrize("value", ["3", True, 3.5, None])
def test_nothing_becomes_a_number_by_itself(value: Any) -> None:
    with pytest.raises(ValidationError):
        Retry.model_validate({"maxAttempts": value})


def test_a_float_without_a_fraction_is_a_whole_number_as_in_json_schema() -> None:
    attempts = Retry.model_validate({"maxAttempts": 3.0}).max_attempts

    assert (attempts, type(attempts)) == (3, int)


def test_keys_are_those_of_the_file_and_no_others() -> None:
    assert Limits.model_validate({"memoryMiB": 64, "outputKiB": 1}).memory_mib == 64
    for key in ("memory_mib", "memoryMib", "max_concurrent"):
        with pytest.raises(ValidationError):
            Limits.model_validate({key: 64})


def test_a_config_cannot_be_changed() -> None:
    config = JobConfig.model_validate({"meta": {"id": "a"}, "payload": {"jobType": "command"}})

    with pytest.raises(ValidationError):
        config.payload.priority = 5  # type: ignore[misc]


IDS = [
    ("a", True),
    ("0", True),
    ("a-b", True),
    ("a" * 63, True),
    ("a" * 64, False),
    ("", False),
    ("A", False),
    ("-a", False),
    ("a-", False),
    ("a_b", False),
    ("a.b", False),
    ("ä", False),
    ("a\n", False),
]


@pytest.mark.parametrize(("job_id", "is_valid"), IDS)
def test_ids(job_id: str, is_valid: bool) -> None:
    document = {"meta": {"id": job_id}, "payload": {"jobType": "command"}}
    try:
        JobConfig.model_validate(document)
    except ValidationError:
        assert not is_valid
    else:
        assert is_valid
