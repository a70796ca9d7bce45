"""What a systemd service says beside its command: directory, time, memory, retries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from jobreconciler.importing.exec_line import read_command
from jobreconciler.importing.report import LONGEST_SECONDS, Draft
from jobreconciler.importing.unit_file import Directive, Unit, resolved
from jobreconciler.importing.units import (
    LARGEST_MIB,
    SMALLEST_MIB,
    mebibytes_of_size,
    seconds_of_span,
    whole,
)

_USER: Final = ("jobs run as the daemon's user", "run a daemon as that user, or use sudo")
_ORDER: Final = ("units are no jobs", "payload.dependency starts a job after others")
WHY: Final[Mapping[str, tuple[str, str]]] = {
    "User": _USER,
    "Group": _USER,
    "DynamicUser": _USER,
    "SupplementaryGroups": _USER,
    **dict.fromkeys(("After", "Before", "Wants", "Requires", "BindsTo", "PartOf"), _ORDER),
    "OnFailure": (
        "a unit is no job",
        "see notifications.onFailure, or a job with dependency.on: failure",
    ),
    "OnSuccess": ("a unit is no job", "a job with payload.dependency starts after this one"),
    "ExecStartPost": ("nothing runs after the program", "call it at the end of the command"),
    "ExecStopPost": ("nothing runs after the program", "call it at the end of the command"),
    "ExecStop": ("a run is stopped by SIGTERM", ""),
    "ExecCondition": ("nothing decides whether a run starts", "test it in the command"),
    "TimeoutStartSec": ("of this type of service it bounds the start, not the run", ""),
    "RuntimeMaxSec": ("of a oneshot service it bounds nothing", ""),
    "StandardOutput": ("output is kept with its run", ""),
    "StandardError": ("output is kept with its run", ""),
    "SyslogIdentifier": ("output is kept with its run", ""),
    "Nice": ("a run has the daemon's priority", "start the command with nice"),
    "Documentation": ("there is no such field", "put it into meta.description"),
}

_RESTARTS: Final = ("on-failure", "always", "on-abnormal", "on-abort", "on-watchdog")
_EXIT_NAMES: Final[Mapping[str, int]] = {
    "SUCCESS": 0,
    "FAILURE": 1,
    "INVALIDARGUMENT": 2,
    "NOTIMPLEMENTED": 3,
    "NOPERMISSION": 4,
    "NOTINSTALLED": 5,
    "NOTCONFIGURED": 6,
    "NOTRUNNING": 7,
    "USAGE": 64,
    "DATAERR": 65,
    "NOINPUT": 66,
    "NOUSER": 67,
    "NOHOST": 68,
    "UNAVAILABLE": 69,
    "SOFTWARE": 70,
    "OSERR": 71,
    "OSFILE": 72,
    "CANTCREAT": 73,
    "IOERR": 74,
    "TEMPFAIL": 75,
    "PROTOCOL": 76,
    "NOPERM": 77,
    "CONFIG": 78,
}


def read_service(draft: Draft, service: Unit, specifiers: Mapping[str, str]) -> None:
    """Everything of the service that a job can have; the rest stays unasked in `service`."""
    kind = service.last("Service", "Type")
    is_oneshot = kind is not None and kind.value == "oneshot"
    if kind is not None and kind.value not in ("oneshot", "simple", "exec", "idle"):
        draft.note(
            "changed",
            f"Type={kind.value[:40]}",
            "a run ends when its program ends",
            "have the program stay in the foreground",
            kind.at,
        )
    remains = service.last("Service", "RemainAfterExit")
    if remains is not None and service.is_true("Service", "RemainAfterExit"):
        draft.note(
            "changed",
            "RemainAfterExit=yes",
            "systemd would not start it again while it counts as active; here every slot runs",
            "",
            remains.at,
        )
    read_command(draft, service, specifiers)
    _directory(draft, service, specifiers)
    _timeout(draft, service, is_oneshot=is_oneshot)
    _grace(draft, service)
    _memory(draft, service)
    _exit_codes(draft, service)
    _retry(draft, service)


def _directory(draft: Draft, service: Unit, specifiers: Mapping[str, str]) -> None:
    found = service.last("Service", "WorkingDirectory")
    if found is None:
        draft.section("parameters")["cwd"] = "/"
        return
    path, unknown = resolved(found.value, specifiers)
    if path.startswith("/") and not unknown:
        draft.section("parameters")["cwd"] = path[:4096]
        return
    draft.note(
        "left_out",
        f"WorkingDirectory={found.value[:120]}",
        "cwd is an absolute path",
        "set parameters.cwd",
        found.at,
    )


def _span(draft: Draft, found: Directive) -> Fraction | None:
    """Seconds; None for infinity, and where it is no span, which is then a finding."""
    if found.value.strip() == "infinity":
        return None
    seconds = seconds_of_span(found.value)
    if seconds is None:
        draft.note(
            "left_out", f"{found.key}={found.value[:60]}", "it is no time span", "", found.at
        )
    return seconds


def _timeout(draft: Draft, service: Unit, *, is_oneshot: bool) -> None:
    """How long a run may take: of a oneshot its start, of others their life."""
    keys = ("TimeoutStartSec", "TimeoutSec") if is_oneshot else ("RuntimeMaxSec",)
    found = service.last("Service", *keys)
    seconds = _span(draft, found) if found else None
    if found is None or not seconds:
        draft.set("limits.timeoutSeconds", LONGEST_SECONDS, "the service has none: the longest")
        return
    bounded = min(whole(seconds), LONGEST_SECONDS)
    draft.set("limits.timeoutSeconds", bounded)
    if bounded < whole(seconds):
        draft.note(
            "changed",
            f"{found.key}={found.value[:60]}",
            f"{LONGEST_SECONDS} seconds are the most",
            "",
            found.at,
        )


def _grace(draft: Draft, service: Unit) -> None:
    found = service.last("Service", "TimeoutStopSec")
    seconds = _span(draft, found) if found else None
    if found and seconds is not None:
        draft.set("limits.killGraceSeconds", min(whole(seconds), 3600))
        if whole(seconds) > 3600:
            draft.note(
                "changed",
                f"TimeoutStopSec={found.value[:60]}",
                "3600 seconds are the most",
                "",
                found.at,
            )


def _memory(draft: Draft, service: Unit) -> None:
    found = service.last("Service", "MemoryMax", "MemoryLimit")
    if found is None or found.value == "infinity":
        return
    amount = mebibytes_of_size(found.value)
    if amount is None:
        draft.note(
            "left_out",
            f"{found.key}={found.value[:60]}",
            "it is no amount of memory",
            "set limits.memoryMiB",
            found.at,
        )
        return
    bounded = min(max(amount, SMALLEST_MIB), LARGEST_MIB)
    draft.set("limits.memoryMiB", bounded)
    if bounded != amount:
        draft.note(
            "changed",
            f"{found.key}={found.value[:60]}",
            f"{SMALLEST_MIB} to {LARGEST_MIB} MiB are allowed",
            "",
            found.at,
        )


def _exit_codes(draft: Draft, service: Unit) -> None:
    codes = [0]
    for found in service.all("Service", "SuccessExitStatus"):
        for word in found.value.split():
            code = _EXIT_NAMES.get(word.removeprefix("EX_").upper())
            code = int(word) if re.fullmatch(r"[0-9]{1,3}", word) else code
            if code is None or code > 255:
                draft.note(
                    "left_out",
                    f"SuccessExitStatus {word[:40]}",
                    "only exit codes mean success here",
                    "have the program exit with a code",
                    found.at,
                )
            elif code not in codes:
                codes.append(code)
    if codes != [0]:
        draft.section("parameters")["successExitCodes"] = codes


def _retry(draft: Draft, service: Unit) -> None:
    """systemd restarts after RestartSec, until it started StartLimitBurst times in an interval."""
    restart = service.last("Service", "Restart")
    pause = service.last("Service", "RestartSec")
    burst = _number(service, "StartLimitBurst", 5)
    within = service.last("Unit", "StartLimitIntervalSec", "StartLimitInterval")
    if restart is None or restart.value in ("no", "on-success"):
        if restart is not None and restart.value == "on-success":
            draft.note(
                "left_out", "Restart=on-success", "a run that succeeded is over", "", restart.at
            )
        return
    if restart.value not in _RESTARTS:
        draft.note(
            "left_out",
            f"Restart={restart.value[:40]}",
            "systemd has no such policy",
            "set payload.retry",
            restart.at,
        )
        return
    delay = (_span(draft, pause) if pause else None) or Fraction(1, 10)
    interval = Fraction(10)
    if within is not None:
        spanned = seconds_of_span(within.value)
        interval = interval if spanned is None else spanned
    ends = 0 < burst <= 100 and delay * (burst - 1) < interval
    draft.set("retry.maxAttempts", burst if ends else 100)
    draft.set("retry.backoffStrategy", "fixed")
    draft.set("retry.initialDelay", whole(delay))
    draft.set("retry.maxDelay", max(whole(delay), 1))
    many = (
        f"it gives up after {burst} starts" if ends else "it never gives up; 100 tries are the most"
    )
    draft.note(
        "changed",
        f"Restart={restart.value}",
        f"systemd tries again every {float(delay):g} s "
        f"and {many}; here a try comes up to a quarter earlier, in whole seconds",
        "choose payload.retry",
        restart.at,
    )
    if restart.value not in ("on-failure", "always"):
        draft.note(
            "changed",
            f"Restart={restart.value}",
            "here every failure is tried again, an exit code too",
            "set retry.onExitCodes",
            restart.at,
        )


def _number(service: Unit, key: str, default: int) -> int:
    found = service.last("Unit", key)
    return int(found.value) if found and re.fullmatch(r"[0-9]{1,9}", found.value) else default
