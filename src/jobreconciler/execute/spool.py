"""The spool: one directory per attempt, the only thing a run and a daemon share on disk.

    runs/<execution id>/<attempt>/
      supervisor   symbolic link, its text is "<boot id in base64>:<pid>:<start time>": who has the
                   run; then, where a worker waited for it, ":<pid>:<start time>" of that
      job          symbolic link, its text is "<pid>:<start time>" of the job's own process, where
                   it is another than the worker that waited
      stop         symbolic link, its text is the status an operator's stop asks for
      output       what the job printed, masked; while it runs the first half of the cap
      tail.<head>.<start>   what follows, while it runs, in pieces; gone when it has ended
      live.json    progress and metrics, at most twice a second
      result.json  how it ended; written last, at once

Links, because creating one is atomic, exclusive and carries its text: two supervisors cannot both
have a run. Standard library only: runs inside the supervisor too.
"""

from __future__ import annotations

import binascii
import errno
import json
import os
import re
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESULT = "result.json"
LIVE = "live.json"
OUTPUT = "output"
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHORT = 22
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def directory(state_dir: str, execution_id: str, attempt: int) -> str:
    """Where an attempt's files are. ValueError for an id that could leave the spool."""
    if not _IDENTIFIER.fullmatch(execution_id):
        raise ValueError(f"not an execution id: {execution_id!r}")
    return f"{state_dir}/runs/{execution_id}/{attempt}"


def make(run: str) -> None:
    """The attempt's directory, if it is not there."""
    try:
        os.mkdir(run, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(run, 0o700, exist_ok=True)


def make_new(run: str) -> bool:
    """As `make`. False where it is there: somebody knows of the attempt."""
    try:
        os.mkdir(run[: run.rindex("/")], 0o700)
    except FileExistsError:
        pass  # of an earlier attempt
    except FileNotFoundError:
        make(run)
        return True
    try:
        os.mkdir(run, 0o700)
    except FileExistsError:
        return False
    return True


def claim(run: str, boot: str, pid: int, started: int, job: tuple[int, int] | None = None) -> bool:
    """Takes the run for this supervisor. False where another one has it."""
    named = "" if job is None else f":{job[0]}:{job[1]}"
    try:
        os.symlink(f"{_short(boot)}:{pid}:{started}{named}", f"{run}/supervisor")
    except FileExistsError:
        return False
    return True


def claimed(run: str) -> tuple[str, int, int] | None:
    """Who has the run: boot id, pid, start time. None where nobody took it yet."""
    text = _link(f"{run}/supervisor")
    if text is None:
        return None
    boot, pid, started, *_ = text.split(":")
    return _long(boot), int(pid), int(started)


def name_job(run: str, pid: int, started: int) -> None:
    try:
        os.symlink(f"{pid}:{started}", f"{run}/job")
    except FileExistsError:
        os.unlink(f"{run}/job")
        os.symlink(f"{pid}:{started}", f"{run}/job")


def job_of(run: str) -> tuple[int, int] | None:
    """The job's own process: pid and start time."""
    text = _link(f"{run}/job") or _link(f"{run}/supervisor")
    named = [] if text is None else text.split(":")[-2:] if text.count(":") != 2 else []
    return (int(named[0]), int(named[1])) if named else None


def has_result(run: str) -> bool:
    """Whether its end was written; an empty file is one that is being written."""
    try:
        return os.stat(f"{run}/{RESULT}").st_size > 0
    except OSError:
        return False


def write_new(run: str, result: bytes) -> None:
    """Writes a result of less than a page where none can be yet: a reader finds nothing or all of
    it. Raises OSError with nothing written."""
    path = f"{run}/{RESULT}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, result)
    except OSError:
        written = 0
    os.close(descriptor)
    if written < len(result):
        os.unlink(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def ask_to_stop(run: str, status: str) -> None:
    """Leaves word which status the stop is to give; the first one stays."""
    try:
        os.symlink(status, f"{run}/stop")
    except FileExistsError:
        return


def asked_to_stop(run: str) -> str | None:
    return _link(f"{run}/stop")


def read_json(path: str) -> dict[str, Any] | None:
    """A file that was written by one of the below; None where it is not there, or not yet."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    content: dict[str, Any] | None = json.loads(text) if text else None
    return content


def write_json(path: str, content: dict[str, Any]) -> bytes:
    """Writes by rename: a reader sees the old file or the new one, never a part. Returns it."""
    text = _COMPACT.encode(content).encode("utf-8", "replace")
    part = f"{path}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = text
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
    os.rename(part, path)
    return text


@lru_cache(maxsize=4)
def _short(boot: str) -> str:
    """A boot id in 22 characters: a link of less than 60 is kept in its inode."""
    if not _UUID.fullmatch(boot):
        return boot
    text = binascii.b2a_base64(bytes.fromhex(boot.replace("-", "")), newline=False)
    return text.decode().rstrip("=")


@lru_cache(maxsize=4)
def _long(boot: str) -> str:
    if len(boot) != _SHORT:
        return boot
    digits = binascii.a2b_base64(f"{boot}==").hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
