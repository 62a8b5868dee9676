"""Cutting a stream of bytes into frames by the protocol's own terminator, bounded, and alike for any chunking."""

from __future__ import annotations

from collections.abc import Callable

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
