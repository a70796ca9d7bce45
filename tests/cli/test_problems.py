from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from jobreconciler.cli import problems
from jobreconciler.cli.problems import Checked
from jobreconciler.model.problem import Problem

UNKNOWN = Problem(
    "jobs.d/a.yaml",
    4,
    3,
    "payload.schedul",
    "unknown_key",
    "there is no key 'schedul'",
    "did you mean schedule?",
)
WHOLE_FILE = Problem("jobs.d/b c.yaml", 0, 0, "", "too_large", "300 KiB, at most 256 KiB")
LINES = ("meta:", "  id: a", "payload:", "  schedul: {}")


def checked(*found: Problem) -> Checked:
    files = ["jobs.d/a.yaml", "jobs.d/b c.yaml", "jobs.d/good.yaml"]
    return Checked(files, 1, found, {"jobs.d/a.yaml": LINES})


def text(found: Checked, *, excerpts: bool = True, limit: int = 80) -> list[str]:
    return problems.as_text(found, excerpts=excerpts, colour=False, limit=limit).splitlines()


def test_text_points_at_the_place_like_a_compiler() -> None:
    assert text(checked(UNKNOWN, WHOLE_FILE)) == [
        "jobs.d/a.yaml:4:3: error[unknown_key] payload.schedul: there is no key 'schedul' "
        "(hint: did you mean schedule?)",
        "    4 |   schedul: {}",
        "      |   ^",
        "jobs.d/b c.yaml: error[too_large] 300 KiB, at most 256 KiB",
        "3 files, 1 job, 2 errors",
    ]


def test_the_summary_counts_one_error_as_one() -> None:
    assert text(checked(UNKNOWN), excerpts=False)[-1] == "3 files, 1 job, 1 error"
    assert text(checked()) == ["3 files, 1 job, 0 errors"]


@pytest.mark.parametrize(
    ("line", "column", "under"),
    [
        ("\tkey: 1", 2, "k"),
        ("key: value", 11, None),
        ("é: ü: 1", 4, "ü"),
        ("x" * 200 + "HERE" + "y" * 200, 201, "H"),
    ],
)
def test_the_caret_stands_below_the_column(line: str, column: int, under: str | None) -> None:
    mistake = Problem("jobs.d/a.yaml", 1, column, "", "bad", "bad")
    found = Checked(["jobs.d/a.yaml"], 0, [mistake], {"jobs.d/a.yaml": [line]})
    _, source, caret, _ = text(found)
    position = caret.index("^")
    assert (source[position] if position < len(source) else None) == under
    assert len(source) <= 80


def test_a_line_beyond_the_file_is_said_without_an_excerpt() -> None:
    mistake = Problem("jobs.d/a.yaml", 99, 1, "", "bad", "bad")
    assert len(text(checked(mistake))) == 2


def test_json_is_the_documented_shape() -> None:
    assert problems.as_json(checked(UNKNOWN)) == {
        "files": 3,
        "jobs": 1,
        "errors": [
            {
                "file": "jobs.d/a.yaml",
                "line": 4,
                "column": 3,
                "path": "payload.schedul",
                "code": "unknown_key",
                "message": "there is no key 'schedul'",
                "hint": "did you mean schedule?",
            }
        ],
    }


def test_github_annotations_escape_what_would_end_them() -> None:
    nasty = Problem("jobs.d/a,b:c%.yaml", 1, 2, "p", "bad", "100%\nnext", "x")
    line = problems.as_github(checked(nasty)).splitlines()[0]
    assert line == (
        "::error file=jobs.d/a%2Cb%3Ac%25.yaml,line=1,col=2,title=bad p::100%25%0Anext%0Ahint: x"
    )


def test_github_names_only_the_file_where_the_whole_file_is_meant() -> None:
    line = problems.as_github(checked(WHOLE_FILE)).splitlines()[0]
    assert line == "::error file=jobs.d/b c.yaml,title=too_large::300 KiB, at most 256 KiB"


def test_gitlab_gets_a_unique_fingerprint_that_survives_moved_lines() -> None:
    moved = Problem(UNKNOWN.file, 9, 9, UNKNOWN.path, UNKNOWN.code, UNKNOWN.message)
    rows = json.loads(problems.as_gitlab(checked(UNKNOWN, moved, WHOLE_FILE)))
    assert rows[0] == {
        "description": "payload.schedul: there is no key 'schedul'",
        "check_name": "unknown_key",
        "fingerprint": rows[0]["fingerprint"],
        "severity": "major",
        "location": {"path": "jobs.d/a.yaml", "lines": {"begin": 4}},
    }
    assert len({row["fingerprint"] for row in rows}) == 3
    alone = json.loads(problems.as_gitlab(checked(moved)))
    assert alone[0]["fingerprint"] == rows[0]["fingerprint"]
    assert rows[2]["location"]["lines"]["begin"] == 1


def test_sarif_names_each_rule_once_and_escapes_the_address() -> None:
    log = json.loads(problems.as_sarif(checked(UNKNOWN, UNKNOWN, WHOLE_FILE)))
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["too_large", "unknown_key"]
    first, second, third = run["results"]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "jobs.d/a.yaml"},
        "region": {"startLine": 4, "startColumn": 3},
    }
    assert first["ruleIndex"] == 1
    assert first["partialFingerprints"] != second["partialFingerprints"]
    assert third["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "jobs.d/b%20c.yaml"}
    }


def test_junit_has_a_case_for_each_file_and_survives_any_character() -> None:
    nasty = Problem("jobs.d/a.yaml", 1, 1, "p", "bad", 'a "quoted" <tag> & \x00\x1b\ufffe')
    tree = ElementTree.fromstring(problems.as_junit(checked(nasty, WHOLE_FILE)))
    assert (tree.get("tests"), tree.get("failures")) == ("3", "2")
    cases = {case.get("name"): case for case in tree.iter("testcase")}
    assert set(cases) == {"jobs.d/a.yaml", "jobs.d/b c.yaml", "jobs.d/good.yaml"}
    failure = cases["jobs.d/a.yaml"].find("failure")
    assert failure is not None
    assert failure.get("message") == 'a "quoted" <tag> & \ufffd\ufffd\ufffd'
    assert cases["jobs.d/good.yaml"].find("failure") is None
