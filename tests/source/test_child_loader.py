"""Loading in child processes gives what loading in place gives, also when a child fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import pytest
from tests.source.loading import DEFAULTS, LOADER, VALID

from jobreconciler.app import with_children
from jobreconciler.model.desired import DesiredFile, Entry
from jobreconciler.source.child_loader import HEAD_START, ChildLoader

READER = (sys.executable, "-P", "-m", "jobreconciler.reader")
FAILS = (sys.executable, "-c", "import sys; sys.exit(3)")
TALKS_NONSENSE = (sys.executable, "-c", "print('hello')")
READS_BY_OTHER_RULES = (
    sys.executable,
    "-c",
    "import pickle, sys; sys.stdout.buffer.write(pickle.dumps(('0-old', [])))",
)


def files(count: int) -> tuple[list[Entry], dict[str, bytes]]:
    """Valid job files, every fifth of them broken."""
    entries = [Entry(f"jobs.d/{n:04}.yaml", f"blob {n}", "100755") for n in range(count)]
    texts = {
        f"blob {n}": (VALID.replace("id: job", f"id: job-{n}") if n % 5 else "meta: {idd: 1}\n")
        for n in range(count)
    }
    return entries, {blob: text.encode() for blob, text in texts.items()}


def loaded(
    command: Sequence[str],
    *,
    helping: bool = False,
    children: int = 2,
    defaults: bytes | None = None,
    count: int = 40,
) -> tuple[list[DesiredFile], list[DesiredFile]]:
    """What children made of the files, and what this process makes of them."""
    entries, contents = files(count)
    if defaults is not None:
        contents[DEFAULTS.blob] = defaults
    base = DEFAULTS if defaults is not None else None
    loader = ChildLoader(LOADER, command, worth_it=1, helping=helping, children=children)
    return loader.load(entries, contents, base), LOADER.load(entries, contents, base)


@pytest.mark.parametrize(
    "defaults", [None, b"retry: {maxAttempts: 2}\n", b"retry: {maxAttempts: 2000}\n"]
)
def test_children_find_what_one_process_finds_in_the_same_order(defaults: bytes | None) -> None:
    theirs, ours = loaded(READER, defaults=defaults)

    assert theirs == ours
    assert len(ours) >= 40


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="helping takes a second core")
def test_a_command_that_helps_keeps_a_part_for_itself() -> None:
    theirs, ours = loaded(READER, helping=True, children=1, count=HEAD_START + 60)

    assert theirs == ours


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(FAILS, id="ends with an error"),
        pytest.param(TALKS_NONSENSE, id="answers nonsense"),
        pytest.param(READS_BY_OTHER_RULES, id="is of another version"),
        pytest.param(("/nowhere/python",), id="cannot be started"),
    ],
)
def test_what_a_child_leaves_undone_is_loaded_in_place(command: Sequence[str]) -> None:
    theirs, ours = loaded(command)

    assert theirs == ours


def test_few_files_start_nobody() -> None:
    entries, contents = files(10)
    loader = ChildLoader(LOADER, ("/nowhere/python",), worth_it=11, helping=False)

    assert loader.load(entries, contents, None) == LOADER.load(entries, contents, None)


def test_a_missing_blob_is_the_same_error() -> None:
    entries, contents = files(10)
    del contents["blob 9"]
    loader = ChildLoader(LOADER, READER, worth_it=1, helping=False)

    with pytest.raises(KeyError):
        loader.load(entries, contents, None)


def test_it_reads_by_the_rules_of_the_loader_it_was_given() -> None:
    assert with_children(LOADER, worth_it=1, helping=False).version == LOADER.version
