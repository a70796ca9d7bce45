"""Where a change came from, as its commits' messages tell: pull request, reviewers, trailers. Pure.

Only the subject and the trailer block are read: a sentence somewhere in the text proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jobreconciler.model.change import Provenance
from jobreconciler.model.desired import Commit

_TRAILER = re.compile(r"^([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*:[ \t]*(.*)$")
_BY_GIT = ("Signed-off-by: ", "(cherry picked from commit ")
_REVIEWERS = ("reviewed-by", "acked-by", "approved-by")

# Subjects as the hosts write them, each with its own way to show the number.
_SUBJECTS = (
    (re.compile(r"^Merge pull request #(\d+) (?:from|in) "), "#{}"),  # GitHub, Bitbucket Server
    (re.compile(r"^Merge pull request .* ?\(#(\d+)\) from "), "#{}"),  # Gitea, Forgejo
    (re.compile(r"^Merged in .* \(pull request #(\d+)\)$"), "#{}"),  # Bitbucket Cloud
    (re.compile(r"^Merged PR (\d+):"), "#{}"),  # Azure DevOps
    (re.compile(r"^Pull request #(\d+):"), "#{}"),  # Bitbucket Server
    (re.compile(r"\(#(\d+)\)$"), "#{}"),  # squash merges on GitHub, Gitea, Forgejo
    (re.compile(r"\(!(\d+)\)$"), "!{}"),  # squash merges on GitLab
)
_GITLAB = re.compile(r"^See merge request ([\w./-]*!\d+)$", re.MULTILINE)
_TRAILER_KEYS = ("pull-request", "merge-request", "pr-url", "reviewed-on")
_NUMBER_IN_URL = re.compile(r"/(?:pull|pulls|pull-requests|pullrequest)/(\d+)/?$")
_MERGE_IN_URL = re.compile(r"/merge_requests/(\d+)/?$")


def subject(message: str) -> str:
    return message.strip("\n").split("\n", 1)[0].strip()


def trailers(message: str) -> list[tuple[str, str]]:
    """(key, value) of the trailer block: the last paragraph, where it is one, never the first.

    By git-interpret-trailers(1): all its lines are trailers, or a quarter of them is and one was
    written by git itself. A line that starts with a blank continues the value above it.
    """
    paragraphs = re.split(r"\n[ \t]*\n", message.replace("\r\n", "\n").strip())
    if len(paragraphs) < 2:
        return []
    found: list[tuple[str, str]] = []
    other = 0
    by_git = False
    for line in paragraphs[-1].strip("\n").split("\n"):
        match = _TRAILER.match(line)
        by_git |= line.startswith(_BY_GIT)
        if match:
            found.append((match[1], match[2].strip()))
        elif line[:1] in (" ", "\t") and found:
            key, value = found[-1]
            found[-1] = (key, f"{value} {line.strip()}".strip())
        elif not line.startswith(_BY_GIT):
            other += 1
    if other and not (by_git and len(found) * 3 >= other):
        return []
    return found


def allows_prune(message: str) -> bool:
    """Whether the message carries the trailer `Allow-Prune: true` and none that says otherwise."""
    values = [v.casefold() for k, v in trailers(message) if k.casefold() == "allow-prune"]
    return bool(values) and all(value == "true" for value in values)


def reviewers(messages: Iterable[str]) -> tuple[str, ...]:
    """Who reviewed, acked or approved by trailer, each once, in the order they are named."""
    return tuple(
        dict.fromkeys(
            value
            for message in messages
            for key, value in trailers(message)
            if key.casefold() in _REVIEWERS and value
        )
    )


def pull_request(message: str) -> str | None:
    """`#12`, `!34` or `group/project!34`, from a merge's or squash's message or a trailer."""
    title = subject(message)
    for pattern, shown in _SUBJECTS:
        match = pattern.search(title)
        if match:
            return shown.format(match[1])
    gitlab = _GITLAB.search(message)
    if gitlab:
        return gitlab[1]
    for key, value in trailers(message):
        if key.casefold() in _TRAILER_KEYS:
            return _from_url(value)
    return None


def _from_url(value: str) -> str | None:
    for pattern, shown in ((_NUMBER_IN_URL, "#{}"), (_MERGE_IN_URL, "!{}")):
        match = pattern.search(value)
        if match:
            return shown.format(match[1])
    return value if re.fullmatch(r"[\w./-]*[#!]\d+", value) else None


def build(revision: str, commits: Sequence[Commit], merges: Sequence[Commit] = ()) -> Provenance:
    """What one changelog row records. Both are newest first; the first commit decides.

    The pull request is the deciding commit's own, else that of the merge which brought it in,
    else the next commit's.
    """
    told = (*commits[:1], *merges, *commits[1:])
    numbers = (pull_request(commit.message) for commit in told)
    return Provenance(
        revision=revision,
        commits=tuple(commits),
        pull_request=next((number for number in numbers if number), None),
        reviewers=reviewers(commit.message for commit in (*commits, *merges)),
    )
