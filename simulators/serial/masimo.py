"""Masimo Rad-8, Radical-7: ASCII 1, a line a second.

Source: Masimo Rad-8 manual p. 49 (bits, trend lines); MD PnP poxrad_discrete.h (Radical-7's fields, and LF CR at the
end of a line); lines of a Rad-8 in yahnatan/pulseox.

It lies as the devices do: the last numbers stay beside "sensor off", zeros come during the search and once more when it
is over, beside nothing but "SET runs"; a printed trend looks like now but for the spelling of its names.
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.bedside import Clock, Vitals
from simulators.serial.load import US, Beat

_PERIOD_S = 1.0
_SEARCHES_S = 5.0
_ZERO_S = 6.0  # one line of zeros after the search
_HOLDS_S = 6.0
_RISES_S = 8.0
_PERFUSION = 4.96
_NO_SENSOR, _SEARCH, _OFF, _LOW_IQ, _SET = 0x001, 0x008, 0x020, 0x400, 0x800
_SILENCED = 0x20
_TREND_LINES = 12
_KEYS = ("silence", "trend")

Numbers = tuple[int, int, float]


def line(at: datetime, numbers: Numbers | None, alarm: int, exception: int, *, radical: bool = False) -> bytes:
    """One line; None: dashes. A Rad-8's ends in CR LF, a Radical-7's has PVI and ends in LF CR."""
    values = "SPO2=---% BPM=--- PI=--.--%"
    if numbers is not None:
        saturation, pulse, perfusion = numbers
        values = f"SPO2={saturation:03}% BPM={pulse:03} PI={perfusion:05.2f}%"
    more = "SPCO=--.-% SPMET=--.-% DESAT=-- PIDELTA=+--" + (" PVI=---" if radical else "")
    text = f"{at:%m/%d/%y %H:%M:%S} SN=0000000000 {values} {more} ALARM={alarm:04X} EXC={exception:06X}"
    return text.encode("ascii") + (b"\n\r" if radical else b"\r\n")


def trend(at: datetime, numbers: Numbers, exception: int, names: str) -> bytes:
    """One line of a printed trend."""
    saturation, pulse, perfusion = numbers
    text = f"{at:%m/%d/%y %H:%M:%S} SpO2={saturation:03} PR={pulse:03} PI={perfusion:05.2f} EXC={exception:03X}:{names}"
    return f"{text}\r\n".encode("ascii")


class MasimoOximeter:
    """One oximeter with its sensor plugged in."""

    kinds = ("oxygen_saturation", "pulse_rate")

    def __init__(self, *, radical: bool = False, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._radical = radical
        self._beat = Beat(_PERIOD_S)
        self._clock = Clock()
        self._vitals = Vitals(self.kinds)
        self._finger_at_us: int | None = None
        self._held: Numbers | None = None
        self._held_until_us = 0
        self._weak = self._silenced = False
        self._plugged = True
        self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the oximeter sends in that time."""
        out, self._queued = self._queued, b""
        return out + b"".join(self._line(at_us) for at_us in self._beat.advance(dt_s))

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: it only speaks."""
        return b""

    def attach(self) -> None:
        """A finger goes in."""
        self._finger_at_us = self._beat.now_us

    def detach(self) -> None:
        """It is taken out: what was shown last stays a while."""
        self._finger_at_us = None
        self._held_until_us = self._beat.now_us + round(_HOLDS_S * US)

    def press(self, key: str) -> None:
        """Press silence (the alarms) or trend (print what was measured before); ValueError for another key."""
        if key == "silence":
            self._silenced = not self._silenced
        elif key == "trend":
            hour_ago = -3600 * US
            for n in range(_TREND_LINES):
                self._queued += trend(self._clock.at(hour_ago + 2 * n * US), (88, 120, 0.5), _SET, "SET")
            self._queued += trend(self._clock.at(hour_ago + 60 * US), (0, 0, 0.0), _OFF | _SET, "OffPat,SET")
        else:
            raise ValueError(f"this oximeter has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, low_iq or sensor (yes, no), or clock (an ISO time); ValueError if it cannot."""
        if kind in ("low_iq", "sensor") and value in ("yes", "no"):
            if kind == "low_iq":
                self._weak = value == "yes"
            else:
                self._plugged = value == "yes"
        elif kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        else:
            self._vitals.set(kind, value, unit)

    def _line(self, at_us: int) -> bytes:
        numbers, exception = self._sees(at_us)
        alarm = _SILENCED if self._silenced else 0
        return line(self._clock.at(at_us), numbers, alarm, exception, radical=self._radical)

    def _sees(self, at_us: int) -> tuple[Numbers | None, int]:
        if not self._plugged:
            return None, _NO_SENSOR
        if self._finger_at_us is None:
            return (self._held if at_us < self._held_until_us else None), _OFF | _SET
        there_s = (at_us - self._finger_at_us) / US
        if there_s < _ZERO_S:
            return (0, 0, 0.0), _SET | (_SEARCH if there_s < _SEARCHES_S else 0)
        late = max(0.0, 1 - (there_s - _ZERO_S) / _RISES_S)
        pulse = round(self._vitals["pulse_rate"] + 40 * late)
        self._held = (round(self._vitals["oxygen_saturation"]), pulse, _PERFUSION)
        return self._held, _SET | (_LOW_IQ if self._weak else 0)
