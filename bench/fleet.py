"""Fleets for the system benchmarks: job files, repositories of them, and the real programs.

A repository is written by `git fast-import`, so 100,000 files take seconds. Programs run as
processes of their own, with a temporary home and no ambient configuration, on loopback only.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
ZONES = ("Europe/Berlin", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Sydney")
TEAMS = 50
TICK = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60.0

JOB = """\
# yaml-language-server: $schema=../../schemas/job-config.schema.json
meta:
  id: {job_id}
  title: Usage figures of shard {number}
  description: Rolls raw usage events up into figures per document.
  owner: team-{team:02}
  tags: [usage, shard-{shard}]
payload:
  jobType: command
  schedule:
    cronExpression: "{cron}"
    timezone: {zone}
    isEnabled: {scheduled}
    jitterSeconds: {jitter}
  retry:
    maxAttempts: {attempts}
    initialDelay: {delay}s
  limits:
    timeoutSeconds: {timeout}
    maxConcurrent: 1
  parameters:
    argv: [/bin/true, --shard, "{number}"]
    env:
      REGION: region-{shard}
"""


def job_text(
    number: int, *, cron: str, zone: str, scheduled: bool = True, jitter: int | None = None
) -> str:
    """A job file of 24 lines, no two alike. `jitter` in seconds, None: one of its own."""
    return JOB.format(
        job_id=f"usage-{number:06}",
        number=number,
        team=number % TEAMS,
        shard=number % 7,
        cron=cron,
        zone=zone,
        scheduled="true" if scheduled else "false",
        jitter=number % 60 if jitter is None else jitter,
        attempts=1 + number % 4,
        delay=10 + number % 50,
        timeout=300 + number % 600,
    )


def quiet_jobs(
    count: int, folders: int = TEAMS, *, scheduled: bool = True
) -> Iterator[tuple[str, str]]:
    """(path, text) of jobs none of which is due in the next two hours."""
    hours = {zone: datetime.now(UTC).astimezone(ZoneInfo(zone)).hour for zone in ZONES}
    for number in range(count):
        zone = ZONES[number % len(ZONES)]
        hour = (hours[zone] + 3 + number % 19) % 24
        days = ("* * *", "* * mon-fri", "1 * *", "* */2 *", "* * 0,3", "15 1-6 *")
        cron = f"{number % 60} {hour} {days[number % len(days)]}"
        path = f"jobs.d/team-{number % folders:02}/usage-{number:06}.yaml"
        yield path, job_text(number, cron=cron, zone=zone, scheduled=scheduled)


# ---------------------------------------------------------------------------------- repositories


def make_repo(path: Path, files: Iterable[tuple[str, str]]) -> Path:
    """A bare repository whose branch `main` holds `files` in one commit."""
    git(path, "init", "-q", "--bare", "-b", "main", str(path))
    git(path, "config", "gc.auto", "0")
    _fast_import(path, files, "Declare the fleet", None)
    return path


def commit(
    repo: Path, files: Iterable[tuple[str, str]], message: str, parent: str, ref: str
) -> str:
    """One commit on top of `parent` that changes `files`, left at `ref`; its id."""
    return _fast_import(repo, files, message, parent, ref)


def _fast_import(
    repo: Path,
    files: Iterable[tuple[str, str]],
    message: str,
    parent: str | None,
    ref: str = "refs/heads/main",
) -> str:
    now = int(time.time())
    with subprocess.Popen(
        ["git", "fast-import", "--quiet", "--force"],
        cwd=repo,
        env=environment(repo),
        stdin=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        write = child.stdin.write
        write(f"commit {ref}\ncommitter Ada <ada@example.org> {now} +0000\n".encode())
        write(b"data %d\n%s\n" % (len(message), message.encode()))
        if parent is not None:
            write(f"from {parent}^0\n".encode())
        for name, text in files:
            data = text.encode()
            write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))
    if child.returncode:
        raise RuntimeError(f"git fast-import ended with {child.returncode}")
    return git(repo, "rev-parse", ref)


def git(repo: Path, *args: str) -> str:
    where = repo if repo.is_dir() else repo.parent
    done = subprocess.run(
        ["git", *args], cwd=where, env=environment(repo), check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def environment(home: Path) -> dict[str, str]:
    """What children see: no configuration of this machine's user, and compiled modules, as an
    installed program has them, and the jobs of bench/jobs.py."""
    ours = ("JOBRECONCILER_", "GIT_", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return {
        **kept,
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PYTHONPATH": f"{SOURCE}{os.pathsep}{ROOT}",
    }


def apart(folder: Path) -> Path:
    """A new subfolder of `folder` in a block group of ext4 that is its own.

    Without a journal, ext4 hands out no inode that was freed in the last minutes and walks over all
    of those in its group: what another program deleted beside would be part of the figures. The
    group is drawn by the new folder's name.
    """
    if shutil.which("chattr"):
        subprocess.run(("chattr", "+T", str(folder)), check=False, stderr=subprocess.DEVNULL)
    return Path(tempfile.mkdtemp(dir=folder))


# ------------------------------------------------------------------------------------- processes


@dataclass(frozen=True)
class Cost:
    """What one process took, in seconds: by the wall's clock and of all cores together."""

    wall: float
    cpu: float


def run(command: Sequence[str], work: Path) -> tuple[Cost, str]:
    """Run to the end. Raises RuntimeError with what it said where it fails."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=work,
        env=environment(work),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if child.returncode:
        raise RuntimeError(f"{command}: exit {child.returncode}: {said}")
    return Cost(wall, usage.ru_utime + usage.ru_stime), said


def program(*args: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "jobreconciler", *args)


class Daemon:
    """`jobreconciler run` as a process, from its start to its end."""

    def __init__(self, repo: Path, state: Path, *flags: str) -> None:
        self.state = state
        self.port = free_port()
        state.parent.mkdir(parents=True, exist_ok=True)
        self.log = state.parent / f"{state.name}.log"
        command = program(
            "run",
            *("--repo", str(repo), "--state-dir", str(state)),
            *("--listen", f"127.0.0.1:{self.port}", "--log-format", "json", *flags),
        )
        self.began = time.perf_counter()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command, cwd=state.parent, env=environment(state.parent), stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to the first 200 of /readyz."""
        while time.perf_counter() - self.began < START_SECONDS:
            if self._child.poll() is not None:
                raise RuntimeError(f"the daemon ended: {self.log.read_text()[-2000:]}")
            try:
                if self.get("/readyz")[0] == 200:
                    return time.perf_counter() - self.began
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the daemon was not ready in time: {self.log.read_text()[-2000:]}")

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def family(self) -> list[int]:
        """Its process id and those of all that descend from it."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
        found = [self.pid]
        for pid in found:
            found += children.get(pid, ())
        return found

    def cpu(self) -> dict[int, float]:
        """Seconds of CPU so far, by process of the family."""
        found = {}
        for pid in self.family():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[pid] = (int(fields[11]) + int(fields[12])) / TICK
        return found

    def resident(self) -> float:
        """MB of memory of the daemon's own process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def kill(self) -> None:
        """As a crash ends it: its children go on."""
        self._child.kill()
        self._child.wait()

    def stop(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(15)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


@contextmanager
def daemon(repo: Path, state: Path, *flags: str) -> Iterator[Daemon]:
    """A daemon that is ready, ended at the end."""
    running = Daemon(repo, state, *flags)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {seconds:.0f} s")


@contextmanager
def redis_server(work: Path) -> Iterator[str | None]:
    """A Redis that keeps nothing on disk, on a loopback port; None where there is none."""
    server = shutil.which("redis-server")
    if server is None:
        yield None
        return
    port = free_port()
    command = (server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(work))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        try:
            wait_for_port(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            child.terminate()


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: of 40 values, 0.99 is the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def as_json(said: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said)
    return found
