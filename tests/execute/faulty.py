"""Servers with a fault that cannot be brought about from outside at the right instant."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobreconciler.execute import connection, warm_server

_WARM = """\
import os, sys
sys.path[:0] = sys.argv[5:]
{fault}
import runpy
runpy.run_path({server!r}, run_name="__main__")
"""


def warm(monkeypatch: pytest.MonkeyPatch, folder: Path, fault: str) -> None:
    """Executors of this test start a server for Python jobs that ran `fault` before all else."""
    program = folder / "faulty_server.py"
    program.write_text(_WARM.format(fault=fault, server=warm_server.__file__))
    monkeypatch.setattr(connection, "_PYTHON", program)
