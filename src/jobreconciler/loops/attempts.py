"""From an execution that may start to its process, and from the process's end to its outcome.

Claims an attempt in the store before its process is started: after a crash in between it is given
back, and never run twice. What happens to many at once is
written in one transaction; where that fails each is written by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from jobreconciler.core import notices
from jobreconciler.core.overrides import merged
from jobreconciler.core.retry import RetryPolicy, retry_at
from jobreconciler.errors import Invalid, JobReconcilerError
from jobreconciler.loops.inflight import Held, InFlight
from jobreconciler.model.execution import Attempt, Launch, Outcome
from jobreconciler.model.notice import Occurrence
from jobreconciler.ports import Clock, Ending, Executor, Finished, Observer, Started, Store

log = structlog.get_logger("jobreconciler.work")

LONGEST_STORE_PAUSE = 30.0
CLAIM_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """Whom to ask and to tell. `may`: whether one that was claimed may still start; `back`: these
    may not; `again`: an attempt may be made; `room`: something else may start; `ended`: something
    of this job has ended; `notices`: there is something to send."""

    may: Callable[[Held], bool]
    back: Callable[[Sequence[Held]], Coroutine[Any, Any, None]]
    again: Callable[[Held], None]
    room: Callable[[], None]
    ended: Callable[[str], None]
    notices: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Judged:
    """An end, what is known of its execution, and when there is to be another try."""

    finished: Finished
    held: Held | None
    outcome: Outcome
    again: datetime | None


class Attempts:
    """Used on the event loop only."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        clock: Clock,
        observer: Observer,
        flight: InFlight,
        told: Told,
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._observer = observer
        self._flight = flight
        self._told = told
        self.trouble: str | None = None

    # ------------------------------------------------------------------------------ beginning

    async def claim(self, starting: Sequence[Held]) -> list[Held]:
        """Those of them that this daemon may start now. The others are settled otherwise."""
        begun = [(held.execution.id, self.begin(held)) for held in starting]
        try:
            claimed = await asyncio.wrap_future(self._store.start_attempts(begun))
        except Exception as error:
            for held in starting:
                held.attempts -= 1
            if len(starting) == 1:
                self._not_claimed(starting[0], error)
                return []
            return [held for one in starting for held in await self.claim([one])]
        self.trouble = None
        for held, may in zip(starting, claimed, strict=True):
            if not may:
                self.forget(held.execution.id)
        return [held for held, may in zip(starting, claimed, strict=True) if may]

    def begin(self, held: Held, at: datetime | None = None) -> Attempt:
        """Its next attempt, at `at` or now, which the store has still to be told of."""
        held.attempts += 1
        held.launched = False
        attempt = Attempt(held.attempts, at or self._clock.now())
        held.started_at = held.started_at or attempt.started_at
        return attempt

    def _not_claimed(self, held: Held, error: Exception) -> None:
        """The store could not take the claim: nothing was begun, so it is tried again soon."""
        log.error(
            "attempt_waits_for_store",
            job=held.job_id,
            execution=held.execution.id,
            **reason_of(error),
        )
        self._observer.loop_error("work")
        self.trouble = f"runs wait for the store: {error}"
        self._flight.rest(held)
        self.rest(held, self._clock.now() + timedelta(seconds=CLAIM_AGAIN_SECONDS))

    async def settle_unstarted(self, held: Held, written: Future[bool]) -> bool:
        """What becomes of one that was taken and may not start. Where the store cannot take it,
        it is back in the line soon. False: then, or it was no longer queued."""
        try:
            done = await asyncio.wrap_future(written)
        except Exception as error:
            self._not_claimed(held, error)
            return False
        self.forget(held.execution.id)
        return done

    async def launch_all(self, begun: Sequence[Held]) -> None:
        """Start the processes of attempts that were claimed in the store, unless something keeps
        them from starting since."""
        wanted: list[Held] = []
        launches: list[Launch] = []
        kept: list[Held] = []
        left = []
        for held in begun:
            if not self._told.may(held):
                kept.append(held)
                continue
            try:
                launches.append(_launch(held))
            except Exception as error:
                left.append(self._not_started(held, error))
            else:
                wanted.append(held)
        results = await self._started_all(launches)
        say = log.bind()
        for held, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException):
                left.append(self._not_started(held, result))
                continue
            held.launched = True
            try:
                self._started(held, result, say)
            except Exception as error:  # it runs all the same
                self._say_crashed("started", held.execution.id, error)
            if held.stopped_for is not None:  # asked for before the executor knew of it
                left.append(self._stop(held))
        if kept:
            left.append(self._told.back(kept))
        await asyncio.gather(*left)

    async def _started_all(self, launches: Sequence[Launch]) -> Sequence[Started | BaseException]:
        try:
            return await self._executor.start_all(launches)
        except Exception as error:
            return [error] * len(launches)

    def _say_crashed(self, what: str, execution_id: str, error: BaseException) -> None:
        log.error("crashed", at=what, execution=execution_id, exc_info=error)
        self._observer.loop_error("work")

    async def _stop(self, held: Held) -> None:
        try:
            await self._executor.stop(held.execution.id, "cancelled")
        except OSError as error:
            log.error("not_stopped", job=held.job_id, execution=held.execution.id, error=str(error))
            self._observer.loop_error("work")

    async def _not_started(self, held: Held, error: BaseException) -> None:
        if isinstance(error, JobReconcilerError):
            if error.reason == "Closing":
                return  # it stays claimed: the next daemon starts it, or finds it started
            await self._could_not_start(
                held, error.message, retryable=not isinstance(error, Invalid)
            )
            return
        if not isinstance(error, Exception):
            raise error
        log.error("start_crashed", job=held.job_id, execution=held.execution.id, exc_info=error)
        self._observer.loop_error("work")
        await self._could_not_start(held, f"{type(error).__name__}: {error}", retryable=False)

    def _started(self, held: Held, started: Started, say: Any) -> None:
        if (held.config["payload"].get("expect") or {}).get("runtimeWithin") is not None:
            self._observer.jobs_changed([held.job_id])  # from when on it overruns is known now
        if held.due_at is not None and held.attempts == 1:
            late = (started.started_at - held.due_at).total_seconds()
            self._observer.lateness(max(0.0, late))
        say.info(
            "started",
            job=held.job_id,
            execution=held.execution.id,
            attempt=held.attempts,
            revision=held.execution.revision,
            pid=started.pid,
        )

    async def _could_not_start(self, held: Held, error: str, *, retryable: bool) -> None:
        """A missing secret or an invalid parameter is as wrong the next time: no retry."""
        log.warning("start_failed", job=held.job_id, execution=held.execution.id, error=error)
        outcome = Outcome("failed", self._clock.now(), error=error)
        finished = Finished(held.execution.id, held.attempts, outcome)
        await self._settle(finished, retryable=retryable)

    # ---------------------------------------------------------------------------------- ending

    async def settle_all(self, ends: Sequence[Finished]) -> None:
        """Store what came out of these attempts, whose processes have left the fleet (`leave`).

        What may start in their place is claimed first: that is under way, and two turns behind.
        """
        for _ in range(2):
            await asyncio.sleep(0)
        judged = [self._judged(finished) for finished in ends]
        last = [one for one in judged if one.again is None]
        left = [one for one in judged if one.again is not None]
        if not await self._finish_all(last):
            left = judged
        await asyncio.gather(*(self._settle(one.finished) for one in left))

    def leave(self, ends: Sequence[Finished]) -> None:
        """Their processes have ended: others may start in their place, before that is stored."""
        for finished in ends:
            self._flight.leave(finished.execution_id)
        self._told.room()

    async def _settle(self, finished: Finished, *, retryable: bool = True) -> None:
        """Store an outcome, again and again while the store cannot take it.

        Until then the execution counts as running; if the daemon ends first, its result still
        lies in the spool and a restart reads it again.
        """
        pause = 0.5
        while True:
            judged = self._judged(finished, retryable=retryable)
            try:
                if not (judged.again is not None and await self._retry_later(judged)):
                    await self._finish([judged])
                return
            except Exception as error:
                log.error("outcome_not_stored", execution=finished.execution_id, **reason_of(error))
                self._observer.loop_error("work")
                self.trouble = f"the ends of runs wait for the store: {error}"
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_STORE_PAUSE)

    def _judged(self, finished: Finished, *, retryable: bool = True) -> _Judged:
        outcome = finished.outcome
        held = self._flight.get(finished.execution_id)
        again = None
        if held is not None:
            if held.stopped_for and outcome.status == "cancelled":
                outcome = replace(outcome, error=held.stopped_for)
            if retryable:
                again = self._retry_at(held, finished)
            no_more = held.stopped_for or held.no_more
            if again is not None and no_more is not None:
                again = None
                outcome = replace(outcome, error=_not_again(outcome, no_more))
        return _Judged(finished, held, outcome, again)

    def _retry_at(self, held: Held, finished: Finished) -> datetime | None:
        """Never raises: whatever is wrong with its config, the attempt has ended."""
        try:
            policy, now = RetryPolicy.of(held.config), self._clock.now()
            return retry_at(policy, finished.outcome, finished.attempt, now, finished.execution_id)
        except Exception as error:
            self._say_crashed("retry", finished.execution_id, error)
            return None

    async def _retry_later(self, judged: _Judged) -> bool:
        """False where the execution was no longer running."""
        finished, held, again = judged.finished, judged.held, judged.again
        assert held is not None and again is not None
        stored = await asyncio.wrap_future(
            self._store.retry_later(finished.execution_id, finished.attempt, judged.outcome, again)
        )
        self.trouble = None
        if stored:
            self._flight.rest(held)
            self.rest(held, again)
            self._told.room()
            _say(held, judged.outcome, again)
        return stored

    async def _finish_all(self, ends: Sequence[_Judged]) -> bool:
        """False where the store did not take them together: none was written then."""
        if not ends:
            return True
        try:
            await self._finish(ends)
        except Exception:
            # Each is stored by itself then: that one says what is wrong with it.
            return False
        return True

    async def _finish(self, ends: Sequence[_Judged]) -> None:
        tells = [self._occurrence(judged) for judged in ends]
        stored = await asyncio.wrap_future(
            self._store.finish_all(
                [
                    Ending(one.finished.execution_id, one.finished.attempt, one.outcome, told)
                    for one, told in zip(ends, tells, strict=True)
                ]
            )
        )
        self.trouble = None
        if any(done and told is not None for done, told in zip(stored, tells, strict=True)):
            self._told.notices()
        logger = log.bind()
        for judged, done in zip(ends, stored, strict=True):
            self.forget(judged.finished.execution_id)
            if done and judged.held is not None:
                try:
                    self._count(judged.held, judged.outcome)
                    _say(judged.held, judged.outcome, None, logger)
                except Exception as error:  # it is stored all the same
                    self._say_crashed("finished", judged.finished.execution_id, error)
                self._told.ended(judged.held.job_id)

    def rest(self, held: Held, until: datetime) -> None:
        """Back into the line at `until`; a wall clock that is set meanwhile moves nothing."""
        delay = max(0.0, (until - self._clock.now()).total_seconds())
        held.pause = asyncio.get_running_loop().call_later(delay, self._told.again, held)

    def forget(self, execution_id: str) -> None:
        """It is over, as far as starting others goes."""
        self._flight.end(execution_id)
        self._told.room()

    def _occurrence(self, judged: _Judged) -> Occurrence | None:
        """Never raises: an end that cannot be told of is stored all the same."""
        held = judged.held
        if held is None:
            return None
        try:
            return notices.of_outcome(
                held.execution,
                held.config,
                judged.outcome,
                judged.finished.attempt,
                held.started_at,
            )
        except Exception as error:
            self._say_crashed("notice", judged.finished.execution_id, error)
            return None

    def _count(self, held: Held, outcome: Outcome) -> None:
        began = held.started_at or held.execution.queued_at
        seconds = max(0.0, (outcome.finished_at - began).total_seconds())
        job_type = held.config["payload"]["jobType"]
        self._observer.execution_finished(held.job_id, job_type, outcome.status, seconds)


def reason_of(error: Exception) -> dict[str, Any]:
    """What a log line says of an error; of one that nobody expects all there is."""
    if isinstance(error, JobReconcilerError):
        return {"reason": error.reason, "error": error.message}
    return {"reason": "Unexpected", "error": str(error), "exc_info": error}


def _not_again(outcome: Outcome, no_more: str) -> str:
    """An outcome's error where only `no_more` keeps its execution from another attempt."""
    said = f"not tried again: {no_more}"
    return said if outcome.error is None else f"{outcome.error}; {said}"


def _say(held: Held, outcome: Outcome, again: datetime | None, logger: Any = log) -> None:
    write = logger.info if outcome.status == "succeeded" else logger.warning
    write(
        "finished" if again is None else "attempt_failed",
        job=held.job_id,
        execution=held.execution.id,
        attempt=held.attempts,
        status=outcome.status,
        exit_code=outcome.exit_code,
        error=outcome.error,
        revision=held.execution.revision,
        **({} if again is None else {"retry_at": again.isoformat()}),
    )


def _launch(held: Held) -> Launch:
    execution = held.execution
    config, parameters = merged(held.config, execution.trigger.parameters)
    return Launch(
        execution.id,
        execution.job_id,
        held.attempts,
        config,
        parameters,
        execution.trigger,
        execution.revision,
        execution.dry_run,
        None if execution.trigger.parameters else execution.config_digest,
        again=not held.fresh,
    )
