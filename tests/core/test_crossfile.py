"""Clashes between job files, on a whole directory and with one changed file over a large index."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest

from jobreconciler.core.crossfile import cross_check
from jobreconciler.model.desired import DesiredFile, DesiredJob
from jobreconciler.model.job import IndexRow
from jobreconciler.model.problem import Problem


def job(id: str, *needs: str, path: str = "", environments: tuple[str, ...] = ()) -> DesiredFile:
    """A valid file; its id stands in line 2, its n-th dependency in line 10 + n."""
    where = path or f"{id}.yaml"
    desired = DesiredJob(
        job_id=id,
        path=where,
        blob="",
        defaults_blob="",
        config="",
        digest="",
        job_type="command",
        environments=environments,
        enabled=True,
        depends_on=needs,
        id_at=(2, 7),
        depends_at=tuple((10 + n, 5) for n in range(len(needs))),
    )
    return DesiredFile(where, "", desired, (), id, (2, 7))


def broken(path: str, id: str | None = None) -> DesiredFile:
    problem = Problem(path, 1, 1, "", "syntax", "unreadable")
    return DesiredFile(path, "", None, (problem,), id, (3, 3) if id else (0, 0))


def row(id: str, *needs: str, path: str = "", deleted: bool = False) -> IndexRow:
    return IndexRow(id, path or f"{id}.yaml", "", "", "", True, needs, deleted)


def stored(*rows: IndexRow) -> dict[str, IndexRow]:
    return {one.job_id: one for one in rows}


def found(
    files: list[DesiredFile],
    index: Mapping[str, IndexRow] | None = None,
    gone: tuple[str, ...] = (),
    all_environments: bool = False,
) -> list[tuple[str, str, int]]:
    """(path, code, line) of every problem."""
    paths = {file.path for file in files}
    problems = cross_check(
        files,
        index,
        untouched=lambda path: path not in paths and path not in gone,
        all_environments=all_environments,
    )
    return [(path, one.code, one.line) for path, several in problems.items() for one in several]


WHOLE_DIRECTORY: list[tuple[str, list[DesiredFile], list[tuple[str, str, int]]]] = [
    ("jobs that do not know each other are fine", [job("a"), job("b")], []),
    ("a dependency on a declared job is fine", [job("a", "b"), job("b")], []),
    (
        "an unknown upstream is named where it stands",
        [job("a", "b", "x"), job("b")],
        [("a.yaml", "unknown_dependency", 11)],
    ),
    (
        "of two files with one id the first path wins",
        [job("a", path="2.yaml"), job("a", path="1.yaml"), job("a", path="3.yaml")],
        [("2.yaml", "duplicate_id", 2), ("3.yaml", "duplicate_id", 2)],
    ),
    (
        "a duplicate takes no part in the graph",
        [job("a", path="1.yaml"), job("a", "b", path="2.yaml"), job("b", "a")],
        [("2.yaml", "duplicate_id", 2)],
    ),
    (
        "an invalid file keeps its id too",
        [broken("1.yaml", "a"), job("a", path="2.yaml")],
        [("2.yaml", "duplicate_id", 2)],
    ),
    (
        "an invalid duplicate is told where its id stands",
        [job("a", path="1.yaml"), broken("2.yaml", "a")],
        [("2.yaml", "duplicate_id", 3)],
    ),
    ("an invalid upstream is known", [job("a", "b"), broken("b.yaml", "b")], []),
    (
        "an unreadable file declares nothing",
        [job("a", "b"), broken("b.yaml")],
        [("a.yaml", "unknown_dependency", 10)],
    ),
    ("a job that waits for itself", [job("a", "a")], [("a.yaml", "dependency_cycle", 10)]),
    (
        "two jobs that wait for each other",
        [job("a", "b"), job("b", "a")],
        [("a.yaml", "dependency_cycle", 10), ("b.yaml", "dependency_cycle", 10)],
    ),
    (
        "a job that only leads into a cycle is fine itself",
        [job("a", "b"), job("b", "c"), job("c", "b")],
        [("b.yaml", "dependency_cycle", 10), ("c.yaml", "dependency_cycle", 10)],
    ),
    (
        "two cycles through one job are told once for it",
        [job("a", "b", "c"), job("b", "a"), job("c", "a")],
        [
            ("a.yaml", "dependency_cycle", 10),
            ("b.yaml", "dependency_cycle", 10),
            ("c.yaml", "dependency_cycle", 10),
        ],
    ),
    ("a diamond is no cycle", [job("a", "b", "c"), job("b", "d"), job("c", "d"), job("d")], []),
]


@pytest.mark.parametrize(
    ("files", "expected"),
    [entry[1:] for entry in WHOLE_DIRECTORY],
    ids=[entry[0] for entry in WHOLE_DIRECTORY],
)
def test_in_a_whole_directory(
    files: list[DesiredFile], expected: list[tuple[str, str, int]]
) -> None:
    assert found(files) == expected


Incremental = tuple[
    str, list[DesiredFile], dict[str, IndexRow], tuple[str, ...], list[tuple[str, str, int]]
]

INCREMENTAL: list[Incremental] = [
    ("a stored upstream is known", [job("a", "b")], stored(row("b")), (), []),
    (
        "a deleted upstream is not",
        [job("a", "b")],
        stored(row("b", deleted=True)),
        (),
        [("a.yaml", "unknown_dependency", 10)],
    ),
    (
        "an upstream whose file is gone is not",
        [job("a", "b")],
        stored(row("b")),
        ("b.yaml",),
        [("a.yaml", "unknown_dependency", 10)],
    ),
    (
        "an upstream that moved is known",
        [job("a", "b"), job("b", path="new.yaml")],
        stored(row("b")),
        ("b.yaml",),
        [],
    ),
    (
        "an upstream whose file became unreadable is held, so known",
        [job("a", "b"), broken("b.yaml")],
        stored(row("b")),
        (),
        [],
    ),
    (
        "an upstream whose file now declares another job is gone",
        [job("a", "b"), job("c", path="b.yaml")],
        stored(row("b")),
        (),
        [("a.yaml", "unknown_dependency", 10)],
    ),
    (
        "a new file does not take the id of an untouched one",
        [job("a", path="1.yaml")],
        stored(row("a", path="9.yaml")),
        (),
        [("1.yaml", "duplicate_id", 2)],
    ),
    (
        "the stored file keeps the id though its path comes later",
        [job("a", path="1.yaml"), job("a", path="9.yaml")],
        stored(row("a", path="9.yaml")),
        (),
        [("1.yaml", "duplicate_id", 2)],
    ),
    (
        "the stored file keeps the id though it became unreadable",
        [job("a", path="1.yaml"), broken("9.yaml")],
        stored(row("a", path="9.yaml")),
        (),
        [("1.yaml", "duplicate_id", 2)],
    ),
    (
        "a moved file takes its id along",
        [job("a", path="new.yaml")],
        stored(row("a", path="old.yaml")),
        ("old.yaml",),
        [],
    ),
    (
        "two files may trade ids",
        [job("a", path="b.yaml"), job("b", path="a.yaml")],
        stored(row("a"), row("b")),
        (),
        [],
    ),
    (
        "a cycle through stored jobs is told in the file that closes it",
        [job("a", "b")],
        stored(row("a"), row("b", "c"), row("c", "a")),
        (),
        [("a.yaml", "dependency_cycle", 10)],
    ),
    (
        "a cycle that this commit opens again is none",
        [job("a", "b"), job("c")],
        stored(row("a"), row("b", "c"), row("c", "a")),
        (),
        [],
    ),
    (
        "the edges of a held file are those it is held at",
        [job("a", "b"), broken("b.yaml")],
        stored(row("a"), row("b", "a")),
        (),
        [("a.yaml", "dependency_cycle", 10)],
    ),
    (
        "a cycle among stored jobs alone is not this commit's",
        [job("a", "b")],
        stored(row("b", "c"), row("c", "b")),
        (),
        [],
    ),
]


@pytest.mark.parametrize(
    ("files", "index", "gone", "expected"),
    [entry[1:] for entry in INCREMENTAL],
    ids=[entry[0] for entry in INCREMENTAL],
)
def test_over_what_is_stored(
    files: list[DesiredFile],
    index: dict[str, IndexRow],
    gone: tuple[str, ...],
    expected: list[tuple[str, str, int]],
) -> None:
    assert found(files, index, gone) == expected


ENVIRONMENTS = [
    ((), (), False),
    (("test",), (), False),
    (("test",), ("test",), False),
    (("test",), ("test", "production"), False),
    (("test", "production"), ("test",), True),
    (("test",), ("production",), True),
    ((), ("production",), True),
]


@pytest.mark.parametrize(("own", "upstream", "refused"), ENVIRONMENTS)
def test_an_upstream_must_be_wherever_its_dependent_is(
    own: tuple[str, ...], upstream: tuple[str, ...], refused: bool
) -> None:
    files = [job("a", "b", environments=own), job("b", environments=upstream)]
    expected = [("a.yaml", "dependency_elsewhere", 10)] if refused else []

    assert found(files, all_environments=True) == expected
    assert found(files) == []


def test_a_cycle_is_spelled_out_from_each_of_its_jobs() -> None:
    problems = cross_check([job("a", "b"), job("b", "c"), job("c", "a"), job("d", "a")])

    assert [one.message.partition(": ")[2] for several in problems.values() for one in several] == [
        "a → b → c → a",
        "b → c → a → b",
        "c → a → b → c",
    ]


def test_a_long_cycle_is_shortened_and_a_long_chain_is_no_trouble() -> None:
    ring = [job(f"r{n}", f"r{(n + 1) % 5000}") for n in range(5000)]
    chain = [job(f"c{n}", f"c{n + 1}") for n in range(20_000)] + [job("c20000")]
    problems = cross_check(ring + chain)

    assert len(problems) == 5000
    assert all(len(several) == 1 for several in problems.values())
    shown = problems["r0.yaml"][0].message
    assert "r0 → r1 → r2 → r3 → r4 → r5 → … 4992 more … → r4998 → r4999 → r0" in shown


def test_the_shortest_cycle_is_shown() -> None:
    files = [job("a", "b", "c"), job("b", "d"), job("d", "a"), job("c", "a")]

    assert "a → c → a" in cross_check(files)["a.yaml"][0].message
    assert cross_check(files)["a.yaml"][0].path == "payload.dependency.jobs[1]"


def test_the_order_of_the_files_changes_nothing() -> None:
    rng = random.Random(3)
    files = [
        job(f"j{rng.randrange(30)}", *{f"j{rng.randrange(40)}" for _ in range(3)}, path=f"{n}.yaml")
        for n in range(40)
    ]
    index = stored(*(row(f"j{n}", f"j{n + 1}", path=f"{n * 7}.yaml") for n in range(40)))
    first = list(cross_check(files, index).items())
    for _ in range(5):
        rng.shuffle(files)
        assert list(cross_check(files, index).items()) == first


class Counted(Mapping[str, IndexRow]):
    """An index that counts look-ups and refuses to be walked."""

    def __init__(self, rows: dict[str, IndexRow]) -> None:
        self.rows = rows
        self.asked = 0

    def __getitem__(self, key: str) -> IndexRow:
        self.asked += 1
        return self.rows[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the whole index was walked")

    def __len__(self) -> int:
        return len(self.rows)


def test_one_changed_file_looks_at_itself_and_its_upstreams_only() -> None:
    index = Counted(stored(*(row(f"j{n}", f"j{n + 1}") for n in range(1000, 100_000))))
    problems = cross_check([job("j99990", "j99995", "j99999")], index, untouched=bool)

    assert list(problems) == []
    assert index.asked < 100
