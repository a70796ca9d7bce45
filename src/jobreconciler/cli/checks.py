"""What `doctor` looks at: one function a concern, each giving lines of ok, warn or fail.

A check never raises and never changes anything; a line that is not ok says how to mend it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Literal

from jobreconciler.cli.client import Client
from jobreconciler.cli.words import SHORT, count, relative, span
from jobreconciler.core.suspension import sentence
from jobreconciler.errors import JobReconcilerError, NotFound
from jobreconciler.model.suspension import Suspension
from jobreconciler.model.views import SourceState
from jobreconciler.settings import Settings
from jobreconciler.tokens import is_loopback

WRITABLE = "mount it for writing, or name another with --state-dir"

Status = Literal["ok", "warn", "fail"]
OLDEST_GIT = (2, 31)
LOW_SPACE_MIB, NO_SPACE_MIB = 1024, 64
OLD_ZONES_YEARS = 2
CLOCK_SLACK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `hint` says how to mend what is not ok."""

    name: str
    status: Status
    message: str
    hint: str = ""


Look = Callable[[Settings, datetime], Iterator[Check]]


def examine(settings: Settings, now: datetime) -> list[Check]:
    """Every check, in the order in which one needs the other."""
    return [check for look in CHECKS for check in _guarded(look, settings, now)]


def _guarded(look: Look, settings: Settings, now: datetime) -> Iterator[Check]:
    name = look.__name__.strip("_").replace("_", " ")
    try:
        yield from look(settings, now)
    except JobReconcilerError as error:
        yield Check(name, "fail", error.message, error.hint)
    except Exception as error:
        yield Check(name, "fail", f"{type(error).__name__}: {error}")


# -------------------------------------------------------------------------------- the repository


def git(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    program = shutil.which("git")
    if program is None:
        yield Check("git", "fail", "git is not on the PATH", "install git 2.31 or later")
        return
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=20, check=False
    ).stdout.strip()
    version = said.removeprefix("git version ")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST_GIT:
        yield Check("git", "warn", f"{version} is old", "install git 2.31 or later")
    else:
        yield Check("git", "ok", f"{version}, {program}")


def repository(settings: Settings, now: datetime) -> Iterator[Check]:
    """Resolve the ref as the daemon does, then read its jobs directory.

    Of a remote only the ref is looked at: reading more would fetch it into the mirror.
    """
    from jobreconciler.app import make_source
    from jobreconciler.source.refs import parse_location

    location = parse_location(settings.repo)
    source = make_source(settings)
    try:
        revision = source.resolve()
        yield Check("repository", "ok", settings.repo if location.path else location.shown)
        if location.warning:
            yield Check("repository", "warn", location.warning, "use https:// or ssh://")
        yield Check("ref", "ok", f"{settings.ref or 'HEAD branch'} is at {revision[:SHORT]}")
        if location.path is None:
            return
        snapshot = source.snapshot(revision)
        files = count(len(snapshot.entries), "file")
        yield Check("jobs dir", "ok", f"{settings.jobs_dir} holds {files}")
        for problem in snapshot.refused[:3]:
            yield Check("jobs dir", "warn", f"{problem.file}: {problem.message}", problem.hint)
        commit = source.commit(revision)
        ahead = (datetime.fromisoformat(commit.committed_at) - now).total_seconds()
        if ahead > CLOCK_SLACK_SECONDS:
            yield Check(
                "clock",
                "warn",
                f"the newest commit is dated {span(ahead)} from now",
                "this machine's clock is behind, or the committer's was ahead: check NTP",
            )
    finally:
        source.close()


def job_types(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    from jobreconciler.jobtypes.registry import load_job_types

    types = load_job_types()
    yield Check("job types", "ok", ", ".join(types.names()))
    for name, reason in types.broken().items():
        yield Check("job types", "warn", f"{name}: {reason}", "repair or remove that package")


# -------------------------------------------------------------------------------------- the state


def state_directory(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    path = settings.state_dir
    if not path.exists():
        parent = next(each for each in path.absolute().parents if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Check("state dir", "ok", f"{path} will be made by `run` or `apply`")
        else:
            yield Check("state dir", "fail", f"{path} is not there and {parent} is read-only",
                        "name another with --state-dir")  # fmt: skip
        return
    if read_only(path):
        yield Check("state dir", "fail", f"{path} lies on a read-only file system", WRITABLE)
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield Check("state dir", "fail", f"{path} is not writable", f"chown it to {_user()}")
    elif loose := _open_to_others(path):
        yield Check("state dir", "warn", f"{path} is open to others ({loose})", f"chmod 700 {path}")
    else:
        yield Check("state dir", "ok", str(path))
    yield space(path)


def read_only(path: Path) -> bool:
    """Whether nobody can write to `path`, whatever its mode says."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def space(path: Path) -> Check:
    """How much room is left where `path` lies."""
    free = shutil.disk_usage(path).free // 2**20
    said = f"{free / 1024:.1f} GiB free" if free >= 1024 else f"{free} MiB free"
    if free < NO_SPACE_MIB:
        return Check("disk", "fail", said, "make room: runs cannot be recorded soon")
    if free < LOW_SPACE_MIB:
        return Check("disk", "warn", said, "make room for output and backups")
    return Check("disk", "ok", said)


def _open_to_others(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{mode:04o}" if mode & 0o077 else ""


def _user() -> str:
    return f"user {os.geteuid()}"


def secrets(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    """Where `{file: name}` secrets lie; their contents are never looked at."""
    path = settings.secrets_path
    if not path.exists():
        named = settings.secrets_dir is not None
        yield Check(
            "secrets",
            "warn" if named else "ok",
            f"there is no {path}" if named else f"none in files; they would be in {path}",
            f"make it with mode 700 for {_user()}" if named else "",
        )
        return
    if not os.access(path, os.R_OK | os.X_OK):
        yield Check("secrets", "fail", f"{path} cannot be read", f"chown it to {_user()}")
        return
    # A directory that is closed to others keeps its files from them, whatever their modes are.
    loose = _open_to_others(path)
    if loose and any(each.is_file() and _open_to_others(each) for each in path.iterdir()):
        said = f"{path} is open to others ({loose}), and so are files in it"
        yield Check("secrets", "warn", said, f"chmod 700 {path}")
    else:
        yield Check("secrets", "ok", str(path))


def token(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    path = settings.operator_token_file
    if settings.token is not None:
        yield Check("token", "ok", "given by flag, variable or file")
    elif not path.exists():
        named = settings.token_file is not None
        yield Check(
            "token",
            "fail" if named else "ok",
            f"there is no {path}" if named else "none yet; the first `run` writes one",
            "name a file that exists" if named else "",
        )
    elif loose := _open_to_others(path):
        yield Check("token", "fail", f"{path} can be read by others ({loose})", f"chmod 600 {path}")
    elif not os.access(path, os.R_OK):
        yield Check("token", "warn", f"{path} belongs to somebody else", "use your own token")
    else:
        yield Check("token", "ok", str(path))


def store(settings: Settings, now: datetime) -> Iterator[Check]:
    from jobreconciler.app import open_store

    try:
        opened = open_store(settings, read_only=True)
    except NotFound:
        yield Check("store", "ok", "none yet; the first `run` or `apply` makes it")
        yield from _access(settings, has_tokens=False)
        return
    try:
        state = opened.source_state()
        jobs = opened.fleet_counts().jobs
        has_tokens = opened.has_tokens()
        stops = opened.suspensions()
    finally:
        opened.close()
    yield Check("store", "ok", f"{_store_name(settings)}, {count(jobs, 'job')}")
    yield from _watch(state, now)
    yield from _paused(stops)
    yield from _access(settings, has_tokens=has_tokens)


def _access(settings: Settings, *, has_tokens: bool) -> Iterator[Check]:
    """`run` refuses to start where anybody could reach it and nobody made a token."""
    if not is_loopback(settings.listen_host) and not has_tokens:
        yield Check(
            "access",
            "fail",
            f"{settings.listen} is not loopback and no token was created",
            "`jobreconciler token create NAME --role operator`",
        )


def _store_name(settings: Settings) -> str:
    if settings.store is None:
        return f"{settings.database_path} (SQLite {sqlite3.sqlite_version})"
    return settings.store.partition(":")[0]


def _paused(stops: Iterable[Suspension]) -> Iterator[Check]:
    """A fleet that was paused looks like one where nothing starts."""
    for stop in stops:
        if stop.scope == "fleet":
            yield Check("pause", "warn", sentence(stop), "`jobreconciler unpause` lifts it")


def _watch(state: SourceState | None, now: datetime) -> Iterator[Check]:
    """A clock that is behind what it once wrote starts nothing until it has caught up."""
    last = state.last_success_at if state is not None else None
    if last is not None and (last - now).total_seconds() > CLOCK_SLACK_SECONDS:
        yield Check(
            "clock",
            "fail",
            f"the store was last written {relative(last, now)}: the clock has gone back",
            "set the clock; slots that were handled are not run again meanwhile",
        )


# ------------------------------------------------------------------------------------ the machine


def clock(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    synchronised = _synchronised()
    if synchronised is False:
        yield Check("clock", "warn", f"{now:%Y-%m-%d %H:%M:%S}Z, not synchronised", "enable NTP")
    else:
        said = ", synchronised" if synchronised else ""
        yield Check("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S}Z{said}")


def _synchronised() -> bool | None:
    """What the service manager says; None where it can't be asked."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    said = subprocess.run(
        [program, "show", "--property=NTPSynchronized", "--value"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    ).stdout.strip()
    return {"yes": True, "no": False}.get(said)


def zone_data(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    """Daylight saving is only as right as the zone data it is read from."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        yield Check("zone data", "fail", "there is none", "install tzdata (system or pip)")
        return
    version, origin = _zone_version()
    if version and now.year - int(version[:4]) > OLD_ZONES_YEARS:
        yield Check("zone data", "warn", f"{version} of {origin} is old", "upgrade tzdata")
    else:
        yield Check("zone data", "ok", f"{version or 'unknown version'} of {origin}")


def _zone_version() -> tuple[str, str]:
    """The version of the data zoneinfo really uses: the system's first, then the package's."""
    from zoneinfo import TZPATH

    for folder in map(Path, TZPATH):
        if not (folder / "Europe" / "Berlin").is_file():
            continue
        for name, prefix in (("tzdata.zi", "# version "), ("+VERSION", "")):
            path = folder / name
            if path.is_file():
                with path.open(encoding="utf-8", errors="replace") as stream:
                    first = stream.readline().strip()
                if first.startswith(prefix) and first.removeprefix(prefix)[:4].isdecimal():
                    return first.removeprefix(prefix), str(folder)
        return "", str(folder)
    return str(import_module("tzdata").IANA_VERSION), "the tzdata package"


def address(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    """Free, or already answered by a daemon of ours."""
    host, port = settings.listen_host, settings.listen_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        yield Check("listen", "fail", f"{settings.listen}: {error.strerror}", "check --listen")
        return
    family, _, _, _, where = found[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            yield _taken(settings, error)
            return
    yield Check("listen", "ok", f"{settings.listen} is free")


def _taken(settings: Settings, error: OSError) -> Check:
    local = "127.0.0.1" if settings.listen_host in ("0.0.0.0", "::") else settings.listen_host
    bracketed = f"[{local}]" if ":" in local else local
    ours = settings.model_copy(update={"server": f"http://{bracketed}:{settings.listen_port}"})
    try:
        Client(ours, timeout=5).get("/healthz")
    except JobReconcilerError:
        return Check(
            "listen",
            "fail",
            f"{settings.listen}: {error.strerror}",
            "stop what uses it, or name another address with --listen",
        )
    return Check("listen", "ok", f"a daemon answers at {settings.listen}")


def python(settings: Settings, now: datetime) -> Iterator[Check]:  # noqa: ARG001
    from jobreconciler import __version__

    running = ".".join(map(str, sys.version_info[:3]))
    yield Check("program", "ok", f"jobreconciler {__version__}, Python {running}")


CHECKS: tuple[Look, ...] = (
    python,
    git,
    repository,
    job_types,
    state_directory,
    secrets,
    store,
    token,
    clock,
    zone_data,
    address,
)
