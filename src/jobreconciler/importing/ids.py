"""Ids of imported jobs: valid, unique, and the same each time the same files are imported."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from jobreconciler.importing.report import Draft

LONGEST = 63


def slug(text: str) -> str:
    """Lower-case letters, digits and inner hyphens, at most 63 of them; empty if none is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST].strip("-")


def assign_ids(drafts: Sequence[Draft], prefix: str = "") -> list[str]:
    """An id for each draft: the first of its names that is free, else the first and a number."""
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    ids = []
    for draft in drafts:
        slugs = [found for name in draft.names if (found := slug(prefix + name))]
        slugs = slugs or [slug(prefix + "job")]
        chosen = next((free for free in slugs if free not in taken), None)
        while chosen is None or chosen in taken:
            numbers[slugs[0]] = numbers.get(slugs[0], 1) + 1
            chosen = _numbered(slugs[0], numbers[slugs[0]])
        taken.add(chosen)
        ids.append(chosen)
    return ids


def _numbered(name: str, number: int) -> str:
    tail = f"-{number}"
    return name[: LONGEST - len(tail)].rstrip("-") + tail


_SEPARATORS = re.compile(r"&&|\|\||[;|&{}()\n]")
_SILENT = frozenset(
    {"test", "[", "[[", "cd", "export", "set", "source", ".", "sleep", "true", "if", "then", "!"}
)
_WRAPPERS = frozenset(
    {
        *("nice", "ionice", "chrt", "flock", "timeout", "env", "sudo", "su", "exec", "nohup"),
        *("time", "setlock", "chronic", "systemd-cat", "command", "umask", "do", "else"),
    }
)
_OF_WRAPPER = re.compile(r"\.lock$|^[0-9.]+[smhd]?$")
_INTERPRETERS = re.compile(
    r"(?:ba|da|k|z)?sh|python[0-9.]*|perl|ruby|php[0-9.]*|node|java|run-parts|make|tclsh|Rscript"
)
_SUFFIXES = (".sh", ".py", ".pl", ".rb", ".php", ".js", ".jar", ".bash")


def name_of_command(command: str) -> str:
    """What a shell command is called: its program, or the script that an interpreter runs.

    Passes over what only prepares it: `cd`, `test`, assignments, `nice`, `flock`, `env`.
    """
    for part in _SEPARATORS.split(command):
        words = [word for word in part.split() if not re.match(r"\w+=|[<>]|[0-9]+>", word)]
        found = _program(words)
        if found:
            return found
    return ""


def _program(words: list[str]) -> str:
    """The first word that names something. An option's value may be taken for it; so be it."""
    wrapped = False
    for number, word in enumerate(words):
        name = _base(word)
        if not wrapped and name in _SILENT:
            return ""
        if name in _WRAPPERS:
            wrapped = True
        elif word.startswith("-") or not slug(name) or (wrapped and _OF_WRAPPER.search(word)):
            continue
        elif _INTERPRETERS.fullmatch(name):
            return _script(words[number + 1 :]) or name
        else:
            return name
    return ""


def _script(words: list[str]) -> str:
    for word in words:
        name = _base(word)
        if not word.startswith("-") and slug(name):
            return name
    return ""


def _base(word: str) -> str:
    name = word.strip("'\"").rstrip("/").rpartition("/")[2]
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix)
    return name
