"""Real runs and a real daemon, as the tests of those have them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.conftest import daemon
from execute.conftest import arena
from jobtypes.webservers import Web, web_server

__all__ = ["arena", "daemon"]


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server
