"""Who hears how runs ended, and through which channels: `payload.notifications` of a job file."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from jobreconciler.model.strict import (
    EMAIL_PATTERN,
    DistinctItems,
    Name,
    SecretReference,
    StrictModel,
)


class SlackChannel(StrictModel):
    """A Slack incoming webhook."""

    type: Literal["slack"] = Field(description="Kind of channel.", examples=["slack"])
    url: SecretReference = Field(
        description="Where the incoming webhook's URL is to be found.",
        examples=[{"env": "OPS_SLACK_URL"}],
    )


class EmailChannel(StrictModel):
    """E-mail through the daemon's mail server, or one of its own."""

    type: Literal["email"] = Field(description="Kind of channel.", examples=["email"])
    to: DistinctItems[Annotated[str, Field(pattern=EMAIL_PATTERN, max_length=254)]] = Field(
        min_length=1,
        max_length=50,
        description="Who gets the message.",
        examples=[["oncall@example.org"]],
    )
    server: SecretReference | None = Field(
        default=None,
        description="Where the URL of a mail server is to be found, "
        "smtp[s]://[user:password@]host[:port][?from=address]; the daemon's own if left out.",
        examples=[{"env": "OPS_SMTP_URL"}],
    )


class WebhookChannel(StrictModel):
    """A JSON POST to a URL of your own."""

    type: Literal["webhook"] = Field(description="Kind of channel.", examples=["webhook"])
    url: SecretReference = Field(
        description="Where the receiver's URL is to be found.",
        examples=[{"env": "PAGER_URL"}],
    )
    secret: SecretReference | None = Field(
        default=None,
        description="Where the key is to be found that signs each message: "
        "X-JobReconciler-Signature is sha256= and the HMAC-SHA256 of the body in hexadecimal.",
        examples=[{"env": "PAGER_SECRET"}],
    )


class AppriseChannel(StrictModel):
    """Any service that Apprise knows, by its URL."""

    type: Literal["apprise"] = Field(description="Kind of channel.", examples=["apprise"])
    url: SecretReference = Field(
        description="Where the Apprise URL is to be found.",
        examples=[{"env": "TELEGRAM_URL"}],
    )


Channel = Annotated[
    SlackChannel | EmailChannel | WebhookChannel | AppriseChannel, Discriminator("type")
]


class Notifications(StrictModel):
    """Tells people, through channels, how runs ended."""

    on_success: DistinctItems[Name] = Field(
        default=(), max_length=16, description="Channels told of a success.", examples=[["ops"]]
    )
    on_failure: DistinctItems[Name] = Field(
        default=(),
        max_length=16,
        description="Channels told when the last attempt has failed.",
        examples=[["ops"]],
    )
    on_missed: DistinctItems[Name] = Field(
        default=(),
        max_length=16,
        description="Channels told of missed slots, and of a job that is Late or Overrunning.",
        examples=[["ops"]],
    )
    on_recovery: DistinctItems[Name] = Field(
        default=(),
        max_length=16,
        description="Channels told of the first success after a failure.",
        examples=[["ops"]],
    )
    include_logs: bool = Field(
        default=True,
        description="Whether a message carries the last lines of output, secrets masked.",
        examples=[True],
    )
    channels: dict[Name, Channel] = Field(
        default_factory=dict,
        json_schema_extra={"default": {}},
        max_length=32,
        description="The channels the lists above name.",
        examples=[{"ops": {"type": "slack", "url": {"env": "OPS_SLACK_URL"}}}],
    )
