"""What every test stands on: nothing of this machine's person, git or environment leaks in."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import postgres


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty home, no ambient git configuration, none of the program's own variables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        for name in list(os.environ):
            ours = name.startswith("JOBRECONCILER_") and not name.startswith("JOBRECONCILER_TEST_")
            if ours or name in ("XDG_CONFIG_HOME", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Cluster]:
    """A running PostgreSQL. Skips, saying why, where there is none."""
    reason = postgres.missing()
    if reason is not None:
        postgres.skip_or_fail(reason)
    with postgres.cluster() as started:
        yield started
