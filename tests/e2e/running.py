"""A real daemon in a process of its own, on a free loopback port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from gitrepo import GitRepo, git_environment

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a test gives up waiting: a guard against hanging, not a promise."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """The first truthy thing `look` returns."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {patience:.0f} s for {what}")


class Running:
    """One state directory, one repository, and a daemon that comes and goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repo = GitRepo(path / "repo")
        self.state = path / "state"
        self.port = free_port()
        self.log = path / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return git_environment(self.path) | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "error",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "jobreconciler", *arguments]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command as a person would type it in the repository."""
        return subprocess.run(
            self.command(*arguments, "--state-dir", str(self.state), "--server", self.url),
            cwd=self.repo.path,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, *arguments: str, ready: bool = True) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(
                    "run",
                    "--repo",
                    str(self.repo.path),
                    "--state-dir",
                    str(self.state),
                    "--listen",
                    f"127.0.0.1:{self.port}",
                    "--log-format",
                    "json",
                    *arguments,
                ),
                cwd=self.path,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )
        if ready:
            until(self.is_ready, f"the daemon to be ready; it said:\n{self.said()}")
        return self

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended:\n{self.said()}"
        try:
            return self.get("/readyz", raw=True) is not None
        except (OSError, AssertionError):
            return False

    def answers(self) -> bool:
        """Whether it listens, ready or not."""
        try:
            return self.get("/healthz") is not None
        except OSError:
            return False

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def ended(self, patience: float = PATIENCE) -> int:
        assert self.process is not None
        return self.process.wait(patience)

    def kill(self) -> None:
        """kill -9, as the kernel does it when memory is short."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # ---------------------------------------------------------------------------------- HTTP

    def token(self) -> str:
        return (self.state / "token").read_text().strip()

    def get(self, path: str, *, raw: bool = False) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            content = answer.read()
        return content.decode() if raw else json.loads(content)

    def post(
        self, path: str, body: Any = None, *, token: str | None = "", key: str | None = None
    ) -> tuple[int, Any]:
        """Status and body. `token` "" is the operator's, None is none at all."""
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body or {}).encode(),
            method="POST",
            headers={"Content-Type": "application/json"},
        )
        if key is not None:
            request.add_header("Idempotency-Key", key)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token or self.token()}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def executions(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/api/v1/jobs/{job_id}/executions?limit=200")[
            "executions"
        ]
        return found

    def generation(self, job_id: str) -> int | None:
        try:
            job = self.get(f"/api/v1/jobs/{job_id}")
        except urllib.error.HTTPError as error:
            error.close()
            return None
        generation: int = job["generation"]
        return generation
