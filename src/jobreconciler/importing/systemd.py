"""systemd timers, each with the service it starts."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from jobreconciler.core.cron_fields import read
from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.importing.calendar import Event, NotCalendar, joined, read_event
from jobreconciler.importing.cron_dialects import by_the_clock
from jobreconciler.importing.ids import slug
from jobreconciler.importing.report import Draft, Imported
from jobreconciler.importing.service import WHY as SERVICE_WHY
from jobreconciler.importing.service import read_service
from jobreconciler.importing.sniff import text_of
from jobreconciler.importing.spelling import spell
from jobreconciler.importing.unit_file import (
    BadUnit,
    Directive,
    Unit,
    read_directives,
    resolved,
    specifiers_of,
)
from jobreconciler.importing.units import seconds_of_span, whole


class Source(NamedTuple):
    """A file's path and bytes."""

    path: str
    data: bytes


class Timer(NamedTuple):
    """A timer's file and its drop-ins; `services` are those that may lie beside it, by name."""

    files: Sequence[Source]
    services: Mapping[str, Sequence[Source]]


_MONOTONIC: Final = (
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
)
_LONGEST_JITTER: Final = 86_400
_WHY: Final[Mapping[str, tuple[str, str]]] = {
    "AccuracySec": ("slots start at their second", "jitterSeconds spreads them"),
    "WakeSystem": ("a daemon wakes no machine", ""),
    "OnClockChange": ("a set clock starts nothing", ""),
    "OnTimezoneChange": ("a changed zone starts nothing", ""),
    "FixedRandomDelay": ("jitterSeconds is always stable, for each slot", ""),
    "RemainAfterElapse": ("a job stays as long as its file", ""),
}


def names_wanted(files: Sequence[Source]) -> tuple[str, ...]:
    """The services that could be the timer's, the first that exists being it."""
    path = files[0].path
    name = path.rpartition("/")[2]
    said = f"{name.removesuffix('.timer')}.service"
    for source in files:
        text = source.data.decode("utf-8", "replace")
        for found in re.findall(r"(?m)^[ \t]*Unit[ \t]*=[ \t]*(\S+)[ \t]*\r?$", text):
            said = found
    prefix, at, instance = said.removesuffix(".service").partition("@")
    template = (f"{prefix}@.service",) if at and instance else ()
    return (said, *template) if "/" not in said else ()


def read_timer(timer: Timer, *, timezone: str | None = None) -> Imported:
    """The jobs of one timer. `timezone`: of the machine, for an OnCalendar that names none."""
    out = Imported()
    name = timer.files[0].path.rpartition("/")[2]
    unit = _unit(out, name, timer.files, "a systemd timer")
    if unit is None:
        return out
    file = timer.files[0].path
    if not any(one.section == "Timer" for one in unit.directives):
        sections = ", ".join(dict.fromkeys(f"[{one.section}]" for one in unit.directives))
        line = unit.directives[0].line if unit.directives else 0
        out.error(
            file,
            line,
            "not_a_timer",
            f"there is no [Timer] in it, but {sections or 'nothing'}",
            "name the .timer; its .service is found beside it",
        )
        return out
    service = _service(out, timer, unit)
    if service is not None:
        _jobs(out, file, unit, service, timezone)
    return out


def _unit(out: Imported, name: str, files: Sequence[Source], wanted: str) -> Unit | None:
    directives: list[Directive] = []
    for source in files:
        text = text_of(out, source.path, source.data, wanted)
        if text is None:
            return None
        try:
            directives += read_directives(source.path, text)
        except BadUnit as problem:
            out.error(problem.file, problem.line, "not_a_unit_file", problem.message, problem.hint)
            return None
    return Unit(name, tuple(directives))


def _service(out: Imported, timer: Timer, unit: Unit) -> Unit | None:
    wanted = names_wanted(timer.files)
    named = unit.last("Timer", "Unit")
    file, line = timer.files[0].path, named.line if named else 0
    if wanted and not wanted[0].endswith(".service"):
        out.error(
            file,
            line,
            "not_a_service",
            f"it starts {wanted[0]}, which is no service",
            "give the job a file by hand",
        )
        return None
    for name in wanted:
        if name in timer.services:
            return _unit(out, wanted[0], timer.services[name], "a systemd service")
    missing = wanted[0] if wanted else "a unit that no file can be named after"
    out.error(
        file,
        line,
        "service_missing",
        f"it starts {missing}, and that file is not beside it",
        f"copy it there: `systemctl cat {missing}` shows it",
    )
    return None


def _jobs(out: Imported, file: str, unit: Unit, service: Unit, timezone: str | None) -> None:
    stem = unit.name.removesuffix(".timer")
    draft = Draft(file, 1, (stem,))
    _describe(draft, unit, service)
    calendars = unit.all("Timer", "OnCalendar")
    schedules = _schedules(draft, calendars, _events(draft, calendars))
    _delays(draft, unit)
    read_service(draft, service, specifiers_of(service.name))
    for key in _MONOTONIC:
        _monotonic(draft, unit, key)
    persistent = unit.is_true("Timer", "Persistent")
    for one in (*unit.rest(), *service.rest()):
        _left_out(draft, one)
    if not schedules:
        draft.remarks["jobType"] = "no schedule: see above"
        draft.payload.pop("schedule", None)
        out.drafts.append(draft)
        return
    for number, (expression, event) in enumerate(schedules):
        job = copy.deepcopy(draft)
        _schedule(job, expression, event, timezone, persistent)
        if len(schedules) > 1:
            job.names = (stem if number == 0 else f"{stem}-{number + 1}",)
            job.set(
                "limits.concurrencyGroup",
                slug(stem) or "timer",
                "one timer: its jobs start one at a time",
            )
        out.drafts.append(job)
    if timezone is None and any(event.timezone is None for _, event in schedules):
        out.note(
            file,
            0,
            "assumed",
            "timezone UTC",
            "OnCalendar goes by its machine's zone",
            "import with --timezone ZONE if that was another",
        )


def _describe(draft: Draft, unit: Unit, service: Unit) -> None:
    """The service says what is done, the timer at most when."""
    for one in (service, unit):
        found = one.last("Unit", "Description")
        title, unknown = resolved(found.value, specifiers_of(one.name)) if found else ("", [])
        if title.isprintable() and title and not unknown:
            draft.meta.setdefault("title", title[:200])


# ----------------------------------------------------------------------------------- schedule


def _events(draft: Draft, calendars: Sequence[Directive]) -> list[Event]:
    events = []
    for number, one in enumerate(calendars):
        try:
            events.append(read_event(one.value)._replace(lines=(number,)))
        except NotCalendar as problem:
            draft.note(
                "left_out",
                f"OnCalendar {one.value[:120]}",
                str(problem),
                "give it a schedule by hand",
                one.at,
            )
    return events


def _schedules(
    draft: Draft, calendars: Sequence[Directive], events: Sequence[Event]
) -> list[tuple[str, Event]]:
    """The expressions that mean the same; several where no single one does."""
    found = []
    for event in joined(events):
        expression = spell(event.times)
        why = "" if expression is None else refusal_of(expression)
        if expression is not None and not why:
            found.append((expression, event))
        else:
            own = [calendars[number] for number in event.lines]
            what = f"OnCalendar {', '.join(one.value for one in own)}"[:200]
            hint = "give it a schedule by hand"
            draft.note("left_out", what, why or _why_none(event), hint, own[0].at)
    if len(found) > 1:
        draft.note(
            "changed",
            "several OnCalendar",
            f"no single expression means them all: {len(found)} jobs stand for them",
        )
    return found


def _why_none(event: Event) -> str:
    if event.times.last_days is not None:
        return "these days from a month's end have no spelling here"
    return "its day and its weekday must both match, which has no spelling here"


def refusal_of(expression: str) -> str:
    """Why our own dialect refuses an expression, such as a day that never comes; else empty."""
    try:
        read(expression)
    except InvalidSchedule as problem:
        return problem.message
    return ""


def _schedule(
    job: Draft, expression: str, event: Event, timezone: str | None, persistent: bool
) -> None:
    schedule = job.payload.pop("schedule", {})
    job.set("schedule.cronExpression", expression)
    remark = "" if event.timezone or timezone else "of the machine the timer was for"
    job.set("schedule.timezone", event.timezone or timezone or "UTC", remark)
    job.set(
        "schedule.catchUp",
        "latest" if persistent else "none",
        "Persistent=true" if persistent else "the timer is not Persistent",
    )
    job.section("schedule").update(schedule)


def _delays(draft: Draft, unit: Unit) -> None:
    delay = unit.last("Timer", "RandomizedDelaySec")
    seconds = seconds_of_span(delay.value) if delay else Fraction(0)
    if delay and seconds is None:
        draft.note(
            "left_out",
            f"RandomizedDelaySec {delay.value[:60]}",
            "it is no time span",
            "set schedule.jitterSeconds",
            delay.at,
        )
    elif delay and seconds:
        draft.set("schedule.jitterSeconds", min(whole(seconds), _LONGEST_JITTER))
        draft.note(
            "changed",
            f"RandomizedDelaySec {delay.value[:60]}",
            "systemd draws a new delay "
            "each time; jitterSeconds is at most as long, and the same for a slot each time",
            "",
            delay.at,
        )


def _monotonic(draft: Draft, unit: Unit, key: str) -> None:
    for one in unit.all("Timer", key):
        seconds = seconds_of_span(one.value)
        near = by_the_clock(int(seconds)) if seconds and seconds.denominator == 1 else None
        hint = "start the job by hand or by webhook, or leave it to systemd"
        if near and key.startswith("OnUnit"):
            hint = f"a schedule of {near!r} runs as often"
        draft.note(
            "left_out",
            f"{key} {one.value[:60]}",
            "there are clock times here, no spans since something",
            hint,
            one.at,
        )


def _left_out(draft: Draft, one: Directive) -> None:
    """Whatever nobody asked for. How a unit is enabled is no part of what it does."""
    if one.section in ("Install",) or one.section.startswith("X-"):
        return
    why, hint = {**SERVICE_WHY, **_WHY}.get(one.key, ("it has no counterpart here", ""))
    draft.note("left_out", f"{one.key}={one.value[:120]}", why, hint, one.at)
