"""Notifications as values: what happened to a job, and who is to be told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

NoticeEvent = Literal["success", "failure", "missed", "late", "overrunning", "recovery"]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that may be worth telling. `facts` is JSON that goes into the message.

    `notifications` is the job's `payload.notifications`. `repeat`: nothing new happened, a state
    that was told of before still lasts. `since`: when the state began, where that was before `at`.
    """

    job_id: str
    event: NoticeEvent
    at: datetime
    notifications: Mapping[str, Any]
    execution_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    repeat: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A state people were told of and that lasts: since when, and when it was last told."""

    since: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one channel. `id` stays the same however often it is sent.

    `channel` names the queue: notices to one receiver share it. `content` is JSON: the facts and
    the channel's definition, with secret references, never with their values.
    """

    id: str
    job_id: str
    event: NoticeEvent
    channel: str
    content: Mapping[str, Any]
    created_at: datetime
    execution_id: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What an occurrence leads to: messages, states that now stand, states that ended."""

    notices: tuple[Notice, ...] = ()
    standing: Mapping[str, Standing] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Message:
    """A notice as it is sent. `fields` is the body of a webhook."""

    id: str
    event: str
    title: str
    body: str
    fields: Mapping[str, Any]
