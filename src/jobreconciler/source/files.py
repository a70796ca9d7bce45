"""Job files of a working directory, read as git would hold them; for checks before a commit.

Symlinks are refused, not followed, whatever they point to, and no file is read beyond the size
that a job file may have.
"""

# Plain strings and os.path: pathlib would double the time that ten thousand files take.
# ruff: noqa: PTH100, PTH112, PTH113, PTH114

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobreconciler.errors import NotFound
from jobreconciler.model.desired import Entry
from jobreconciler.model.problem import Problem
from jobreconciler.source import names
from jobreconciler.source.strict_yaml import MAX_BYTES

DEFAULTS = "_defaults.yaml"

_REFUSALS = {
    **names.REFUSALS,
    "outside_jobs_dir": (
        "the file is not below the jobs directory",
        "move it there, or name its directory with --jobs-dir",
    ),
    "not_a_file": ("this is not a regular file", "delete it"),
    "not_a_job_file": ("job files end in .yaml or .yml", "rename it"),
}


@dataclass
class WorkingFiles:
    """Job files by path relative to the repository, sorted; their bytes by git's blob id."""

    entries: list[Entry] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    defaults: Entry | None = None
    refused: list[Problem] = field(default_factory=list)


def load_directory(
    root: Path, paths: Sequence[Path] = (), *, jobs_dir: str = "jobs.d"
) -> WorkingFiles:
    """Every job file below `root/jobs_dir`, or those of `paths` (files or directories).

    `root` is the repository's top; `paths` are absolute or relative to it, and a directory above
    the jobs directory means all of that. The defaults file is always read along. What is refused
    (a symlink, a path outside the jobs directory, a file that is too large or unreadable) is a
    problem in `refused`. Raises NotFound for a path that is not there.
    """
    reader = _Reader(os.path.abspath(root), os.path.abspath(root / jobs_dir))
    if not paths and not os.path.isdir(reader.base):
        raise NotFound(
            f"there is no directory {reader.base}",
            reason="JobsDirMissing",
            hint="name the directory of job files with --jobs-dir",
        )
    for path in paths or (Path(reader.base),):
        reader.add(path)
    return reader.finish()


def blob_id(data: bytes) -> str:
    """git's id of a blob with these bytes (SHA-1)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class _Reader:
    """One look at a directory. Works on plain strings: there may be ten thousand files."""

    def __init__(self, top: str, base: str) -> None:
        self.top = top
        self.base = base
        self.defaults_path = f"{base}/{DEFAULTS}"
        self.out = WorkingFiles()
        self.seen: set[str] = set()

    def add(self, path: Path) -> None:
        full = os.path.abspath(Path(self.top) / path)
        if not os.path.lexists(full):
            raise NotFound(f"there is no file {path}", reason="FileMissing")
        if f"{self.base}/".startswith(f"{full.rstrip('/')}/"):
            full = self.base
        why = self._why_refused(full)
        if why is not None:
            self._refuse(full, why)
        elif os.path.isdir(full):
            for name in self._below(full):
                self._take(name)
        elif names.is_job_file(full):
            self._take(full)
        else:
            self._refuse(full, "not_a_job_file")

    def finish(self) -> WorkingFiles:
        if os.path.islink(self.defaults_path):
            self._refuse(self.defaults_path, "symlink")
        elif os.path.isfile(self.defaults_path):
            self.out.defaults = self._read(self.defaults_path)
        self.out.entries.sort(key=lambda entry: entry.path)
        self.out.refused.sort()
        return self.out

    def _why_refused(self, full: str) -> str | None:
        """Why a path that was named is refused; links on the way to it count as well."""
        if full != self.base and not full.startswith(f"{self.base}/"):
            return "outside_jobs_dir"
        inside = full[len(self.base) :]
        steps = [n for n, letter in enumerate(inside) if letter == "/" and n] + [len(inside)]
        linked = any(os.path.islink(self.base + inside[:n]) for n in steps if n)
        return "symlink" if linked else None

    def _below(self, directory: str) -> Iterator[str]:
        """Job files below a directory. What is refused on the way is noted, the rest not ours."""
        with os.scandir(directory) as found:
            for one in sorted(found, key=lambda entry: entry.name):
                if one.is_symlink():
                    if names.is_refused_link(one.name):
                        self._refuse(one.path, "symlink")
                elif not (is_folder := one.is_dir()) and not names.is_job_file(one.name):
                    continue
                elif bad := names.unsafe_name(one.name):
                    path = f"{directory}/{names.shown(one.name)}"
                    self._refuse(path, "path_refused", what=bad)
                elif not is_folder:
                    yield one.path
                elif os.path.lexists(f"{one.path}/.git"):
                    self._refuse(one.path, "submodule_refused")
                else:
                    yield from self._below(one.path)

    def _take(self, full: str) -> None:
        if full == self.defaults_path or full in self.seen:
            return
        self.seen.add(full)
        entry = self._read(full)
        if entry is not None:
            self.out.entries.append(entry)

    def _read(self, full: str) -> Entry | None:
        """The file as an entry, its bytes kept; None where it was refused."""
        try:
            handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._refuse(full, "symlink" if error.errno == errno.ELOOP else "", error)
            return None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                self._refuse(full, "not_a_file")
                return None
            if status.st_size > MAX_BYTES:
                self._refuse_size(full, status.st_size)
                return None
            data = os.read(handle, MAX_BYTES + 1)
        except OSError as error:
            self._refuse(full, "", error)
            return None
        finally:
            os.close(handle)
        entry = Entry(self._name(full), blob_id(data))
        self.out.contents[entry.blob] = data
        return entry

    def _name(self, full: str) -> str:
        prefix = f"{self.top.rstrip('/')}/"
        return full[len(prefix) :] if full.startswith(prefix) else full

    def _refuse(
        self, full: str, code: str, error: OSError | None = None, *, what: str = ""
    ) -> None:
        message, hint = _REFUSALS.get(code, ("", ""))
        message = message.format(what)
        if error is not None and not code:
            why = (error.strerror or "unknown reason").lower()
            code, message, hint = "unreadable", f"the file cannot be read: {why}", "check its mode"
        problem = Problem(self._name(full), 0, 0, "", code, message, hint)
        if problem not in self.out.refused:
            self.out.refused.append(problem)

    def _refuse_size(self, full: str, size: int) -> None:
        message = f"the file has {size} bytes; at most {MAX_BYTES} ({MAX_BYTES >> 10} KiB) are read"
        hint = "split it, or keep data out of job files"
        self.out.refused.append(Problem(self._name(full), 0, 0, "", "too_large", message, hint))
