"""Streams that look like a device's and are not, and the laws that hold for each of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from drivers.contract import Codec, Event, Sample

Frames = Sequence[bytes]


def stream(chance: random.Random, frames: Frames) -> bytes:
    """Answer a few pieces: frames, parts of frames, frames with something wrong, noise."""
    return b"".join(_piece(chance, frames) for _ in range(chance.randint(1, 5)))


def broken_law(make: Callable[[], Codec], data: bytes, chance: random.Random) -> str | None:
    """Answer which law the codec breaks on these bytes, None for none. What it raises is passed on."""
    whole = make()
    events, rest = whole.feed(data), whole.flush()
    if _raw(events) + _raw(rest) != data:
        return "bytes disappear, or come out that did not go in"
    if not all(event.raw for event in events + rest):
        return "an event has no bytes"
    limit = getattr(whole, "limit", 0)
    if len(_raw(rest)) > limit or any(len(event.raw) > limit for event in events):
        return "more is kept than the codec's limit"
    if not all(is_sane(event) for event in events + rest):
        return "a sample has no measurement, or one that is no number"
    pieces, at = make(), 0
    cut: list[Event] = []
    while at < len(data):
        size = chance.choice((1, 1, 2, 7, 60))
        cut += pieces.feed(data[at : at + size])
        at += size
    if (cut, pieces.flush()) != (events, rest):
        return "how the bytes are cut changes the events"
    return None


def _piece(chance: random.Random, frames: Frames) -> bytes:
    frame = chance.choice(frames)
    match chance.randrange(8):
        case 0:
            return chance.randbytes(chance.randint(1, 24))
        case 1:
            return frame[: chance.randrange(len(frame))]
        case 2:
            return frame[chance.randrange(len(frame)) :]
        case 3:
            at = chance.randrange(len(frame))
            return frame[:at] + bytes([frame[at] ^ 1 << chance.randrange(8)]) + frame[at + 1 :]
        case 4:
            at = chance.randrange(len(frame))
            return frame[:at] + chance.randbytes(chance.randint(0, 2)) + frame[at + chance.randint(0, 2) :]
        case 5:
            at, other = chance.randrange(len(frame)), chance.choice(frames)
            return frame[:at] + other[min(at, len(other)) :]
        case 6:
            return bytes([chance.choice(frame)]) * chance.choice((1, 3, 300))
        case _:
            return frame


def _raw(events: Sequence[Event]) -> bytes:
    return b"".join(event.raw for event in events)


def is_sane(event: Event) -> bool:
    """Whether a sample has a measurement, and all of them are numbers. Whether they can be is the gateway's to say."""
    if not isinstance(event, Sample):
        return True
    return bool(event.measurements) and all(m.value.is_finite() for m in event.measurements)
