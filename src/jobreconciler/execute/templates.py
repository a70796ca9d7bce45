"""Requests of jobs that run again and again: put together once, then filled in.

Only for what holds no secret, whose value may be another each time.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from jobreconciler.execute import request
from jobreconciler.execute.encoding import encoded
from jobreconciler.execute.request import Sent
from jobreconciler.model.execution import Launch

MOST = 2_048
"""Requests that are kept; about 3 KB each."""
_ID = f"i{os.urandom(8).hex()}"
_DIRECTORY = f"d{os.urandom(8).hex()}"
_SLOT = datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=int.from_bytes(os.urandom(5), "big"))
_MARKS = (_ID, _DIRECTORY, request.instant(_SLOT) or "")
_MARK = re.compile("|".join(_MARKS).encode())
_Key = tuple[str, str, str, bool, int, bool, str]


class Templates:
    """`build` makes a whole request of a launch and the directory its files go to."""

    def __init__(self, build: Callable[[Launch, str], Sent]) -> None:
        self._build = build
        self._kept: OrderedDict[_Key, Sent] = OrderedDict()

    def request(self, launch: Launch, directory: str) -> Sent:
        if launch.config_digest is None:
            return self._build(launch, directory)
        slot = launch.trigger.slot
        key = (
            launch.config_digest,
            launch.job_id,
            launch.trigger.type,
            slot is None,
            launch.attempt,
            launch.dry_run,
            launch.revision,
        )
        found = self._kept.get(key)
        if found is None:
            sent = self._build(launch, directory)
            if not sent.has_secrets:
                self._keep(key, launch)
            return sent
        self._kept.move_to_end(key)
        values = {
            b"id": launch.execution_id.encode(),
            b"directory": encoded(directory)[1:-1],
            b"slot": (request.instant(slot) or "").encode(),
        }
        return Sent(found.body % values, found.python, found.light, found.has_secrets)

    def _keep(self, key: _Key, launch: Launch) -> None:
        slot = None if launch.trigger.slot is None else _SLOT
        trigger = replace(launch.trigger, slot=slot)
        sent = self._build(replace(launch, execution_id=_ID, trigger=trigger), _DIRECTORY)
        body = _MARK.sub(_named, sent.body.replace(b"%", b"%%"))
        self._kept[key] = sent._replace(body=body)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)


_NAMES = dict(zip((mark.encode() for mark in _MARKS), ("id", "directory", "slot"), strict=True))


def _named(mark: re.Match[bytes]) -> bytes:
    return f"%({_NAMES[mark[0]]})b".encode()
