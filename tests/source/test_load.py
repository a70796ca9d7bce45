"""Job files as the loader reads them: each mistake with its place, and none left out."""

from __future__ import annotations

import importlib
import json
import random
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, create_model, model_serializer

from jobreconciler.jobtypes.base import PythonType
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.desired import Entry
from jobreconciler.source import reader_version
from jobreconciler.source.load import YamlLoader
from source.loading import LOADER, PATH, VALID, load_files, load_text, places, problems

WITH_EVERYTHING = """\
meta: {id: job, tags: [a, b]}
payload:
  jobType: command
  schedule: {cronExpression: 0 * * * *}
  dependency:
    jobs:
      - first
      - second
  retry: {initialDelay: 1h30m, maxDelay: 90}
  parameters: {argv: [/bin/true], env: {A: b}}
"""


def test_a_valid_file_becomes_a_job_with_every_default_filled_in() -> None:
    job = load_text(WITH_EVERYTHING).job

    assert job is not None
    config = json.loads(job.config)
    assert config["meta"] == {
        "id": "job",
        "type": "job-config",
        "version": "1",
        "environments": [],
        "tags": ["a", "b"],
    }
    assert config["payload"]["retry"] == {
        "maxAttempts": 1,
        "backoffStrategy": "exponential",
        "initialDelay": 5400,
        "maxDelay": 90,
    }
    assert config["payload"]["schedule"] == {
        "cronExpression": "0 * * * *",
        "timezone": "UTC",
        "isEnabled": True,
        "catchUp": "latest",
        "jitterSeconds": 0,
    }
    assert config["payload"]["parameters"]["env"] == {"A": "b"}
    assert config["payload"]["parameters"]["successExitCodes"] == [0]
    assert "webhook" not in config["payload"]
    assert (job.job_id, job.path, job.blob) == ("job", PATH, f"blob of {PATH}")
    assert (job.job_type, job.environments, job.enabled) == ("command", (), True)
    assert (job.depends_on, job.defaults_blob) == (("first", "second"), "")


def test_the_config_is_compact_sorted_json_and_the_digest_is_of_it() -> None:
    job = load_text(WITH_EVERYTHING).job

    assert job is not None
    value = json.loads(job.config)
    again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert job.config == again
    assert job.digest == sha256(job.config.encode()).hexdigest()


def test_spelling_does_not_change_the_digest() -> None:
    other = """\
    # another way to say the same
    payload:
        parameters: {env: {"A": b}, argv: ["/bin/true"]}
        retry: {maxDelay: 1m30s, initialDelay: 5400}
        dependency: {mode: all, jobs: [first, second]}
        schedule: {timezone: UTC, cronExpression: "0 * * * *"}
        isEnabled: true
        jobType: command
    meta: {tags: ["a", "b"], id: "job", title: null}
    """
    one, two = load_text(WITH_EVERYTHING).job, load_text(other).job

    assert one is not None and two is not None
    assert one.config == two.config
    assert one.digest == two.digest


@pytest.mark.parametrize("around", ["", "# tab\t\n"], ids=["quickly", "with a closer look"])
def test_places_of_the_id_and_of_each_dependency_are_kept(around: str) -> None:
    text = around + WITH_EVERYTHING
    job = load_text(text).job

    down = text.count("\n") - WITH_EVERYTHING.count("\n")
    assert job is not None
    assert job.id_at == (1 + down, 12)
    assert job.depends_at == ((7 + down, 9), (8 + down, 9))


def test_an_invalid_file_still_shows_its_id_and_where_it_stands() -> None:
    file = load_text("payload: {}\nmeta:\n  id: job\n")

    assert (file.job, file.job_id, file.id_at) == (None, "job", (3, 7))


@pytest.mark.parametrize(
    "text",
    ["meta: {id: Not Valid}\n", "meta: {id: 5}\n", "meta: x\n", "- meta\n", "", "{"],
)
def test_a_file_without_a_usable_id_shows_none(text: str) -> None:
    assert load_text(text).job_id is None


def test_every_mistake_of_a_file_is_reported_by_line() -> None:
    text = """\
    meta:
      id: Job
      titel: x
      environments: [a, a]
    payload:
      jobType: comand
      cronExpression: "* * * * *"
      isEnabled: yes
      schedule: {cronExpression: "0 61 * * *", timezone: Europe/Berlinn, jitterSeconds: "5"}
      webhook: {secret: hunter2}
      limits: {overlap: skipp, outputKiB: 0, outputKiB: 5}
      retry: {maxDelay: soon, maxAttempts: 101}
      notifications:
        onFailure: [ops, oops]
        channels:
          ops: {type: slck, url: {env: A}}
          mail: {type: email, to: [nobody]}
          "bad name": {type: slack, url: {env: A, file: b}}
    """
    assert places(text) == [
        ("bad_format", 2, 7),
        ("unknown_key", 3, 3),
        ("duplicate_item", 4, 17),
        ("unknown_job_type", 6, 12),
        ("unknown_key", 7, 3),
        ("wrong_type", 8, 14),
        ("bad_cron", 9, 33),
        ("unknown_timezone", 9, 54),
        ("wrong_type", 9, 85),
        ("secret_literal", 10, 21),
        ("not_allowed_value", 11, 21),
        ("out_of_range", 11, 39),
        ("duplicate_key", 11, 42),
        ("bad_duration", 12, 21),
        ("out_of_range", 12, 40),
        ("unknown_channel", 14, 22),
        ("not_allowed_value", 16, 19),
        ("bad_format", 17, 32),
        ("bad_format", 18, 7),
        ("bad_secret", 18, 38),
    ]


def test_every_mistake_of_every_file_is_reported_in_the_order_given() -> None:
    texts = {
        "jobs.d/b.yaml": "meta: {id: b}\n",
        "jobs.d/a.yaml": VALID,
        "jobs.d/sub/c.yml": "a: b: c\n",
    }
    files = load_files(texts)

    assert [file.path for file in files] == list(texts)
    assert [[one.code for one in file.problems] for file in files] == [
        ["missing"],
        [],
        ["unknown_key", "syntax"],
    ]


def test_after_a_syntax_error_what_was_readable_is_still_checked() -> None:
    text = """\
    meta: {id: job, ttle: x}
    payload:
      jobType: command
      priority: 500
      schedule: {cronExpression: "60 * * * *"
    """
    assert places(text) == [
        ("unknown_key", 1, 17),
        ("out_of_range", 4, 13),
        ("bad_cron", 5, 31),
        ("syntax", 6, 1),
    ]


HINTS = [
    ("meta: {id: a, tittle: x}", "did you mean title?"),
    ("meta: {id: a, timezone: UTC}", "timezone belongs in payload.schedule"),
    ("payload: {cron_expression: x}", "cronExpression belongs in payload.schedule"),
    ("payload: {schedule: {cron_expression: x}}", "did you mean cronExpression?"),
    ("payload: {schedule: {cron: x}}", "did you mean cronExpression?"),
    ("payload: {schedule: {zzz: x}}", "known keys: catchUp, cronExpression, "),
    ("payload: {limits: {memoryMib: 5}}", "did you mean memoryMiB?"),
    ("payload: {limits: {overlap: quue}}", "did you mean queue?"),
    ("payload: {jobType: comand}", "did you mean 'command'?"),
    ("payload: {schedule: {timezone: europe/berlin}}", "Did you mean Europe/Berlin?"),
    ("payload: {isEnabled: no}", "yes, no, on and off are text"),
    ("payload: {priority: '5'}", "write it without quotes"),
    ("meta: {version: 1.0}", "write it in quotes"),
    ("payload: {webhook: {}}", "add secret: {env: NAME}"),
    ("payload: {webhook: {secret: hunter2}}", "write {env: NAME} or {file: name}"),
    ("payload: {dependency: {jobs: a}}", "write [value], or one '- value' a line"),
    ("payload: {retry: {maxDelay: 5 min}}", "write 30s, 5m, 1h30m"),
    (
        "payload: {notifications: {onFailure: [op], channels: {ops: {type: slack}}}}",
        "did you mean ops?",
    ),
    ("payload: {jobType: command, parameters: {agrv: [x]}}", "did you mean argv?"),
    ("payload: {jobType: command, parameters: {argv: x}}", "write [value]"),
    (
        "payload: {jobType: command, manual: {allowParameters: [zzz]}}",
        "it has: argv, cwd, env, shell, successExitCodes",
    ),
]


@pytest.mark.parametrize(("text", "hint"), HINTS, ids=[text for text, _ in HINTS])
def test_a_hint_says_what_to_do(text: str, hint: str) -> None:
    assert any(hint in one.hint for one in problems(text)), problems(text)


MESSAGES = [
    ("priority: 101", "out_of_range", "expected at most 100, found the number 101"),
    ("priority: '5'", "wrong_type", "expected a whole number, found '5'"),
    ("priority: 5.5", "wrong_type", "expected a whole number, found the number 5.5"),
    ("isEnabled: 1", "wrong_type", "expected true or false, found the number 1"),
    ("retry: []", "wrong_type", "expected a map, found a list"),
    ("jobType: ''", "too_short", "expected at least 1 character, found 0"),
    ("dependency: {jobs: []}", "too_short", "expected at least 1 entry, found 0"),
    ("webhook: {secret: [{env: A}]}", "too_short", "expected at least 2 entries, found 1"),
    ("dependency: {on: sucess}", "not_allowed_value", "expected one of success, failure, "),
    ("dependency: {}", "missing", "a dependency names the jobs it waits for"),
    ("schedule: {}", "missing", "a schedule needs a cron expression"),
    ("notifications: {channels: {a: 5}}", "wrong_type", "expected a map, found the number 5"),
    ("notifications: {channels: {a: {}}}", "missing", "the key type is required here"),
    ("limits: {concurrencyGroup: 'a b'}", "bad_format", "expected 1 to 63 letters, digits, "),
    (
        "jobType: python\n  parameters: {entryPoint: jobs}",
        "bad_format",
        "expected a module and its ",
    ),
    ("dependency: {jobs: [a, a]}", "duplicate_item", "'a' stands in this list twice"),
    ("retry: {maxDelay: 400000000}", "out_of_range", "expected at most 315360000"),
    ("schedule: {cronExpression: '0 0 31 2 *'}", "bad_cron", "it never comes true"),
    ("schedule: {cronExpression: '@reboot'}", "bad_cron", "@reboot is refused"),
]


@pytest.mark.parametrize(("line", "code", "message"), MESSAGES, ids=[row[0] for row in MESSAGES])
def test_a_message_says_what_was_expected(line: str, code: str, message: str) -> None:
    found = problems(f"meta: {{id: job}}\npayload:\n  {line}\n")

    assert any(one.code == code and message in one.message for one in found), found


def test_a_secret_written_into_a_file_is_never_repeated() -> None:
    text = """\
    meta: {id: job}
    payload:
      jobType: command
      webhook: {secret: hunter2}
      parameters: {argv: [x], env: {T: {env: "hunter2 "}}}
      notifications:
        channels: {a: {type: slack, url: hunter2}, b: {type: apprise, url: {file: ../hunter2}}}
    """
    found = problems(text)

    assert [one.code for one in found] == [
        "secret_literal",
        "bad_format",
        "secret_literal",
        "bad_format",
    ]
    assert "hunter2" not in str([(one.message, one.hint) for one in found])


TYPE_RULES = [
    ("a batch size where nothing batches", "limits: {batchSize: 5}", ("no_batches", 4, 12)),
    ("an unknown parameter", "manual: {allowParameters: [x]}", ("unknown_parameter", 4, 30)),
    ("an unknown channel", "notifications: {onMissed: [x]}", ("unknown_channel", 4, 30)),
]


@pytest.mark.parametrize(
    ("line", "expected"), [row[1:] for row in TYPE_RULES], ids=[row[0] for row in TYPE_RULES]
)
def test_what_fits_only_some_jobs_is_refused_elsewhere(
    line: str, expected: tuple[str, int, int]
) -> None:
    text = f"meta: {{id: job}}\npayload:\n  jobType: command\n  {line}\n"

    assert places(text + "  parameters: {argv: [x]}\n") == [expected]


def test_parameters_are_held_to_their_type_with_exact_places() -> None:
    text = """\
    meta: {id: job}
    payload:
      jobType: command
      parameters:
        argv: [x, 5]
        shell: y
        env:
          A: 5
          B: {envv: X}
        successExitCodes: [0, 256]
        cw: /
    """
    assert places(text) == [
        ("wrong_type", 5, 15),
        ("wrong_type", 8, 10),
        ("bad_secret", 9, 10),
        ("out_of_range", 10, 27),
        ("unknown_key", 11, 5),
    ]


def test_a_rule_over_several_parameters_points_at_the_parameters() -> None:
    text = """\
    meta: {id: job}
    payload:
      jobType: command
      parameters: {argv: [x], shell: y}
    """
    assert places(text) == [("invalid_value", 4, 15)]
    assert "argv" in problems(text)[0].message


def test_a_job_type_that_fails_is_blamed_and_breaks_nothing_else() -> None:
    class Broken:
        name = "command"
        description = ""
        batches = dry_runs = False

        class parameters:  # noqa: N801 - stands in for a model
            model_config: ClassVar[dict[str, str]] = {}
            model_fields: ClassVar[dict[str, str]] = {}

            @classmethod
            def model_validate(cls, _data: object) -> None:
                raise RuntimeError("no")

    class Types:
        def get(self, _name: str) -> Broken:
            return Broken()

    loader = YamlLoader(Types())  # type: ignore[arg-type]
    (file,) = loader.load([Entry("a.yaml", "a")], {"a": VALID.encode()}, None)

    assert [one.code for one in file.problems] == ["broken_job_type"]
    assert "RuntimeError: no" in file.problems[0].message


def test_ten_thousand_mistakes_are_cut_off_and_counted() -> None:
    text = "meta: {id: a}\npayload:\n" + "".join(f"  k{n}: 1\n" for n in range(5000))
    found = problems(text)

    assert len(found) == 1001
    assert found[-1].code == "too_many_problems"
    assert found[-1].message.startswith("4001 more")


def test_a_loader_that_only_checks_leaves_configs_out_and_finds_the_same() -> None:
    checking = YamlLoader(load_job_types(), configs=False)
    for text in (WITH_EVERYTHING, VALID, "meta: {}\n", "a: b: c"):
        (file,) = checking.load(
            [Entry(PATH, f"blob of {PATH}")], {f"blob of {PATH}": text.encode()}, None
        )
        full = load_text(text)
        job = full.job and full.job._replace(config="", digest="")
        assert file == full._replace(job=job)


def test_files_do_not_affect_each_other_and_order_is_kept() -> None:
    texts = {
        f"jobs.d/{n}.yaml": VALID.replace("id: job", f"id: job-{n}") if n % 3 else "a: b: c"
        for n in range(30)
    }
    together = load_files(texts)
    shuffled = list(texts.items())
    random.Random(7).shuffle(shuffled)

    assert [file.path for file in together] == list(texts)
    assert sorted(load_files(dict(shuffled)), key=lambda file: file.path) == sorted(
        together, key=lambda file: file.path
    )
    assert [load_files({path: text})[0] for path, text in texts.items()] == together


def test_the_version_says_which_rules_and_types_read_the_files() -> None:
    assert LOADER.version == YamlLoader(load_job_types()).version


def test_the_version_changes_with_the_types() -> None:
    class Fewer:
        def names(self) -> tuple[str, ...]:
            return ("command",)

        def get(self, name: str) -> object:
            return load_job_types().get(name)

    assert YamlLoader(Fewer()).version != LOADER.version  # type: ignore[arg-type]


def test_the_version_changes_with_the_text_of_the_code_that_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in reader_version._READING:
        shutil.copytree(reader_version._PACKAGE / folder, tmp_path / folder)
    monkeypatch.setattr(reader_version, "_PACKAGE", tmp_path)
    assert reader_version.reader_version(load_job_types()) == LOADER.version
    with (tmp_path / "core" / "cron_fields.py").open("a") as code:
        code.write("# other rules\n")
    assert reader_version.reader_version(load_job_types()) != LOADER.version


class Unstorable(BaseModel):
    """Parameters that are accepted and then cannot be written down."""

    made: Any = None

    @model_serializer
    def fail(self) -> dict[str, Any]:
        raise OSError("no")


class OfAPlugin(PythonType):
    name = "plugin"
    description = "A type of a careless plugin."
    parameters = Unstorable

    def run(self, context: object) -> None: ...


def test_a_type_whose_parameters_cannot_be_stored_spoils_its_own_files_alone() -> None:
    class Types:
        def names(self) -> tuple[str, ...]:
            return ("command", "plugin")

        def get(self, name: str) -> object:
            return OfAPlugin() if name == "plugin" else load_job_types().get(name)

    texts = {"a": VALID, "b": "meta: {id: b}\npayload: {jobType: plugin}\n"}
    entries = [Entry(f"jobs.d/{name}.yaml", name) for name in texts]
    loader = YamlLoader(Types())  # type: ignore[arg-type]
    good, bad = loader.load(entries, {name: text.encode() for name, text in texts.items()}, None)

    assert good.job is not None
    assert bad.job is None
    assert [problem.code for problem in bad.problems] == ["broken_job_type"]


def test_an_invalid_file_that_disables_its_job_says_that_the_job_goes_on() -> None:
    text = VALID.replace("payload:\n", "payload:\n  isEnabled: false\n  priority: high\n")
    (file,) = load_files({"jobs.d/a.yaml": text})

    told = next(one for one in file.problems if one.code == "disable_held")
    assert text.splitlines()[told.line - 1][told.column - 1 :] == "false"
    assert "jobreconciler suspend" in told.hint


def test_a_valid_file_may_disable_its_job() -> None:
    (file,) = load_files(
        {"jobs.d/a.yaml": VALID.replace("payload:\n", "payload:\n  isEnabled: false\n")}
    )

    assert file.problems == ()
    assert file.job is not None and not file.job.enabled


def test_the_version_changes_with_a_model_that_a_types_parameters_only_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages keep what their types share in a module beside them."""
    shared = tmp_path / "a_shared_model.py"
    shared.write_text("from pydantic import BaseModel\nclass Window(BaseModel): hours: int\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    window = importlib.import_module("a_shared_model").Window
    command = load_job_types().get("command")
    made = create_model("Made", windows=(dict[str, list[window] | None], ...))

    class Theirs(type(command)):  # type: ignore[misc]
        parameters = made

    class Only:
        def names(self) -> tuple[str, ...]:
            return ("theirs",)

        def get(self, name: str) -> Theirs:  # noqa: ARG002
            return Theirs()

    before = reader_version.reader_version(Only())  # type: ignore[arg-type]
    shared.write_text("from pydantic import BaseModel\nclass Window(BaseModel): days: int\n")
    assert reader_version.reader_version(Only()) != before  # type: ignore[arg-type]
