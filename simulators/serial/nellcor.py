"""Nellcor N-560, NPB-290 and their like: a line every two seconds, a header every 25 lines.

Source: NPB-290 manual p. 64-69; the N-560 output that konz/cosmopusher published (demo_stream.py). Date, time, %SpO2,
BPM and amplitude stand in columns, codes after them; `*` marks a violated limit.

It lies as the devices do: the last numbers stay beside PS while it looks for the pulse, zeros come with PS at first,
the pulse is too high for some lines after a finger went in, and a printed trend looks like now.
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.bedside import Clock, Vitals
from simulators.serial.load import US, Beat

_PERIOD_S = 2.0
_SEARCHES_S = 6.0  # after a finger went in
_HOLDS_S = 6.0  # after it went out: the last numbers, beside PS
_RISES_S = 10.0  # the pulse is too high for so long
_LINES_A_PAGE = 25
_TREND_LINES = 12
_KEYS = ("silence", "trend")


def line(at: datetime, saturation: int | None, pulse: int | None, amplitude: int | None, codes: str) -> bytes:
    """One line; None is a value that it does not have. `codes` stand where the N-560 puts them."""
    columns = "".join(f"{'---' if value is None else value:>{width}}" for value, width in ((saturation, 6), (pulse, 8)))
    last = "---" if amplitude is None else str(amplitude)
    return f"{at:%d-%b-%y %H:%M:%S}{columns}{last:>8}    {codes:<17}\r\n".encode("ascii")


def header(name: str, *, trend: bool = False) -> bytes:
    """Model, limits and columns: two lines, or three on the N-560."""
    kind = "TREND" if trend else "CRC:XXXX"
    text = f"{name}    VERSION 1.56.00    {kind}  SpO2 Limit: 90-100%    PR Limit: 60-170BPM\r\n"
    if name == "N-560":
        text += "                             ADULT            0SAT-S \r\n"
    return f"{text}TIME                 %SpO2   BPM     PA     Status\r\n".encode("ascii")


class NellcorOximeter:
    """One oximeter with its sensor plugged in."""

    kinds = ("oxygen_saturation", "pulse_rate")

    def __init__(self, name: str = "N-560", seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._name = name
        self._beat = Beat(_PERIOD_S)
        self._clock = Clock()
        self._vitals = Vitals(self.kinds)
        self._lines = 0
        self._finger_at_us: int | None = None  # since when there is a finger
        self._held: tuple[int, int] | None = None
        self._held_until_us = 0
        self._moves = self._silenced = False
        self._plugged = True
        self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the oximeter sends in that time."""
        out, self._queued = self._queued, b""
        for at_us in self._beat.advance(dt_s):
            if self._lines % _LINES_A_PAGE == 0:
                out += header(self._name)
            self._lines += 1
            out += self._line(at_us)
        return out

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
            old = [line(self._clock.at(n * 2 * US - 3600 * US), 88, 120, 40, "") for n in range(_TREND_LINES)]
            self._queued += header(self._name, trend=True) + b"".join(old) + b"Output Complete\r\n"
        else:
            raise ValueError(f"this oximeter has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, motion or sensor (yes, no), or clock (an ISO time); ValueError if it cannot."""
        if kind in ("motion", "sensor") and value in ("yes", "no"):
            if kind == "motion":
                self._moves = value == "yes"
            else:
                self._plugged = value == "yes"
        elif kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        else:
            self._vitals.set(kind, value, unit)

    def _line(self, at_us: int) -> bytes:
        at, alarm = self._clock.at(at_us), "AS" if self._silenced else ""
        if not self._plugged:
            return line(at, None, None, None, f"SD          {alarm}".rstrip())
        if self._finger_at_us is None:
            if at_us < self._held_until_us and self._held is not None:
                return line(at, *self._held, None, f"PS          {alarm}".rstrip())
            return line(at, None, None, None, f"SO          {alarm}".rstrip())
        there_s = (at_us - self._finger_at_us) / US
        if there_s < _SEARCHES_S:
            return line(at, 0, 0, None, f"PS          {alarm}".rstrip())
        late = max(0.0, 1 - (there_s - _SEARCHES_S) / _RISES_S)
        pulse = round(self._vitals["pulse_rate"] + 40 * late)
        self._held = (round(self._vitals["oxygen_saturation"]), pulse)
        return line(at, *self._held, 12, f"{'MO' if self._moves else '  '}          {alarm}".rstrip())
