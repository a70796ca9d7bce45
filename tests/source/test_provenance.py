"""Pull requests, reviewers and trailers, as hosts and people write them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gitrepo import git_environment
from jobreconciler.model.desired import Commit
from jobreconciler.source.provenance import (
    allows_prune,
    build,
    pull_request,
    reviewers,
    subject,
    trailers,
)


@pytest.mark.parametrize(
    ("written_by", "message", "expected"),
    [
        ("a GitHub merge", "Merge pull request #12 from bob/feature\n\nAdd job", "#12"),
        ("a GitHub squash", "Add the nightly job (#345)\n\n* one\n* two", "#345"),
        ("a revert with its own number", 'Revert "Add x (#12)" (#15)', "#15"),
        (
            "a GitLab merge",
            "Merge branch 'f' into 'main'\n\nAdd\n\nSee merge request grp/sub/p!34",
            "grp/sub/p!34",
        ),
        ("a GitLab merge in its own project", "Merge branch 'f'\n\nSee merge request !7", "!7"),
        ("a GitLab squash", "Add job (!8)", "!8"),
        ("a Gitea merge", "Merge pull request 'Add a job' (#9) from bob/f into main", "#9"),
        ("a Gitea trailer", "Add\n\nReviewed-on: https://git.example.com/o/r/pulls/41", "#41"),
        ("a Bitbucket merge", "Merged in feature/x (pull request #5)\n\nText", "#5"),
        ("a Bitbucket Server merge", "Merge pull request #6 in PRJ/repo from f to main", "#6"),
        ("an Azure merge", "Merged PR 5: Add a job", "#5"),
        ("a trailer with a URL", "Add\n\nPull-Request: https://github.com/o/r/pull/77", "#77"),
        ("a trailer with a number", "Add\n\nPull-Request: o/r#78", "o/r#78"),
        (
            "a GitLab trailer",
            "Add\n\nMerge-Request: https://gl.example.com/g/p/-/merge_requests/3",
            "!3",
        ),
        ("Windows line ends", "Merge pull request #12 from bob/f\r\n\r\nText", "#12"),
        ("nobody: a plain commit", "Add a job", None),
        ("nobody: an issue in the middle", "Fix (#12) for good", None),
        ("nobody: a quoted subject", 'Revert "Add x (#12)"', None),
        (
            "nobody: a sentence in the text",
            "Add\n\nThis follows Merge pull request #12 from x.",
            None,
        ),
        ("nobody: no message at all", "", None),
        ("nobody: a plain branch merge", "Merge branch 'main' into feature", None),
    ],
)
def test_the_pull_request_is_read_from_what_was_written_by(
    written_by: str, message: str, expected: str | None
) -> None:
    assert pull_request(message) == expected, written_by


TRAILER_MESSAGES = [
    "s\n\nA: 1\nB: 2",
    "s\n\ntext\n\nA: 1",
    "s\n\nA: 1\n\ntext",
    "A: 1",
    "A: 1\nB: 2",
    "s\n\ntext\nA: 1",
    "s\n\ntext\nmore\nSigned-off-by: X <x@y>",
    "s\n\none\ntwo\nthree\nfour\nfive\nSigned-off-by: X <x@y>",
    "s\n\nA: 1\n  continued\nB: 2",
    "s\n\nA:1\nB :2\nC: \n",
    "s\n\nnot a key: 1\nA: 2",
    "s\n\nKey-With-Dash: x\n(cherry picked from commit 0123456789012345678901234567890123)\ntext",
    "s\n \nA: 1",
    "s\n\nA: 1\n\n\n",
    "",
]


@pytest.mark.parametrize("message", TRAILER_MESSAGES)
def test_trailers_are_those_git_itself_finds(message: str) -> None:
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse", "--no-divider"],
        input=message,
        capture_output=True,
        text=True,
        check=True,
        env=git_environment(Path("/nonexistent")),
        cwd="/",
    )
    expected = [line for line in done.stdout.splitlines() if ":" in line]
    found = [f"{key}: {value}".rstrip() for key, value in trailers(message)]
    assert found == [line.rstrip() for line in expected]


@pytest.mark.parametrize(
    ("situation", "message", "expected"),
    [
        ("a trailer", "Drop jobs\n\nAllow-Prune: true", True),
        (
            "among other trailers",
            "Drop\n\nText\n\nSigned-off-by: A <a@x>\nAllow-Prune: true\n",
            True,
        ),
        ("in any case", "Drop\n\nallow-prune: TRUE", True),
        ("said no", "Drop\n\nAllow-Prune: false", False),
        ("said both", "Drop\n\nAllow-Prune: true\nAllow-Prune: false", False),
        ("as the subject", "Allow-Prune: true", False),
        ("in the middle of the text", "Drop\n\nAllow-Prune: true\n\nMore text", False),
        ("inside a sentence", "Drop\n\nNever write\nAllow-Prune: true\nlightly", False),
        ("quoted", "Drop\n\n> Allow-Prune: true", False),
        ("another value", "Drop\n\nAllow-Prune: yes please", False),
        ("not at all", "Drop", False),
        ("no message", "", False),
    ],
)
def test_pruning_is_allowed_by_a_real_trailer_only(
    situation: str, message: str, expected: bool
) -> None:
    assert allows_prune(message) is expected, situation


def commit(message: str, revision: str = "1" * 40) -> Commit:
    at = "2026-01-01T00:00:00Z"
    return Commit(revision, (), "A", "a@x", at, "A", "a@x", at, message)


def test_reviewers_are_named_once_in_their_order() -> None:
    first = "A\n\nReviewed-by: Bob <b@x>\nAcked-by: Cy <c@x>\nCo-authored-by: D <d@x>"
    second = "B\n\nApproved-by: Eve <e@x>\nreviewed-by: Bob <b@x>"
    assert reviewers([first, second]) == ("Bob <b@x>", "Cy <c@x>", "Eve <e@x>")


def test_the_deciding_commits_own_pull_request_wins_then_its_merge_then_the_next() -> None:
    plain, squashed = commit("plain"), commit("squashed (#2)")
    merge = commit("Merge pull request #3 from x/y\n\nT\n\nReviewed-by: Bob <b@x>")
    assert build("r", [plain, squashed], [merge]).pull_request == "#3"
    assert build("r", [squashed, plain], [merge]).pull_request == "#2"
    assert build("r", [plain, squashed]).pull_request == "#2"
    made = build("r", [plain], [merge])
    assert (made.revision, made.commits, made.reviewers) == ("r", (plain,), ("Bob <b@x>",))
    assert build("r", []).pull_request is None


def test_a_subject_is_the_first_line() -> None:
    assert subject("\n first \nsecond") == "first"
    assert subject("") == ""
