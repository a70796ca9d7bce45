"""The parts of a job's payload: what starts it, and within which bounds it runs."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from jobreconciler.model.strict import (
    NAME_PATTERN,
    DistinctItems,
    Duration,
    Id,
    Items,
    PositiveDuration,
    SecretReference,
    StrictModel,
    Whole,
)

CatchUp = Literal["none", "latest", "all"]
WebhookScheme = Literal["hmac-sha256", "github", "gitlab", "gitea", "standard-webhooks", "bearer"]
DependencyOn = Literal["success", "failure", "completion"]
DependencyMode = Literal["all", "any"]
Backoff = Literal["fixed", "linear", "exponential"]
Overlap = Literal["skip", "queue", "replace"]

ParameterPath = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$", max_length=128)
]


class Schedule(StrictModel):
    """Starts the job by the clock."""

    cron_expression: str = Field(
        min_length=1,
        max_length=256,
        description="Five fields (minute hour day-of-month month day-of-week), six with seconds "
        "first, or @hourly, @daily, @weekly, @monthly, @yearly.",
        examples=["0 * * * *", "30 2 * * mon-fri", "@daily"],
    )
    timezone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="IANA name of the time zone the expression is read in.",
        examples=["Europe/Berlin", "UTC"],
    )
    is_enabled: bool = Field(
        default=True,
        description="Off: only the schedule stops; other triggers still start the job.",
        examples=[True],
    )
    catch_up: CatchUp = Field(
        default="latest",
        description="What happens with slots missed while nobody could start them: none of them "
        "runs, one run stands for all, or all run (at most 100), oldest first.",
        examples=["latest"],
    )
    starting_deadline_seconds: Whole | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="A slot later than this many seconds is recorded as missed.",
        examples=[600],
    )
    jitter_seconds: Whole = Field(
        default=0,
        ge=0,
        le=86_400,
        description="Starts are spread over this many seconds, by a stable hash of id and slot.",
        examples=[0, 30],
    )


def _one_or_two(value: Any) -> str:
    return "two" if isinstance(value, list | tuple) else "one"


class Webhook(StrictModel):
    """Starts the job by a signed HTTP request."""

    secret: Annotated[
        Annotated[SecretReference, Tag("one")]
        | Annotated[
            Annotated[Items[SecretReference], Field(min_length=2, max_length=2)], Tag("two")
        ],
        Discriminator(_one_or_two),
    ] = Field(
        description="Where the shared secret is to be found; a list of two while one rotates.",
        examples=[{"env": "SIGNALS_HOOK_SECRET"}, [{"env": "NEW_SECRET"}, {"env": "OLD_SECRET"}]],
    )
    scheme: WebhookScheme = Field(
        default="hmac-sha256",
        description="How a request proves that it knows the secret.",
        examples=["github"],
    )
    allow_parameters: DistinctItems[ParameterPath] = Field(
        default=(),
        max_length=64,
        description="Which parameters a request's JSON body may set, by the field's name.",
        examples=[["limits.batchSize"]],
    )


class Manual(StrictModel):
    """Bounds of what a person who starts the job by hand may set."""

    allow_parameters: DistinctItems[ParameterPath] = Field(
        default=(),
        max_length=64,
        description="Names of parameters, and limits.batchSize, that a manual run may override.",
        examples=[["limits.batchSize"]],
    )


class Dependency(StrictModel):
    """Starts the job when those it waits for have ended."""

    jobs: DistinctItems[Id] = Field(
        min_length=1,
        max_length=64,
        description="Ids of the jobs to wait for.",
        examples=[["signal-aggregation-all"]],
    )
    on: DependencyOn = Field(
        default="success",
        description="Which outcome of a job counts.",
        examples=["success"],
    )
    mode: DependencyMode = Field(
        default="all",
        description="Whether all of them have to match, or any one.",
        examples=["all"],
    )


class Retry(StrictModel):
    """Tries again after a failed attempt."""

    max_attempts: Whole = Field(
        default=1,
        ge=1,
        le=100,
        description="Total tries, the first one included.",
        examples=[3],
    )
    backoff_strategy: Backoff = Field(
        default="exponential",
        description="How the delay grows from one try to the next.",
        examples=["exponential"],
    )
    initial_delay: Duration = Field(
        default=10,
        description="Delay before the second try.",
        examples=["30s"],
    )
    max_delay: Duration = Field(
        default=600,
        description="The delay never grows beyond this.",
        examples=["10m"],
    )
    on_exit_codes: DistinctItems[Annotated[Whole, Field(ge=0, le=255)]] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Exit codes that are worth another try; left out, every failure is.",
        examples=[[75]],
    )


class Limits(StrictModel):
    """Bounds of time, memory, output and company of one job's runs."""

    batch_size: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Items a batch, where the job type works in batches; refused elsewhere.",
        examples=[500],
    )
    timeout_seconds: Whole = Field(
        default=3600,
        ge=1,
        le=2_592_000,
        description="A run that takes longer is stopped.",
        examples=[900],
    )
    kill_grace_seconds: Whole = Field(
        default=10,
        ge=0,
        le=3600,
        description="Seconds between SIGTERM and SIGKILL when a run is stopped.",
        examples=[10],
    )
    max_concurrent: Whole = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many runs of this job may be active at once.",
        examples=[1],
    )
    overlap: Overlap = Field(
        default="skip",
        description="At that limit: skip the new run, queue one, or replace the oldest.",
        examples=["skip"],
    )
    concurrency_group: Annotated[str, Field(pattern=NAME_PATTERN)] | None = Field(
        default=None,
        description="Jobs that share this name share one start at a time.",
        examples=["signals"],
    )
    memory_mib: Whole | None = Field(
        default=None,
        alias="memoryMiB",
        ge=16,
        le=1_048_576,
        description="Memory the child may take, in MiB.",
        examples=[512],
    )
    output_kib: Whole = Field(
        default=1024,
        alias="outputKiB",
        ge=1,
        le=102_400,
        description="Output kept of a run, in KiB; beyond it the middle is cut out and marked.",
        examples=[1024],
    )


class Expect(StrictModel):
    """Says what is normal. Past it the job is Late or Overrunning; nothing is stopped."""

    success_within: PositiveDuration | None = Field(
        default=None,
        description="The job is Late when its last success is longer ago than this.",
        examples=["3h"],
    )
    runtime_within: PositiveDuration | None = Field(
        default=None,
        description="A run that takes longer is Overrunning.",
        examples=["10m"],
    )
