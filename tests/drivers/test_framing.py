"""Cutting at the terminator: whole, bounded, and alike however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.framing import TerminatedFrames

LIMIT, KEEP = 32, 12

# Few letters, so that terminators, halves of terminators and long stretches without one all happen.
streams = st.text("abEX", max_size=150).map(lambda text: text.replace("X", "a" * 20).encode())


def fresh(terminator: bytes = b"EE") -> TerminatedFrames:
    return TerminatedFrames(terminator, limit=LIMIT, keep=KEEP)


def test_a_frame_comes_with_its_terminator() -> None:
    frames = fresh()
    assert frames.feed(b"abEEbaEEa") == [(b"abEE", True), (b"baEE", True)]
    assert frames.flush() == b"a"


def test_a_terminator_that_is_cut_in_two_is_one() -> None:
    frames = fresh()
    assert frames.feed(b"abE") == []
    assert frames.feed(b"Eb") == [(b"abEE", True)]


def test_what_is_flushed_is_forgotten() -> None:
    frames = fresh()
    frames.feed(b"abE")
    assert frames.flush() == b"abE"
    assert frames.flush() == b""
    assert frames.feed(b"E") == [], "the flushed half of a terminator must not end what comes later"


def test_the_longest_frame_ends_exactly_at_the_limit() -> None:
    assert fresh().feed(b"a" * (LIMIT - 2) + b"EE") == [(b"a" * (LIMIT - 2) + b"EE", True)]
    assert fresh().feed(b"a" * (LIMIT - 1) + b"EE") == [
        (b"a" * (LIMIT - KEEP), False),
        (b"a" * (KEEP - 1) + b"EE", True),
    ]


@pytest.mark.parametrize(("terminator", "keep"), [(b"EE", 2), (b"EE", 1), (b"EE", LIMIT), (b"EE", LIMIT + 1)])
def test_bounds_that_could_cut_a_frame_are_refused(terminator: bytes, keep: int) -> None:
    with pytest.raises(ValueError, match="keep"):
        TerminatedFrames(terminator, limit=LIMIT, keep=keep)


@given(streams)
def test_nothing_disappears_and_all_is_bounded(stream: bytes) -> None:
    frames = fresh()
    pieces = frames.feed(stream)
    rest = frames.flush()
    assert b"".join(piece for piece, _ in pieces) + rest == stream
    assert len(rest) < LIMIT
    for piece, complete in pieces:
        assert 0 < len(piece) <= LIMIT
        assert piece.find(b"EE") == (len(piece) - 2 if complete else -1)


@given(streams, st.data())
def test_how_the_bytes_are_cut_changes_nothing(stream: bytes, data: st.DataObject) -> None:
    whole = fresh()
    pieces, rest = whole.feed(stream), whole.flush()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = fresh()
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [piece for chunk in chunks for piece in frames.feed(chunk)] == pieces
    assert frames.flush() == rest


@given(noise=st.text("ab", max_size=200), body=st.text("ab", max_size=KEEP - 2))
def test_a_frame_within_noise_stays_whole(noise: str, body: str) -> None:
    frame = body.encode() + b"EE"
    last, complete = fresh().feed(noise.encode() + frame)[-1]
    assert complete
    assert last.endswith(frame)
