"""Canonical order: keys move with their comments, and nothing else of a file changes."""

from __future__ import annotations

import random
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importing.reading import FIXTURES, crontab, texts
from jobreconciler.importing.cronjob import read_cronjobs
from jobreconciler.source.canonical import format_file
from jobreconciler.source.located_yaml import read_located
from jobreconciler.source.scaffold import scaffold
from source.loading import TYPES


def formatted(text: str, path: str = "jobs.d/a.yaml") -> str:
    made = format_file(path, dedent(text).encode(), TYPES)
    assert made.problems == ()
    return made.data.decode()


def test_keys_follow_the_models_with_their_comments() -> None:
    before = """\
    # schema line
    # about the file

    payload:
      # what it is started with
      parameters:
        env: {B: "1", A: x}
        # the program
        argv: [a,
          b]   # tail
        # what could stand here

      # when it runs
      schedule: {timezone: UTC, cronExpression: "0 3 * * *"}   # at three
      jobType: command
      unknown: 1
      limits:
        maxConcurrent: 2
        timeoutSeconds: 5
    meta:
      description: |
        # no comment
        text

      id: a
    # the end"""
    assert formatted(before) == dedent("""\
    # schema line
    # about the file

    meta:
      id: a
      description: |
        # no comment
        text

    payload:
      jobType: command

      # when it runs
      schedule: {cronExpression: "0 3 * * *", timezone: UTC}   # at three
      limits:
        timeoutSeconds: 5
        maxConcurrent: 2
      # what it is started with
      parameters:
        # the program
        argv: [a,
          b]   # tail
        env: {B: "1", A: x}
        # what could stand here
      unknown: 1
    # the end
    """)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("meta: {title: x, id: a}\n", "meta: {id: a, title: x}\n"),
        ("payload: {retry: {maxDelay: 1, maxAttempts: 2}, jobType: x}\n",
         "payload: {jobType: x, retry: {maxAttempts: 2, maxDelay: 1}}\n"),
        ("payload:\n  jobType: command\n  parameters:\n    env: {}\n    shell: |+\n      x\n\n"
         "meta:\n  id: a\n",
         "meta:\n  id: a\npayload:\n  jobType: command\n  parameters:\n    shell: |+\n      x\n\n"
         "    env: {}\n"),
        ("payload: {}\r\nmeta: {}\r\n", "meta: {}\r\npayload: {}\r\n"),
        ("\ufeffpayload: {}\nmeta: {}\n", "\ufeffmeta: {}\npayload: {}\n"),
        ("---\npayload: {}\nmeta: {}\n", "---\nmeta: {}\npayload: {}\n"),
        ("meta: {id: a}", "meta: {id: a}"),
        ("payload:\n    jobType: x\nmeta:\n    id: a",
         "meta:\n    id: a\npayload:\n    jobType: x\n"),
        ("payload:\n  notifications:\n    channels:\n      b: {url: {env: X}, type: slack}\n"
         "      a: {}\n",
         "payload:\n  notifications:\n    channels:\n      b: {type: slack, url: {env: X}}\n"
         "      a: {}\n"),
        ("payload: {x: &a 1}\nmeta: {y: 2}\n", "meta: {y: 2}\npayload: {x: &a 1}\n"),
    ],
)  # fmt: skip
def test_only_the_order_changes(before: str, after: str) -> None:
    assert formatted(before) == after


def test_the_defaults_file_has_an_order_of_its_own() -> None:
    before = "limits: {maxConcurrent: 2, timeoutSeconds: 1}\ntimezone: UTC\n"
    after = "timezone: UTC\nlimits: {timeoutSeconds: 1, maxConcurrent: 2}\n"
    assert formatted(before, "jobs.d/_defaults.yaml") == after


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("payload: {x: &a 1}\nmeta: {y: *a}\n", "order_matters"),
        ("a: [\n", "syntax"),
        ("meta: {}\nmeta: {}\n", "duplicate_key"),
    ],
)
def test_a_file_that_cannot_be_ordered_is_left_alone(text: str, code: str) -> None:
    made = format_file("a.yaml", text.encode(), TYPES)
    assert (made.data, [one.code for one in made.problems]) == (text.encode(), [code])


@pytest.mark.parametrize("text", ["- a\n", "x\n", "", "{}\n", "a: 1\rb: 2\r"])
def test_what_has_no_keys_to_order_stays(text: str) -> None:
    assert format_file("a.yaml", text.encode(), TYPES).data == text.encode()


@pytest.mark.parametrize("name", TYPES.names())
def test_new_files_are_in_order(name: str) -> None:
    text = scaffold(TYPES.get(name), "a")
    assert formatted(text) == text


def test_imported_files_are_in_order() -> None:
    shop = (FIXTURES / "etc/cron.d/shop").read_text()
    manifests = (FIXTURES / "cronjobs/report.yaml").read_bytes()
    made = [
        *texts(crontab(shop, system=True)).values(),
        *texts(read_cronjobs("f", manifests)).values(),
    ]
    assert len(made) == 11
    for text in made:
        assert formatted(text) == text


# ----------------------------------------------------------------------------------- any file


KEYS = ["meta", "payload", "id", "title", "jobType", "schedule", "limits", "parameters", "argv",
        "env", "x", "timezone", "cronExpression", "retry", "url", "type", "channels"]  # fmt: skip
WORDS = st.sampled_from(
    ["a", "1", "true", '"q # q"', "'s'", "{b: 1, id: 2}", "[x, y]", "|\n", ">-\n", "|+\n"]
)
TREE: st.SearchStrategy[Any] = st.recursive(
    WORDS, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=5),
    max_leaves=14,
)  # fmt: skip


def written(tree: Any, indent: int, draw: random.Random) -> list[str]:
    """Block style, with comments and blank lines strewn in."""
    lines: list[str] = []
    for key, value in tree.items():
        pad = " " * indent
        for _ in range(draw.choice([0, 0, 0, 1, 2])):
            lines.append(draw.choice(["", f"{pad}# {draw.randrange(999)}", f"{pad}  # deeper"]))
        tail = draw.choice(["", "", "  # tail"])
        if isinstance(value, dict):
            lines.append(f"{pad}{key}:{tail}")
            lines += written(value, indent + 2, draw)
        elif value.endswith("\n"):
            lines.append(f"{pad}{key}: {value.strip()}{tail}")
            lines += [f"{pad}  text {draw.randrange(99)}", f"{pad}  # text", ""][
                : draw.choice([2, 3])
            ]
        else:
            lines.append(f"{pad}{key}: {value}{tail}")
    return lines


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), TREE, min_size=1, max_size=5), st.integers(0, 2**32))
def test_any_file_means_the_same_and_loses_no_line(tree: Any, seed: int) -> None:
    text = "\n".join(written(tree, 0, random.Random(seed))) + "\n"
    before = read_located(text.encode())
    made = format_file("a.yaml", text.encode(), TYPES)
    if before.mistakes:
        assert made.data == text.encode()
        return
    if made.problems:
        # Blank lines that follow a `|+` are part of its text.
        assert "|+" in text and made.data == text.encode()
        return
    assert read_located(made.data).value == before.value
    assert format_file("a.yaml", made.data, TYPES).data == made.data
    kept = sorted(line for line in text.splitlines() if "{" not in line)
    assert sorted(line for line in made.data.decode().splitlines() if "{" not in line) == kept
