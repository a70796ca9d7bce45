"""Crontabs: the user's format, and the system's with a user column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobreconciler.core.cron_fields import MACROS
from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.core.zones import zone
from jobreconciler.importing import environment
from jobreconciler.importing.cron_dialects import Translated, every, translate
from jobreconciler.importing.crontab_lines import (
    Command,
    Entry,
    Variable,
    read_lines,
    split_percent,
)
from jobreconciler.importing.ids import name_of_command
from jobreconciler.importing.report import (
    LONGEST_SECONDS,
    MOST_AT_ONCE,
    Draft,
    Finding,
    Imported,
    Kind,
)
from jobreconciler.importing.sniff import text_of

_SH = ("", "/bin/sh")
_POSIX_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|k|mk|z|a)?sh")
_MAIL = frozenset({"MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING", "CRONMAIL"})
_RANDOM = re.compile(r"([0-9]{1,2})?~([0-9]{1,2})?")
_LAST_SECOND_OF_HOUR = 59


def is_system_path(path: str) -> bool:
    """/etc/crontab and the files of /etc/cron.d have a user column, wherever they were copied."""
    return bool(re.search(r"(?:^|/)(?:etc/crontab|cron\.d/[^/]+)$", path))


@dataclass
class _Around:
    """What holds for the jobs below: variables, the zone, findings about them."""

    timezone: str
    variables: dict[str, Variable] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    jitter_minutes: int = 0
    zone_is_wrong: bool = False
    zone_remark: str = ""


def read_crontab(
    file: str, data: bytes, *, system: bool | None = None, timezone: str | None = None
) -> Imported:
    """Every job of one crontab. `system` None: by the path. `timezone`: the machine's."""
    out = Imported()
    text = text_of(out, file, data, "a crontab")
    if text is None:
        return out
    if re.search(r"(?m)^[ \t]*(?:START_HOURS_RANGE\s*=|@?\w+[ \t]+\d+[ \t]+cron\.\w+[ \t])", text):
        out.error(
            file,
            1,
            "not_the_kind",
            "this is an anacrontab: it counts days, not clock times",
            "import the crontab, and give these jobs schedules by hand",
        )
        return out
    by_path = is_system_path(file)
    lines = read_lines(text, system=by_path if system is None else system)
    for one in lines.unreadable:
        out.error(file, one.line, "not_a_crontab_line", one.message, one.hint)
    if out.errors:
        return out
    remark = "" if timezone else "of the machine the crontab was for"
    around = _Around(timezone or "UTC", zone_remark=remark)
    for item in lines.items:
        if isinstance(item, Variable):
            _set_variable(file, item, around)
        else:
            out.drafts.append(_job(file, item, around))
    _of_the_file(out, file, by_path if system is None else None, timezone, lines.carriage_returns)
    return out


def _of_the_file(
    out: Imported, file: str, by_path: bool | None, timezone: str | None, returns: bool
) -> None:
    """What is true of every job of the file, said once in the report."""
    if not out.drafts:
        out.note(file, 0, "left_out", "the file", "there is no job in it")
        return
    if by_path is not None:
        form = "a system crontab, with a user column" if by_path else "a user's crontab"
        other = "--user" if by_path else "--system"
        out.note(file, 0, "assumed", f"read as {form}", "by its path", f"say {other} if it is not")
    if timezone is None and any(each.remarks.get("schedule.timezone") for each in out.drafts):
        out.note(
            file,
            0,
            "assumed",
            "timezone UTC",
            "a crontab goes by its machine's zone",
            "import with --timezone ZONE if that was another",
        )
    out.note(
        file,
        0,
        "changed",
        "limits",
        "cron stops no run and starts one beside an earlier "
        "one; here the longest timeout (30 days) and the most runs at once stand for that",
        "choose limits that suit each job",
    )
    if not all(each.payload["parameters"].get("env", {}).get("PATH") for each in out.drafts):
        out.note(
            file,
            0,
            "changed",
            "PATH, HOME, USER",
            "a job gets PATH and HOME of the daemon "
            "and no USER or LOGNAME; cron's PATH is /usr/bin:/bin",
            "set parameters.env",
        )
    if returns:
        out.note(
            file,
            0,
            "changed",
            "Windows line ends",
            "cron would hand the carriage return to the command; it is left out here",
        )


# ----------------------------------------------------------------------------------- variables


def _set_variable(file: str, item: Variable, around: _Around) -> None:
    name, value = item.name, item.value
    around.findings.pop(name, None)
    if name == "CRON_TZ":
        _set_zone(file, item, around)
    elif name == "RANDOM_DELAY" and value.isdigit() and int(value) <= 1440:
        around.jitter_minutes = int(value)
        _say(
            file,
            item,
            around,
            "changed",
            "cronie draws one delay when it starts; jitterSeconds "
            "gives each slot its own, the same every time",
        )
    elif name == "MAILTO":
        if value:
            _say(
                file,
                item,
                around,
                "left_out",
                "cron mails what a job prints; here a channel is told how runs end",
                _mail_hint(value),
            )
    elif name in _MAIL:
        _say(
            file, item, around, "left_out", "it is about cron's mails", "see docs/notifications.md"
        )
    elif name in ("LOGNAME", "USER"):
        _say(
            file,
            item,
            around,
            "left_out",
            "jobs run as the daemon's user",
            "run a daemon as that user, or use sudo in the command",
        )
    else:
        around.variables[name] = item
        if name == "TZ":
            _say(
                file,
                item,
                around,
                "changed",
                "it is given to the command, as cron does; the schedule does not go by it",
                "set schedule.timezone if that was meant",
            )


def _mail_hint(to: str) -> str:
    addresses = ", ".join(re.split(r"[\s,]+", to.strip()))
    return (
        f"for mails about failures: notifications: {{onFailure: [mail], channels: {{mail: {{type: "
        f"email, to: [{addresses}]}}}}}}"
    )


def _say(file: str, item: Variable, around: _Around, kind: Kind, why: str, hint: str = "") -> None:
    shown = item.value if not environment.looks_secret(item.name, item.value) else "…"
    around.findings[item.name] = Finding(
        file,
        item.line,
        kind,
        f"{item.name}={shown}",
        why,
        hint,
    )


def _set_zone(file: str, item: Variable, around: _Around) -> None:
    try:
        zone(item.value)
    except InvalidSchedule as problem:
        around.zone_is_wrong = True
        _say(file, item, around, "left_out", problem.message, problem.hint.rstrip("."))
    else:
        around.timezone, around.zone_is_wrong, around.zone_remark = item.value, False, ""
        _say(
            file,
            item,
            around,
            "assumed",
            "cronie reads schedules in that zone, as it is written here; Debian's cron ignores it",
        )


# ---------------------------------------------------------------------------------------- jobs


def _job(file: str, entry: Entry, around: _Around) -> Draft:
    draft = Draft(file, entry.line)
    draft.findings += around.findings.values()
    _describe(draft, entry)
    _schedule(draft, entry, around)
    draft.set("limits.timeoutSeconds", LONGEST_SECONDS, "cron has none: this is the longest")
    draft.set(
        "limits.maxConcurrent",
        MOST_AT_ONCE,
        "cron starts one beside an earlier one; 1 leaves out such runs",
    )
    if entry.user:
        draft.note(
            "left_out",
            f"the user {entry.user}",
            "jobs run as the daemon's user",
            f"run a daemon as {entry.user}, or use sudo in the command",
        )
    if entry.is_quiet:
        draft.note(
            "left_out",
            "the - before the line",
            "it keeps cron from logging the start; every run is recorded here",
        )
    _command(draft, entry, around)
    return draft


def _describe(draft: Draft, entry: Entry) -> None:
    """The comments right above the line: the first is the title, all of them the description."""
    comments = [re.sub(r"[^\x20-\x7e\xa0-\uffff]", " ", said).strip() for said in entry.comments]
    if comments:
        draft.meta["title"] = comments[0][:200]
        text = "\n".join(comments)[:4000]
        if len(comments) > 1 or len(comments[0]) > 200:
            draft.meta["description"] = text
    draft.names = (name_of_command(entry.command) or "job",)


def _schedule(draft: Draft, entry: Entry, around: _Around) -> None:
    what = " ".join(entry.fields)
    jitter = around.jitter_minutes * 60
    translated, spread = _expression(entry.fields)
    for one in translated.remarks:
        draft.note("changed" if translated.expression else "left_out", *one)
    if translated.expression is None:
        draft.remarks["jobType"] = f"no schedule: {what} has no counterpart"
        return
    was = "" if translated.expression == what else f"was: {what}"
    draft.set("schedule.cronExpression", translated.expression, was)
    draft.set("schedule.timezone", around.timezone, around.zone_remark)
    if not translated.is_sure or around.zone_is_wrong:
        draft.set("schedule.isEnabled", False, "until somebody has looked at it, see above")
    draft.set("schedule.catchUp", "none", "cron does not catch up")
    if jitter + spread:
        draft.set("schedule.jitterSeconds", min(jitter + spread, 86_400))


def _expression(fields: tuple[str, ...]) -> tuple[Translated, int]:
    """The expression, and over how many seconds starts are spread."""
    word = fields[0].lower()
    if word == "@every" and len(fields) == 2:
        return every(fields[1]), 0
    if word == "@every_minute":
        return Translated("* * * * *"), 0
    if word in MACROS:
        return Translated(word), 0
    if word.startswith("@"):
        why = "it is no schedule that is known here"
        if word == "@reboot":
            why = "a job belongs to the fleet, not to one machine's start"
        hint = "start the job by hand or by webhook, or let systemd do it"
        return Translated(None, remarks=((f"the schedule {fields[0]}", why, hint),)), 0
    random = _RANDOM.fullmatch(fields[0])
    if random is not None:
        return _spread(fields, int(random[1] or 0), int(random[2] or _LAST_SECOND_OF_HOUR))
    return translate(fields, "debian"), 0


def _spread(fields: tuple[str, ...], low: int, high: int) -> tuple[Translated, int]:
    """`0~30 3 * * *`: cronie draws a minute when it reads the file; here each slot has its own."""
    if low > high or high > _LAST_SECOND_OF_HOUR:
        return translate(fields, "debian"), 0
    found = translate((str(low), *fields[1:]), "debian")
    what = f"the schedule {' '.join(fields)}"
    why = "cronie draws one minute when it reads the file; jitterSeconds gives each slot its own"
    return Translated(found.expression, found.is_sure, ((what, why, ""), *found.remarks)), (
        (high - low) * 60
    )


# ------------------------------------------------------------------------------------- command


def _command(draft: Draft, entry: Entry, around: _Around) -> None:
    command = split_percent(entry.command)
    if command.has_double_backslash:
        draft.note(
            "changed",
            "a double backslash in the command",
            "Debian's cron makes it one, as it is written here; others keep both",
            "check the command",
        )
    variables = {name: one.value for name, one in around.variables.items()}
    shell = variables.get("SHELL", "")
    parameters = draft.section("parameters")
    script = _with_input(draft, command, shell)
    if shell in _SH:
        parameters["shell"] = script
    else:
        parameters["argv"] = [shell, "-c", script]
    environment.check_command(draft, script, entry.line)
    for name, one in around.variables.items():
        environment.put(draft, name, one.value, one.line)
    _home(draft, variables)


def _with_input(draft: Draft, command: Command, shell: str) -> str:
    """The script, with what stood behind `%` as a here-document."""
    if command.stdin is None:
        return command.script
    if shell and not _POSIX_SHELLS.fullmatch(shell):
        draft.note(
            "left_out",
            "what stands behind the % of the command",
            f"it is standard input, and {shell} takes no here-document",
            "feed it to the command by other means",
        )
        return command.script
    end, number = "END_OF_INPUT", 2
    while end in command.stdin.split("\n"):
        end, number = f"END_OF_INPUT_{number}", number + 1
    return f"{{ {command.script}\n}} <<'{end}'\n{command.stdin}{end}\n"


def _home(draft: Draft, variables: Mapping[str, str]) -> None:
    """cron starts a job in HOME."""
    home = variables.get("HOME", "")
    if home.startswith("/"):
        draft.section("parameters")["cwd"] = home
