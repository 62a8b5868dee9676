"""A&D TM-2655P and TM-2657P: a barrel that an arm is put into; it sends its result once, when the measurement is over.

Source: soyapi/bpkiosk lib/tm2655.rb, and the captures in tests/vectors/and_tm.jsonl. A frame is 16 16 01 "00" STX,
fields that each end in RS, ETX and a block check: the exclusive or of all that stands between STX and ETX.

It lies as the devices do: PRINT sends the last record once more, with the time at which it was measured, and the clock
is years behind with `clock=`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from simulators.serial.bedside import Clock, Vitals
from simulators.serial.load import US, Beat

_BEAT_S = 0.1
_MEASURES_S = 30.0
_RS = "\x1e"
_KEYS = ("start", "stop", "print")


def frame(fields: Sequence[str]) -> bytes:
    """One frame with these fields."""
    body = "".join(field + _RS for field in fields).encode("ascii")
    check = 0
    for byte in body:
        check ^= byte
    return b"\x16\x16\x0100\x02" + body + b"\x03" + bytes([check])


def record(at: datetime, error: int, pressures: tuple[float, float, float], pulse: float, more: Sequence[str]) -> bytes:
    """One record; `pressures` are systolic, mean and diastolic in mmHg, `more` the fields of one model."""
    model = "TM2657" if more else "TM2655"
    systolic, mean, diastolic = pressures
    numbers = [f"S{systolic:>3.0f}", f"M{mean:>3.0f}", f"D{diastolic:>3.0f}", f"P{pulse:>3.0f}"]
    if error:
        numbers = [f"{letter}   " for letter in "SMDP"]
    return frame(
        [model, f"{at:%y%m%d%H%M}", "RA", "M", f"E{error:02}", *numbers, "I00", f"L{systolic + 30:>3.0f}", *more]
    )


class AndTm:
    """One monitor. `long_record`: the TM-2657, which counts irregular beats and movements."""

    kinds = ("systolic", "diastolic", "mean_arterial_pressure", "pulse_rate")

    def __init__(self, *, long_record: bool = False, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._long_record = long_record
        self._beat = Beat(_BEAT_S)
        self._clock = Clock()
        self._vitals = Vitals(self.kinds)
        self._done_at_us: int | None = None
        self._error = self._irregular = self._movements = 0
        self._queued = self._last = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the monitor sends in that time."""
        out, self._queued = self._queued, b""
        for at_us in self._beat.advance(dt_s):
            if self._done_at_us is not None and at_us >= self._done_at_us:
                self._done_at_us = None
                self._last = self._record(at_us)
                out += self._last
        return out

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: its commands start and stop a measurement, and no gateway sends them."""
        return b""

    def attach(self) -> None:
        """An arm is put in and START is pressed."""
        self.press("start")

    def detach(self) -> None:
        """The arm is taken out: what was being measured fails."""
        if self._done_at_us is not None:
            self._error, self._done_at_us = 7, self._beat.now_us

    def press(self, key: str) -> None:
        """Press start, stop or print (the last record again); ValueError for another key."""
        if key == "start":
            self._error = 0
            self._done_at_us = self._beat.now_us + round(_MEASURES_S * US)
        elif key == "stop":
            self._done_at_us = None
        elif key == "print":
            self._queued += self._last
        else:
            raise ValueError(f"this monitor has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, irregular or movements (counts of the TM-2657), or clock (an ISO time); ValueError if not."""
        if kind in ("irregular", "movements") and value.isdecimal() and self._long_record:
            if kind == "irregular":
                self._irregular = int(value)
            else:
                self._movements = int(value)
        elif kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        else:
            self._vitals.set(kind, value, unit)

    def _record(self, at_us: int) -> bytes:
        vitals = self._vitals
        more = [
            f"p{vitals['systolic'] - 54:>3.0f}",
            f"i{self._irregular:>2}",
            f"m{self._movements}",
            "r0",
            "t 35",
            "cN",
        ]
        more += ["l  ", "d", "h     ", "s     ", "w      ", "f      ", "e      ", "b     "]
        pressures = (vitals["systolic"], vitals["mean_arterial_pressure"], vitals["diastolic"])
        return record(
            self._clock.at(at_us), self._error, pressures, vitals["pulse_rate"], more if self._long_record else ()
        )
