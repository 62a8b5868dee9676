"""What a driver is: the events that it answers, and the two faces behind which every protocol stands.

The laws that every file behind these faces keeps:

1. A codec is pure. Bytes in, events out. It knows no clock, no port, no logger; whoever feeds it owns those.
2. How the bytes are cut into pieces changes nothing: whole, byte by byte or ten frames at once, the events are
   the same, in the same order.
3. Nothing disappears. Every byte that was fed ends in a Sample, a Notice or a Rejected.
4. Status first, number second. A frame that says "searching", "unstable" or "over range" is a Notice,
   however plausible the number beside it.
5. Nothing is guessed: no unit, no missing digit, no field that the manual does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number as the device said it: `kind` of contract.md section 1, the digits sent, a UCUM unit."""

    kind: str
    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What a device measured, before any conversion.

    `flags` are codes (`stable`, `net`, `stored`, …), `modifiers` measurements that are no vitals (`tare`),
    `device_time` is what the device's clock showed, without a zone. `device_user` is an ID that someone
    keyed in at the device: patient data, as `raw` is. `at` is the monotonic instant at which the frame
    arrived, in seconds; a bare codec does not know it. `site` is where on the body it was measured, in a
    clinic's word (`oral`), if the device said so. `characteristic` is the GATT characteristic that said it.
    """

    measurements: tuple[Measurement, ...]
    flags: tuple[str, ...] = ()
    device_time: datetime | None = None
    device_user: str | None = field(default=None, repr=False)
    modifiers: Mapping[str, Measurement] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False)
    at: float | None = None
    site: str | None = None
    characteristic: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a device told that is not a measurement. `code` is stable, `detail` is for people: never a value."""

    code: str
    detail: str = ""
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes that are no frame of this protocol, or a frame that must not be believed, and why."""

    reason: str
    raw: bytes = field(repr=False)


Event = Sample | Notice | Rejected


class Codec(Protocol):
    """Bytes to events, without a clock."""

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; keep what is half a frame, bounded."""
        ...

    def flush(self) -> list[Event]:
        """Give up what is half a frame: it will not be completed. Answer it as Rejected."""
        ...


class CharacteristicCodec(Protocol):
    """One value of one GATT characteristic to its one event. A value arrives whole: nothing is kept, nothing raised."""

    def __call__(self, value: bytes, /) -> Event:
        """Answer what `value` says; its bytes are the event's `raw`."""
        ...


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a device's clock showed, without a zone, and the monotonic instant (seconds) at which it did.

    `uncertainty_s`: how far `at` may be off, the clock's resolution included.
    """

    shown: datetime
    at: float
    uncertainty_s: float


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """A device's clock is about to be set to `to`, without a zone, at the monotonic instant `at` or soon after."""

    to: datetime
    at: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device says that it is: printable text, bounded; None for what it does not say."""

    maker: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class Battery:
    """A device's battery, in per cent."""

    percent: int


@dataclass(frozen=True, slots=True)
class Site:
    """Where on the body a device measures, in a clinic's word (`oral`)."""

    word: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a driver answers: events, bytes to write, and when it wants its next tick (monotonic seconds)."""

    events: tuple[Event, ...] = ()
    write: bytes = b""
    deadline: float | None = None


class Driver(Protocol):
    """A codec with a clock. `now` is monotonic seconds and never goes back. Nothing here does I/O.

    Whoever holds a driver calls `tick` once when the port is open, then `feed` for all that arrives, `tick`
    when the last deadline is reached, and `close` once when the port is gone. A tick says that nothing has arrived
    until now; a feed after the deadline, with no tick between, says that nobody listened meanwhile.
    """

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived."""
        ...

    def tick(self, now: float) -> Step:
        """Take note of the time."""
        ...

    def close(self, now: float) -> Step:
        """Answer what can still be said; nothing more will arrive."""
        ...
