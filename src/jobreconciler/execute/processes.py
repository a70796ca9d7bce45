"""Processes as the kernel knows them: identity, descendants, and signals that cannot miss.

Standard library only and light to import: the supervisor server loads it too. A process is named
by pid *and* start time (clock ticks since boot, field 22 of /proc/PID/stat), because pids are
used again; see proc(5).
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARKER = "JOBRECONCILER_EXECUTION"
"""The variable every process of a run inherits; its value is the execution's id."""
LONGEST_ID = 128
"""Bytes; see spool.directory."""


class Stat:
    """One process as /proc/PID/stat shows it."""

    __slots__ = ("parent", "pid", "session", "started", "state")

    def __init__(self, pid: int, state: str, parent: int, session: int, started: int) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.session = session
        self.started = started


def boot_id() -> str:
    """The kernel's id of this boot; pids of another boot mean nothing."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


def stat(pid: int) -> Stat | None:
    """The process of that pid, None where there is none or only its zombie is left."""
    fields = _stat(pid)
    if fields is None:
        return None
    state, parent, _, session = fields[:4]
    return Stat(pid, state.decode(), int(parent), int(session), int(fields[19]))


def own_identity() -> tuple[int, int]:
    """Pid and start time of this process."""
    pid = os.getpid()
    if pid not in _IDENTITIES:
        found = stat(pid)
        assert found is not None
        _IDENTITIES[pid] = found.started
    return pid, _IDENTITIES[pid]


_IDENTITIES: dict[int, int] = {}


def is_alive(pid: int, started: int) -> bool:
    """Whether that very process, not a later one with its pid, still runs."""
    fields = _stat(pid)
    return fields is not None and int(fields[19]) == started


def _stat(pid: int) -> list[bytes] | None:
    """What follows the name, up to the start time; the kernel gives all of it at once."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split(b" ", 20)
    return None if fields[0] in b"ZX" else fields


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents before their children."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def send(pid: int, started: int | None, number: int) -> bool:
    """Signals that very process. False where it is gone; PermissionError where it may not be."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        now = stat(pid)
        if now is None or (started is not None and now.started != started):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def signal_all(pids: Iterable[int], number: int) -> list[int]:
    """Signals each; returns those that this user may not signal."""
    refused = []
    for pid in pids:
        found = stat(pid)
        if found is None:
            continue
        try:
            send(pid, found.started, number)
        except PermissionError:
            refused.append(pid)
    return refused


def signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def kill_descendants(pid: int) -> list[int]:
    """SIGKILL for everything below `pid`; returns those that this user may not signal.

    All are stopped first, until a walk finds nobody new, so that a tree which forks while it is
    walked cannot outrun the walk.
    """
    known: set[int] = set()
    refused: list[int] = []
    for _ in range(20):
        fresh = [child for child in descendants(pid) if child not in known]
        if not fresh:
            break
        known.update(fresh)
        refused += signal_all(fresh, signal.SIGSTOP)
    signal_all(known, signal.SIGKILL)
    return refused


def kill_run(execution_id: str, leader: tuple[int, int] | None) -> int:
    """Kills what is left of a run whose supervisor vanished; returns how many processes.

    They are known by the marker in their environment, by the session that `leader` (pid, start
    time) leads while it lives, and by descent from either. Takes a walk over /proc: for threads.
    """
    killed = 0
    for _ in range(50):
        left = _of_run(execution_id, leader)
        if not left:
            break
        signal_all(left, signal.SIGSTOP)
        signal_all(left, signal.SIGKILL)
        killed = max(killed, len(left))
        time.sleep(0.02)
    return killed


def memory(pids: Iterable[int]) -> int:
    """Bytes these processes hold together, shared pages counted once (PSS)."""
    return sum(_rollup(pid) for pid in pids)


def resident(pids: Iterable[int]) -> int:
    """Bytes these processes hold, shared pages counted for each: cheap, never too low."""
    return sum(_resident_pages(pid) for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def _of_run(execution_id: str, leader: tuple[int, int] | None) -> set[int]:
    marker = f"{MARKER}={execution_id}".encode()
    session = leader[0] if leader is not None and is_alive(*leader) else None
    roots = set()
    for found in _everyone():
        if (session is not None and found.session == session) or _carries(found.pid, marker):
            roots.add(found.pid)
    below = {child for pid in roots for child in descendants(pid)}
    return (roots | below) - {os.getpid()}


def _carries(pid: int, marker: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            return marker in environment.read().split(b"\0")
    except OSError:
        return False


def _everyone() -> Iterator[Stat]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            found = stat(int(name))
            if found is not None:
                yield found


def children(pid: int) -> list[int]:
    """Processes right below `pid`, zombies too."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            found += map(int, _text(f"/proc/{pid}/task/{thread}/children").split())
        except FileNotFoundError:
            if os.path.exists("/proc/self/task") and not _kernel_lists_children():
                return [one.pid for one in _everyone() if one.parent == pid]
        except OSError:
            continue
    return found


def own_children() -> list[int]:
    """As `children` of this process, which has one thread."""
    pid = os.getpid()
    try:
        return [*map(int, _text(f"/proc/self/task/{pid}/children").split())]
    except OSError:
        return children(pid)


def _kernel_lists_children() -> bool:
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _rollup(pid: int) -> int:
    try:
        text = _text(f"/proc/{pid}/smaps_rollup")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _resident_pages(pid: int) -> int:
    try:
        return int(_text(f"/proc/{pid}/statm").split()[1])
    except (OSError, IndexError):
        return 0


def _text(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "replace")
