"""What a job file must satisfy beyond its shape: job type, parameters, cron, zone, names.

Every check looks at the plain data and skips what has the wrong shape, which the model reports:
so one pass finds the mistakes of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.core.cron_slots import parse
from jobreconciler.errors import Invalid, NotFound
from jobreconciler.model.job_config import JobConfig
from jobreconciler.source.findings import Finding, dotted
from jobreconciler.source.known_keys import fields_of, nearest
from jobreconciler.source.model_errors import findings_of

if TYPE_CHECKING:
    from jobreconciler.ports import JobType, JobTypes

_LISTS = ("onSuccess", "onFailure", "onMissed", "onRecovery")
_BATCH_SIZE = "limits.batchSize"


@dataclass(slots=True)
class Checked:
    """The model, where the data fits it, the parameters as they are stored, every mistake found."""

    config: JobConfig | None = None
    parameters: dict[str, Any] | None = None
    findings: list[Finding] = field(default_factory=list)


class TypeLookup:
    """The registry with a memory: a thousand files of one unknown type ask for it once."""

    def __init__(self, job_types: JobTypes) -> None:
        self.job_types = job_types
        self.found: dict[str, JobType | NotFound] = {}

    def of(self, data: Any) -> JobType | NotFound | None:
        """The type that a job file names, the reason why there is none, or None: no name."""
        payload = data.get("payload")
        name = payload.get("jobType") if isinstance(payload, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= 63:
            return None
        found = self.found.get(name)
        if found is None:
            try:
                found = self.job_types.get(name)
            except NotFound as error:
                found = error
            self.found[name] = found
        return found


def check(
    data: dict[str, Any], job_type: JobType | NotFound | None, *, keep: bool = True
) -> Checked:
    """Hold a merged job file against its models and every rule that one file alone can break.

    Without `keep` nobody is going to store the parameters: they are left empty.
    """
    checked = Checked()
    try:
        checked.config = JobConfig.model_validate(data)
    except ValidationError as error:
        checked.findings += findings_of(error, JobConfig, data)
    payload = data.get("payload")
    if isinstance(payload, dict):
        checked.findings += _schedule(payload.get("schedule"))
        checked.findings += _channels(payload.get("notifications"))
        if isinstance(job_type, NotFound):
            checked.findings.append(_unknown_type(job_type))
        elif job_type is not None:
            checked.findings += _fit_of_type(payload, job_type)
            _parameters(checked, payload, job_type, keep)
    return checked


def _unknown_type(error: NotFound) -> Finding:
    code = "broken_job_type" if error.reason == "BrokenJobType" else "unknown_job_type"
    return Finding(("payload", "jobType"), code, error.message, error.hint)


def _schedule(schedule: Any) -> Iterator[Finding]:
    if not isinstance(schedule, dict):
        return
    expression, zone = schedule.get("cronExpression"), schedule.get("timezone")
    if isinstance(expression, str) and 0 < len(expression) <= 256:
        fault = expression_fault(expression)
        if fault is not None:
            path = ("payload", "schedule", "cronExpression")
            yield Finding(path, "bad_cron", fault.message, fault.hint, inside=fault.column - 1)
    if isinstance(zone, str) and 0 < len(zone) <= 64:
        yield from zone_findings(zone, ("payload", "schedule", "timezone"))


def zone_findings(zone: str, path: tuple[str, ...]) -> Iterator[Finding]:
    fault = _zone_fault(zone)
    if fault is not None:
        yield Finding(path, "unknown_timezone", fault.message, fault.hint)


@lru_cache(maxsize=8192)
def expression_fault(expression: str) -> InvalidSchedule | None:
    """Why a cron expression is refused, or None."""
    try:
        parse(expression, "UTC")
    except InvalidSchedule as fault:
        return fault.with_traceback(None)
    return None


@lru_cache(maxsize=1024)
def _zone_fault(zone: str) -> InvalidSchedule | None:
    try:
        parse("@daily", zone)
    except InvalidSchedule as fault:
        return fault.with_traceback(None)
    return None


def _channels(notifications: Any) -> Iterator[Finding]:
    """Names in the lists that no channel has."""
    if not isinstance(notifications, dict):
        return
    channels = notifications.get("channels", {})
    if not isinstance(channels, dict):
        return
    for key in _LISTS:
        names = notifications.get(key)
        for n, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str) and name not in channels and len(name) <= 63:
                near = nearest(name, channels)
                hint = f"did you mean {near}?" if near else "add it to notifications.channels"
                yield Finding(
                    ("payload", "notifications", key, n),
                    "unknown_channel",
                    f"there is no channel {name!r}",
                    hint,
                )


def _fit_of_type(payload: dict[str, Any], job_type: JobType) -> Iterator[Finding]:
    limits = payload.get("limits")
    if isinstance(limits, dict) and "batchSize" in limits and not job_type.batches:
        yield Finding(
            ("payload", "limits", "batchSize"),
            "no_batches",
            f"the job type {job_type.name} does not work in batches",
            "delete batchSize",
            "key",
        )
    for section in ("manual", "webhook"):
        outer = payload.get(section)
        names = outer.get("allowParameters") if isinstance(outer, dict) else None
        if isinstance(names, list) and names:
            yield from _allowed(section, names, job_type)


def _allowed(section: str, names: list[Any], job_type: JobType) -> Iterator[Finding]:
    known = allowed_parameters(job_type)
    for n, name in enumerate(names):
        if isinstance(name, str) and known is not None and name not in known:
            near = nearest(name, known)
            listed = f"it has: {', '.join(known)}" if known else "it has none"
            yield Finding(
                ("payload", section, "allowParameters", n),
                "unknown_parameter",
                f"the job type {job_type.name} has no parameter {name[:64]!r}",
                f"did you mean {near}?" if near else listed,
            )


def allowed_parameters(job_type: JobType) -> tuple[str, ...] | None:
    """What a trigger of this type may override; None where its model takes any key."""
    if job_type.parameters.model_config.get("extra") == "allow":
        return None
    batch = (_BATCH_SIZE,) if job_type.batches else ()
    return (*sorted(fields_of(job_type.parameters)), *batch)


def check_parameters(job_types: JobTypes, name: str, given: Mapping[str, Any]) -> None:
    """Hold what a run is to be given against its type, in the words that its file is judged with.

    Raises Invalid (InvalidParameters) with the first mistake, NotFound where there is no such type.
    """
    job_type = job_types.get(name)
    checked = Checked()
    _parameters(checked, {"parameters": given}, job_type, keep=False)
    for mistake in checked.findings:
        at = dotted(mistake.path[2:]) or "parameters"
        raise Invalid(
            f"{at}: {mistake.message}",
            reason="InvalidParameters",
            hint=mistake.hint or f"see `jobreconciler job-types {name}` for what it takes",
        )


def _parameters(checked: Checked, payload: dict[str, Any], job_type: JobType, keep: bool) -> None:
    given = payload.get("parameters", {})
    if not isinstance(given, dict):
        return
    path = ("payload", "parameters")
    try:
        model = job_type.parameters.model_validate(given)
        checked.parameters = (
            model.model_dump(mode="json", by_alias=True, exclude_none=True) if keep else {}
        )
    except ValidationError as error:
        checked.findings += findings_of(error, job_type.parameters, given, path)
    except Exception as error:
        checked.findings.append(
            Finding(
                path,
                "broken_job_type",
                f"the job type {job_type.name} failed at checking them: "
                f"{type(error).__name__}: {error}",
                "report it to whoever maintains that job type",
            )
        )
