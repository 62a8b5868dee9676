"""Which protocol bytes are of: the codecs of all serial drivers read them side by side, and their frames are counted.

1. A frame counts that its codec answered as Sample or Notice: it kept its check, or its whole grammar.
2. The drivers whose frames explain most of the bytes are told, if what they reject is at most twice as much: who opens
   a port joins in the middle of a frame, and a wrong line now and then gives what looks like a short one.
3. Drivers that explain the same number of bytes are told together: nobody here guesses between them.
4. Only counts are kept. What the frames say is a patient's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from drivers import registry
from drivers.contract import Event, Rejected
from drivers.models import Quirks

SURE_FRAMES = 3  # of one driver: chance makes one, at most


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one driver made of the bytes: its frames, the bytes that they explain, and the bytes that it rejected."""

    driver: str
    frames: int = 0
    explained: int = 0
    rejected: int = 0


class Recognizer:
    """Reads bytes as every driver would, without its requests; `seen` is how many there were."""

    def __init__(self, drivers: Collection[str] | None = None) -> None:
        """`drivers`: those that are asked, by default all that read a serial line. Raises KeyError for others."""
        names = registry.serial_names() if drivers is None else drivers
        self._codecs = {name: registry.codec(name, Quirks()) for name in names}
        self._verdicts = {name: Verdict(name) for name in names}
        self.seen = 0

    def feed(self, data: bytes) -> None:
        """Take what has arrived, cut anyhow."""
        self.seen += len(data)
        for name, codec in self._codecs.items():
            self._count(name, codec.feed(data))

    def flush(self) -> None:
        """Give up what is half a frame: the bytes have paused, or no more will come."""
        for name, codec in self._codecs.items():
            self._count(name, codec.flush())

    @property
    def winners(self) -> tuple[Verdict, ...]:
        """The drivers whose bytes these are; more than one: nobody can tell. None: it is no protocol of ours."""
        able = [v for v in self._verdicts.values() if v.frames and v.rejected <= 2 * v.explained]
        most = max((verdict.explained for verdict in able), default=0)
        return tuple(verdict for verdict in able if verdict.explained == most)

    @property
    def is_sure(self) -> bool:
        """Whether listening longer would change nothing."""
        return any(verdict.frames >= SURE_FRAMES for verdict in self.winners)

    def _count(self, name: str, events: list[Event]) -> None:
        frames, explained, rejected = 0, 0, 0
        for event in events:
            if isinstance(event, Rejected):
                rejected += len(event.raw)
            else:
                frames += 1
                explained += len(event.raw)
        before = self._verdicts[name]
        self._verdicts[name] = Verdict(
            name, before.frames + frames, before.explained + explained, before.rejected + rejected
        )
