"""Frames come through whole, however the stream is cut and however many are wanted at a time."""

from __future__ import annotations

import pytest

from jobreconciler.execute import frames

SENT = [(1, b"{}"), (2, b'{"end":1}'), (3, b"x" * 70_000), (4, b"")]


@pytest.mark.parametrize("size", [1, 7, 13, 65_536, 10**6])
def test_a_stream_cut_anywhere_gives_its_frames(size: int) -> None:
    stream = b"".join(frames.pack_body(*one) for one in SENT)
    unpacker = frames.Unpacker()
    found = []
    for at in range(0, len(stream), size):
        found += unpacker.feed(stream[at : at + size])
    assert found == SENT


def test_who_takes_one_frame_only_finds_the_others_later() -> None:
    unpacker = frames.Unpacker()
    half, other = frames.pack_body(1, b"first")[:9], frames.pack_body(1, b"first")[9:]
    assert next(unpacker.feed(half), None) is None
    assert next(unpacker.feed(other + frames.pack_body(2, b"second"))) == (1, b"first")
    assert [*unpacker.feed(frames.pack_body(3, b"third"))] == [(2, b"second"), (3, b"third")]
