"""Cutting a stream of bytes into frames by the protocol's own rule, bounded, and alike for any chunking.

Two kinds. A frame that ends in something that stands nowhere else: `FramedCodec`. A frame that is known by its start,
its size and its check, and that may hold any byte: `ScannedCodec`, with a scan made by `delimited` or `sized`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drivers.contract import Event, Rejected


class TerminatedFrames:
    """Cuts at `terminator`; what has none within `limit` bytes is cut off as noise, all but its last `keep` bytes.

    `keep` is at least the longest frame, so that a good frame that begins within the noise stays whole. Where a
    cut falls depends on the bytes alone, never on how they were fed.
    """

    def __init__(self, terminator: bytes, *, limit: int, keep: int) -> None:
        if not len(terminator) < keep < limit:
            raise ValueError("keep lies between the terminator's length and limit")
        self._terminator = terminator
        self._limit = limit
        self._keep = keep
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Answer (bytes, whether they end in the terminator) in order; the terminator is part of the bytes."""
        pieces = []
        buffer = self._buffer
        buffer += data
        start = 0
        while True:
            end = buffer.find(self._terminator, start, start + self._limit)
            if end >= 0:
                end += len(self._terminator)
                pieces.append((bytes(buffer[start:end]), True))
            elif len(buffer) - start >= self._limit:
                end = start + self._limit - self._keep
                pieces.append((bytes(buffer[start:end]), False))
            else:
                break
            start = end
        del buffer[:start]
        return pieces

    def flush(self) -> bytes:
        """Answer what is left and forget it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


class FramedCodec:
    """A codec whose frames end in a terminator: `decode` answers the events of one such piece, with what was before it.

    Bytes without a terminator within `limit` are rejected as `noise`, half a frame at the end as `truncated`.
    """

    def __init__(self, terminator: bytes, *, limit: int, keep: int, decode: Callable[[bytes], list[Event]]) -> None:
        self.limit = limit
        self._frames = TerminatedFrames(terminator, limit=limit, keep=keep)
        self._decode = decode

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; see Codec."""
        events: list[Event] = []
        for piece, complete in self._frames.feed(data):
            events += self._decode(piece) if complete else [Rejected("noise", piece)]
        return events

    def flush(self) -> list[Event]:
        """Give up half a frame; see Codec."""
        rest = self._frames.flush()
        return [Rejected("truncated", rest)] if rest else []


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes that are a frame or, with a `reason`, look like one and must not be believed. 0: no frame."""

    length: int
    reason: str = ""


NO_FRAME = Span(0)

# What stands in a buffer from an offset on; None: it may be a frame, and more bytes are needed to tell.
Scan = Callable[[bytes | bytearray, int], Span | None]

_NOISE_LIMIT = 256


class ScannedCodec:
    """A codec whose frames are found by `scan`, each of at most `longest` bytes; `decode` answers a good one's event.

    No good frame is lost behind noise: where a frame fails its check, cannot be decoded or is not completed, the next
    one is looked for from its second byte on. What fails is rejected with its reason as soon as no good frame can begin
    within it, bytes between frames as `noise`, half a frame at the end as `truncated`.
    """

    def __init__(self, scan: Scan, decode: Callable[[bytes], Event], *, longest: int) -> None:
        self.limit = _NOISE_LIMIT + 2 * longest
        self._scan = scan
        self._decode = decode
        self._longest = longest
        self._buffer = bytearray()
        self._at = 0  # no good frame begins before it
        self._suspect: tuple[int, int, str] | None = (
            None  # begin, end and reason of what looks like a frame and is none
        )

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; see Codec."""
        self._buffer += data
        return self._events(final=False)

    def flush(self) -> list[Event]:
        """Give up half a frame, but not a whole one that begins within it; see Codec."""
        return [*self._events(final=True), *self._cut(len(self._buffer))]

    def _events(self, *, final: bool) -> list[Event]:
        events: list[Event] = []
        while True:
            if self._suspect is not None and self._at >= self._suspect[1]:
                events += self._cut(self._suspect[1])
            elif self._suspect is None and self._at >= _NOISE_LIMIT:
                events += self._cut(self._at)
            if self._at >= len(self._buffer):
                return events
            span = self._scan(self._buffer, self._at)
            if span is None and len(self._buffer) - self._at < self._longest:
                if not final:
                    return events
                span = Span(len(self._buffer) + 1, "truncated")  # to the end, and beyond it: it was not completed
            if span is not None and span.length and not span.reason:
                event = self._decode(bytes(self._buffer[self._at : self._at + span.length]))
                if not isinstance(event, Rejected):
                    events += [*self._cut(self._at), event]
                    del self._buffer[: span.length]
                    continue
                span = Span(span.length, event.reason)  # a check of one byte holds by chance, too
            if span is not None and span.length and self._suspect is None:
                self._suspect = (self._at, self._at + span.length, span.reason)
            self._at += 1

    def _cut(self, end: int) -> list[Event]:
        """Reject what stands before `end` and forget it; what comes after is looked at from its first byte."""
        begin, _, reason = self._suspect or (end, end, "")
        noise, suspect = bytes(self._buffer[:begin]), bytes(self._buffer[begin:end])
        del self._buffer[:end]
        self._at, self._suspect = max(0, self._at - end), None
        pieces = (("noise", noise), (reason, suspect))
        return [Rejected(why, piece) for why, piece in pieces if piece]


def delimited(start: bytes, end: bytes, *, after: int, longest: int, good: Callable[[bytes], bool]) -> Scan:
    """Find frames from `start` to the next `end` and `after` check bytes, which may be anything; `good`: they hold.

    What stands between is text: where `start` comes again before `end`, the first was not completed.
    """

    def scan(buffer: bytes | bytearray, at: int) -> Span | None:
        head = buffer[at : at + len(start)]
        if head != start:
            return None if start.startswith(head) else NO_FRAME
        found = buffer.find(end, at + len(start), at + longest - after)
        again = buffer.find(start, at + len(start), found if found >= 0 else at + longest)
        if again >= 0:
            return Span(again - at, "truncated")
        length = found + len(end) + after - at
        if found < 0 or at + length > len(buffer):
            return None if len(buffer) - at < longest else NO_FRAME
        return Span(length, "" if good(bytes(buffer[at : at + length])) else "checksum")

    return scan


def sized(start: bytes, size: Callable[[bytes], int], *, head: int, good: Callable[[bytes], bool]) -> Scan:
    """Find frames that begin with `start`; `size` answers the length of the whole from its first `head` bytes, or 0."""

    def scan(buffer: bytes | bytearray, at: int) -> Span | None:
        first = bytes(buffer[at : at + head])
        if not (first.startswith(start) or start.startswith(first)):
            return NO_FRAME
        if len(first) < head:
            return None
        length = size(first)
        if not length or at + length > len(buffer):
            return None if length else NO_FRAME
        return Span(length, "" if good(bytes(buffer[at : at + length])) else "checksum")

    return scan
