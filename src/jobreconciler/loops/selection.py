"""What of a commit has to be looked at: everything the first time, the differences afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobreconciler.core.index import JobIndex
from jobreconciler.model.desired import DesiredFile, Entry
from jobreconciler.model.problem import Problem
from jobreconciler.ports import Loader, Source

DEFAULTS_NAME = "_defaults.yaml"


def defaults_path(jobs_dir: str) -> str:
    """Where the defaults file of a jobs directory is, by its path in the repository."""
    return f"{jobs_dir.strip('/')}/{DEFAULTS_NAME}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries to read, stored paths that are gone, and the defaults file in force."""

    revision: str
    base: str | None
    entries: tuple[Entry, ...]
    gone: frozenset[str]
    refused: tuple[Problem, ...]
    defaults: Entry | None
    contents: dict[str, bytes] = field(default_factory=dict)


def select(
    source: Source,
    index: JobIndex,
    revision: str,
    base: str | None,
    jobs_dir: str,
    *,
    reread: bool = False,
) -> Selection:
    """Compare `revision` with `base`; with all that is stored when there is no base, or when the
    defaults changed, since those reach into every file. `reread`: also what looks unchanged."""
    defaults_name = defaults_path(jobs_dir)
    diff = source.diff(base, revision) if base is not None else None
    if diff is not None:
        touched = {entry.path for entry in diff.changed} | set(diff.gone)
        touched |= {problem.file for problem in diff.refused}
        if defaults_name not in touched:
            defaults = source.entry(revision, defaults_name)
            return _narrow(
                index, revision, base, diff.changed, frozenset(diff.gone), diff.refused, defaults
            )
    snapshot = source.snapshot(revision)
    defaults = next((e for e in snapshot.entries if e.path == defaults_name), None)
    entries = tuple(e for e in snapshot.entries if e.path != defaults_name)
    refused = _spread(snapshot.refused, index)
    present = {entry.path for entry in snapshot.entries} | {problem.file for problem in refused}
    gone = frozenset(path for path in index.by_path if path not in present)
    return _narrow(index, revision, base, entries, gone, refused, defaults, reread=reread)


def _spread(refused: tuple[Problem, ...], index: JobIndex) -> tuple[Problem, ...]:
    """A refused folder (a link, a submodule) stands for every stored file that lay below it:
    those jobs are held, since nobody can tell whether their files are gone."""
    below = [
        problem._replace(file=path)
        for problem in refused
        for path in sorted(index.by_path)
        if path.startswith(f"{problem.file}/")
    ]
    return (*refused, *below)


def _narrow(
    index: JobIndex,
    revision: str,
    base: str | None,
    entries: tuple[Entry, ...],
    gone: frozenset[str],
    refused: tuple[Problem, ...],
    defaults: Entry | None,
    *,
    reread: bool = False,
) -> Selection:
    """Leave out files that are stored exactly as they are, unless they are to be read anew."""
    blob = defaults.blob if defaults is not None else ""

    def stored(entry: Entry) -> bool:
        row = index.at(entry.path)
        return row is not None and (row.blob, row.defaults_blob) == (entry.blob, blob)

    wanted = tuple(entry for entry in entries if reread or not stored(entry))
    return Selection(revision, base, wanted, gone, refused, defaults)


def read_files(source: Source, loader: Loader, selection: Selection) -> list[DesiredFile]:
    """The selected files as the loader reads them; refused ones carry their problem."""
    wanted = list(selection.entries)
    if selection.defaults is not None:
        wanted.append(selection.defaults)
    contents = source.read(sorted({entry.blob for entry in wanted})) if wanted else {}
    selection.contents.update(contents)
    refused = [DesiredFile(problem.file, "", None, (problem,)) for problem in selection.refused]
    return [*loader.load(selection.entries, contents, selection.defaults), *refused]
