from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobreconciler.cli.options import FLAGS
from jobreconciler.errors import Refused
from jobreconciler.settings import FIELDS, Settings, load_settings, parse_duration

SOURCE = Path(__file__).resolve().parents[1] / "src"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(flags: dict[str, object], **environ: str) -> str:
    with pytest.raises(Refused) as caught:
        load_settings(flags, environ=environ)
    return str(caught.value)


def test_without_anything_said_the_defaults_hold() -> None:
    settings = load_settings(environ={})
    assert (settings.repo, settings.ref, settings.jobs_dir) == (".", None, "jobs.d")
    assert settings.database_path == Path(".jobreconciler/store.db")
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 8484)
    assert settings.max_running >= 2
    assert settings.instance


@pytest.mark.parametrize(
    ("flags", "environ", "file", "ref"),
    [
        ({}, {}, "", None),
        ({}, {}, 'ref = "from-file"', "from-file"),
        ({}, {"JOBRECONCILER_REF": "from-env"}, 'ref = "from-file"', "from-env"),
        ({"ref": "flag"}, {"JOBRECONCILER_REF": "from-env"}, 'ref = "from-file"', "flag"),
        ({"ref": None}, {"JOBRECONCILER_REF": "from-env"}, "", "from-env"),
        ({}, {"JOBRECONCILER_REF": ""}, 'ref = "from-file"', "from-file"),
    ],
)
def test_flags_win_over_variables_over_the_file_over_defaults(
    flags: dict[str, str], environ: dict[str, str], file: str, ref: str | None
) -> None:
    if file:
        Path("jobreconciler.toml").write_text(file, encoding="utf-8")
    assert load_settings(flags, environ=environ).ref == ref


def test_the_file_takes_dashes_durations_and_tables() -> None:
    Path("jobreconciler.toml").write_text(
        'max-running = 3\npoll-interval = "2m"\natomic = true\n[concurrency-groups]\nsignals = 2\n',
        encoding="utf-8",
    )
    settings = load_settings(environ={})
    assert (settings.max_running, settings.poll_interval, settings.atomic) == (3, 120.0, True)
    assert settings.concurrency_groups == {"signals": 2}


def test_another_file_can_be_named_by_flag_or_variable() -> None:
    Path("a.toml").write_text('ref = "a"', encoding="utf-8")
    Path("b.toml").write_text('ref = "b"', encoding="utf-8")
    environ = {"JOBRECONCILER_CONFIG": "a.toml"}
    assert load_settings(environ=environ).ref == "a"
    assert load_settings({"config": Path("b.toml")}, environ=environ).ref == "b"


def test_every_field_can_be_set_by_a_variable() -> None:
    environ = {
        "JOBRECONCILER_LISTEN": "[::1]:9000",
        "JOBRECONCILER_MAX_RUNNING": "7",
        "JOBRECONCILER_WORKING_TREE": "yes",
        "JOBRECONCILER_CONCURRENCY_GROUPS": '{"a": 2}',
    }
    settings = load_settings(environ=environ)
    assert (settings.listen_host, settings.listen_port) == ("::1", 9000)
    assert (settings.max_running, settings.working_tree) == (7, True)
    assert settings.concurrency_groups == {"a": 2}


def test_variables_a_command_does_not_need_are_not_read() -> None:
    settings = load_settings(needs=["repo"], environ={"JOBRECONCILER_MAX_RUNNING": "many"})
    assert settings.max_running >= 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"max_running": 0}, "--max-running: Input should be greater than or equal to 1, got 0"),
        ({"listen": "8484"}, "--listen: '8484' is not HOST:PORT, such as 127.0.0.1:8484"),
        ({"listen": "a:99999"}, "--listen: 'a:99999' is not HOST:PORT, such as 127.0.0.1:8484"),
        ({"server": "box:1"}, "--server: 'box:1' is not an http:// or https:// address"),
        *(
            (
                {"server": server},
                f"--server: {server!r} is not http://HOST or http://HOST:PORT, such as "
                "http://127.0.0.1:8484; a port is a number up to 65535",
            )
            for server in (
                "http://localhost:84848",
                "http://box:abc",
                "http://[x",
                "http://:80",
                "http://ex..ample",
                f"http://{'x' * 64}",
                "http://box/ä",
            )
        ),
        ({"jobs_dir": "../x"}, "--jobs-dir: '../x' is not a directory below the repository's root"),
        ({"jobs_dir": "/x"}, "--jobs-dir: '/x' is not a directory below the repository's root"),
        (
            {"poll_interval": "soon"},
            "--poll-interval: 'soon' is not a duration such as 30s, 5m, 1h30m or 45",
        ),
        (
            {"log_format": "xml"},
            "--log-format: Input should be 'auto', 'json' or 'console', got 'xml'",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_the_flag_it_came_from(
    flags: dict[str, object], said: str
) -> None:
    assert refused(flags) == said


def test_a_bad_value_names_the_variable_or_the_file_it_came_from() -> None:
    Path("jobreconciler.toml").write_text("max_running = 0\nmax-runing = 3\n", encoding="utf-8")
    said = refused({}, JOBRECONCILER_LISTEN="x")
    assert "JOBRECONCILER_LISTEN: 'x' is not HOST:PORT" in said
    assert "jobreconciler.toml: max_running: Input should be greater" in said
    assert (
        "jobreconciler.toml: max_runing: there is no such setting; did you mean max_running?"
        in said
    )


def test_a_file_that_is_not_toml_is_refused_with_its_line() -> None:
    Path("jobreconciler.toml").write_text("a = \n", encoding="utf-8")
    assert refused({}).startswith("jobreconciler.toml: not TOML: Invalid value (at line 1")


def test_a_named_file_that_is_missing_is_refused() -> None:
    assert refused({"config": "gone.toml"}) == "--config: there is no file gone.toml"
    assert "JOBRECONCILER_CONFIG: there is no file" in refused({}, JOBRECONCILER_CONFIG="gone.toml")


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    shown = repr(Settings(token="s3cret", store="postgresql://u:pw@h/d"))
    assert "s3cret" not in shown and "pw" not in shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("0", 0),
        ("", None),
        ("m5", None),
        ("5m1h", None),
        ("-5", None),
        ("1.5h", None),
        ("५", None),
    ],
)
def test_durations_are_read_as_in_a_job_file(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


def test_each_flag_is_a_setting() -> None:
    assert set(FLAGS) - {"config"} <= set(FIELDS)
    assert set(FIELDS) - set(FLAGS) == {"concurrency_groups"}


def test_pydantic_settings_is_imported_only_when_it_has_something_to_read() -> None:
    code = (
        "import sys; from jobreconciler.settings import load_settings as load; "
        "load({'ref': 'x'}, environ={}); print('pydantic_settings' in sys.modules); "
        "load(environ={'JOBRECONCILER_REF': 'x'}); print('pydantic_settings' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("file", "environ", "found"),
    [
        ("", {}, ()),
        ("", {"JOBRECONCILER_ALLOW_HTTP_NETWORKS": "127.0.0.1, 10.20.0.0/16"},
         ("127.0.0.1", "10.20.0.0/16")),
        ('allow-http-networks = ["::1", "fd12::/16"]', {}, ("::1", "fd12::/16")),
        ('allow-http-networks = "::1"', {}, ("::1",)),
    ],
)  # fmt: skip
def test_networks_for_http_jobs_are_a_list_or_a_text(
    file: str, environ: dict[str, str], found: tuple[str, ...]
) -> None:
    Path("jobreconciler.toml").write_text(file, encoding="utf-8")
    assert load_settings({}, environ=environ).http_networks == found


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "10.0.0.0/40"])
def test_what_is_no_network_is_refused(wrong: str) -> None:
    said = refused({"allow_http_networks": wrong})
    assert said.startswith("--allow-http-networks: ")
    assert "write 127.0.0.1 or 10.20.0.0/16" in said
