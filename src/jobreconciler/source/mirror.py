"""A remote repository, kept as a bare mirror in the state directory.

One `ls-remote` tells whether the ref moved; only then something is fetched. The mirror holds all
branches and tags and nothing that could not be fetched again: a damaged one is made anew.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jobreconciler.errors import Stalled, Transient
from jobreconciler.source.command import Access, Git
from jobreconciler.source.gitpython import repo_class
from jobreconciler.source.refs import Location, candidates

_REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_FETCHES_PER_GC = 50
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$JOBRECONCILER_GIT_USERNAME" "$JOBRECONCILER_GIT_PASSWORD"; }; f'
)


def remote_access(location: Location, timeout: float) -> Access:
    """What git may reach for this remote. Credentials go to their own host only, and never onto
    a command line: git asks a helper for them, which reads the environment."""
    config: list[tuple[str, str]] = []
    secrets: dict[str, str] = {}
    if location.username or location.password:
        host = "/".join(location.url.split("/", 3)[:3])
        config += [(f"credential.{host}.helper", ""), (f"credential.{host}.helper", _HELPER)]
        secrets = {
            "JOBRECONCILER_GIT_USERNAME": location.username,
            "JOBRECONCILER_GIT_PASSWORD": location.password,
        }
    return Access(
        protocols=location.protocols,
        config=tuple(config),
        secrets=secrets,
        connect_timeout=max(1, min(10, int(timeout))),
    )


class Mirror:
    """The bare mirror of one remote. Only its owner's lock makes it safe to share."""

    def __init__(
        self, location: Location, ref: str | None, state_dir: Path, git: Git, timeout: float
    ) -> None:
        self.path = state_dir / "mirror.git"
        self._location = location
        self._ref = ref
        self._git = git
        self._timeout = timeout
        self._what = f"fetching {location.shown}"
        self._suspect = False
        self._fetches = 0
        self._ours = False
        self._seen = ("", "")

    def suspect(self) -> None:
        """An object was missing or damaged: replace the mirror before the next look."""
        self._suspect = True

    def look(self) -> tuple[str, bool]:
        """(full ref name, fetched): ask the remote once, fetch where it knows something newer.

        Raises Stalled(RefMissing, RepositoryEmpty, …), Transient(RemoteUnreachable, …).
        """
        name, advertised = self._advertised()
        there = not self._suspect and self._is_mirror()
        if there and (name, advertised) == self._seen:
            return name, False
        if not (there and self.local(name) == advertised):
            self._update(name)
            self._seen = (name, self.local(name) or "")
            return name, True
        self._seen = (name, advertised)
        return name, False

    def _update(self, name: str) -> None:
        with self._exclusively():
            if self._suspect or not self._is_mirror():
                self._make()
            self._remove_stale_locks()
            self._fetch()
            if self.local(name) is None:
                raise self._ref_missing(name)
            self._tidy()
        self._suspect = False

    def local(self, name: str) -> str | None:
        """What the mirror holds for a full ref name: an unpeeled id."""
        args = [f"--git-dir={self.path}", "rev-parse", "--verify", "--quiet", "--end-of-options"]
        done = self._git.attempt("reading the mirror", [*args, name])
        return done.out.decode("ascii").strip() if done.code == 0 else None

    def _advertised(self) -> tuple[str, str]:
        names = candidates(self._ref)[:2] if self._ref else ("HEAD",)
        args = ["ls-remote", "--symref", "--", self._location.url, *names]
        lines = self._git.run(f"asking {self._location.shown}", args).decode("utf-8", "replace")
        refs: dict[str, str] = {}
        head = None
        for line in lines.splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: ") and name == "HEAD":
                head = value.removeprefix("ref: ")
            else:
                refs[name] = value
        if self._ref is None and head and "HEAD" in refs:
            return head, refs["HEAD"]
        for name in names if self._ref else ():
            if name in refs:
                return name, refs[name]
        raise self._ref_missing(self._ref)

    def _ref_missing(self, name: str | None) -> Stalled:
        args = ["ls-remote", "--heads", "--tags", "--refs", "--", self._location.url]
        lines = self._git.run(f"asking {self._location.shown}", args).decode("utf-8", "replace")
        known = [line.partition("\t")[2] for line in lines.splitlines()]
        return no_such_ref(name, self._location.shown, known)

    def _is_mirror(self) -> bool:
        """Whether there is a mirror, and of this very remote."""
        if not (self.path / "HEAD").is_file() or not (self.path / "objects").is_dir():
            return False
        if not self._ours:
            with (
                contextlib.suppress(Exception),  # whatever is wrong with it, it is made anew
                repo_class()(self.path, expand_vars=False) as repo,
                repo.config_reader("repository") as config,
            ):
                self._ours = config.get_value('remote "origin"', "url", "") == self._location.url
        return self._ours

    def _make(self) -> None:
        fresh = self.path.with_name("mirror.git.new")
        for old in (fresh, self.path):
            shutil.rmtree(old, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        try:
            # `git init` through our own child: GitPython would pass an inherited GIT_DIR on.
            self._git.run("making the mirror", ["init", "--quiet", "--bare", str(fresh)])
            with (
                repo_class()(fresh, expand_vars=False) as repo,
                repo.config_writer() as config,
            ):
                config.set_value('remote "origin"', "url", self._location.url)
                config.set_value("gc", "auto", "500")
        except OSError as error:
            raise Transient(
                f"the mirror cannot be made in {self.path.parent}: {error}",
                reason="MirrorFailed",
                hint="check the state directory's disk space and permissions",
            ) from None
        fresh.rename(self.path)
        self._ours = True

    def _fetch(self) -> None:
        # Not GitPython's fetch: a remote that hangs must be stopped with all its children, and
        # nothing inherited may redirect it (see command.py).
        args = [f"--git-dir={self.path}", "fetch", "--prune", "--no-tags", "--force"]
        args += ["--progress", "--no-write-fetch-head", "--no-auto-gc", "--update-head-ok"]
        args += ["--no-recurse-submodules", "--", self._location.url, *_REFSPECS]
        self._git.run(self._what, args, quiet=self._timeout)

    def _tidy(self) -> None:
        self._fetches += 1
        if self._fetches % _FETCHES_PER_GC == 0:
            args = [f"--git-dir={self.path}", "gc", "--auto", "--quiet"]
            with contextlib.suppress(Transient):
                self._git.attempt("tidying the mirror", args)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_name("mirror.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Transient(
                "another process is fetching into this mirror",
                reason="GitBusy",
                hint="it is tried again by itself",
                retry_after=1.0,
            ) from None
        finally:
            os.close(lock)

    def _remove_stale_locks(self) -> None:
        # Held exclusively, so a lock file is what a git that was killed left behind.
        for lock in (*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")):
            with contextlib.suppress(OSError):
                lock.unlink()


def no_such_ref(name: str | None, where: str, known: list[str]) -> Stalled:
    """RepositoryEmpty where there is no ref at all, else RefMissing with names that are close.

    No name stands for the branch that HEAD names.
    """
    if not known:
        return Stalled(
            f"{where} has no branch and no tag",
            reason="RepositoryEmpty",
            hint="push a jobs directory, or restore the branch; it is picked up by itself",
        )
    short = [k.removeprefix("refs/heads/").removeprefix("refs/tags/") for k in known]
    if name is None:
        return Stalled(
            f"HEAD of {where} names a branch that is not there",
            reason="RefMissing",
            hint=f"name one with --ref, such as {short[0]}",
        )
    close = difflib.get_close_matches(name.removeprefix("refs/heads/"), short, n=3, cutoff=0.5)
    return Stalled(
        f"{where} has no branch or tag {name!r}",
        reason="RefMissing",
        hint=f"did you mean {' or '.join(close)}?" if close else "check --ref",
    )
