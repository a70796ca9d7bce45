"""The page a browser gets, in a real headless Chromium under its own security policy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from loops.world import job_file

from .running import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = "chromium" in os.environ.get("JOBRECONCILER_TEST_REQUIRE", "").split(",")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED,
    reason="Chromium is not installed: apt-get install chromium",
)


def browse(url: str, profile: Path) -> tuple[str, str]:
    """The page's document after it was loaded, and what the browser logged."""
    assert CHROMIUM is not None, "Chromium is required here: apt-get install chromium"
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={profile}", "--enable-logging=stderr",
            "--virtual-time-budget=3000", "--dump-dom", url,
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_first_page_opens_without_a_complaint(daemon: Running, tmp_path: Path) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    document, logged = browse(daemon.url + "/", tmp_path / "profile")
    assert "jobreconciler" in document
    assert "/api/v1/status" in document
    complaints = [line for line in logged.splitlines() if "CONSOLE" in line]
    assert complaints == []
