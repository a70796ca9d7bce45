"""Real git repositories for tests: no ambient configuration, fixed authors, times that move on.

repo = GitRepo(tmp_path / "repo")
first = repo.write({"jobs.d/a.yaml": "…"}).commit("add a")
repo.branch("feature").write({…}).commit("change a", author="Bob <bob@example.com>")
merged = repo.checkout("main").merge("feature", "Merge pull request #12 from bob/feature")
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

ADA = "Ada Lovelace <ada@example.com>"
BOB = "Bob Ross <bob@example.com>"
START = 1_767_225_600
"""2026-01-01T00:00:00Z; each commit comes a minute after the one before."""


def git_environment(home: Path) -> dict[str, str]:
    """An environment for git children in which only `home` can hold configuration."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR", "LD_LIBRARY_PATH")}
    return kept | {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "TZ": "UTC",
    }


class GitRepo:
    """A repository with a work tree at `path` (made if it isn't there), on branch `main`."""

    def __init__(self, path: Path, *, object_format: str = "sha1") -> None:
        self.path = path
        self._clock = START
        path.mkdir(parents=True, exist_ok=True)
        if not (path / ".git").exists():
            self.git("init", "-q", "-b", "main", f"--object-format={object_format}")
            self.git("config", "commit.gpgsign", "false")
            self.git("config", "gc.auto", "0")

    def git(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: str | None = None
    ) -> str:
        """The output of one git command, stripped. Fails the test with git's own words."""
        done = subprocess.run(
            ["git", *args],
            cwd=self.path,
            env=git_environment(self.path.parent) | dict(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def write(self, files: Mapping[str, str | bytes]) -> Self:
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def link(self, name: str, to: str) -> Self:
        """A symbolic link, in place of what may be there."""
        self.delete(name)
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(to)
        return self

    def delete(self, *names: str) -> Self:
        for name in names:
            target = self.path / name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        return self

    def commit(
        self,
        message: str,
        *,
        author: str = ADA,
        committer: str | None = None,
        date: str | int | None = None,
    ) -> str:
        """Commit all there is, also when nothing changed; the new commit's id.

        `date` is anything git reads (`"2026-03-01T12:00:00+01:00"`) or epoch seconds.
        """
        self.git("add", "-A")
        env = self.identity(author, committer, date)
        self.git("commit", "-q", "--allow-empty", "-F", "-", env=env, stdin=message)
        return self.head

    def identity(
        self, author: str = ADA, committer: str | None = None, date: str | int | None = None
    ) -> dict[str, str]:
        """Variables that say who commits, and when."""
        self._clock += 60
        when = (
            f"@{self._clock if date is None else date} +0000" if not isinstance(date, str) else date
        )
        variables = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        for role, person in (("AUTHOR", author), ("COMMITTER", committer or author)):
            name, _, address = person.partition(" <")
            variables |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": address.rstrip(">")}
        return variables

    def branch(self, name: str, at: str = "HEAD") -> Self:
        """A new branch, checked out."""
        self.git("checkout", "-q", "-b", name, at)
        return self

    def checkout(self, name: str) -> Self:
        self.git("checkout", "-q", name)
        return self

    def merge(
        self,
        name: str,
        message: str = "",
        *,
        resolve: Mapping[str, str] | None = None,
        author: str = ADA,
        date: str | int | None = None,
        strategy: str = "",
    ) -> str:
        """Merge a branch with a merge commit. `resolve`: what conflicting files shall say."""
        env = self.identity(author, None, date)
        message = message or f"Merge branch '{name}'"
        args = ["merge", "-q", "--no-ff", "--no-edit", "-m", message]
        args += ["-s", strategy] if strategy else []
        if resolve is None:
            self.git(*args, name, env=env)
            return self.head
        command = ["git", *args, "--no-commit", name]
        environment = git_environment(self.path.parent) | env
        subprocess.run(command, cwd=self.path, env=environment, capture_output=True, timeout=60)
        self.write(resolve).git("add", "-A")
        self.git("commit", "-q", "-F", "-", env=env, stdin=message)
        return self.head

    def tag(self, name: str, at: str = "HEAD", *, message: str | None = None) -> Self:
        """An annotated tag where there is a message, else a light one."""
        args = ["-a", "-m", message] if message is not None else []
        self.git("tag", *args, name, at, env=self.identity())
        return self

    def reset(self, revision: str) -> Self:
        """Rewind the checked-out branch, as a force-push would."""
        self.git("reset", "-q", "--hard", revision)
        return self

    def bare_clone(self, path: Path) -> Path:
        self.git("clone", "-q", "--bare", str(self.path), str(path))
        return path
