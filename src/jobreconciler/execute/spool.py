"""The spool: what a run and a daemon share on disk, which is nothing else.

    runs/<execution id>@<attempt>        symbolic link, its text is "<boot id in base64>:<pid>:
                                         <start time>": who has the run; then, where a worker waited
                                         for it, ":<pid>:<start time>" of that; or "-", a daemon's
                                         word that nobody may begin what nobody has begun
    runs/.ended@<pid>.<start time>       of one supervisor's runs those that succeeded without a
                                         word: "<execution id>@<attempt> <result>" a line
    runs/<execution id>/<attempt>/       where there is more to keep
      job          symbolic link, its text is "<pid>:<start time>" of the job's own process, where
                   it is another than the worker that waited
      stop         symbolic link, its text is the status an operator's stop asks for
      output       what the job printed, masked; while it runs the first half of the cap
      tail.<head>.<start>   what follows, while it runs, in pieces; gone when it has ended
      live.json    progress and metrics, at most twice a second
      result.json  how it ended; written last, by rename

Links, because creating one is atomic, exclusive and carries its text: two supervisors cannot both
have a run. No more of them than needed: some filesystems take long to make files where many were
deleted. Standard library only: runs inside the supervisor too.
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
_WITHDRAWN = "-"
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


def claim(run: str, boot: str, pid: int, started: int, job: tuple[int, int] | None = None) -> bool:
    """Takes the run for this supervisor. False where another one has it."""
    named = "" if job is None else f":{job[0]}:{job[1]}"
    path = _beside(run)
    try:
        try:
            os.symlink(f"{_short(boot)}:{pid}:{started}{named}", path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            os.symlink(f"{_short(boot)}:{pid}:{started}{named}", path)
    except FileExistsError:
        return False
    return True


def claimed(run: str) -> tuple[str, int, int] | None:
    """Who has the run: boot id, pid, start time. None where nobody took it yet."""
    text = _link(_beside(run))
    if text is None or text == _WITHDRAWN:
        return None
    boot, pid, started, *_ = text.split(":")
    return _long(boot), int(pid), int(started)


def withdraw(run: str) -> bool:
    """Sees to it that nobody begins a run that nobody has begun, whoever still holds a launch of
    it. False where somebody has begun it. Raises OSError where neither is certain: also where the
    folder of the claims is gone, and that of this run with it."""
    path = _beside(run)
    try:
        os.symlink(_WITHDRAWN, path)
    except FileExistsError:
        return _link(path) == _WITHDRAWN
    return True


def permit(run: str) -> None:
    """Takes back that nobody may begin it. For the one daemon that may withdraw."""
    path = _beside(run)
    if _link(path) == _WITHDRAWN:
        os.unlink(path)


def make_folder(state_dir: str) -> None:
    """Where the claims are to be."""
    os.makedirs(f"{state_dir}/runs", 0o700, exist_ok=True)


def name_job(run: str, pid: int, started: int) -> None:
    try:
        os.symlink(f"{pid}:{started}", f"{run}/job")
    except FileExistsError:
        os.unlink(f"{run}/job")
        os.symlink(f"{pid}:{started}", f"{run}/job")


def job_of(run: str) -> tuple[int, int] | None:
    """The job's own process: pid and start time."""
    text = _link(f"{run}/job") or _link(_beside(run))
    named = [] if text is None or text.count(":") in (0, 2) else text.split(":")[-2:]
    return (int(named[0]), int(named[1])) if named else None


def has_result(run: str) -> bool:
    """Whether its end was written."""
    return os.path.exists(f"{run}/{RESULT}") or _silent_result(run) is not None


def result(run: str) -> dict[str, Any] | None:
    """How it ended; None where that was not written yet."""
    return read_json(f"{run}/{RESULT}") or _silent_result(run)


def write_silent(run: str, pid: int, started: int, text: bytes) -> None:
    """Writes the result of a run that this supervisor claimed and that has nothing else to keep.
    Raises OSError where it is not written; a part of it then reads as nothing."""
    folder, _, name = _beside(run).rpartition("/")
    path = _ended(folder, pid, started)
    line = b"\n%s %s\n" % (name.encode(), text)  # a part of another may stand before it
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(descriptor)


def _silent_result(run: str) -> dict[str, Any] | None:
    holder = claimed(run)
    if holder is None:
        return None
    folder, _, name = _beside(run).rpartition("/")
    try:
        with open(_ended(folder, *holder[1:]), "rb") as file:
            lines = file.read()
    except OSError:
        return None
    _, found, rest = lines.partition(b"\n%s {" % name.encode())
    text, end, _ = rest.partition(b"\n")
    if not found or not end:
        return None
    try:
        content: dict[str, Any] = json.loads(b"{" + text)
    except ValueError:
        return None
    return content


def _ended(folder: str, pid: int, started: int) -> str:
    return f"{folder}/.ended@{pid}.{started}"


def ask_to_stop(run: str, status: str) -> None:
    """Leaves word which status the stop is to give; the first one stays."""
    try:
        os.symlink(status, f"{run}/stop")
    except FileExistsError:
        return


def asked_to_stop(run: str) -> str | None:
    return _link(f"{run}/stop")


def read_json(path: str) -> dict[str, Any] | None:
    """A file that was written by `write_json`; None where it is not there."""
    try:
        with open(path, "rb") as file:
            content: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return None
    return content


def encoded(content: dict[str, Any]) -> bytes:
    """As `write_json` writes it: half a character becomes a question mark."""
    return _COMPACT.encode(content).encode("utf-8", "replace")


def write_json(path: str, content: dict[str, Any]) -> bytes:
    """Writes by rename: a reader sees the old file or the new one, never a part. Returns it."""
    text = encoded(content)
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


def _beside(run: str) -> str:
    directory, _, attempt = run.rpartition("/")
    return f"{directory}@{attempt}"


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
