"""What `make run` says before the daemon's own log: where to look and what to try."""

from __future__ import annotations

import sys

from jobreconciler.errors import JobReconcilerError
from jobreconciler.settings import DEFAULT_LISTEN, DEFAULT_SERVER, load_settings

TEXT = """\
  jobreconciler runs the jobs declared in this repository's jobs.d/

  look   http://{listen}/
         {command} status
  try    {command} trigger heartbeat --wait
         edit a file in jobs.d/, commit it, and see it applied:
         {command} changes
  stop   Ctrl-C (jobs that run go on, and are found again)
"""
ELSEWHERE = """\

  It listens on another address than usual: tell the other commands so.
         export JOBRECONCILER_SERVER=http://{listen}
"""


def welcome(command: str, listen: str, server: str) -> str:
    """The text for a daemon on `listen`, where the CLI would look for it at `server`."""
    text = TEXT if server == f"http://{listen}" else TEXT + ELSEWHERE
    return text.format(command=command, listen=listen)


def main(command: str) -> None:
    try:
        settings = load_settings(needs=("listen", "server"))
        listen, server = settings.listen, settings.server
    except JobReconcilerError:
        # The daemon itself says, right below, what is wrong with its settings.
        listen, server = DEFAULT_LISTEN, DEFAULT_SERVER
    sys.stdout.write(welcome(command, listen, server) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "jobreconciler")
