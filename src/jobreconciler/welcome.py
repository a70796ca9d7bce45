"""What `make run` says before the daemon's own log: where to look and what to try."""

from __future__ import annotations

import sys

TEXT = """\
  jobreconciler runs the jobs declared in this repository's jobs.d/

  look   http://127.0.0.1:8484/            what is declared, what runs, what failed
         {command} status
  try    {command} trigger heartbeat --wait
         edit a file in jobs.d/, commit it, and watch it being applied
         {command} changes
  stop   Ctrl-C (jobs that run go on, and are found again)
"""


def main(command: str) -> None:
    sys.stdout.write(TEXT.format(command=command) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "jobreconciler")
