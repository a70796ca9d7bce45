"""Git's objects as bytes: their hash, trees and commits. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from jobreconciler.model.desired import Commit
from jobreconciler.source import faults

DIRECTORY, SYMLINK, SUBMODULE = "40000", "120000", "160000"


class TreeEntry(NamedTuple):
    mode: str
    name: bytes
    id: str


def check_hash(object_id: str, kind: str, data: bytes) -> None:
    """Raises Stalled(ObjectCorrupt) where these bytes do not have that id."""
    if object_hash(kind, data, len(object_id)) != object_id:
        raise faults.object_corrupt(object_id, "its content does not match its name")


def object_hash(kind: str, data: bytes, id_length: int = 40) -> str:
    """The id git gives these bytes: SHA-1 (40 digits) or SHA-256 (64) over header and content."""
    text = f"{kind} {len(data)}\0".encode() + data
    make = hashlib.sha256 if id_length == 64 else hashlib.sha1
    return make(text, usedforsecurity=False).hexdigest()


_ENTRY = {n: re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{%d})" % n, re.DOTALL) for n in (20, 32)}


def split_tree(data: bytes, id_length: int = 40) -> list[tuple[bytes, bytes, bytes]]:
    """(mode, name, binary id) of each entry, in git's order, still raw.

    Raises Stalled(ObjectCorrupt) where the bytes are no tree.
    """
    found: list[tuple[bytes, bytes, bytes]] = _ENTRY[id_length // 2].findall(data)
    if sum([len(m) + len(n) for m, n, _ in found]) + (id_length // 2 + 2) * len(found) != len(data):
        raise faults.object_corrupt("(a tree)", "its bytes are not a list of entries")
    return found


def tree_entry(mode: bytes, name: bytes, raw_id: bytes) -> TreeEntry:
    return TreeEntry(mode.decode("ascii").lstrip("0"), name, raw_id.hex())


def parse_tree(data: bytes, id_length: int = 40) -> list[TreeEntry]:
    return [tree_entry(*entry) for entry in split_tree(data, id_length)]


def parse_commit(revision: str, data: bytes) -> Commit:
    """Headers and message of a commit object; unknown headers are skipped, odd bytes replaced."""
    head, _, body = data.partition(b"\n\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        if not line.startswith(b" "):
            key, _, value = line.partition(b" ")
            fields.setdefault(key, []).append(value)
    encoding = fields.get(b"encoding", [b"utf-8"])[0].decode("ascii", "replace")
    author = _person(fields.get(b"author", [b""])[0], encoding)
    committer = _person(fields.get(b"committer", [b""])[0], encoding)
    return Commit(
        revision=revision,
        parents=tuple(p.decode("ascii", "replace") for p in fields.get(b"parent", [])),
        author_name=author[0],
        author_email=author[1],
        authored_at=author[2],
        committer_name=committer[0],
        committer_email=committer[1],
        committed_at=committer[2],
        message=_text(body, encoding).strip("\n"),
    )


def commit_links(data: bytes) -> tuple[tuple[str, ...], int]:
    """(parents, committer's epoch seconds) of a commit object, without the rest."""
    parents, when = [], 0
    for line in data.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b"parent "):
            parents.append(line[7:].decode("ascii", "replace"))
        elif line.startswith(b"committer "):
            match = _WHEN.search(line)
            when = int(match[1]) if match else 0
            break
    return tuple(parents), when


def tree_of(data: bytes) -> str:
    """The root tree's id in a commit object."""
    return data.split(b"\n", 1)[0].removeprefix(b"tree ").decode("ascii", "replace")


_WHEN = re.compile(rb" (-?[0-9]{1,15}) ([+-][0-9]{4})$")


def _person(line: bytes, encoding: str) -> tuple[str, str, str]:
    who, _, rest = line.partition(b"<")
    address = rest.rpartition(b">")[0] if b">" in rest else rest
    match = _WHEN.search(line)
    seconds, offset = (int(match[1]), match[2].decode()) if match else (0, "+0000")
    return (
        _text(who, encoding).strip(),
        _text(address, encoding).strip(),
        _rfc3339(seconds, offset),
    )


def _rfc3339(seconds: int, offset: str) -> str:
    """With the writer's own offset; `Z` for none. A time no calendar holds becomes the epoch."""
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    minutes = -minutes if offset[0] == "-" else minutes
    try:
        zone = timezone(timedelta(minutes=minutes)) if minutes else UTC
        moment = datetime.fromtimestamp(seconds, zone)
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"
    return moment.isoformat().replace("+00:00", "Z")


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "replace")
    except LookupError:
        return data.decode("utf-8", "replace")
