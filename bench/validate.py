"""Validating job files: CPU beside PyYAML's C loader alone, rate beside check-jsonschema.

`python bench/validate.py` prints a table; `measure()` gives its rows to `python -m bench`. Ten
thousand files of 24 lines with different ids, schedules, zones and dependencies are written to a
temporary directory; ours reads, validates (cron, zones and cross-file checks included) and
reports, the C loader only parses. CPU counts children. Each round measures the C loader right
before and right after ours, and the median round's ratio counts: a core that is shared changes its
speed within seconds, so the best of each side need not come from the same speed.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import yaml

from jobreconciler.core.crossfile import cross_check
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.schema import render_schemas
from jobreconciler.source.checks import expression_fault
from jobreconciler.source.files import load_directory
from jobreconciler.source.load import YamlLoader

Row = dict[str, Any]

FILES = 10_000
FEW = 2_000
ROUNDS = 3
PAIRED_ROUNDS = 5
ZONES = ("Europe/Berlin", "UTC", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe")
SHAPES = (
    "{minute} {hour} * * *",
    "*/{step} * * * *",
    "{minute} {hour} * * mon-fri",
    "{minute} */{few} * * *",
    "{minute} {hour} {day} * *",
    "{minute},{other} {hour} * * {weekday}",
)

TEMPLATE = """\
# yaml-language-server: $schema=../schemas/job-config.schema.json
meta:
  id: report-{number:05}
  version: "1.{version}.0"
  title: Usage report {number} für {word}
  owner: team-{team}
  tags: [reports, "{word}"]
payload:
  jobType: command
  priority: {priority}
  schedule:
    cronExpression: "{cron}"
    timezone: {zone}
    catchUp: latest
  retry: {{maxAttempts: {attempts}, backoffStrategy: exponential, initialDelay: {delay}s}}
  limits:
    timeoutSeconds: {timeout}
    overlap: skip
  {extra}
  parameters:
    argv: [/usr/bin/env, report, --number, "{number}", --kind, {word}]
    env: {{REPORT_KIND: {word}, TOKEN: {{env: REPORT_TOKEN_{team}}}}}
  notifications:
    includeLogs: true
"""
WORDS = ("daily", "weekly", "regional", "legal", "green", "internal", "sales", "audit", "no")


def text(number: int) -> str:
    """One file of 24 lines. Every seventh depends on an earlier one."""
    cron = SHAPES[number % len(SHAPES)].format(
        minute=number % 60,
        other=(number * 7 + 1) % 60,
        hour=number // 60 % 24,
        step=number % 29 + 1,
        few=number % 11 + 1,
        day=number % 28 + 1,
        weekday=number % 7,
    )
    upstream = f"dependency: {{jobs: [report-{number // 2:05}], on: success}}"
    return TEMPLATE.format(
        number=number,
        version=number % 9,
        word=WORDS[number % len(WORDS)],
        team=number % 40,
        priority=number % 101,
        cron=cron,
        zone=ZONES[number % len(ZONES)],
        attempts=number % 5 + 1,
        delay=number % 50 + 10,
        timeout=number % 3600 + 1,
        extra=upstream if number % 7 == 1 and number > 1 else "isEnabled: true",
    )


def measure() -> list[Row]:
    """Rows of {what, ours, floor_or_peer, ratio, target, ok}; takes a minute and a half."""
    root = Path(tempfile.mkdtemp(prefix="jobreconciler-bench-"))
    try:
        jobs = root / "jobs.d"
        jobs.mkdir()
        for number in range(FILES):
            (jobs / f"{number:05}.yaml").write_text(text(number), encoding="utf-8")
        return [*_side_by_side(root), *_rate(root), *_one_file(root)]
    finally:
        shutil.rmtree(root)


def _side_by_side(root: Path) -> list[Row]:
    contents = [path.read_bytes() for path in sorted((root / "jobs.d").iterdir())]
    ours: list[float] = []
    theirs: list[float] = []
    walls: list[float] = []
    for _ in range(PAIRED_ROUNDS):
        before, _wall = _cpu(lambda: _parse_all(contents))
        cpu, wall = _cpu(lambda: validate(root))
        after, _wall = _cpu(lambda: _parse_all(contents))
        theirs.append((before + after) / 2)
        ours.append(cpu)
        walls.append(wall)
    ratio = statistics.median(mine / floor for mine, floor in zip(ours, theirs, strict=True))
    return [
        {
            "what": f"validate {FILES:,} files, CPU, children included",
            "ours": f"{statistics.median(ours):.2f} s",
            "floor_or_peer": f"{statistics.median(theirs):.2f} s PyYAML's C loader alone",
            "ratio": f"{ratio:.2f}",
            "target": "<= 0.9",
            "ok": ratio <= 0.9,
        },
        {
            "what": f"validate {FILES:,} files, wall, in process",
            "ours": f"{FILES / min(walls):,.0f} files/s",
            "floor_or_peer": f"{os.cpu_count()} cores",
            "ratio": None,
            "target": None,
            "ok": None,
        },
    ]


def validate(root: Path) -> None:
    """Everything that `validate` does but print; nothing is remembered from an earlier round."""
    expression_fault.cache_clear()
    found = load_directory(root)
    loader = YamlLoader(load_job_types(), configs=False)
    files = loader.load(found.entries, found.contents, found.defaults)
    wrong = [file for file in files if file.problems] or cross_check(files, all_environments=True)
    if wrong or len(files) != FILES:
        raise AssertionError(f"the files were meant to be valid: {str(wrong)[:500]}")


def _parse_all(contents: list[bytes]) -> None:
    for data in contents:
        yaml.load(data, Loader=yaml.CSafeLoader)


def _cpu(work: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds, of finished children too, and wall seconds."""
    before, start = _used(), time.perf_counter()
    work()
    return _used() - before, time.perf_counter() - start


def _used() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def _rate(root: Path) -> list[Row]:
    """Whole processes: our `validate` over all files, check-jsonschema over some of them."""
    seconds = _best(lambda: _run_validate(root, []))
    row: Row = {
        "what": f"validate {FILES:,} files, whole process",
        "ours": f"{FILES / seconds:,.0f} files/s",
        "floor_or_peer": "check-jsonschema is not installed",
        "ratio": None,
        "target": ">= 12",
        "ok": None,
    }
    if importlib.util.find_spec("check_jsonschema") is not None:
        peer = FEW / _best(lambda: _check_jsonschema(root), rounds=1)
        ratio = FILES / seconds / peer
        row |= {
            "floor_or_peer": f"{peer:,.0f} files/s check-jsonschema",
            "ratio": f"{ratio:.1f}",
            "ok": ratio >= 12,
        }
    return [row]


def _one_file(root: Path) -> list[Row]:
    seconds = _best(lambda: _run_validate(root, ["jobs.d/00000.yaml"]), rounds=5)
    bare = _best(lambda: subprocess.run([sys.executable, "-c", ""], check=True), rounds=5)
    (root / "jobs.d").rename(root / "all")
    (root / "jobs.d").mkdir()
    shutil.copy(root / "all/00000.yaml", root / "jobs.d/00000.yaml")
    alone = _best(lambda: _run_validate(root, ["jobs.d/00000.yaml"]), rounds=5)
    return [
        {
            "what": "validate one file, whole process",
            "ours": f"{alone * 1000:.0f} ms",
            "floor_or_peer": f"{bare * 1000:.0f} ms an empty Python",
            "ratio": f"{alone / bare:.1f}",
            "target": "<= 300 ms",
            "ok": alone <= 0.3,
        },
        {
            "what": f"validate one file beside {FILES:,} others, whole process",
            "ours": f"{seconds * 1000:.0f} ms",
            "floor_or_peer": None,
            "ratio": None,
            "target": None,
            "ok": None,
        },
    ]


def _best(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _run_validate(root: Path, paths: list[str]) -> None:
    source = str(Path(__file__).resolve().parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-m", "jobreconciler", "validate", *paths],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(root), "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stdout[-500:] + done.stderr[-500:])


def _check_jsonschema(root: Path) -> None:
    schema = root / "job-config.schema.json"
    schema.write_text(render_schemas(load_job_types())["job-config.schema.json"], encoding="utf-8")
    files = [str(path) for path in sorted((root / "jobs.d").iterdir())[:FEW]]
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), *files]
    environment = {"PATH": os.environ["PATH"], "HOME": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout[-500:] + done.stderr[-500:])


if __name__ == "__main__":
    for row in measure():
        print(" | ".join(str(value) for value in row.values()))
