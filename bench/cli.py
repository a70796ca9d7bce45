"""The command line's start-up, as a whole process: what a person and a pre-commit hook wait for."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 10
PROGRAM = (sys.executable, "-m", "jobreconciler")
JOB = """\
meta: {id: nightly-report, title: The nightly report, owner: team-data}
payload:
  jobType: command
  schedule: {cronExpression: "0 2 * * *", timezone: Europe/Berlin}
  parameters: {argv: ["true"]}
"""


def measure() -> list[dict[str, Any]]:
    """Medians of ten, each beside the interpreter's own start."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "jobs.d").mkdir()
        (work / "jobs.d" / "nightly-report.yaml").write_text(JOB, encoding="utf-8")
        floor = _median((sys.executable, "-c", "pass"), work)
        one_file = ("validate", "jobs.d/nightly-report.yaml")
        return [
            _row("--help", _median((*PROGRAM, "--help"), work), floor, 200),
            _row("validate, one file", _median((*PROGRAM, *one_file), work), floor, 300),
        ]


def _median(command: tuple[str, ...], work: Path) -> float:
    """Milliseconds of the whole process; one round before, for the file cache.

    Bytecode is cached, as it is where the package is installed; beside the work, not in the tree.
    """
    source = Path(__file__).resolve().parents[1] / "src"
    unwanted = ("JOBRECONCILER_", "PYTHONDONTWRITEBYTECODE")
    known = {name: os.environ[name] for name in os.environ if not name.startswith(unwanted)}
    cached = {"PYTHONPATH": str(source), "PYTHONPYCACHEPREFIX": str(work / "bytecode")}
    environment = {**known, **cached}
    times = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        subprocess.run(command, cwd=work, env=environment, check=True, capture_output=True)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[1:])


def _row(what: str, ours: float, floor: float, target: float) -> dict[str, Any]:
    return {
        "what": what,
        "ours": f"{ours:.0f} ms",
        "floor_or_peer": f"{floor:.0f} ms, python -c pass",
        "ratio": f"{ours / floor:.1f} ×",
        "target": f"≤ {target:.0f} ms",
        "ok": ours <= target,
    }
