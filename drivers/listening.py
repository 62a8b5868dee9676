"""A codec with a clock: half a frame that is not completed in time is given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from drivers.contract import Codec, Event, Sample, Step

# A frame of 60 bytes takes 2 s at 300 baud and 60 ms at 9600; a USB adapter adds 16 ms. What pauses for longer
# was cut off, and its first half must not be glued to a frame that comes minutes later.
GAP_S = 2.0


class Listening:
    """Feeds a codec and says when: each Sample gets the instant at which its last byte arrived."""

    def __init__(self, codec: Codec, *, gap_s: float = GAP_S) -> None:
        self._codec = codec
        self._gap_s = gap_s
        self._gives_up_at: float | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        late = self._give_up(now)
        events = late + self._codec.feed(data)
        self._gives_up_at = now + self._gap_s
        return self._step(events, now)

    def tick(self, now: float) -> Step:
        """Take note of the time; see Driver."""
        return self._step(self._give_up(now), now)

    def close(self, now: float) -> Step:
        """Give up what is half a frame; see Driver."""
        self._gives_up_at = None
        return self._step(self._codec.flush(), now)

    def _give_up(self, now: float) -> list[Event]:
        if self._gives_up_at is None or now < self._gives_up_at:
            return []
        self._gives_up_at = None
        return self._codec.flush()

    def _step(self, events: Sequence[Event], now: float) -> Step:
        stamped = tuple(replace(event, at=now) if isinstance(event, Sample) else event for event in events)
        return Step(stamped, deadline=self._gives_up_at)
