"""What `make run` does before and beside the daemon: where to look, and data for the jobs.

Where the signal jobs have no database yet, one is made in the state directory and filled. Once the
daemon is ready, the aggregations are triggered, so that there is something to see.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import urllib.error
import urllib.request

from jobreconciler.errors import JobReconcilerError
from jobreconciler.settings import DEFAULT_LISTEN, DEFAULT_SERVER, Settings, load_settings

TEXT = """\
  jobreconciler runs the jobs declared in this repository's jobs.d/

  look   http://{listen}/
         {command} status
         {command} signals report
  try    {command} trigger heartbeat --wait
         {command} trigger advancement-batch --wait
         edit a file in jobs.d/, commit it, and see it applied:
         {command} changes
  stop   Ctrl-C (jobs that run go on, and are found again)
"""
ELSEWHERE = """\

  It listens on another address than usual: tell the other commands so.
         export JOBRECONCILER_SERVER=http://{listen}
"""

FIRST_RUNS = ("signal-aggregation-all", "signal-aggregation-7d", "signal-aggregation-30d")
PATIENCE = 60.0
"""Seconds that the daemon has to become ready; after that nothing is triggered."""


def welcome(command: str, listen: str, server: str) -> str:
    """The text for a daemon on `listen`, where the CLI would look for it at `server`."""
    text = TEXT if server == f"http://{listen}" else TEXT + ELSEWHERE
    return text.format(command=command, listen=listen)


def main(command: str) -> None:
    try:
        settings = load_settings(needs=("listen", "server", "state_dir", "secrets_dir"))
        listen, server = settings.listen, settings.server
    except JobReconcilerError:
        # The daemon itself says, right below, what is wrong with its settings.
        listen, server = DEFAULT_LISTEN, DEFAULT_SERVER
    else:
        prepare(settings)
        _beside("-m", "jobreconciler.welcome", "--first-runs", listen)
    sys.stdout.write(welcome(command, listen, server) + "\n")
    sys.stdout.flush()


def prepare(settings: Settings) -> None:
    """A database of demo data, unless the jobs have been told of another or of this one."""
    from jobreconciler.cli.main import main as cli
    from jobreconciler.cli.signals_place import VARIABLE, secret_file

    if secret_file(settings).exists() or os.environ.get(VARIABLE):
        return
    sys.stdout.write("· making a database for the signal jobs and filling it (once)\n")
    sys.stdout.flush()
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        fine = cli(["signals", "init"]) == 0 and cli(["signals", "demo"]) == 0
    if not fine:
        sys.stderr.write(said.getvalue())


def _beside(*arguments: str) -> None:
    """Start Python beside the daemon that comes; it hears and says nothing, and nobody waits."""
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=null)


def first_runs(listen: str) -> None:
    """Trigger the aggregations, once, as soon as the daemon is ready."""
    from jobreconciler.cli.main import main as cli

    until = time.monotonic() + PATIENCE
    while not _is_ready(f"http://{listen}"):
        if time.monotonic() > until:
            return
        time.sleep(0.2)
    for job in FIRST_RUNS:
        reason = "the first look at the data, by `make run`"
        cli(["trigger", job, "--reason", reason, "--server", f"http://{listen}"])


def _is_ready(server: str) -> bool:
    try:
        with urllib.request.urlopen(f"{server}/readyz", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    if sys.argv[1:2] == ["--first-runs"]:
        first_runs(sys.argv[2])
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "jobreconciler")
