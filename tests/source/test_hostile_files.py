"""Files made to hurt: each gets a clear answer, in a process that may take little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from source.loading import VALID, load_files

MEMORY = 300 * 1024 * 1024
"""What the process may take in all (address space); Python with the models takes a third."""

HANG_GUARD = 120

CASES: dict[str, tuple[str, str]] = {
    "an alias bomb": (
        "b'a: &a [x,x,x,x,x,x,x,x,x,x]\\n' + b''.join(b'%c: &%c [%s]\\n' % (98 + n, 98 + n, "
        "b','.join([b'*%c' % (97 + n)] * 10)) for n in range(9))",
        "too_many_aliases",
    ),
    "an alias bomb of maps": (
        "b'a: &a {x: 1}\\n' + b''.join(b'%c: &%c {p: *%c, q: *%c, r: *%c}\\n' % "
        "(98 + n, 98 + n, 97 + n, 97 + n, 97 + n) for n in range(20))",
        "too_many_aliases",
    ),
    "a long text repeated by aliases": (
        "b'a: &a ' + b'x' * 100_000 + b'\\nb: [' + b'*a,' * 900 + b']'",
        "too_many_aliases",
    ),
    "a bomb of merge keys": (
        "b'a: &a {x: 1}\\n' + b''.join(b'%c: &%c\\n  <<: [%s]\\n' % (98 + n, 98 + n, "
        "b','.join([b'*%c' % (97 + n)] * 20)) for n in range(20))",
        "merge_key",
    ),
    "a recursive anchor": ("b'a: &a [*a]'", "recursive_anchor"),
    "a recursive map": ("b'&a {b: *a}'", "recursive_anchor"),
    "100,000 open brackets": ("b'[' * 100_000", "too_deep"),
    "100,000 open braces": ("b'{' * 100_000", "too_deep"),
    "brackets as a value": ("b'a: ' + b'[' * 100_000", "too_deep"),
    "brackets and their ends": ("b'[' * 100_000 + b']' * 100_000", "too_deep"),
    "20,000 levels of lists": ("b'- ' * 20_000", "too_deep"),
    "levels of maps": ("b''.join(b' ' * n + b'a:\\n' for n in range(700))", "too_deep"),
    "20,000 question marks": ("b'? ' * 20_000", "too_deep"),
    "a text of 10 MB": ("b'a: ' + b'x' * 10_000_000", "too_large"),
    "200,000 keys": ("b''.join(b'k%d: 1\\n' % n for n in range(200_000))", "too_large"),
    "20,000 keys": ("b''.join(b'k%d: 1\\n' % n for n in range(20_000))", "too_many_values"),
    "5,000 unknown keys": (
        "b'meta: {id: a}\\npayload:\\n' + b''.join(b'  k%d: 1\\n' % n for n in range(5_000))",
        "too_many_problems",
    ),
    "one key 40,000 times": ("b'{' + b'a,' * 40_000 + b'}'", "too_many_problems"),
    "60,000 tabs": ("b'b: [\\n' + b'\\t1,\\n' * 60_000 + b']'", "too_many_problems"),
    "40,000 tags": ("b'[' + b'!x a,' * 40_000 + b']'", "too_many_problems"),
    "120,000 items": ("b'a: [' + b'a,' * 120_000 + b']'", "too_many_values"),
    "250,000 empty lines": ("b'\\n' * 250_000", "empty_file"),
    "one long comment": ("b'#' * 250_000", "empty_file"),
    "a quote that never ends": ("b'a: \"' + b'\\n' * 250_000", "syntax"),
    "a number of 200,000 digits": ("b'meta: ' + b'9' * 200_000", "number_out_of_range"),
    "a float of 200,000 digits": ("b'meta: 0.' + b'9' * 200_000", "wrong_type"),
    "a very long id": ("b'meta: {id: ' + b'a' * 200_000 + b'}'", "bad_format"),
    "a very long job type": (
        "b'meta: {id: a}\\npayload: {jobType: ' + b'a' * 200_000 + b'}'",
        "too_long",
    ),
    "a very long cron expression": (
        "b'meta: {id: a}\\npayload: {jobType: command, schedule: {cronExpression: \"' + "
        "b'1,' * 100_000 + b'1 * * * *\"}}'",
        "too_long",
    ),
    "a cron step of 5,000 digits": (
        "b'meta: {id: a}\\npayload: {jobType: command, schedule: {cronExpression: \"*/' + "
        "b'1' * 200 + b' * * * *\"}}'",
        "bad_cron",
    ),
    "10,000 channels in a list": (
        "b'meta: {id: a}\\npayload: {jobType: command, notifications: {onFailure: [' + "
        "b','.join(b'c%d' % n for n in range(10_000)) + b']}}'",
        "too_long",
    ),
    "10,000 equal tags": ("b'meta: {id: a, tags: [' + b'a,' * 10_000 + b']}'", "too_long"),
    "a NUL in the middle": ("b'a: b\\0c'", "nul"),
    "UTF-16": ("'a: 1'.encode('utf-16')", "not_utf8"),
    "random bytes": ("bytes(range(256)) * 100", "nul"),
}

PROGRAM = """
import json, resource, sys
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.desired import Entry
from jobreconciler.source.load import YamlLoader

loader = YamlLoader(load_job_types())
loader.load([Entry("a.yaml", "a")], {"a": b"meta: {id: a, tilte: 5}"}, None)
cases = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
answers = {}
for name, source in cases.items():
    data = eval(source)
    (file,) = loader.load([Entry("a.yaml", "a")], {"a": data}, None)
    assert file.job is None
    shown = max(len(one.message) + len(one.hint) + len(one.path) for one in file.problems)
    answers[name] = (sorted({one.code for one in file.problems}), len(file.problems), shown)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], int, int]]:
    """What a process with little memory says to all of them, one after the other."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(MEMORY)],
        input=json.dumps({name: source for name, (source, _) in CASES.items()}),
        capture_output=True,
        text=True,
        timeout=HANG_GUARD,
        cwd=tmp_path_factory.mktemp("empty"),
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, tuple[list[str], int, int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", CASES)
def test_gets_a_clear_answer(name: str, answers: dict[str, tuple[list[str], int, int]]) -> None:
    codes, count, longest = answers[name]

    assert CASES[name][1] in codes
    assert count <= 1002
    assert longest < 1000


def test_a_hundred_of_them_in_one_load_harm_no_other_file() -> None:
    bombs = [b"[" * 100_000, b"a: &a [*a]", b"\0", b"{", b"a: b: c", b"%YAML 1.1\n---\n"]
    texts: dict[str, str | bytes] = {
        f"{n}.yaml": bombs[n % len(bombs)] if n % 2 else VALID.replace("job\n", f"job-{n}\n", 1)
        for n in range(100)
    }
    assert [file.job is not None for file in load_files(texts)] == [n % 2 == 0 for n in range(100)]
