"""Nonin Avant 4000 and 9600, 9847 and their like: a line a second with %SpO2 and pulse.

Source: Nonin BT4000 manual p. 29; 9847 manual p. 37. XXX and YYY are three digits, dashes where there is none; F is
fast averaging, an asterisk a marked event; the 9847 puts the time of day before, and a B behind for a breath.

It lies as the devices can: the pulse is too high for some lines after a finger went in, and nothing but dashes tells of
a finger that is out.
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.bedside import Clock, Vitals
from simulators.serial.load import US, Beat

_PERIOD_S = 1.0
_FINDS_S = 4.0  # after a finger went in: dashes
_RISES_S = 8.0  # the pulse is too high for so long
_BREATHES_EVERY = 4
_KEYS = ("mark",)


def line(saturation: int | None, pulse: int | None, *, fast: bool = False, marked: bool = False) -> bytes:
    """One line; None is a value that it does not have."""
    shown = ("---" if value is None else f"{value:03}" for value in (saturation, pulse))
    return "SPO2={} HR={}{}{}\r\n".format(*shown, " F" if fast else "", "*" if marked else "").encode("ascii")


def timed(at: datetime, said: bytes, *, breath: bool) -> bytes:
    """The same line of a 9847: with the time of day, and whether it counted a breath."""
    return f"{at:%H:%M:%S} ".encode("ascii") + said[:-2] + (b"B" if breath else b"") + said[-2:]


class NoninOximeter:
    """One oximeter in real-time mode. `clock`: its lines begin with the time of day, as those of a 9847."""

    kinds = ("oxygen_saturation", "pulse_rate")

    def __init__(self, *, clock: bool = False, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._beat = Beat(_PERIOD_S)
        self._clock = Clock() if clock else None
        self._vitals = Vitals(self.kinds)
        self._finger_at_us: int | None = None
        self._fast = self._marked = False

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the oximeter sends in that time."""
        return b"".join(self._line(at_us) for at_us in self._beat.advance(dt_s))

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: it only speaks."""
        return b""

    def attach(self) -> None:
        """A finger goes in."""
        self._finger_at_us = self._beat.now_us

    def detach(self) -> None:
        """It is taken out."""
        self._finger_at_us = None

    def press(self, key: str) -> None:
        """Press mark (an event, in the next line); ValueError for another key."""
        if key != "mark":
            raise ValueError(f"this oximeter has no key {key!r} ({', '.join(_KEYS)})")
        self._marked = True

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, or fast (yes, no: its averaging); ValueError if it cannot."""
        if kind == "fast" and value in ("yes", "no"):
            self._fast = value == "yes"
        else:
            self._vitals.set(kind, value, unit)

    def _line(self, at_us: int) -> bytes:
        marked, self._marked = self._marked, False
        saturation, pulse = self._shows(at_us)
        said = line(saturation, pulse, fast=self._fast, marked=marked)
        if self._clock is None:
            return said
        return timed(self._clock.at(at_us), said, breath=at_us // US % _BREATHES_EVERY == 0)

    def _shows(self, at_us: int) -> tuple[int | None, int | None]:
        there_s = -1.0 if self._finger_at_us is None else (at_us - self._finger_at_us) / US
        if there_s < _FINDS_S:
            return None, None
        late = max(0.0, 1 - (there_s - _FINDS_S) / _RISES_S)
        return round(self._vitals["oxygen_saturation"]), round(self._vitals["pulse_rate"] + 40 * late)
