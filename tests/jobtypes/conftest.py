"""Real runs and a real daemon, as the tests of those have them."""

from e2e.conftest import daemon
from execute.conftest import arena

__all__ = ["arena", "daemon"]
