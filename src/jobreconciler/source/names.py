"""Names below a jobs directory: job files, and what is refused, in a commit or before it."""

from __future__ import annotations

import unicodedata

SUFFIXES = (".yaml", ".yml")
REFUSALS = {
    "symlink": (
        "this is a symbolic link, which is not followed",
        "put the file itself there; links could point outside the repository",
    ),
    "submodule_refused": (
        "this is a submodule, whose files are not part of this commit",
        "commit the job files themselves, or run another daemon for that repository",
    ),
    "path_refused": ("the name contains {}", "rename it: letters, digits, '-', '_' and '.'"),
}
"""What is wrong and what to do, by code."""
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def is_job_file(name: str) -> bool:
    return name.endswith(SUFFIXES)


def is_refused_link(name: str) -> bool:
    """Whether a link of that name could stand for a job file, or for a folder of them."""
    return is_job_file(name) or "." not in name


def unsafe_name(name: str) -> str:
    """Why a path must not be used (""), so that it cannot mislead a terminal, a log or a shell."""
    if has_control(name):
        return "control characters or invalid UTF-8"
    if "\\" in name:
        return "a backslash"
    if any(part in ("..", ".", ".git") for part in name.split("/")):
        return "a '.', '..' or '.git' part"
    return ""


def has_control(text: str) -> bool:
    """Whether a text holds what a terminal would act on instead of showing it."""
    if text.isascii() and text.isprintable():
        return False
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _BIDI for c in text)


def shown(name: str) -> str:
    """A refused name in printable ASCII."""
    return name.encode("unicode_escape").decode("ascii").replace("/", "\\x2f")
