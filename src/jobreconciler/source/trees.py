"""Job files of a commit, from its tree objects: all of them, or what differs between two trees.

Only regular files named `*.yaml` or `*.yml` are job files. Links, submodules and names that could
mislead are refused, never followed. Only folders whose ids differ are read for a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import NamedTuple

from jobreconciler.errors import JobReconcilerError, Stalled
from jobreconciler.model.desired import Entry
from jobreconciler.model.problem import Problem
from jobreconciler.source import faults
from jobreconciler.source.git_objects import (
    DIRECTORY,
    SUBMODULE,
    SYMLINK,
    TreeEntry,
    parse_tree,
    split_tree,
    tree_entry,
    tree_of,
)
from jobreconciler.source.names import (
    REFUSALS,
    is_job_file,
    is_refused_link,
    shown,
    unsafe_name,
)
from jobreconciler.source.objects import TREE_LIMIT, ObjectReader

MAX_FILES = 1_000_000
MAX_FOLDERS = 200_000
MAX_DEPTH = 64
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml").fullmatch
_RAW_ENTRY = {n: re.compile(rb"[0-7]{5,6} [^\0]+\0.{%d}" % n, re.DOTALL) for n in (20, 32)}


class Kind(Enum):
    JOB_FILE = "job file"
    FOLDER = "folder"
    OTHER = "other"
    REFUSED = "refused"


class Judged(NamedTuple):
    """What one tree entry is. `covers`: what is refused could stand for a whole folder of jobs."""

    kind: Kind
    path: str
    entry: TreeEntry
    problem: Problem | None = None
    covers: bool = False


@dataclass(slots=True)
class Delta:
    """What differs between two trees. `covers` as in Judged, on either side."""

    changed: list[Entry] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    covers: bool = False

    def paths(self) -> set[str]:
        return {*(e.path for e in self.changed), *self.gone, *(p.file for p in self.refused)}


def judge(entry: TreeEntry, folder: str) -> Judged:
    """`folder` ends with a slash, or is empty for the root."""
    if entry.mode == "100644" and _PLAIN_NAME(entry.name):
        return Judged(Kind.JOB_FILE, folder + entry.name.decode("ascii"), entry)
    name = entry.name.decode("utf-8", "surrogateescape")
    bad = "a slash" if "/" in name else unsafe_name(name)
    path = folder + (shown(name) if bad else name)
    if entry.mode == SYMLINK:
        if is_refused_link(name):
            return _refuse(entry, path, "symlink", covers=not is_job_file(name))
        return Judged(Kind.OTHER, path, entry)
    if entry.mode == SUBMODULE:
        return _refuse(entry, path, "submodule_refused", covers=True)
    if entry.mode == DIRECTORY:
        if bad:
            return _refuse(entry, path, "path_refused", bad, covers=True)
        return Judged(Kind.FOLDER, path, entry)
    if not is_job_file(name):
        return Judged(Kind.OTHER, path, entry)
    if bad:
        return _refuse(entry, path, "path_refused", bad, covers=False)
    return Judged(Kind.JOB_FILE, path, entry)


def _refuse(entry: TreeEntry, path: str, code: str, what: str = "", *, covers: bool) -> Judged:
    says, hint = REFUSALS[code]
    problem = Problem(path, 0, 0, "", code, says.format(what), hint)
    return Judged(Kind.REFUSED, path, entry, problem, covers)


def job_entry(judged: Judged) -> Entry:
    return Entry(judged.path, judged.entry.id, judged.entry.mode)


def folder_prefix(jobs_dir: str) -> str:
    return f"{jobs_dir}/" if jobs_dir else ""


def list_files(
    reader: ObjectReader, tree_id: str, jobs_dir: str
) -> tuple[list[Entry], list[Problem]]:
    """Every job file below a tree, sorted by path, and what is refused there."""
    entries: list[Entry] = []
    refused: list[Problem] = []
    level = [(folder_prefix(jobs_dir), tree_id)]
    folders = depth = 0
    while level:
        trees = reader.trees([tree for _, tree in level])
        following = []
        for folder, tree in level:
            for raw in split_tree(trees[tree], len(tree)):
                if raw[0] == b"100644" and _PLAIN_NAME(raw[1]):
                    # Nearly every entry: nothing more is to be asked of it.
                    entries.append(Entry(folder + raw[1].decode("ascii"), raw[2].hex()))
                    continue
                judged = judge(tree_entry(*raw), folder)
                if judged.kind is Kind.JOB_FILE:
                    entries.append(job_entry(judged))
                elif judged.kind is Kind.FOLDER:
                    following.append((f"{judged.path}/", judged.entry.id))
                elif judged.problem is not None:
                    refused.append(judged.problem)
            check_size(len(entries) + len(refused), folders + len(following), depth)
        folders, depth, level = folders + len(following), depth + 1, following
    entries.sort(key=attrgetter("path"))
    return entries, sorted(refused)


def check_size(files: int, folders: int, depth: int) -> None:
    """A few small trees that repeat each other can name billions of files: stop counting early."""
    if files > MAX_FILES or folders > MAX_FOLDERS or depth > MAX_DEPTH:
        raise Stalled(
            f"the jobs directory holds more than {MAX_FILES:,} files or {MAX_FOLDERS:,} folders, "
            f"or is deeper than {MAX_DEPTH} levels",
            reason="TreeTooLarge",
            hint="split the jobs over several repositories or directories",
        )


def compare(reader: ObjectReader, old: str | None, new: str | None, jobs_dir: str) -> Delta:
    """What differs between two trees (None: nothing there), reading only folders that differ."""
    delta = Delta()
    level = [(folder_prefix(jobs_dir), old, new)] if old != new else []
    folders = depth = 0
    while level:
        trees = reader.trees([t for _, a, b in level for t in (a, b) if t])
        following: list[tuple[str, str | None, str | None]] = []
        for folder, a, b in level:
            before, after = _differing(trees, a, b)
            for name in before.keys() | after.keys():
                following += _compare_entry(delta, folder, before.get(name), after.get(name))
            folders += 1
            check_size(len(delta.changed) + len(delta.gone), folders, depth)
        depth, level = depth + 1, following
    delta.changed.sort(key=lambda entry: entry.path)
    delta.gone.sort()
    delta.refused.sort()
    return delta


def _compare_entry(
    delta: Delta, folder: str, before: TreeEntry | None, after: TreeEntry | None
) -> Iterable[tuple[str, str | None, str | None]]:
    old = judge(before, folder) if before else None
    new = judge(after, folder) if after else None
    delta.covers |= bool((old and old.covers) or (new and new.covers))
    old_tree = old.entry.id if old and old.kind is Kind.FOLDER else None
    new_tree = new.entry.id if new and new.kind is Kind.FOLDER else None
    if old_tree != new_tree:
        path = (new or old).path  # type: ignore[union-attr]
        yield f"{path}/", old_tree, new_tree
    if new and new.kind is Kind.JOB_FILE:
        # A file whose mode alone changed says the same.
        if not (old and old.kind is Kind.JOB_FILE and old.entry.id == new.entry.id):
            delta.changed.append(job_entry(new))
    elif new and new.problem:
        # Not gone: a job whose file turned into a link is held, never deleted.
        delta.refused.append(new.problem)
    elif old and old.kind in (Kind.JOB_FILE, Kind.REFUSED):
        delta.gone.append(old.path)


def _differing(
    trees: dict[str, bytes], a: str | None, b: str | None
) -> tuple[dict[bytes, TreeEntry], dict[bytes, TreeEntry]]:
    """The entries of either tree that the other lacks, by name. Equal entries are never parsed."""
    length = len(a or b or "")
    raw = _RAW_ENTRY[length // 2]
    before = set(raw.findall(trees[a])) if a else set()
    after = set(raw.findall(trees[b])) if b else set()
    return (
        {e.name: e for e in parse_tree(b"".join(before - after), length)},
        {e.name: e for e in parse_tree(b"".join(after - before), length)},
    )


def why_missing(
    reader: ObjectReader, revision: str, jobs_dir: str
) -> JobReconcilerError | Exception:
    """Why a commit has no folder at `jobs_dir`: it can never look like "everything deleted"."""
    commit = reader.commit_data(revision)
    if commit is None:
        return reader.missing(revision)
    tree, walked = tree_of(commit), ""
    if reader.get(tree, TREE_LIMIT) is None:
        return reader.missing(tree)
    for part in jobs_dir.split("/"):
        entries = parse_tree(reader.tree(tree), len(tree))
        entry = next((e for e in entries if e.name == part.encode()), None)
        walked = f"{walked}/{part}" if walked else part
        if entry is None:
            return _no_jobs_dir(revision, f"there is no {walked!r}", "JobsDirMissing")
        if entry.mode in (SYMLINK, SUBMODULE):
            what = "a symbolic link" if entry.mode == SYMLINK else "a submodule"
            return _no_jobs_dir(revision, f"{walked!r} is {what}", "JobsDirRefused")
        if entry.mode != DIRECTORY:
            return _no_jobs_dir(revision, f"{walked!r} is a file", "JobsDirMissing")
        tree = entry.id
        if reader.get(tree, TREE_LIMIT) is None:
            return reader.missing(tree)
    return faults.object_missing(f"{revision}:{jobs_dir}")


def _no_jobs_dir(revision: str, what: str, reason: str) -> Stalled:
    return Stalled(
        f"commit {revision[:12]} has no jobs directory: {what}",
        reason=reason,
        hint="check --jobs-dir; to remove every job, keep the folder with a README in it",
    )
