"""The job file: what one job is (`meta`) and does (`payload`). Its keys are the product's API.

Pure shape: what needs more than one field, the clock, the registry or another file (cron, zones,
parameters of a job type, names of channels, dependencies) is checked where files are loaded.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from jobreconciler.model.job_parts import (
    Dependency,
    Expect,
    Limits,
    Manual,
    Retry,
    Schedule,
    Webhook,
)
from jobreconciler.model.notifications import Notifications
from jobreconciler.model.strict import (
    TAG_PATTERN,
    DistinctItems,
    Id,
    Line,
    Name,
    StrictModel,
    Text,
    Whole,
)


class Meta(StrictModel):
    """Names the job and says whose it is and where it is desired."""

    id: Id = Field(
        description="The job's identity for ever, unique in the repository. A renamed file is a "
        "move; a changed id is a delete and a create.",
    )
    type: Literal["job-config"] = Field(
        default="job-config",
        description="Kind of object; always job-config.",
        examples=["job-config"],
    )
    version: Line = Field(
        default="1",
        min_length=1,
        max_length=64,
        description="The author's own version: shown, never interpreted.",
        examples=["1.2.0"],
    )
    environments: DistinctItems[Name] = Field(
        default=(),
        max_length=32,
        description="Where the job is desired; empty is everywhere.",
        examples=[["production"]],
    )
    title: Line | None = Field(
        default=None,
        max_length=200,
        description="A short name for people.",
        examples=["Seven-day signal aggregation"],
    )
    description: Text | None = Field(
        default=None,
        max_length=4000,
        description="What the job is for, for people.",
        examples=["Rolls raw usage events up into 7-day figures per document."],
    )
    owner: Line | None = Field(
        default=None,
        max_length=100,
        description="Who answers for the job.",
        examples=["team-signals"],
    )
    tags: DistinctItems[Annotated[str, Field(pattern=TAG_PATTERN)]] = Field(
        default=(),
        max_length=32,
        description="Words to filter and group jobs by.",
        examples=[["signals", "nightly"]],
    )


class Payload(StrictModel):
    """Says what the job does, when, and within which bounds."""

    job_type: str = Field(
        min_length=1,
        max_length=63,
        description="A registered job type; it decides what parameters may hold.",
        examples=["command"],
    )
    is_enabled: bool = Field(
        default=True,
        description="Off: nothing starts the job, a manual run included.",
        examples=[True],
    )
    priority: Whole = Field(
        default=50,
        ge=0,
        le=100,
        description="Which waiting execution starts first when capacity is short; 100 is first.",
        examples=[50],
    )
    schedule: Schedule | None = Field(
        default=None,
        description="When the job starts by itself; left out, never.",
        examples=[{"cronExpression": "0 * * * *", "timezone": "Europe/Berlin"}],
    )
    webhook: Webhook | None = Field(
        default=None,
        description="Lets a signed request start the job.",
        examples=[{"secret": {"env": "SIGNALS_HOOK_SECRET"}, "scheme": "github"}],
    )
    manual: Manual = Field(
        default=Manual.model_construct(),
        description="What a manual run may set.",
        examples=[{"allowParameters": ["limits.batchSize"]}],
    )
    dependency: Dependency | None = Field(
        default=None,
        description="Starts the job when others have ended.",
        examples=[{"jobs": ["signal-aggregation-all"]}],
    )
    retry: Retry = Field(
        default=Retry.model_construct(),
        description="What happens after a failed attempt.",
        examples=[{"maxAttempts": 3, "initialDelay": "30s"}],
    )
    limits: Limits = Field(
        default=Limits.model_construct(),
        description="What the job may take.",
        examples=[{"timeoutSeconds": 900}],
    )
    expect: Expect = Field(
        default=Expect.model_construct(),
        description="What is normal; past it people are told, nothing is stopped.",
        examples=[{"successWithin": "3h"}],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra={"default": {}},
        description="What the job type needs to know; its own schema says what may stand here.",
        examples=[{"argv": ["/usr/bin/env", "true"]}],
    )
    notifications: Notifications = Field(
        default=Notifications.model_construct(),
        description="Who hears of it.",
        examples=[{"onFailure": ["ops"]}],
    )


class JobConfig(StrictModel):
    """One job file."""

    meta: Meta = Field(description="What the job is.", examples=[{"id": "signal-aggregation-7d"}])
    payload: Payload = Field(
        description="What the job does.",
        examples=[{"jobType": "command", "parameters": {"argv": ["/usr/bin/env", "true"]}}],
    )


class Defaults(StrictModel):
    """`_defaults.yaml`: what a job file need not repeat. Maps merge, lists replace."""

    timezone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="Time zone of every schedule that names none.",
        examples=["Europe/Berlin"],
    )
    environments: DistinctItems[Name] = Field(
        default=(),
        max_length=32,
        description="Environments of every job that names none.",
        examples=[["production"]],
    )
    retry: Retry = Field(
        default=Retry.model_construct(),
        description="Retry policy, key by key.",
        examples=[{"maxAttempts": 3}],
    )
    limits: Limits = Field(
        default=Limits.model_construct(),
        description="Limits, key by key; batchSize only reaches job types that batch.",
        examples=[{"timeoutSeconds": 900}],
    )
    expect: Expect = Field(
        default=Expect.model_construct(),
        description="Expectations, key by key.",
        examples=[{"runtimeWithin": "1h"}],
    )
    notifications: Notifications = Field(
        default=Notifications.model_construct(),
        description="Notifications, key by key; channels merge by name.",
        examples=[{"onFailure": ["ops"]}],
    )
