"""What a job prints: kept, cut, followed, masked."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from execute.arena import Arena, eventually, next_end, shell, within
from jobreconciler.execute import capture, spool
from jobreconciler.execute.capture import Capture, read_output
from jobreconciler.execute.masking import Mask


def test_a_flood_is_cut_in_the_middle_and_marked(arena: Arena) -> None:
    outcome = arena.once(shell("yes 0000001 | head -c 200000000; echo the end"))
    assert outcome.status == "succeeded"
    assert outcome.output_bytes == 200_000_008
    text = arena.output()
    assert len(text) < 1024 * 1024 + 200
    assert text.startswith("0000001\n0000001\n")
    assert text.endswith("\nthe end\n")
    mark = (
        f"[jobreconciler: {outcome.output_dropped} bytes left out here; limits.outputKiB is 1024]"
    )
    assert text.count(mark) == 1
    before, after = text.split(f"\n{mark}\n")
    assert len(before) + len(after) + outcome.output_dropped == outcome.output_bytes
    assert after.startswith("0000001\n"), "what follows the mark begins with a whole line"
    names = sorted(path.name for path in arena.directory().iterdir())
    assert names == ["job", "output", "result.json"]


def test_output_up_to_the_cap_is_whole(arena: Arena) -> None:
    outcome = arena.once(shell("head -c 2048 /dev/zero | tr '\\0' x"), outputKiB=2)
    assert (outcome.output_bytes, outcome.output_dropped) == (2048, 0)
    assert arena.output() == "x" * 2048


def test_a_job_that_prints_nothing_has_no_output_file_and_reads_as_empty(arena: Arena) -> None:
    arena.once({"argv": ["/bin/true"]})
    path = arena.directory() / "output"
    assert not path.exists()
    chunk = read_output(path)
    assert (chunk.data, chunk.ended) == (b"", True)


def test_output_can_be_followed_while_the_job_runs(arena: Arena, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def follow() -> bytes:
        async with arena.executor() as executor:
            script = f"echo one; until [ -e {gate} ]; do sleep 0.01; done; echo two"
            launch = arena.launch(shell(script))
            await executor.start(launch)
            path = executor.output(launch.execution_id, 1)
            first = await eventually(lambda: read_output(path).data and read_output(path))
            assert (first.data, first.ended) == (b"one\n", False)
            gate.touch()
            await next_end(executor)
            second = read_output(path, first.offset)
            assert second.ended
            return bytes(second.data)

    assert within(follow()) == b"two\n"


@pytest.mark.parametrize("seed", range(5))
def test_a_follower_reads_every_byte_that_was_kept_and_knows_what_was_not(
    tmp_path: Path, seed: int
) -> None:
    """Whatever the sizes of writes and reads, running or ended: no byte twice, none lost."""
    chance = random.Random(seed)
    stream = b"".join(b"%07d\n" % number for number in range(3000))
    taken = Capture(str(tmp_path), 4096)
    path = tmp_path / "output"
    offset = position = 0
    missed = []
    while position < len(stream):
        size = chance.choice([1, 100, 1000, 5000])
        taken.write(stream[position : position + size])
        position += size
        chunk = read_output(path, offset, chance.choice([50, 3000, 100_000]))
        missed.append((offset, chunk.skipped))
        start = offset + chunk.skipped
        assert chunk.data == stream[start : start + len(chunk.data)]
        assert chunk.offset == start + len(chunk.data)
        offset = chunk.offset
    figures = taken.close()
    spool.write_json(f"{tmp_path}/result.json", figures)
    taken.sweep()
    while not (chunk := read_output(path, offset, 700)).ended or chunk.data:
        start = offset + chunk.skipped
        assert chunk.data == stream[start : start + len(chunk.data)]
        offset = chunk.offset
    assert offset == len(stream) == figures["outputBytes"]
    kept = path.read_bytes()
    assert kept.startswith(stream[:2048])
    assert kept.endswith(stream[-1000:])
    assert capture.pieces(str(tmp_path)) == []
    assert any(skipped for _, skipped in missed) or chunk.ended


@pytest.mark.parametrize("seed", range(5))
def test_the_newest_bytes_of_a_running_job_come_without_a_gap(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    output = Capture(str(tmp_path), 4096)
    printed = b""
    assert capture.read_tail(tmp_path / "nowhere" / "output") == (b"", 0.0)
    for _ in range(60):
        data = chance.randbytes(chance.choice([1, 100, 900, 2048, 9000]))
        output.write(data)
        printed += data
        tail, at = capture.read_tail(tmp_path / "output", 1000)
        assert tail and printed.endswith(tail)
        assert at > 0
        if len(printed) <= 2048:
            assert tail == printed[-1000:]
    output.close()


def test_a_full_disk_does_not_end_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    taken = Capture(str(run), 4096)
    (run / "output").symlink_to("/dev/full")
    taken.write(b"x" * 100)
    assert taken.unwritten == 100


MASKED = {
    "a secret": (["hunter22"], "pass hunter22 word", "pass *** word"),
    "every occurrence": (["ab"], "ab-ab-abab", "***-***-******"),
    "the longer of two that begin alike": (["abc", "abcdef"], "x abcdef abcd y", "x *** ***d y"),
    "two that overlap, as one": (["xab", "abcdef"], "1xabcdef2 xabzz", "1***2 ***zz"),
    "one inside another": (["secret", "my secret key"], "my secret key, secret", "***, ***"),
    "each long line of a key": (["-----BEGIN\nMIIEpAIBAAKC"], "got MIIEpAIBAAKC", "got ***"),
    "bytes beyond ASCII": (["pässwörd"], "ein pässwörd!", "ein ***!"),
    "nothing where there is no secret": ([], "hunter22", "hunter22"),
    "nothing where a secret is only begun": (["hunter22"], "hunter2", "hunter2"),
    "a secret that repeats itself": (["aaa"], "baaaaab", "b***b"),
}


@pytest.mark.parametrize("case", MASKED.values(), ids=MASKED.keys())
def test_masks(case: tuple[list[str], str, str]) -> None:
    secrets, text, expected = case
    data = text.encode()
    for size in (1, 2, 3, 5, 1000):
        mask = Mask(secrets)
        pieces = [mask.feed(data[at : at + size]) for at in range(0, len(data), size)]
        assert b"".join([*pieces, mask.flush()]).decode() == expected, f"in pieces of {size}"


def test_no_part_of_a_secret_that_came_in_two_writes_is_shown(arena: Arena) -> None:
    arena.once(
        shell(
            "printf 'token is %s' s3cr; sleep 0.1; echo 3t-v4lue; echo done",
            env={"TOKEN": {"env": "TOKEN_OF_DAEMON"}},
        ),
        environ={"PATH": os.environ["PATH"], "TOKEN_OF_DAEMON": "s3cr3t-v4lue"},
    )
    assert arena.output() == "token is ***\ndone\n"
