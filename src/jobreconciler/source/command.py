"""One git child at a time: a clean environment, a time limit, and the whole group stopped.

GitPython's own `execute` is not used for this: its `kill_after_timeout` finds only direct
children (`git fetch` leaves `ssh` or `git-remote-https` behind) and it passes every inherited
`GIT_*` variable on.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from jobreconciler.source import faults

_CONFIG = (
    ("protocol.ext.allow", "never"),
    ("protocol.fd.allow", "never"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.askPass", ""),
    ("core.pager", "cat"),
    ("gc.autoDetach", "false"),
    ("log.showSignature", "false"),
    ("safe.bareRepository", "all"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    # Said whenever a graft file is named, also an empty one, and taken for an error of git's.
    ("advice.graftFileDeprecated", "false"),
)
_DROPPED = ("GIT_", "JOBRECONCILER_", "SSH_ASKPASS", "LANGUAGE", "LC_", "LANG")
_KEPT_LINES = 200


@dataclass(frozen=True, slots=True)
class Access:
    """What a child may reach: protocols (colon-separated, none by default), more config, secrets.

    Secrets travel in the environment only: an argument list is readable by every local user.
    """

    protocols: str = ""
    config: tuple[tuple[str, str], ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: int = 10


def environment(access: Access) -> dict[str, str]:
    """The environment of a git child: the caller's, without `GIT_*` and our own settings.

    HOME stays, for SSH keys, credential helpers and `safe.directory`; the system-wide git
    configuration does not.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith(_DROPPED)}
    config = (*_CONFIG, *access.config)
    env |= {
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": access.protocols,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
        "GIT_SSH_COMMAND": f"ssh -o BatchMode=yes -o ConnectTimeout={access.connect_timeout}",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(config)),
        **access.secrets,
    }
    for n, (key, value) in enumerate(config):
        env[f"GIT_CONFIG_KEY_{n}"] = key
        env[f"GIT_CONFIG_VALUE_{n}"] = value
    return env


@dataclass(frozen=True, slots=True)
class Completed:
    code: int
    out: bytes
    err: str


class Git:
    """Starts git children. `timeout` is in seconds; `stop` ends whatever runs, from any thread."""

    def __init__(self, timeout: float, access: Access | None = None) -> None:
        self._timeout = timeout
        self._access = access or Access()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = threading.Event()

    def run(
        self, what: str, args: Sequence[str], *, cwd: str = "/", quiet: float | None = None
    ) -> bytes:
        """The child's output. Raises the typed error of `faults.classify` where it failed."""
        done = self.attempt(what, args, cwd=cwd, quiet=quiet)
        if done.code != 0:
            raise faults.classify(what, done.err)
        return done.out

    def attempt(
        self, what: str, args: Sequence[str], *, cwd: str = "/", quiet: float | None = None
    ) -> Completed:
        """As `run`, but a failure is a value. Raises Transient(GitTimeout), Stalled(GitMissing).

        With `quiet` the limit is that long a silence instead of a total: a large clone may take
        as long as it makes progress.
        """
        with self.child(args, cwd=cwd, stderr=subprocess.PIPE) as child:
            limit = self._timeout if quiet is None else quiet
            out, err = _collect(child, what, limit, per_silence=quiet is not None)
            return Completed(child.wait(), out, err.decode("utf-8", "replace"))

    def lines(self, what: str, args: Sequence[str], deadline: float) -> Generator[str, None, None]:
        """The child's output line by line, until `deadline` (monotonic). Closing it stops git."""
        with tempfile.TemporaryFile() as stderr, self.child(args, stderr=stderr) as child:
            assert child.stdout is not None
            rest = b""
            with selectors.DefaultSelector() as selector:
                selector.register(child.stdout, selectors.EVENT_READ)
                while True:
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise faults.timed_out(what, self._timeout)
                    chunk = os.read(child.stdout.fileno(), 1 << 16)
                    if not chunk:
                        break
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line.decode("ascii", "replace")
            if child.wait() != 0:
                stderr.seek(0)
                raise faults.classify(what, stderr.read(65536).decode("utf-8", "replace"))

    @contextlib.contextmanager
    def child(
        self,
        args: Sequence[str],
        *,
        cwd: str = "/",
        stdin: int = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A started child that is stopped and reaped, with its group, on the way out."""
        child = self.start(args, cwd=cwd, stdin=stdin, stderr=stderr)
        try:
            yield child
        finally:
            self.end(child)

    def start(
        self, args: Sequence[str], *, cwd: str, stdin: int, stderr: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        if self._stopped.is_set():
            raise faults.closed()
        try:
            child = subprocess.Popen(
                ["git", *args],
                cwd=cwd,
                env=environment(self._access),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if error.filename == "git":
                raise faults.git_missing() from None
            raise faults.repository_missing(cwd) from None
        except PermissionError as error:
            if error.filename == "git":
                raise faults.git_missing() from None
            raise faults.not_permitted(cwd) from None
        with self._guard:
            self._running.add(child)
            stopped = self._stopped.is_set()
        if stopped:  # while it was being started
            self.end(child)
            raise faults.closed()
        return child

    def end(self, child: subprocess.Popen[bytes], grace: float = 0.5) -> None:
        """Stop the child's group (TERM, so that git removes its lock files, then KILL); reap."""
        if child.poll() is None:
            _signal_group(child, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(grace)
        _signal_group(child, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with self._guard:
            self._running.discard(child)

    def stop(self) -> None:
        """End every child and start no other: callers that wait for one see a failed git."""
        with self._guard:
            self._stopped.set()
            running = list(self._running)
        for child in running:
            if child.returncode is None:
                _signal_group(child, signal.SIGTERM)


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The child leads a session of its own, so its id names the group; what it left behind
    # (ssh, git-remote-https) is reached also after git itself has ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _collect(
    child: subprocess.Popen[bytes], what: str, limit: float, *, per_silence: bool
) -> tuple[bytes, bytes]:
    """stdout and stderr until git has closed them or has ended, within `limit` seconds."""
    assert child.stdout is not None
    assert child.stderr is not None
    taken: dict[int, list[bytes]] = {1: [], 2: []}
    deadline = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ, 1)
        selector.register(child.stderr, selectors.EVENT_READ, 2)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(max(0.0, min(left, 1.0)))
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if chunk:
                    taken[key.data].append(chunk)
                else:
                    selector.unregister(key.fileobj)
            # Progress without an end must not fill the memory: the last words are what counts.
            del taken[2][:-_KEPT_LINES]
            if ready and per_silence:
                deadline = time.monotonic() + limit
            elif left <= 0:
                raise faults.timed_out(what, limit)
            elif not ready and child.poll() is not None:
                break  # git has ended; something it started (an SSH master) keeps the pipes
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise faults.timed_out(what, limit) from None
    return b"".join(taken[1]), b"".join(taken[2])
