"""Job files among the working files, read as the daemon would read them from a commit.

Whoever names a few files still wants to hear of an id that another file has, or of a dependency
that nobody declares. So the neighbours of the named files are read too: those whose text mentions
an id in question, and theirs, until nothing new is mentioned. Their own mistakes are not reported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jobreconciler.core.crossfile import cross_check
from jobreconciler.model.desired import DesiredFile, Entry
from jobreconciler.model.problem import Problem
from jobreconciler.source.files import WorkingFiles, load_directory

if TYPE_CHECKING:
    from jobreconciler.ports import Loader

_LINE_END = re.compile(r"\r\n|\n|\r")


class Declared(NamedTuple):
    """What was asked for: the files by name, as read, every problem in them, and their lines."""

    names: tuple[str, ...]
    files: tuple[DesiredFile, ...]
    problems: tuple[Problem, ...]
    working: WorkingFiles

    @property
    def valid(self) -> tuple[DesiredFile, ...]:
        wrong = {problem.file for problem in self.problems}
        return tuple(file for file in self.files if file.job and file.path not in wrong)

    def lines(self) -> dict[str, list[str]]:
        """The lines of each file that has a problem."""
        blobs = {entry.path: entry.blob for entry in self.working.entries}
        if self.working.defaults is not None:
            blobs[self.working.defaults.path] = self.working.defaults.blob
        return {
            name: _LINE_END.split(self.working.contents[blobs[name]].decode("utf-8", "replace"))
            for name in {problem.file for problem in self.problems} & blobs.keys()
        }


def read_declared(root: Path, jobs_dir: str, paths: Sequence[Path], loader: Loader) -> Declared:
    """Read the files of `paths`, or of the whole jobs directory. Raises NotFound."""
    named = [path.absolute() for path in paths]
    working = load_directory(root, named, jobs_dir=jobs_dir)
    files = loader.load(working.entries, working.contents, working.defaults)
    beside = _neighbours(root, jobs_dir, working, files, loader) if named else []
    crossed = cross_check([*files, *beside])
    names = _names(working, named, files)
    problems = [*working.refused]
    for file in files:
        problems += [*file.problems, *crossed.get(file.path, ())]
    asked = replace_problems(files, crossed)
    return Declared(names, asked, tuple(sorted(set(problems))), working)


def replace_problems(
    files: Sequence[DesiredFile], crossed: dict[str, tuple[Problem, ...]]
) -> tuple[DesiredFile, ...]:
    """The files with what only shows beside the others."""
    return tuple(
        file._replace(problems=(*file.problems, *crossed.get(file.path, ()))) for file in files
    )


def _names(
    working: WorkingFiles, named: Sequence[Path], files: Sequence[DesiredFile]
) -> tuple[str, ...]:
    """What counts as looked at: the defaults file only if it was meant, or is wrong."""
    names = {entry.path for entry in working.entries} | {each.file for each in working.refused}
    defaults = working.defaults
    if defaults is not None:
        wrong = any(file.path == defaults.path for file in files)
        meant = not named or any(str(path).endswith(f"/{defaults.path}") for path in named)
        if wrong or meant:
            names.add(defaults.path)
    return tuple(sorted(names))


def _neighbours(
    root: Path,
    jobs_dir: str,
    named: WorkingFiles,
    files: Sequence[DesiredFile],
    loader: Loader,
) -> list[DesiredFile]:
    if not (root / jobs_dir).is_dir():
        return []
    everything = load_directory(root, jobs_dir=jobs_dir)
    known = {entry.path for entry in named.entries}
    rest = [entry for entry in everything.entries if entry.path not in known]
    found: list[DesiredFile] = []
    asked: set[str] = set()
    wanted = _mentioned(files)
    while wanted:
        asked |= wanted
        near = _mentioning(rest, everything, wanted)
        rest = [entry for entry in rest if entry not in near]
        read = loader.load(near, everything.contents, everything.defaults)
        found += [file for file in read if file.path not in known]
        wanted = _mentioned(read) - asked
    return found


def _mentioned(files: Sequence[DesiredFile]) -> set[str]:
    """Ids that these files declare or depend on."""
    ids = {file.job_id for file in files if file.job_id}
    return ids.union(*(file.job.depends_on for file in files if file.job))


def _mentioning(
    entries: Sequence[Entry], working: WorkingFiles, ids: Collection[str]
) -> list[Entry]:
    texts = [each.encode() for each in ids]
    return [
        entry for entry in entries if any(each in working.contents[entry.blob] for each in texts)
    ]
