"""Nonin Xpod and OEM III: data format 2, three packets a second of 25 frames of five bytes.

Source: HP's Cricket header for the Xpod; Nonin Onyx II 9560 OEM specification p. 8-11. A frame is 01, status, pleth, a
byte whose meaning is its place in the packet, and the sum of the four. Bit 0 of the first frame's status is the sync.

It lies as the devices do: what is meant for display (places 9, 17, 20 to 23) stays at its last value for ten seconds
after a finger went out, beside the sensor alarm; what is meant for recording (1 to 3, 14 to 16) has none at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulators.serial.bedside import Vitals
from simulators.serial.load import US, Beat

_FRAMES = 25
_PERIOD_S = _FRAMES / 75
_TRACKS_S = 3.0  # after a finger went in: out of track
_HOLDS_S = 10.0
_ALWAYS, _DISCONNECTED, _BAD_PULSE, _OUT_OF_TRACK, _ALARM = 0x80, 0x40, 0x20, 0x10, 0x08
_GREEN, _RED = 0x02, 0x04
_PULSE_FRAMES = range(5, 17)  # 12 frames a pulse
_NO_SATURATION, _NO_PULSE = 127, 511
_REVISION, _PLETH = 30, 0x64


def packet(extras: Mapping[int, int], status: int = 0, during_pulse: int = 0) -> bytes:
    """One packet; `extras` by place, counted from 1; `during_pulse` are bits that stand only in a pulse's frames."""
    out = b""
    for place in range(1, _FRAMES + 1):
        bits = _ALWAYS | status | (1 if place == 1 else 0) | (during_pulse if place in _PULSE_FRAMES else 0)
        body = bytes((1, bits, _PLETH, extras.get(place, 0)))
        out += body + bytes((sum(body) % 256,))
    return out


def places(recorded: tuple[int, int], displayed: tuple[int, int], timer: int) -> dict[int, int]:
    """What stands at which place: %SpO2 and pulse, for recording and for display."""
    extras = {4: _REVISION, 6: timer >> 7 & 0x7F, 7: timer & 0x7F}
    for (saturation, pulse), at_saturation, at_pulse in (
        (recorded, (3, 10, 11, 16), (1, 14)),
        (displayed, (9, 17), (20, 22)),
    ):
        extras |= dict.fromkeys(at_saturation, saturation)
        for place in at_pulse:
            extras[place], extras[place + 1] = pulse >> 7 & 0x03, pulse & 0x7F
    return extras


class NoninXpod:
    """One oximeter with its sensor."""

    kinds = ("oxygen_saturation", "pulse_rate")

    def __init__(self, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._beat = Beat(_PERIOD_S)
        self._vitals = Vitals(self.kinds)
        self._packets = 0
        self._finger_at_us: int | None = None
        self._out_at_us: int | None = None
        self._last = (_NO_SATURATION, _NO_PULSE)
        self._plugged = True
        self._moves = self._cold = False

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the oximeter sends in that time."""
        return b"".join(self._packet(at_us) for at_us in self._beat.advance(dt_s))

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: it only speaks."""
        return b""

    def attach(self) -> None:
        """A finger goes in."""
        self._finger_at_us = self._beat.now_us

    def detach(self) -> None:
        """It is taken out: the display keeps its values for a while."""
        self._finger_at_us, self._out_at_us = None, self._beat.now_us

    def press(self, key: str) -> None:
        """It has no key: ValueError."""
        raise ValueError(f"this oximeter has no key {key!r} (none)")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, or motion, cold (a weak pulse) or sensor (yes, no); ValueError if it cannot."""
        if kind in ("motion", "cold", "sensor") and value in ("yes", "no"):
            if kind == "motion":
                self._moves = value == "yes"
            elif kind == "cold":
                self._cold = value == "yes"
            else:
                self._plugged = value == "yes"
        else:
            self._vitals.set(kind, value, unit)

    def _packet(self, at_us: int) -> bytes:
        self._packets += 1
        nothing = (_NO_SATURATION, _NO_PULSE)
        if not self._plugged:
            return packet(places(nothing, nothing, self._packets), _DISCONNECTED | _ALARM)
        if self._finger_at_us is None:
            held = self._out_at_us is not None and at_us - self._out_at_us < _HOLDS_S * US
            return packet(places(nothing, self._last if held else nothing, self._packets), _ALARM)
        if at_us - self._finger_at_us < _TRACKS_S * US:
            return packet(places(nothing, nothing, self._packets), _OUT_OF_TRACK)
        self._last = (round(self._vitals["oxygen_saturation"]), round(self._vitals["pulse_rate"]))
        pulse = (_RED if self._cold else _GREEN) | (_BAD_PULSE if self._moves else 0)
        return packet(places(self._last, self._last, self._packets), 0, pulse)
