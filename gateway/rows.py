"""What the outbox keeps, and what is told of it: drafts, rows, marks, and the checksum over a row."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Captured:
    """When a reading was received whose UTC may be wrong: which start of the machine, seconds since, clock quality."""

    boot: str
    instant: float
    quality: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A reading that is to be kept. `encode` makes its bytes once stream and sequence, the database's, are known.

    `record` names the device's record behind it, if it has one. If that came before under another id, what is kept is
    what `as_repeat_of` makes of the earlier id; nothing where the device tells each record again (None). `captured`
    stands where its time may have to be corrected. `held`: the first of the reasons for which it is held, None if it is
    usable. `characteristic`: which one of a Bluetooth device said it.
    """

    id: UUID
    revision: int
    device: str
    topic: str
    encode: Callable[[UUID, int], bytes] = field(repr=False)
    raw: bytes = field(default=b"", repr=False)
    record: UUID | None = None
    as_repeat_of: Callable[[UUID], Draft] | None = field(default=None, repr=False)
    captured: Captured | None = None
    held: str | None = None
    characteristic: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A reading that is kept: what is sent, and in which order."""

    sequence: int
    topic: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A row that went out with a time that may be wrong. `superseded`: a higher revision of it is there already.

    `is_intact`: its bytes are those that were kept.
    """

    sequence: int
    instant: float
    quality: str
    id: UUID
    revision: int
    device: str
    topic: str
    payload: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    characteristic: str | None
    superseded: bool
    is_intact: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a row: `delivered` or `parked`, or `replayed` beside that; the broker's reason, and its address.

    `sent_at`: when it was handed to the connection, seconds since 1970; None if it never was, or while the clock was
    not believed.
    """

    sequence: int
    state: str
    reason: str
    broker: str | None = None
    sent_at: float | None = None


def checksum(ident: bytes, revision: int, topic: str, payload: bytes) -> int:
    """Answer the CRC-32 of what makes a row: which reading, for whom, in which words.

    It is against a card that forgets, not against people: who can write the file can write a checksum. CRC-32 finds
    every burst of up to 32 bits, misses one of 4e9 other changes, and costs two microseconds.
    """
    return zlib.crc32(payload, zlib.crc32(b"%b %d %b\0" % (ident, revision, topic.encode())))


def is_intact(check: int | None, ident: bytes, revision: int, topic: str, payload: bytes) -> bool:
    """Answer whether a row is as it was kept; rows of older schemas have no checksum, and are believed."""
    return check is None or check == checksum(ident, revision, topic, payload)
