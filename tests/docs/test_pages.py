"""The documentation says what is true: examples work, names exist, nothing public is left out."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gitrepo import GitRepo
from jobreconciler.cli.index import INDEX, VERBS
from jobreconciler.cli.main import main
from jobreconciler.cli.options import FLAGS
from jobreconciler.clock import SystemClock
from jobreconciler.core import verdict
from jobreconciler.model.choices import SORTS, STATES, TRIGGERS
from jobreconciler.observe.metrics import Metrics
from jobreconciler.settings import load_settings
from jobreconciler.source import faults
from jobreconciler.web.app import create_app
from observe.test_metrics import AT, report_everything, row, scrape

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
EXAMPLES = [*sorted((ROOT / "deploy").rglob("*.yml")), ROOT / "deploy/jobreconciler.service"]


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def cells(text: str) -> Iterator[list[str]]:
    """The rows of a page's tables, cell by cell."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


# ------------------------------------------------------------------------------------ job files


def test_the_fields_page_is_what_the_schemas_say() -> None:
    written = runpy.run_path(str(DOCS / "field_tables.py"))
    assert page("job-fields.md") == written["page"](), "python docs/field_tables.py mends it"


def names_of_fields(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield from node.get("properties", {})
        for each in node.values():
            yield from names_of_fields(each)
    elif isinstance(node, list):
        for each in node:
            yield from names_of_fields(each)


@pytest.mark.parametrize("name", ["job-config.schema.json", "defaults.schema.json"])
def test_every_field_of_a_schema_is_named(name: str) -> None:
    fields = set(names_of_fields(json.loads((ROOT / "schemas" / name).read_text("utf-8"))))
    text = page("job-fields.md")
    sections = {"meta", "payload", "env", "file", "repo"}
    assert {each for each in fields - sections if f"| `{each}` |" not in text} == set()


def test_every_job_file_on_a_page_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "jobs.d"
    folder.mkdir()
    readme = (ROOT / "README.md").read_text("utf-8")
    for text in (page("job-file.md"), page("signals.md"), readme):
        for block, path in re.findall(r"```yaml\n(# (jobs\.d/\S+)\n.*?)```", text, re.DOTALL):
            (tmp_path / path).write_text(block)
    assert main(["validate", "--repo", str(tmp_path)]) == 0, capsys.readouterr().out
    assert len(list(folder.iterdir())) > 5


# ------------------------------------------------------------------------------------- commands


def commands(text: str) -> Iterator[list[str]]:
    """Each `jobreconciler …` of a text, in words, up to where the shell or a remark goes on."""
    text = text.replace("\\\n", " ")
    for found in re.findall(r"(?<![\w/.-])(?:\.venv/bin/)?jobreconciler ([^`\n]*)", text):
        line = re.split(r"\s#|[;|<>]|&&|\|\||\d>", found)[0]
        words = shlex.split(line.replace("(", " ").replace(")", " ").replace("…", ""), posix=True)
        if words and (words[0] in VERBS or words[0].startswith("-")):
            yield words


@pytest.mark.parametrize("path", PAGES + EXAMPLES, ids=lambda path: path.name)
def test_every_flag_of_a_command_on_a_page_exists(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"--help"} | {"--" + name.replace("_", "-") for name in FLAGS}
    for words in commands(path.read_text("utf-8")):
        verb = next((word for word in words if word in VERBS), None)
        assert verb is not None, words
        sub = [words[1]] if verb in ("token", "signals") and len(words) > 1 else []
        main([verb, *sub, "--help"])
        shown = set(re.findall(r"(?<!\w)--?[a-z][a-z-]*", capsys.readouterr().out)) | known
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= shown, f"{path.name}: {' '.join(words)}"


def test_every_verb_has_its_row_and_no_row_a_verb_that_is_not_there() -> None:
    rows = {
        found[1]
        for each in cells(section(page("interfaces.md"), "Commands"))
        if (found := re.fullmatch(r"`([a-z-]+)`", each[0]))
    }
    assert rows == set(VERBS)


def test_what_is_done_by_hand_is_on_the_operating_page() -> None:
    by_hand = section(page("operating.md"), "By hand")
    named = {words[0] for words in commands(by_hand)}
    elsewhere = {"run", "apply", "reconcile", "approve-prune"}
    assert named >= {*INDEX["Running"], "gc"} - elsewhere
    keep = {"--" + name.replace("_", "-") for name in FLAGS if name.startswith("keep_")}
    assert {flag for flag in keep if f"`{flag} " not in by_hand} == set()
    assert "/readyz" in by_hand and "confirms" in by_hand


HELLO = "meta: {id: a}\npayload: {jobType: command, parameters: {argv: [/bin/true]}}\n"


def keys(shape: str) -> list[str]:
    """The outermost keys of `{a, b:[{c}], d}`."""
    flat = shape.strip("`").removeprefix("{").removesuffix("}")
    while (less := re.sub(r"[\[{][^\[\]{}]*[\]}]", "", flat)) != flat:
        flat = less
    return [key.strip().removesuffix(":") for key in flat.split(",")]


def test_json_answers_have_the_documented_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = GitRepo(tmp_path / "repo")
    repo.write({"jobs.d/a.yaml": HELLO}).commit("add a")
    state = ["--repo", str(repo.path), "--state-dir", str(tmp_path / "state"), "-o", "json",
             "--server", "http://127.0.0.1:9"]  # fmt: skip
    shapes = {
        each[0].strip("`"): re.findall(r"`(\{.*?\})`", each[3])
        for each in cells(section(page("interfaces.md"), "Commands"))
        if len(each) == 4
    }
    (tmp_path / "crontab").write_text("0 3 * * * /bin/backup\n")
    asked = [
        (["fmt"], 0),
        (["import", "crontab", str(tmp_path / "crontab")], 0),
        (["apply"], 0), (["validate"], 0), (["plan"], 0), (["next"], 0), (["job-types"], 0),
        (["new", "command", "b"], 0), (["schema"], 0), (["status"], 0), (["status", "a"], 1),
        (["jobs"], 0), (["history", "a"], 0), (["changes"], 0), (["doctor"], 0), (["backup"], 0),
        (["migrate"], 0), (["token", "create", "t"], 0), (["token", "list"], 1),
        (["token", "revoke", "t"], 2), (["signals", "init"], 0), (["signals", "demo"], 1),
        (["signals", "report"], 2),
    ]  # fmt: skip
    for words, which in asked:
        main([*words, *state])
        said = capsys.readouterr()
        assert said.out, f"{words}: {said.err}"
        answer = json.loads(said.out)
        assert list(answer) == keys(shapes[words[0]][which]), words


def test_the_settings_file_of_the_page_is_one(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", page("operating.md"), re.DOTALL)
    config = tmp_path / "jobreconciler.toml"
    config.write_text(block, encoding="utf-8")
    settings = load_settings({"config": config}, environ={})
    assert settings.concurrency_groups == {"database": 3}
    limits = section(page("job-file.md"), "Limits")
    assert "    concurrencyGroup: database\n" in limits and "[concurrency-groups]" in limits


# ------------------------------------------------------------------------------- HTTP, metrics


def test_every_endpoint_has_its_row_and_every_row_an_endpoint() -> None:
    # Nothing is asked of the daemon here: describing the API needs its clock alone.
    app = create_app(cast(Any, SimpleNamespace(clock=SystemClock())), Metrics("0"), cast(Any, None))
    served = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    } | {"GET /", "GET /openapi.json"}
    rows = {each[0].strip("`") for each in cells(section(page("interfaces.md"), "HTTP"))}
    assert rows - {"endpoint", "---"} == served


def test_the_words_that_jobs_are_filtered_and_sorted_by_are_on_the_page() -> None:
    rows = {each[0]: each[1] for each in cells(section(page("interfaces.md"), "HTTP"))}
    said = rows["`GET /api/v1/jobs`"]
    for name, words in (("trigger", TRIGGERS), ("state", STATES), ("sort", SORTS)):
        assert f"`{name}` ({', '.join(words)})" in said


def families() -> set[str]:
    metrics = Metrics("0")
    report_everything(metrics)
    metrics.http_request("GET", "/", 200, 0.1)
    text = scrape(metrics, [row("nightly", late_after=1.0, overrun_after=1.0)], {"nightly": AT}).raw
    return set(re.findall(r"^# TYPE (jobreconciler_\w+)", text, re.MULTILINE))


def test_what_is_said_to_be_missing_is_missing() -> None:
    text = page("limits.md")
    missing = set(re.findall(r"no `((?:GET|POST) /\S+)`", text))
    assert missing >= {"POST /hooks/git", "POST /api/v1/plan"}
    assert {each for each in missing if f"| `{each}` |" in page("interfaces.md")} == set()
    assert "`audit verify`" in text and "audit" not in VERBS
    assert not list((ROOT / "deploy").rglob("*.json")), "a dashboard is there: limits.md says none"
    assert "Grafana" in text and "Kubernetes manifests" in text


def test_each_no_to_a_webhook_is_explained() -> None:
    text = section(page("interfaces.md"), "Webhooks")
    assert {each for each in ("401", "409", "411", "413", "422") if each not in text} == set()


def test_every_metric_has_its_row_and_every_row_a_metric() -> None:
    rows = {each[0].strip("`") for each in cells(section(page("interfaces.md"), "Metrics"))}
    assert rows - {"metric", "---"} == families()


def test_alerts_use_only_metrics_that_exist() -> None:
    known = families()
    for path in (ROOT / "deploy" / "prometheus").glob("rules*.yml"):
        used = set(re.findall(r"\bjobreconciler_\w+", path.read_text("utf-8")))
        assert used
        assert {name for name in used if name.removesuffix("_bucket") not in known} == set()


# --------------------------------------------------------------------------------- what it means


def test_every_reason_of_a_held_job_and_of_a_git_fault_says_what_to_do() -> None:
    reasons = {"InvalidFile", *verdict._HOLD_MESSAGES, *(rule.reason for rule in faults._RULES)}
    text = page("operating.md")
    assert {reason for reason in reasons if f"`{reason}`" not in text} == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text()):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in slugs, f"{target}#{anchor}"
