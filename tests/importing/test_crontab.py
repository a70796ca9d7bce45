"""Crontabs line by line: what a job becomes, and what of it cannot carry over."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from importing.reading import as_words, checked, crontab, only, said
from jobreconciler.importing.crontab import is_system_path


def schedule_of(line: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = only(crontab(line + "\n", **options))["schedule"]
    return found


def script_of(line: str) -> str:
    script: str = only(crontab(line + "\n"))["parameters"]["shell"]
    return script


# ------------------------------------------------------------------------------------ the format


@pytest.mark.parametrize(
    ("path", "has_users"),
    [
        ("/etc/crontab", True),
        ("etc/crontab", True),
        ("/etc/cron.d/php", True),
        ("backup/web1/etc/cron.d/php", True),
        ("/var/spool/cron/crontabs/root", False),
        ("crontab", False),
        ("mycron.d/x", False),
    ],
)
def test_a_user_column_is_expected_by_the_path(path: str, has_users: bool) -> None:
    assert is_system_path(path) is has_users


def test_the_flag_wins_over_the_path() -> None:
    line = "0 3 * * * root /bin/work\n"
    assert only(crontab(line, system=True))["parameters"]["shell"] == "/bin/work"
    job = only(crontab(line, path="/etc/crontab", system=False))
    assert job["parameters"]["shell"] == "root /bin/work"


def test_the_report_says_which_format_was_read() -> None:
    assert "0 assumed read as a user's crontab" in said(crontab("0 3 * * * x\n"))
    found = said(crontab("0 3 * * * root x\n", path="/etc/crontab"))
    assert "0 assumed read as a system crontab, with a user column" in found
    assert "1 left_out the user root" in found
    assert not [one for one in said(crontab("0 3 * * * x\n", system=False)) if "read as" in one]


@pytest.mark.parametrize(
    ("text", "system", "line", "message"),
    [
        ("0 3 * * * x\nhello world\n", False, 2, "neither a comment, a variable nor a job"),
        ("\n\n0 3 * * x\n", False, 3, "a job without its command"),
        ("0 3 * * *\n", False, 1, "a job without its command"),
        ("@daily\n", False, 1, "a job without its command"),
        ("0 3 * * * /bin/x\n", True, 1, "a job without its command"),
        ("0 3 * * * /bin/x -a\n", True, 1, "'/bin/x' stands where a system crontab names the user"),
        ('A="b\n', False, 1, "the quotes of A do not match"),
        ("1 5 cron.daily nice run-parts /etc/cron.daily\n", False, 1, "this is an anacrontab"),
        ("<!DOCTYPE html>\n<p>0 3 * * * x\n", False, 1, "this is an HTML page, not a crontab"),
        ("0 3 * * * x\n\0\n", False, 2, "a NUL byte: this is a binary file"),
        ("%PDF-1.7\n", False, 1, "this is a PDF, not a crontab"),
        ("0 3 * * * " + "x" * 131_072 + "\n", False, 1, "the line has 131082 characters"),
        ("SELECT 1;\n", False, 1, "neither a comment, a variable nor a job"),
    ],
)
def test_what_is_no_crontab_is_an_error_at_its_line(
    text: str, system: bool, line: int, message: str
) -> None:
    imported = crontab(text, system=system)
    assert imported.drafts == []
    assert imported.errors[0].line == line
    assert imported.errors[0].message.startswith(message)
    assert imported.errors[0].hint


def test_every_bad_line_is_reported_at_once() -> None:
    errors = crontab("what\n0 3 * * * fine\nis this\n").errors
    assert [one.line for one in errors] == [1, 3]


def test_a_file_without_jobs_is_no_error_and_is_said() -> None:
    imported = crontab("# nothing\n\nPATH=/bin\n")
    assert (imported.drafts, imported.errors) == ([], [])
    assert said(imported) == ["0 left_out the file"]


# ---------------------------------------------------------------------------------- the schedule


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("0 3 * * * x", "0 3 * * *"),
        ("*/15\t8-18 * * Mon-Fri\tx", "*/15 8-18 * * Mon-Fri"),
        ("@daily x", "@daily"),
        ("@Midnight x", "@midnight"),
        ("@every_minute x", "* * * * *"),
        ("0 0 1,15 * 5 x", "0 0 1,15 * 5"),
        ("0 0 */2 * 1 x", "0 0 */2 * 1"),
        ("0 0 31 2 1 x", "0 0 * 2 1"),
        ("*/60 * * * * x", "0 * * * *"),
        ("0 0 * * */7 x", "0 0 * * 0"),
        ("0 0 * jan,Jul 7 x", "0 0 * jan,Jul 7"),
        ("@every 15m x", "*/15 * * * *"),
    ],
)
def test_a_schedule_that_means_the_same_is_on(line: str, expression: str) -> None:
    schedule = schedule_of(line)
    assert schedule["cronExpression"] == expression
    assert "isEnabled" not in schedule
    assert schedule["catchUp"] == "none"


@pytest.mark.parametrize(
    ("line", "expression", "what"),
    [
        ("5/15 * * * * x", "5-50/15 * * * *", "Debian's cron refuses 5/15"),
        ("0 22-2 * * * x", "0 0-2,22,23 * * *", "22-2 runs backwards"),
        ("0 0 * * fri-sun x", "0 0 * * 0,5,6", "fri-sun runs backwards"),
        ("0 0 L * * x", "0 0 L * *", "cron does not know 'L' as a day-of-month"),
        ("0 0 * * 1#2 x", "0 0 * * 1#2", "cron does not read '1#2' as a day-of-week"),
    ],
)
def test_a_schedule_that_crons_disagree_about_waits_for_a_person(
    line: str, expression: str, what: str
) -> None:
    imported = crontab(line + "\n")
    schedule = only(imported)["schedule"]
    assert (schedule["cronExpression"], schedule["isEnabled"]) == (expression, False)
    assert [one for one in imported.drafts[0].findings if one.why.startswith(what)]


@pytest.mark.parametrize(
    "line",
    ["@reboot x", "0 0 31 2 * x", "61 * * * * x", "*/0 * * * * x", "@every 7m x", "@often x",
     "0 0 */40 * 1 x", "@10 x", "30~10 * * * * x"],
)  # fmt: skip
def test_a_schedule_without_a_counterpart_leaves_the_job_without_one(line: str) -> None:
    imported = crontab(line + "\n")
    assert "schedule" not in only(imported)
    assert any(one.startswith("1 left_out the schedule") for one in said(imported))


def test_a_random_minute_becomes_a_jitter_of_the_same_span() -> None:
    schedule = schedule_of("10~40 3 * * * x")
    assert (schedule["cronExpression"], schedule["jitterSeconds"]) == ("10 3 * * *", 1800)
    schedule = schedule_of("RANDOM_DELAY=5\n~ 3 * * * x")
    assert (schedule["cronExpression"], schedule["jitterSeconds"]) == ("0 3 * * *", 3840)


def test_the_zone_is_the_flag_s_or_the_file_s_or_said_to_be_assumed() -> None:
    assert schedule_of("0 3 * * * x")["timezone"] == "UTC"
    assert "0 assumed timezone UTC" in said(crontab("0 3 * * * x\n"))
    told = crontab("0 3 * * * x\n", timezone="Europe/Berlin")
    assert only(told)["schedule"]["timezone"] == "Europe/Berlin"
    assert "0 assumed timezone UTC" not in said(told)
    zones = [
        job["payload"]["schedule"]["timezone"]
        for job in checked(
            crontab("0 1 * * * a\nCRON_TZ=Asia/Tokyo\n0 2 * * * b\nCRON_TZ=UTC\n0 3 * * * c\n")
        ).values()
    ]
    assert zones == ["UTC", "Asia/Tokyo", "UTC"]


def test_a_zone_that_nobody_knows_leaves_the_schedule_off() -> None:
    imported = crontab("CRON_TZ=Mars/Olympus\n0 3 * * * x\n")
    assert only(imported)["schedule"]["isEnabled"] is False
    assert "1 left_out CRON_TZ=Mars/Olympus" in said(imported)


# ----------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("command", "script"),
    [
        (r"date +\%Y", "date +%Y"),
        (r"echo a\\b", r"echo a\b"),
        (r"echo a\nb", r"echo a\nb"),
        ("a # not a comment", "a # not a comment"),
        ("a  b ", "a  b "),
    ],
)
def test_a_command_reaches_the_shell_as_cron_would_hand_it_over(command: str, script: str) -> None:
    assert script_of(f"0 3 * * * {command}") == script


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("cat%one%two", "one\ntwo\n"),
        ("cat%one%%two%", "one\n\ntwo\n"),
        (r"cat%100\% sure", "100% sure\n"),
        ("cat%", ""),
        ("cat%$HOME `id` 'x' \"y\" \\n", "$HOME `id` 'x' \"y\" \\n\n"),
        ("cat # remark%in", "in\n"),
        ("cat%END_OF_INPUT%x", "END_OF_INPUT\nx\n"),
        ("tr a b | cat%aaa", "bbb\n"),
    ],
)
def test_what_stands_behind_a_percent_sign_is_standard_input(command: str, output: str) -> None:
    words = as_words(only(crontab(f"0 3 * * * {command}\n"))["parameters"])
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == output


def test_a_shell_that_takes_no_here_document_is_said() -> None:
    imported = crontab("SHELL=/bin/csh\n0 3 * * * cat%in\n")
    assert only(imported)["parameters"]["argv"] == ["/bin/csh", "-c", "cat"]
    assert "2 left_out what stands behind the % of the command" in said(imported)


def test_another_shell_is_started_by_its_path() -> None:
    job = only(crontab("SHELL=/bin/bash\n0 3 * * * [[ -e x ]] && y\n"))
    assert job["parameters"]["argv"] == ["/bin/bash", "-c", "[[ -e x ]] && y"]


# --------------------------------------------------------------------------------- the variables


def test_variables_hold_for_the_lines_below_them() -> None:
    jobs = checked(
        crontab("0 1 * * * a\nX=1\n0 2 * * * b\nX = 'two words'\nY=\" q \"\n0 3 * * * c\n")
    )
    environments = [job["payload"]["parameters"].get("env", {}) for job in jobs.values()]
    assert environments == [{}, {"X": "1"}, {"X": "two words", "Y": " q "}]


def test_home_is_where_a_job_starts() -> None:
    parameters = only(crontab("HOME=/srv/app\n0 3 * * * x\n"))["parameters"]
    assert (parameters["cwd"], parameters["env"]) == ("/srv/app", {"HOME": "/srv/app"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "x9"),
        ("AWS_SECRET_ACCESS_KEY", "x9"),
        ("API_TOKEN", "x9"),
        ("PGPASSWORD", "x9"),
        ("DATABASE_URL", "postgres://u:x9@db/app"),
    ],
)
def test_what_looks_like_a_secret_becomes_a_reference(name: str, value: str) -> None:
    imported = crontab(f"{name}={value}\n0 3 * * * x\n")
    assert only(imported)["parameters"]["env"] == {name: {"env": name}}
    assert f"1 secret the value of {name}" in said(imported)


@pytest.mark.parametrize(
    "variable",
    [
        "USE_TOKEN=true",
        "PASSWORD_FILE=/run/x",
        "PWD=/srv",
        "KEYS=a b",
        "URL=http://x:80/",
        "TOKEN=",
    ],
)
def test_what_does_not_is_written(variable: str) -> None:
    name, _, value = variable.partition("=")
    assert only(crontab(f"{variable}\n0 3 * * * x\n"))["parameters"]["env"] == {name: value}


@pytest.mark.parametrize(
    ("command", "is_told"),
    [
        ("curl -H 'Authorization: Bearer abc' http://x", True),
        ("mysqldump -pabc db", True),
        ("x --password=abc", True),
        ("psql postgres://a:b@c/d", True),
        ("x --password=$PW", False),
        ("mkdir -p /tmp/x", False),
    ],
)
def test_a_command_that_seems_to_hold_a_secret_is_said(command: str, is_told: bool) -> None:
    assert ("1 secret the command" in said(crontab(f"0 3 * * * {command}\n"))) is is_told


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("MAILTO=ops@example.org\n0 3 * * * x\n", "1 left_out MAILTO=ops@example.org"),
        ("MAILFROM=cron@example.org\n0 3 * * * x\n", "1 left_out MAILFROM=cron@example.org"),
        ("TZ=Asia/Tokyo\n0 3 * * * x\n", "1 changed TZ=Asia/Tokyo"),
        ("LOGNAME=bob\n0 3 * * * x\n", "1 left_out LOGNAME=bob"),
        ("a.b=c\n0 3 * * * x\n", "1 left_out the variable 'a.b'"),
        ("-0 3 * * * x\n", "1 left_out the - before the line"),
        ("0 3 * * * x\r\n", "0 changed Windows line ends"),
        ("0 3 * * * x\n", "0 changed limits"),
        ("*/60 2 * * * x\n", "1 changed the schedule */60 2 * * *"),
        ("0 3 * * * echo \\\\\\\\x\n", "1 changed a double backslash in the command"),
    ],
)
def test_what_cannot_carry_over_is_said(text: str, what: str) -> None:
    imported = crontab(text)
    checked(imported)
    assert what in said(imported)


def test_an_empty_mailto_has_nothing_to_carry() -> None:
    assert not [one for one in said(crontab("MAILTO=\n0 3 * * * x\n")) if "MAILTO" in one]


def test_cron_s_lack_of_limits_is_written_out() -> None:
    limits = only(crontab("0 3 * * * x\n"))["limits"]
    assert limits == {"timeoutSeconds": 2_592_000, "maxConcurrent": 1000}


# ------------------------------------------------------------------------------- names and texts


@pytest.mark.parametrize(
    ("command", "job_id"),
    [
        ("/usr/local/bin/backup.sh --full", "backup"),
        ("cd /srv && ./make_report.py > out", "make-report"),
        ("FOO=1 nice -n 10 /opt/x/sync", "sync"),
        ("python3 -u /srv/clean_up.py", "clean-up"),
        (
            "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }",
            "cron-daily",
        ),
        ("[ -x /a ] && flock -n /run/a.lock /usr/bin/rotate", "rotate"),
        ("timeout 30s curl -s http://x", "curl"),
        ("/bin/sh -c 'echo x'", "echo"),
        ("true", "job"),
        ("ключ", "job"),
        ("x" * 100, "x" * 63),
    ],
)
def test_a_job_is_named_after_its_program(command: str, job_id: str) -> None:
    assert list(checked(crontab(f"0 3 * * * {command}\n"))) == [job_id]


def test_same_names_are_numbered_in_the_file_s_order() -> None:
    long = "y" * 63
    lines = "".join(f"0 {n} * * * {name}\n" for n, name in enumerate(["a", "a", long, long, "a-2"]))
    assert list(checked(crontab(lines))) == ["a", "a-2", long, "y" * 61 + "-2", "a-2-2"]


def test_comments_right_above_a_line_are_its_title_and_description() -> None:
    text = (
        "# The file's own words\n\n"
        "# m h dom mon dow command\n"
        "0 1 * * * a\n"
        "# Backup\n# of everything\n#0 0 * * * old\n# -----\n0 2 * * * b\n"
        "# Elsewhere\n\n0 3 * * * c\n"
    )
    metas = [job["meta"] for job in checked(crontab(text)).values()]
    assert metas == [
        {"id": "a"},
        {"id": "b", "title": "Backup", "description": "Backup\nof everything"},
        {"id": "c"},
    ]
