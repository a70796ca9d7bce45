from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import jobreconciler
from cli.calling import SOURCE, Cli, JobFile
from jobreconciler.cli import errors
from jobreconciler.cli.index import VERBS
from jobreconciler.errors import Invalid, NotFound, Refused, Stalled, Transient


def test_help_lists_every_verb_and_setting_within_eighty_columns(cli: Cli) -> None:
    answer = cli("--help")
    assert answer.code == 0
    assert answer.widest <= 80
    for name, said in VERBS.items():
        assert f"  {name} " in answer.out
        assert said in answer.out
    assert "--state-dir DIR" in answer.out


def test_without_a_verb_the_help_is_shown(cli: Cli) -> None:
    assert cli().out == cli("--help").out


def test_help_imports_no_verb_and_nothing_heavy() -> None:
    code = (
        "import sys; from jobreconciler.cli.main import main; main(['--help']); "
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(SOURCE)},
    )
    loaded = done.stderr.split()
    assert not [name for name in loaded if name.startswith("jobreconciler.cli.commands.")]
    for heavy in ("pydantic", "rich", "yaml", "sqlalchemy", "fastapi", "git", "croniter"):
        assert heavy not in loaded


def test_each_verb_of_the_index_has_a_module_and_no_module_is_left_out() -> None:
    import jobreconciler.cli.commands as commands

    folder = Path(commands.__file__).parent
    modules = {path.stem.replace("_", "-") for path in folder.glob("*.py")} - {"--init--"}
    assert modules == set(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_explains_itself_with_an_example(name: str, cli: Cli) -> None:
    answer = cli(name, "--help")
    assert answer.code == 0
    assert "Example:\n    jobreconciler " in answer.out
    assert answer.widest <= 80
    assert " <" not in answer.out, "a type of Python says nothing to people"
    assert "..." not in answer.out.partition("\nCommands:\n")[2], "a sub-verb is cut off"
    assert import_module(f"jobreconciler.cli.commands.{name.replace('-', '_')}").__doc__


def test_the_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out == f"jobreconciler {jobreconciler.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("vaildate", "did you mean validate?"),
        ("job", "did you mean jobs?"),
        ("qqqqqq", "`jobreconciler --help` lists all"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(typed: str, hint: str, cli: Cli) -> None:
    answer = cli(typed)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err == f"error: there is no command {typed!r}\nhint: {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["job-types", "--nonsense"], "error: no such option: --nonsense"),
        (["job-types", "-o", "yaml"], "error: -o yaml: this command answers in text, json"),
        (["run", "-o", ""], "error: no such option: -o"),
        (["job-types", "-o", ""], "error: -o : this command answers in text, json"),
        (["new", "command", "a", "--print", "-o", "json"], "error: --print prints the file itself"),
        (["history"], "error: missing argument 'JOB'"),
        (["--max-running", "0", "job-types"], "error: --max-running: Input should be greater"),
        (["job-types", "--listen", "x"], "error: --listen: 'x' is not HOST:PORT"),
    ],
)
def test_wrong_usage_is_said_in_a_line_and_exits_with_two(
    arguments: list[str], said: str, cli: Cli
) -> None:
    answer = cli(*arguments)
    assert answer.code == 2
    assert answer.err.startswith(said)
    assert "Traceback" not in answer.err


def test_a_variable_for_the_logs_is_read_where_a_pass_writes_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRECONCILER_LOG_FORMAT", "xml")
    for verb in ("apply", "plan"):
        answer = cli(verb)
        assert answer.code == 2
        assert answer.err.startswith("error: JOBRECONCILER_LOG_FORMAT: Input should be 'auto'")


def test_settings_may_stand_before_or_after_the_verb_and_the_later_wins(cli: Cli) -> None:
    before = cli("--server", "http://127.0.0.1:1", "jobs")
    assert "no daemon answers at http://127.0.0.1:1\n" in before.err
    after = cli("--server", "http://127.0.0.1:2", "jobs", "--server", "http://127.0.0.1:1")
    assert after.err == before.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("x"), 1),
        (NotFound("x"), 1),
        (Transient("x"), 1),
        (Stalled("x"), 1),
        (Refused("x"), 2),
        (errors.Unreachable("x"), 2),
        (PermissionError(13, "Permission denied", "/x"), 2),
        (RuntimeError("a bug"), 2),
        (KeyboardInterrupt(), 130),
        (errors.PipeClosed(), 141),
    ],
)
def test_each_kind_of_error_has_one_exit_code(error: BaseException, code: int) -> None:
    assert errors.exit_code(error) == code


def test_errors_say_what_and_what_to_do_and_show_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors.report(Invalid("it is wrong", hint="make it right"))
    errors.report(FileNotFoundError(2, "No such file or directory", "gone"))
    errors.report(RuntimeError("a bug"))
    assert capsys.readouterr().err.splitlines() == [
        "error: it is wrong",
        "hint: make it right",
        "error: gone: No such file or directory",
        "error: this is a fault of the program: RuntimeError: a bug",
        "hint: set JOBRECONCILER_DEBUG=1 to see where, and report it",
    ]
    monkeypatch.setenv("JOBRECONCILER_DEBUG", "1")
    errors.report(RuntimeError("a bug"))
    assert "RuntimeError: a bug" in capsys.readouterr().err


BY_BOTH_WAYS = pytest.mark.parametrize(
    "line", ["job-types", "validate", "validate jobs.d -o json", "jobs -h", "next -n 1", "--help"]
)
"""Plain command lines, some of which end their process at once, and lines that Typer reads."""


def ended(line: str, stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobreconciler", *line.split()],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        # Buffered, as where nobody says otherwise: what is left over is written at the end.
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": ""},
        check=False,
    )


@BY_BOTH_WAYS
def test_a_disk_without_room_for_the_answer_is_said_once(line: str, job_file: JobFile) -> None:
    job_file("a")
    full = os.open("/dev/full", os.O_WRONLY)
    done = ended(line, full)
    os.close(full)
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert said.startswith("error: ") and said.endswith("No space left on device")


@BY_BOTH_WAYS
def test_a_reader_that_goes_away_ends_the_command_quietly(line: str, job_file: JobFile) -> None:
    job_file("a")
    read, write = os.pipe()
    os.close(read)
    done = ended(line, write)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


def test_an_error_that_cannot_be_said_still_has_its_exit_code() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-m", "jobreconciler", "nonsense"],
        stderr=full,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    os.close(full)
    assert done.returncode == 2


def test_a_remark_that_cannot_be_made_changes_nothing(job_file: JobFile) -> None:
    job_file("a")
    full = os.open("/dev/full", os.O_WRONLY)
    command = [sys.executable, "-m", "jobreconciler", "fmt", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, stderr=full, timeout=60, env=environment, check=False)
    os.close(full)
    assert done.returncode == 0


def test_an_argument_that_is_no_text_is_wrong_usage() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "jobreconciler",
            "jobs",
            "-q",
            b"\xff",
            "--server",
            "http://[::1]:1",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: an argument is no UTF-8 text")


@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [
        (">&-", 2, "", "error: standard output: Bad file descriptor\n"),
        ("2>&-", 0, "1 file, 1 job, 0 errors\n", ""),
        (">&- 2>&-", 2, "", ""),
    ],
)
def test_a_stream_that_was_closed_is_no_fault_of_the_program(
    closed: str, code: int, out: str, err: str, job_file: JobFile
) -> None:
    job_file("a")
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m jobreconciler validate {closed}', sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def accept_from_the_program(silent: socket.socket) -> socket.socket:
    """Whoever else tries a port of this machine meanwhile is let go of."""
    while True:
        asked, _ = silent.accept()
        if b"/api/v1/" in asked.recv(65_536):
            return asked
        asked.close()


@pytest.mark.parametrize("line", ["reconcile", "history a"])
def test_an_interrupt_is_said_whichever_way_a_verb_is_called(line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobreconciler", *line.split()],
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(SOURCE),
                "JOBRECONCILER_SERVER": f"http://127.0.0.1:{silent.getsockname()[1]}",
            },
        )
        silent.settimeout(60)
        asked = accept_from_the_program(silent)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        asked.close()
    assert (process.returncode, said) == (130, "interrupted\n")


def test_package_metadata_is_read_when_somebody_asks(spawn: Cli) -> None:
    code = (
        "import sys; from jobreconciler.cli.main import main; "
        "sys.argv[1:] = ['job-types']; main(); "
        "from importlib.metadata import EntryPoint, entry_points, version; "
        "assert EntryPoint and version('jobreconciler'); "
        "assert len(entry_points(group='jobreconciler.job_types')) >= 9; "
        "import importlib.metadata; print(type(importlib.metadata).__name__)"
    )
    answer = spawn(python=("-c", code))
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == "module"


def test_package_metadata_can_be_asked_for_by_its_whole_name(spawn: Cli) -> None:
    code = (
        "from jobreconciler.cli.late_metadata import import_late; import_late(); "
        "import sys, importlib.metadata; "
        "assert 'csv' not in sys.modules, 'it is imported before it is asked'; "
        "assert importlib.metadata.version('jobreconciler'); "
        "assert type(importlib.metadata).__name__ == 'module'; "
        "assert importlib.metadata is sys.modules['importlib.metadata']"
    )
    answer = spawn(python=("-c", code))
    assert answer.code == 0, answer.err
