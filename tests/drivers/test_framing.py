"""Cutting at the terminator: whole, bounded, and alike however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.checksums import complement8, sum8
from drivers.contract import Event, Notice, Rejected
from drivers.framing import Scan, ScannedCodec, TerminatedFrames, delimited, sized

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


# Frames that are known by start, size and check: ScannedCodec.

STX_ETX = delimited(b"\x02", b"\x03", after=1, longest=16, good=lambda frame: sum8(frame[:-1]) == frame[-1])
COUNTED = sized(b"\x3e", lambda head: head[1] if head[1] >= 3 else 0, head=2, good=lambda frame: not sum8(frame))


def text(body: bytes) -> bytes:
    frame = b"\x02" + body + b"\x03"
    return frame + bytes([sum8(frame)])


def counted(body: bytes) -> bytes:
    frame = bytes([0x3E, len(body) + 3]) + body
    return frame + bytes([complement8(frame)])


def scanned(scan: Scan, longest: int = 24) -> ScannedCodec:
    return ScannedCodec(scan, lambda frame: Notice("frame", "", frame), longest=longest)


def told(codec: ScannedCodec, data: bytes) -> list[tuple[str, bytes]]:
    return [
        (event.reason if isinstance(event, Rejected) else "frame", event.raw)
        for event in codec.feed(data) + codec.flush()
    ]


@pytest.mark.parametrize("check", [0x02, 0x03, 0x0A, 0x0D])
def test_a_check_byte_may_be_anything(check: int) -> None:
    body = next(b"AB" + bytes([n]) for n in range(0x20, 0x120) if text(b"AB" + bytes([n % 256]))[-1] == check)
    assert told(scanned(STX_ETX), text(body) * 2) == [("frame", text(body))] * 2


def test_a_frame_with_a_wrong_check_is_told_at_once_and_the_next_is_read() -> None:
    wrong = text(b"AB")[:-1] + b"\x00"
    codec = scanned(STX_ETX)
    assert [type(event) for event in codec.feed(wrong)] == [Rejected]
    assert told(codec, text(b"CD")) == [("frame", text(b"CD"))]


@pytest.mark.parametrize("noise", [b"\x3e\x18", b"\x3e\x18\x01\x02", b"\x3e\xff", b"\x3e", b"\x3e\x00", b"~~~"])
def test_noise_that_looks_like_a_start_swallows_no_frame(noise: bytes) -> None:
    good = counted(b"\x02\x01")
    assert told(scanned(COUNTED), noise + good)[-1] == ("frame", good)
    assert told(scanned(COUNTED), noise + good * 9)[-1] == ("frame", good)


def test_a_frame_that_was_not_completed_does_not_take_the_next_with_it() -> None:
    assert told(scanned(STX_ETX), text(b"ABC")[:3] + text(b"DE")) == [("truncated", b"\x02AB"), ("frame", text(b"DE"))]


def test_what_cannot_be_decoded_is_looked_through() -> None:
    inner = counted(b"\x01")
    outer = counted(inner)

    def decode(frame: bytes) -> Event:
        return Rejected("bad_frame", frame) if frame == outer else Notice("frame", "", frame)

    codec = ScannedCodec(COUNTED, decode, longest=24)
    assert told(codec, outer) == [("bad_frame", outer[:2]), ("frame", inner), ("noise", outer[-1:])]


def test_noise_and_what_never_ends_are_bounded() -> None:
    codec = scanned(STX_ETX)
    flood = b"\x02" + b"A" * 5000
    events = codec.feed(flood)
    rest = codec.flush()
    assert b"".join(event.raw for event in events + rest) == flood
    assert max(len(event.raw) for event in events + rest) <= codec.limit


@pytest.mark.parametrize(("length", "good"), [(15, True), (16, True), (17, False), (18, False)])
def test_a_frame_is_no_longer_than_the_longest_however_it_is_cut(length: int, good: bool) -> None:
    frame = text(b"A" * (length - 3))
    assert len(frame) == length
    whole, pieces = scanned(STX_ETX), scanned(STX_ETX)
    events = whole.feed(frame) + whole.flush()
    assert [event for byte in frame for event in pieces.feed(bytes([byte]))] + pieces.flush() == events
    assert any(isinstance(event, Notice) for event in events) == good


@given(st.lists(st.sampled_from([text(b"AB"), text(b"\x41")[:2], b"\x02", b"\x03", b"?"]), max_size=9), st.data())
def test_a_scanned_stream_is_the_same_however_it_is_cut(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    whole = scanned(STX_ETX)
    events, rest = whole.feed(stream), whole.flush()
    codec, at, got = scanned(STX_ETX), 0, list[Event]()
    while at < len(stream):
        size = data.draw(st.integers(1, 4))
        got += codec.feed(stream[at : at + size])
        at += size
    assert (got, codec.flush()) == (events, rest)
