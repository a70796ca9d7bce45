"""Commands whose words hold variables that are known at run time only, as shell scripts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jobreconciler.importing.report import Draft, Place


class Ref(NamedTuple):
    """A variable of the run's environment. `splits`: its words become words of the command."""

    name: str
    splits: bool = False


Pieces = tuple[str | Ref, ...]
"""One word of a command: text and variables, one behind the other."""


def joined(pieces: Iterable[str | Ref]) -> Pieces:
    """The same with neighbouring texts as one, and at least one piece."""
    found: list[str | Ref] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return tuple(found) or ("",)


def plain(words: Sequence[Pieces]) -> list[str] | None:
    """The words as text, or None where one holds a variable."""
    if all(isinstance(piece, str) for word in words for piece in word):
        return ["".join(map(str, word)) for word in words]
    return None


def shell_word(pieces: Pieces) -> str:
    """One word for a shell: text in quotes where it needs them, variables in double ones."""
    return "".join(map(_piece, pieces)) or "''"


def shell_words(words: Sequence[Pieces]) -> str:
    return " ".join(map(shell_word, words))


def _piece(piece: str | Ref) -> str:
    if isinstance(piece, Ref):
        return f"${piece.name}" if piece.splits else f'"${{{piece.name}}}"'
    return shlex.quote(piece) if piece else ""


def placeholder(draft: Draft, why: str, at: int | Place, arguments: Sequence[str] = ()) -> None:
    """A job whose program nobody knows yet: disabled, and failing if it were not."""
    draft.section("parameters")["argv"] = ["/bin/false", *arguments]
    draft.switch_off("until parameters.argv names the program, see above")
    hint = "write it into parameters.argv instead of /bin/false"
    draft.note("left_out", "the program", why, hint, at)
