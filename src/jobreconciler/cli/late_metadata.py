"""`importlib.metadata`, imported when it is asked something.

pydantic imports it for plugins that are switched off, and with it come e-mail, CSV and zip: a tenth
of what it takes to check a file.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

NAME = "importlib.metadata"


class _Late(ModuleType):
    """Stands in for the module until then."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # The import system looks at the module itself.
            raise AttributeError(name)
        return getattr(_real(), name)

    @staticmethod
    def entry_points(**chosen: Any) -> Any:
        """Here because `from importlib.metadata import entry_points` is not yet a question."""
        return _real().entry_points(**chosen)


def _real() -> ModuleType:
    if isinstance(sys.modules.get(NAME), _Late):
        del sys.modules[NAME]
    return importlib.import_module(NAME)


def import_late() -> None:
    """Does nothing where somebody has imported it already."""
    if NAME not in sys.modules:
        late: Any = _Late(NAME)
        # Both, as an import does: `importlib.metadata.version` looks at the package alone.
        sys.modules[NAME] = importlib.metadata = late
