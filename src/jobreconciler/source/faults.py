"""What git says on stderr, turned into errors that say how they are handled. Pure.

Git runs with `LC_ALL=C`, so its words are stable enough to look for. What is not recognised is
`Transient`: trying again is harmless, and the message still shows git's own last words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobreconciler.errors import JobReconcilerError, Refused, Stalled, Transient

_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s'\"]*@")
_QUERY = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def redact(text: str) -> str:
    """`text` without user names, passwords and queries in URLs, and without control characters."""
    text = _CONTROL.sub("", text)
    return _QUERY.sub(r"\1?…", _USERINFO.sub(r"\1", text))


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    kind: type[JobReconcilerError]
    reason: str
    says: str
    hint: str


def _rule(pattern: str, kind: type[JobReconcilerError], reason: str, says: str, hint: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), kind, reason, says, hint)


# The first match decides, so the particular stands above the general.
_RULES = (
    _rule(
        r"dubious ownership|unsafe repository",
        Stalled,
        "UnsafeOwnership",
        "the repository belongs to another user, and git refuses to read it",
        "run as its owner, or allow it: git config --global --add safe.directory PATH",
    ),
    _rule(
        r"transport '[^']*' not allowed|unable to find remote helper",
        Refused,
        "TransportRefused",
        "this transport is not allowed",
        "use https://, ssh://, git@host:path or a local path",
    ),
    _rule(
        r"host key verification failed",
        Stalled,
        "AuthenticationFailed",
        "the host's SSH key is not known",
        "compare the key and add it: ssh-keyscan HOST >> ~/.ssh/known_hosts",
    ),
    _rule(
        r"authentication failed|could not read (username|password)|terminal prompts disabled"
        r"|permission denied \([a-z,-]*publickey|permission denied \((password|keyboard)"
        r"|requested url returned error: 40[13]|invalid (username|credentials)|access denied",
        Stalled,
        "AuthenticationFailed",
        "the remote refused the credentials, or none were given",
        "give a token (https://TOKEN@host/…), a git credential helper, or an SSH key "
        "that works without a prompt",
    ),
    _rule(
        r"requested url returned error: 404|repository '[^']*' not found|repository not found"
        r"|does not appear to be a git repository|repository '[^']*' does not exist"
        r"|project you were looking for could not be found",
        Stalled,
        "RepositoryMissing",
        "there is no such repository, or these credentials may not see it",
        "check --repo and what the credentials may read",
    ),
    _rule(
        r"could not fetch .* from promisor remote|promisor|lazy fetch",
        Transient,
        "ObjectMissing",
        "the clone is partial and lacks an object",
        "fetch what is missing: git fetch --refetch --no-filter",
    ),
    _rule(
        r"cannot lock ref|unable to create '.*\.lock'|unable to lock",
        Transient,
        "GitBusy",
        "another git process holds a lock",
        "wait for it; if none runs, remove the lock file git names",
    ),
    _rule(
        r"no space left on device",
        Transient,
        "NoSpace",
        "the disk is full",
        "free space where the state directory lies",
    ),
    _rule(
        r"corrupt|inflate|hash mismatch|unable to (unpack|parse)|bad (tree|object) header|garbage"
        r"|cannot be read|index file .* too small|packfile .* (cannot be accessed|size changed)",
        Stalled,
        "ObjectCorrupt",
        "an object is damaged",
        "run git fsck there, and fetch or clone anew from an intact copy",
    ),
    _rule(
        r"could not resolve host|name or service not known|temporary failure in name resolution"
        r"|connection (refused|timed out|reset|closed)|couldn't connect|failed to connect"
        r"|network is unreachable|no route to host|unable to access|early eof|hung up"
        r"|could not read from remote repository|unable to connect|remote error"
        r"|requested url returned error: (429|5\d\d)|ssl|operation timed out",
        Transient,
        "RemoteUnreachable",
        "the remote does not answer as a git server",
        "check the address, the network and the server; it is tried again by itself",
    ),
    _rule(
        r"not a git repository",
        Stalled,
        "NotARepository",
        "this is not a git repository",
        "point --repo at a repository, or run git init there",
    ),
    _rule(
        r"permission denied",
        Stalled,
        "NotPermitted",
        "the files of the repository may not be read",
        "let this user read the repository",
    ),
    _rule(
        r"bad object|missing (blob|tree|commit|object)|not a valid object|unable to read"
        r"|could not read [0-9a-f]{40}|failed to traverse parents|revision walk setup failed",
        Transient,
        "ObjectMissing",
        "the repository lacks an object",
        "run git fsck there; a shallow or partial clone needs git fetch --unshallow",
    ),
)


def last_words(stderr: str) -> str:
    """The line of git's stderr that explains most, redacted, at most 300 characters."""
    lines = [line.strip() for line in redact(stderr).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (telling or lines or [""])[0][:300]


def classify(what: str, stderr: str) -> JobReconcilerError:
    """The error for a git child that failed while it did `what` ("fetching https://…")."""
    words = last_words(stderr)
    for rule in _RULES:
        if rule.pattern.search(stderr):
            said = f" (git: {words})" if words else ""
            return rule.kind(f"{what}: {rule.says}{said}", reason=rule.reason, hint=rule.hint)
    return Transient(
        f"{what}: git failed{f': {words}' if words else ' without a word'}",
        reason="GitFailed",
        hint="run the same git command by hand to see more",
    )


def timed_out(what: str, seconds: float) -> Transient:
    return Transient(
        f"{what}: git gave no answer within {seconds:g} s and was stopped",
        reason="GitTimeout",
        hint="check the network, the server or the disk; it is tried again by itself",
    )


def git_missing() -> Stalled:
    return Stalled(
        "git is not installed, or not on PATH",
        reason="GitMissing",
        hint="install git 2.31 or newer",
    )


def closed() -> Transient:
    return Transient(
        "the source has been closed", reason="Closed", hint="it is opened again at the next start"
    )


def repository_missing(path: str) -> Stalled:
    return Stalled(
        f"there is no repository at {path}",
        reason="RepositoryMissing",
        hint="check --repo",
    )


def not_a_repository(path: str) -> Stalled:
    return Stalled(
        f"{path} is not a git repository",
        reason="NotARepository",
        hint="point --repo at a repository, or run git init there",
    )


def not_permitted(path: str) -> Stalled:
    return Stalled(
        f"{path} may not be read by this user",
        reason="NotPermitted",
        hint="let this user read the repository",
    )


def object_missing(name: str) -> Transient:
    return Transient(
        f"object {name} is missing from the repository",
        reason="ObjectMissing",
        hint="run git fsck there; a shallow or partial clone needs git fetch --unshallow",
    )


def object_corrupt(name: str, words: str = "") -> Stalled:
    return Stalled(
        f"object {name} is damaged{f' (git: {words})' if words else ''}",
        reason="ObjectCorrupt",
        hint="run git fsck there, and fetch or clone anew from an intact copy",
    )
