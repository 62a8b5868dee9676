"""Detecto solo: one record when PRINT is pressed, or when the host sends LF P CR.

Source: Detecto solo manual p. 20. A record is time, date, BMI, height and weight with commas between, CR at its end;
the manual's example has feet and inches with quotation marks. The metric form (175.0cm, 68.0kg) is that of the ProDoc's
receipts. Who stands there has PRINT pressed as soon as the weight is still.

It lies as it must: PRINT twice gives one weighing twice, told from a second one by nothing but the minute.
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.bedside import Clock
from simulators.serial.load import KG_PER, Beat, Load, number, wire_unit

_PERIOD_S = 0.1
_EMPTY_KG = 0.1
_CM_PER_INCH = 2.54
_UNITS = ("lb", "kg")
_PRINT = b"\nP\r"


def record(at: datetime, bmi: float, height_cm: float, weight: float, unit: str) -> bytes:
    """One record; `weight` is in `unit`, the height in feet and inches beside lb."""
    if unit == "kg":
        height = f"{height_cm:.1f}cm"
    else:
        tenths = round(height_cm / _CM_PER_INCH * 10)
        height = f"{tenths // 120}'{tenths % 120 / 10:04.1f}\""
    return f"{at:%H:%M},{at:%m/%d/%y},{bmi:.1f},{height},{weight:.1f}{unit}\r".encode("ascii")


class DetectoSolo:
    """One scale."""

    def __init__(self, seed: int = 0) -> None:
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._clock = Clock()
        self._unit = _UNITS[0]
        self._height_cm = 0.0
        self._to_print = False
        self._heard = self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        out, self._queued = self._queued, b""
        for at_us in self._beat.advance(dt_s):
            if self._to_print and self._load.still(at_us):
                self._to_print = False
                out += self._record(at_us)
        return out

    def receive(self, data: bytes) -> bytes:
        """Take the remote print command, cut anyhow; answer it at once."""
        out = b""
        for byte in data:
            self._heard = (self._heard + bytes([byte]))[-len(_PRINT) :]
            if self._heard == _PRINT:
                out += self._record(self._beat.now_us)
        return out

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on, and PRINT is pressed."""
        self._load.put(kg, self._beat.now_us)
        self._to_print = kg > _EMPTY_KG

    def step_off(self) -> None:
        """The platform is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit or print; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[1 - _UNITS.index(self._unit)]
        elif key == "print":
            self._queued += self._record(self._beat.now_us)
        else:
            raise ValueError(f"this scale has no key {key!r} (unit, print)")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), body_height, unit or clock (an ISO time); ValueError if not."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "body_height" and unit in ("", "cm", "[in_i]"):
            self._height_cm = number(value, kind) * (_CM_PER_INCH if unit == "[in_i]" else 1.0)
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        elif kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        else:
            raise ValueError(
                f"this scale cannot be set to {kind}={value}{unit} (body_weight, body_height, unit, clock)"
            )

    def _record(self, at_us: int) -> bytes:
        kg = self._load.felt(at_us)
        bmi = kg / (self._height_cm / 100) ** 2 if self._height_cm else 0.0
        return record(self._clock.at(at_us), bmi, self._height_cm, kg / KG_PER[self._unit], self._unit)
