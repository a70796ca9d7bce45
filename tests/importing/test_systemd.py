"""systemd timers and their services, directive by directive."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from importing.reading import as_words, checked, only, said, timer
from jobreconciler.importing.report import Imported

DAILY = "[Timer]\nOnCalendar=daily\n"
SERVICE = "[Service]\nType=oneshot\nExecStart=/bin/work\n"


def service(*lines: str) -> Imported:
    return timer(DAILY, "[Service]\nType=oneshot\n" + "\n".join(lines) + "\n")


def timed(*lines: str) -> Imported:
    return timer("[Timer]\n" + "\n".join(lines) + "\n", SERVICE)


def run(parameters: dict[str, Any]) -> str:
    literal = {k: v for k, v in parameters.get("env", {}).items() if isinstance(v, str)}
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/x", **literal}
    return subprocess.run(
        as_words(parameters), capture_output=True, text=True, check=True, env=environment,
        timeout=60,
    ).stdout  # fmt: skip


# ----------------------------------------------------------------------------------- the schedule


def test_persistent_catches_up_with_one_run() -> None:
    assert only(timed("OnCalendar=daily"))["schedule"]["catchUp"] == "none"
    persistent = only(timed("OnCalendar=daily", "Persistent=yes"))
    assert persistent["schedule"]["catchUp"] == "latest"


def test_a_random_delay_becomes_jitter() -> None:
    found = timed("OnCalendar=daily", "RandomizedDelaySec=1h 30min")
    assert only(found)["schedule"]["jitterSeconds"] == 5400
    assert "3 changed RandomizedDelaySec 1h 30min" in said(found)


def test_lines_that_differ_in_one_field_are_one_expression() -> None:
    found = only(timed("OnCalendar=08:00", "OnCalendar=Mon 12:00", "OnCalendar=20:00",
                       "OnCalendar=Tue..Sun 12:00"))  # fmt: skip
    assert found["schedule"]["cronExpression"] == "0 8,12,20 * * *"


def test_lines_that_do_not_are_jobs_of_one_group() -> None:
    jobs = checked(timed("OnCalendar=08:00", "OnCalendar=Mon 09:30"))
    assert list(jobs) == ["work", "work-2"]
    assert [job["payload"]["schedule"]["cronExpression"] for job in jobs.values()] == [
        "0 8 * * *",
        "30 9 * * 1",
    ]
    assert {job["payload"]["limits"]["concurrencyGroup"] for job in jobs.values()} == {"work"}


def test_an_empty_line_forgets_those_above_it() -> None:
    found = only(timed("OnCalendar=08:00", "OnCalendar=", "OnCalendar=09:00"))
    assert found["schedule"]["cronExpression"] == "0 9 * * *"


@pytest.mark.parametrize(
    "calendar",
    ["Fri *-*-13", "2030-01-01", "*-02-30", "*-*~02", "Mon *-*~01", "00:00:00.5", "nonsense",
     "Fri..Mon 02:00", "*-*-* 25:00", "*:0/0", "*-*-*/2", "02", "Mars/Olympus"],
)  # fmt: skip
def test_what_has_no_equal_is_left_out_and_said(calendar: str) -> None:
    found = timed(f"OnCalendar={calendar}")
    assert "schedule" not in only(found)
    assert f"2 left_out OnCalendar {calendar}" in said(found)


def test_spans_since_something_have_no_counterpart() -> None:
    found = timed("OnBootSec=5min", "OnUnitActiveSec=15min")
    assert "schedule" not in only(found)
    hints = {one.what: one.hint for one in found.drafts[0].findings}
    assert "'*/15 * * * *'" in hints["OnUnitActiveSec 15min"]
    assert "OnBootSec 5min" in hints


def test_the_zone_is_the_line_s_or_the_flag_s() -> None:
    assert only(timed("OnCalendar=daily Asia/Tokyo"))["schedule"]["timezone"] == "Asia/Tokyo"
    found = timer(DAILY, SERVICE, timezone="Europe/Berlin")
    assert only(found)["schedule"]["timezone"] == "Europe/Berlin"
    assert "0 assumed timezone UTC" in said(timed("OnCalendar=daily"))


# ------------------------------------------------------------------------------------ the command


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("/bin/work --all", ["/bin/work", "--all"]),
        ("/bin/work 'a b' \"c d\" e\\x20f", ["/bin/work", "a b", "c d", "e f"]),
        ("/bin/work --x='a b'", ["/bin/work", "--x=a b"]),
        ('/bin/work "$$HOME" 100%%', ["/bin/work", "$HOME", "100%"]),
        ("/bin/work %n %p", ["/bin/work", "work.service", "work"]),
        (":/bin/work ${X} $Y", ["/bin/work", "${X}", "$Y"]),
        ("@/bin/work other-name x", ["/bin/work", "x"]),
        ("+/bin/work", ["/bin/work"]),
        ("/bin/work ''", ["/bin/work", ""]),
        ("/bin/work \\\n  --more", ["/bin/work", "--more"]),
        ("/bin/work \\\n# in between\n  --more", ["/bin/work", "--more"]),
        ("/bin/work \\; x", ["/bin/work", ";", "x"]),
        ("/bin/sh -c 'a ; b'", ["/bin/sh", "-c", "a ; b"]),
    ],
)
def test_a_command_line_is_split_as_systemd_does(line: str, argv: list[str]) -> None:
    assert only(service(f"ExecStart={line}"))["parameters"]["argv"] == argv


@pytest.mark.parametrize(
    ("lines", "output"),
    [
        (["Environment=A=1", "ExecStart=printf '%%s|' ${A} $A"], "1|1|"),
        (['Environment="A=1 2"', "ExecStart=printf '%%s|' ${A} $A x${A}"], "1 2|1|2|x1 2|"),
        (["ExecStart=printf '%%s|' ${HOME}"], "/home/x|"),
        (["ExecStart=printf '%%s|' a", "ExecStart=printf b"], "a|b"),
        (["ExecStart=printf a ; printf b"], "ab"),
        (["ExecStartPre=-false", "ExecStart=printf a"], "a"),
        (["ExecStart=-sh -c 'echo a; exit 3'"], "a\n"),
        (["Environment=A=1", "Environment=", "Environment=A=2", "ExecStart=printf ${A}"], "2"),
    ],
)
def test_variables_and_several_lines_run_as_they_would(lines: list[str], output: str) -> None:
    assert run(only(service(*lines))["parameters"]) == output


def test_a_failing_line_stops_those_below_it() -> None:
    found = only(service("ExecStart=false", "ExecStart=printf no"))
    with pytest.raises(subprocess.CalledProcessError) as stopped:
        run(found["parameters"])
    assert stopped.value.stdout == ""


def test_a_specifier_that_only_systemd_knows_disables_the_job() -> None:
    found = service("ExecStart=%h/bin/x --state %S")
    assert only(found)["isEnabled"] is False
    assert {"3 left_out %h in ExecStart", "3 left_out %S in ExecStart"} <= set(said(found))


def test_the_name_tells_what_an_instance_stands_for() -> None:
    text = DAILY + "Unit=mail@eu-west.service\n"
    found = timer(text, "[Service]\nExecStart=/bin/x %i %N %p %n\n")
    assert only(found)["parameters"]["argv"] == [
        "/bin/x", "eu-west", "mail@eu-west", "mail", "mail@eu-west.service",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------ the service


@pytest.mark.parametrize(
    ("lines", "path", "value"),
    [
        (["WorkingDirectory=/srv"], "parameters.cwd", "/srv"),
        ([], "parameters.cwd", "/"),
        (["TimeoutStartSec=2h"], "limits.timeoutSeconds", 7200),
        (["TimeoutStartSec=infinity"], "limits.timeoutSeconds", 2_592_000),
        (["TimeoutStartSec=0"], "limits.timeoutSeconds", 2_592_000),
        (["Type=simple", "RuntimeMaxSec=90"], "limits.timeoutSeconds", 90),
        (["Type=simple", "TimeoutStartSec=90"], "limits.timeoutSeconds", 2_592_000),
        (["TimeoutStopSec=1min"], "limits.killGraceSeconds", 60),
        (["MemoryMax=1G"], "limits.memoryMiB", 1024),
        (["MemoryMax=1K"], "limits.memoryMiB", 16),
        (["SuccessExitStatus=3 TEMPFAIL 250"], "parameters.successExitCodes", [0, 3, 75, 250]),
        (["Restart=on-failure"], "retry.maxAttempts", 5),
        (["Restart=on-failure", "RestartSec=30"], "retry.maxAttempts", 100),
        (["Restart=always", "RestartSec=1min 30s"], "retry.initialDelay", 90),
        (["Environment=A=1 'B=two words'"], "parameters.env", {"A": "1", "B": "two words"}),
        (["Environment=API_TOKEN=abc"], "parameters.env", {"API_TOKEN": {"env": "API_TOKEN"}}),
    ],
)
def test_directives_that_have_a_counterpart(lines: list[str], path: str, value: Any) -> None:
    section, key = path.split(".")
    assert only(service("ExecStart=/bin/work", *lines))[section][key] == value


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("User=bob", "User=bob"),
        ("EnvironmentFile=-/etc/default/x", "EnvironmentFile -/etc/default/x"),
        ("PassEnvironment=LANG", "PassEnvironment=LANG"),
        ("WorkingDirectory=~", "WorkingDirectory=~"),
        ("ProtectSystem=strict", "ProtectSystem=strict"),
        ("ExecStopPost=/bin/x", "ExecStopPost=/bin/x"),
        ("MemoryMax=10%", "MemoryMax=10%"),
        ("SuccessExitStatus=SIGHUP", "SuccessExitStatus SIGHUP"),
        ("RuntimeMaxSec=90", "RuntimeMaxSec=90"),
        ("TimeoutStartSec=soon", "TimeoutStartSec=soon"),
        ("SomethingNew=1", "SomethingNew=1"),
    ],
)
def test_directives_that_have_none_are_said(line: str, what: str) -> None:
    found = service("ExecStart=/bin/work", line)
    only(found)
    assert f"4 left_out {what}" in said(found)


def test_a_finding_in_the_service_names_the_service_s_file() -> None:
    found = service("ExecStart=/bin/work", "User=bob")
    assert [one.file for one in found.drafts[0].findings] == ["work.service"]


def test_a_service_without_a_program_is_disabled() -> None:
    assert only(service("RemainAfterExit=no"))["isEnabled"] is False
    assert only(service("ExecStart=/bin/x 'open"))["isEnabled"] is False


# ---------------------------------------------------------------------------------- what is none


@pytest.mark.parametrize(
    ("text", "paired", "file", "line", "message"),
    [
        (SERVICE, None, "work.timer", 2, "there is no [Timer] in it, but [Service]"),
        ("", None, "work.timer", 0, "there is no [Timer] in it, but nothing"),
        ("0 3 * * * x\n", None, "work.timer", 1, "neither Key=value nor [Section]"),
        ("A=1\n[Timer]\n", None, "work.timer", 1, "a line before the first [Section]"),
        (DAILY, None, "work.timer", 0, "it starts work.service, and that file is not beside it"),
        (
            DAILY + "Unit=x.target\n",
            None,
            "work.timer",
            3,
            "it starts x.target, which is no service",
        ),
        (DAILY, "[Service]\nhello\n", "work.service", 2, "neither Key=value nor [Section]"),
        ("%PDF-1.4\n", None, "work.timer", 1, "this is a PDF"),
    ],
)
def test_what_is_no_timer_is_an_error_at_its_line(
    text: str, paired: str | None, file: str, line: int, message: str
) -> None:
    found = timer(text, paired)
    assert found.drafts == []
    [error] = found.errors
    assert (error.file, error.line) == (file, line)
    assert error.message.startswith(message)
