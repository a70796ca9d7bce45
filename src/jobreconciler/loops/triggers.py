"""What people and other systems ask for: signed webhooks, retries, cancelling, slots run later.

Each request is checked against the job as it is now, then released through the work loop. What
blocks (look-ups, secrets, digests, parsing) happens in a thread.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from jobreconciler.core import cron
from jobreconciler.core.overrides import allowed_of, chosen, merged, picked
from jobreconciler.core.webhook import SAME_BODY_SECONDS, Verdict, verify
from jobreconciler.errors import Invalid, JobReconcilerError, NotFound, Refused, Stalled
from jobreconciler.loops.work import Worker
from jobreconciler.model.execution import RAN_STATUSES, Execution, Trigger
from jobreconciler.model.job import PinnedJob
from jobreconciler.ports import Backfilled, Clock, Delivery, Received, Store

log = structlog.get_logger("jobreconciler.triggers")

SAME_KEY_SECONDS = 24 * 3600
BACKFILL_LIMIT = 100
BACKFILL_MOST = 10_000
STOP_TRIES = 100
_TICK = timedelta(microseconds=1)

Resolve = Callable[[Mapping[str, Any]], str]
"""A secret reference's value. Raises Invalid, never with the value in it."""

CheckParameters = Callable[[str, Mapping[str, Any]], None]
"""Whether the job type of that name takes these parameters. Raises Invalid, NotFound."""


class Triggers:
    """Used on the event loop. Raises NotFound, Invalid, Stalled (as it is, it cannot), Refused."""

    def __init__(
        self,
        store: Store,
        worker: Worker,
        clock: Clock,
        check_parameters: CheckParameters,
        resolve: Resolve,
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._check_parameters = check_parameters
        self._resolve = resolve
        # What requests for jobs that are not there are compared with, so that it takes as long.
        self._nobodys = (secrets.token_hex(32),)

    # --------------------------------------------------------------------------- webhooks

    async def received(self, job_id: str, headers: Mapping[str, str], body: bytes) -> Received:
        """Release what a signed request asks for, once. `headers` have lower-case names.

        Raises Refused where it proves nothing, whether or not there is such a job.
        """
        pinned, verdict, first, overrides = await asyncio.to_thread(
            self._judged, job_id, headers, body
        )
        if first is not None:
            return Received(first, repeated=True)
        trigger = Trigger("webhook", delivery_id=verdict.delivery_id, parameters=overrides)
        deliveries = self._deliveries(job_id, verdict)
        id_, execution = await self._released_once(pinned, trigger, deliveries)
        return Received(id_, repeated=execution is None)

    def _judged(
        self, job_id: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[PinnedJob, Verdict, str | None, dict[str, Any]]:
        """In a thread: verified before anything of the body is read."""
        pinned = self._store.pinned([job_id]).get(job_id)
        webhook = None if pinned is None else pinned.config["payload"].get("webhook")
        scheme = "hmac-sha256" if webhook is None else webhook["scheme"]
        known = self._secrets(job_id, webhook["secret"]) if webhook is not None else ()
        verdict = verify(scheme, headers, body, known or self._nobodys, self._clock.now())
        if pinned is None or not known or not verdict.genuine:
            raise Refused("the request does not prove that it may start this job")
        for delivery in self._deliveries(job_id, verdict):
            first = self._store.seen(delivery)
            if first is not None:
                return pinned, verdict, first, {}
        _check_enabled(pinned)
        allowed = allowed_of(pinned.config, "webhook")
        overrides = picked(_parsed(body), allowed) if allowed else {}
        self.check(pinned, overrides)
        return pinned, verdict, None, overrides

    def _secrets(self, job_id: str, references: Any) -> tuple[str, ...]:
        """Those that can be had: while one rotates, one of two may not be there yet."""
        found = []
        for reference in references if isinstance(references, list) else [references]:
            try:
                found.append(self._resolve(reference))
            except JobReconcilerError as error:
                log.warning("webhook_secret_missing", job=job_id, error=error.message)
        return tuple(found)

    def _deliveries(self, job_id: str, verdict: Verdict) -> tuple[Delivery, ...]:
        scope = f"hook:{job_id}"
        found = []
        if verdict.delivery_id is not None:
            found.append(Delivery(scope, f"id:{verdict.delivery_id}"))
        if verdict.signed is not None:
            since = self._clock.now() - timedelta(seconds=SAME_BODY_SECONDS)
            found.append(Delivery(scope, f"body:{verdict.signed}", since))
        return tuple(found)

    # ------------------------------------------------------------------------ idempotency

    async def _released_once(
        self,
        pinned: PinnedJob,
        trigger: Trigger,
        deliveries: Sequence[Delivery],
        **how: Any,
    ) -> tuple[str, Execution | None]:
        """The id of the execution that stands for these deliveries; itself where it is new."""
        first = ""

        async def write(execution: Execution, config: Mapping[str, Any]) -> bool:
            nonlocal first
            first = await asyncio.wrap_future(
                self._store.release_once(execution, config, deliveries)
            )
            return first == execution.id

        execution = await self._worker.releases.release(pinned, trigger, write=write, **how)
        return first, execution

    async def release_keyed(
        self, pinned: PinnedJob, trigger: Trigger, key: str | None, **how: Any
    ) -> Execution:
        """Release it, or give what the same actor's request with this Idempotency-Key released
        in the last 24 hours. Raises Invalid (KeyReused) where the two requests differ."""
        deliveries: tuple[Delivery, ...] = ()
        if key is not None:
            since = self._clock.now() - timedelta(seconds=SAME_KEY_SECONDS)
            deliveries = (Delivery(f"key:{pinned.job_id}:{trigger.actor}", key, since),)
            before = await asyncio.to_thread(self._store.seen, deliveries[0])
            if before is not None:
                # Also where the job may not be started any more: it asks for nothing new.
                return await self._same(before, trigger, **how)
        id_, execution = await self._released_once(pinned, trigger, deliveries, **how)
        return execution if execution is not None else await self._same(id_, trigger, **how)

    async def _same(
        self,
        execution_id: str,
        trigger: Trigger,
        *,
        dry_run: bool = False,
        retry_of: str | None = None,
    ) -> Execution:
        """The execution, if it is what this request asks for. Raises Invalid (KeyReused)."""
        first = await asyncio.to_thread(self._store.execution, execution_id)
        asked = (trigger.reason, trigger.parameters, trigger.override, dry_run, retry_of)
        if first is None or asked != (
            first.trigger.reason,
            first.trigger.parameters,
            first.trigger.override,
            first.dry_run,
            first.retry_of,
        ):
            raise Invalid(
                "this Idempotency-Key was sent before with another request",
                reason="KeyReused",
                hint="make up a new key for each new request",
            )
        return first

    # ------------------------------------------------------------------------- parameters

    def overrides(self, pinned: PinnedJob, given: Mapping[str, Any]) -> dict[str, Any]:
        """What somebody sets by hand, checked. Raises Invalid with the parameter named."""
        found = chosen(given, allowed_of(pinned.config, "manual"))
        self.check(pinned, found)
        return found

    def check(self, pinned: PinnedJob, overrides: Mapping[str, Any]) -> None:
        """Whether the job's type takes its parameters with these set. Raises Invalid."""
        if not overrides:
            return
        _, parameters = merged(pinned.config, overrides)
        self._check_parameters(pinned.config["payload"]["jobType"], parameters)

    # ---------------------------------------------------------------------- on executions

    async def retry(
        self, execution_id: str, *, actor: str, reason: str | None, key: str | None
    ) -> Execution:
        """A new execution of what the job says now, with what the first one was given."""
        first = await self._execution(execution_id)
        if first.status not in RAN_STATUSES:
            ran = first.status in ("queued", "running")
            raise Stalled(
                f"execution {execution_id} is {first.status}, so there is nothing to retry",
                reason="NotEnded" if ran else "NeverRan",
                hint="cancel it first, or wait until it has ended"
                if ran
                else f"`jobreconciler trigger {first.job_id}` runs the job now, "
                "`jobreconciler backfill` a slot that was missed",
            )
        pinned = await self.startable(first.job_id)
        self.check(pinned, first.trigger.parameters)
        trigger = Trigger(
            "manual",
            slot=first.trigger.slot,
            actor=actor,
            reason=reason,
            parameters=first.trigger.parameters,
        )
        return await self.release_keyed(
            pinned, trigger, key, dry_run=first.dry_run, retry_of=first.id
        )

    async def cancel(self, execution_id: str, *, actor: str, reason: str | None) -> Execution:
        """Drop it from the line, or ask it to stop: TERM, grace, KILL. Returns at once."""
        why = f"cancelled by {actor}" + (f": {reason}" if reason else "")
        for _ in range(STOP_TRIES):
            found = await self._execution(execution_id)
            if found.status not in ("queued", "running"):
                raise Stalled(
                    f"execution {execution_id} has ended: it is {found.status}",
                    reason="AlreadyEnded",
                    hint="there is nothing left to cancel",
                )
            if await self._worker.cancel(execution_id, why):
                return await self._execution(execution_id)
            # It ended, or began, at this very moment: the store knows by the next look.
            await asyncio.sleep(0.05)
        raise Stalled(
            f"execution {execution_id} could not be stopped",
            reason="NotStopped",
            hint="the daemon's log says more; try again",
        )

    async def _execution(self, execution_id: str) -> Execution:
        found = await asyncio.to_thread(self._store.execution, execution_id)
        if found is None:
            raise NotFound(
                f"there is no execution {execution_id}",
                hint="`jobreconciler history JOB` lists them",
            )
        return found

    async def startable(self, job_id: str) -> PinnedJob:
        """The job as it is now. Raises NotFound, Stalled (JobDisabled)."""
        pinned = (await asyncio.to_thread(self._store.pinned, [job_id])).get(job_id)
        if pinned is None:
            raise NotFound(f"there is no job {job_id}", hint="`jobreconciler jobs` lists them")
        _check_enabled(pinned)
        return pinned

    # --------------------------------------------------------------------------- backfill

    async def backfill(
        self,
        job_id: str,
        first: datetime,
        last: datetime,
        *,
        actor: str,
        reason: str | None,
        limit: int | None,
    ) -> Backfilled:
        """Release the slots from `first` to `last`, both included, that never ran."""
        pinned = await self.startable(job_id)
        slots = await asyncio.to_thread(self._slots, pinned, first, last, limit)
        released: list[Execution] = []
        ran: list[datetime] = []
        for slot in slots:
            trigger = Trigger("backfill", slot=slot, actor=actor, reason=reason)
            execution = await self._worker.releases.release(pinned, trigger)
            if execution is None:
                ran.append(slot)
            else:
                released.append(execution)
        return Backfilled(tuple(released), tuple(ran))

    def _slots(
        self, pinned: PinnedJob, first: datetime, last: datetime, limit: int | None
    ) -> tuple[datetime, ...]:
        declared = pinned.config["payload"].get("schedule")
        if declared is None:
            raise Invalid(
                f"{pinned.job_id} has no schedule, so it has no slots",
                reason="NoSchedule",
                hint=f"`jobreconciler trigger {pinned.job_id}` runs it once",
            )
        now = self._clock.now()
        if first > last or last > now:
            raise Invalid(
                "expected a span of the past: `from` before `to`, and `to` not after now",
                reason="InvalidSpan",
                hint="such as --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z",
            )
        schedule = cron.parse(declared["cronExpression"], declared["timezone"])
        count = cron.count_between(schedule, first - _TICK, last)
        most = BACKFILL_LIMIT if limit is None else min(limit, BACKFILL_MOST)
        if count > most:
            raise Invalid(
                f"that span has {count} slots, and at most {most} are run at once",
                reason="TooManySlots",
                hint="name a shorter span"
                + (f", or a limit of {count}" if count <= BACKFILL_MOST else ""),
            )
        return cron.slots_between(schedule, first - _TICK, last)


def _check_enabled(pinned: PinnedJob) -> None:
    if not pinned.config["payload"]["isEnabled"]:
        raise Stalled(
            f"{pinned.job_id} is disabled, so nothing may start it",
            reason="JobDisabled",
            hint="set payload.isEnabled to true in its file",
        )


def _parsed(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Invalid(
            "the body is not JSON, and this job takes parameters from it",
            reason="InvalidBody",
            hint="send application/json",
        ) from None
