"""Every code is documented, and every documented code is one that somebody can meet."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/problem-codes.md"
SOURCES = [
    *(ROOT / "src/jobreconciler/source").glob("*.py"),
    ROOT / "src/jobreconciler/core/crossfile.py",
    ROOT / "src/jobreconciler/core/plan.py",
]
MAKERS = {"Problem": 4, "Finding": 1, "Mistake": 1, "mistake": 1, "_refusal": 1}


def documented() -> list[str]:
    found = []
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("| `"):
            found += re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])
    return found


def texts(path: Path) -> set[str]:
    """Every snake_case text of a module: codes are among them, made directly or looked up."""
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", node.value)
    }


def made(path: Path) -> set[str]:
    """Codes that a module writes out where it makes a problem."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        if name in MAKERS:
            found |= {
                one.value
                for one in node.args
                if isinstance(one, ast.Constant)
                and isinstance(one.value, str)
                and re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", one.value)
            }
    return found


def test_each_code_is_documented_once() -> None:
    assert len(documented()) == len(set(documented()))


def test_no_code_is_undocumented() -> None:
    codes = set().union(*(made(path) for path in SOURCES))

    assert len(codes) > 20
    assert codes - set(documented()) == set()


def test_no_documented_code_is_out_of_use() -> None:
    known = set().union(*(texts(path) for path in SOURCES))

    assert set(documented()) - known == set()


def test_each_documented_code_is_held_by_a_test() -> None:
    tests = [
        *(ROOT / "tests/source").glob("test_[!p]*.py"),
        *(ROOT / "tests/core").glob("test_crossfile.py"),
        *(ROOT / "tests/core").glob("test_plan.py"),
    ]
    named = set().union(*(texts(path) for path in tests))

    # Planning adds that one where it holds a job; its tests speak of the hold.
    assert set(documented()) - named == {"held_with_dependency"}
