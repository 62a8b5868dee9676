"""A&D scales: the A&D standard format, and the shorter format 2 of HV-WP and HW-WP.

Source: A&D EK-L manual 9-2; A&D HV-WP/HW-WP manual section 16. A frame is a header (ST stable, US unstable, QT counted,
OL out of range), a comma, sign and digits with point (9 characters; 7 in format 2), the unit right-justified in 3
characters (2 in format 2), CR LF. Out of range is all nines: the header decides, not the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulators.serial.load import KG_PER, Beat, Load, number, wire_unit

_PERIOD_S = 0.1
_CAPACITY_KG = 220.0
_FLOOR_KG = -1.0
_EMPTY_KG = 0.1
_UNITS = ("kg", "lb", "g", "oz")
_PIECES = "PC"
_KEYS = ("unit", "tare", "zero", "print")
_MODES = ("stream", "print", "count")


@dataclass(frozen=True, slots=True)
class Layout:
    """The widths of a frame, and how many decimals each unit has."""

    number_width: int
    unit_width: int
    decimals: Mapping[str, int]


STANDARD = Layout(9, 3, {"kg": 2, "lb": 2, "g": 1, "oz": 1, _PIECES: 0})
FORMAT_2 = Layout(7, 2, {"kg": 2, "lb": 2, "g": 0, "oz": 1, _PIECES: 0})


def frame(layout: Layout, header: str, value: float, unit: str) -> bytes:
    """One frame; `value` is in `unit` (kg, lb, g, oz, PC). Under OL only its sign counts."""
    decimals = layout.decimals[unit]
    if header == "OL":
        nines = "9" * (layout.number_width - 1 - (decimals > 0))
        digits = f"{nines[: len(nines) - decimals]}.{nines[:decimals]}" if decimals else nines
        text = ("-" if value < 0 else "+") + digits
    else:
        # Adding 0.0 takes the sign from a zero: a scale does not show -0.00.
        text = f"{round(value, decimals) + 0.0:+0{layout.number_width}.{decimals}f}"
    return f"{header},{text}{unit:>{layout.unit_width}}\r\n".encode("ascii")


class AndScale:
    """One scale: streams ten frames a second, or prints one when it settles, or counts pieces."""

    def __init__(self, layout: Layout = STANDARD, seed: int = 0) -> None:
        self._layout = layout
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._mode = "stream"
        self._unit = "kg"
        self._tare_kg = 0.0
        self._pieces = 0
        self._printed = True  # nothing to print until a load has settled
        self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        out, self._queued = self._queued, b""
        for at_us in self._beat.advance(dt_s):
            if self._mode != "print":
                out += self._frame(at_us)
            elif not self._printed and self._load.still(at_us):
                self._printed = True
                out += self._frame(at_us)
        return out

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: commands are not simulated."""
        return b""

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on."""
        self._load.put(kg, self._beat.now_us)
        self._printed = abs(kg) < _EMPTY_KG

    def step_off(self) -> None:
        """The platform is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit, tare, zero or print; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[(_UNITS.index(self._unit) + 1) % len(_UNITS)]
        elif key == "tare":
            self._tare_kg = self._load.felt(self._beat.now_us)
        elif key == "zero":
            self._tare_kg = 0.0
        elif key == "print":
            self._queued += self._frame(self._beat.now_us)
        else:
            raise ValueError(f"this scale has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), unit, mode or pieces; ValueError says what can be set."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        elif kind == "mode" and value in _MODES:
            self._mode = value
        elif kind == "pieces" and value.isdecimal():
            self._pieces = int(value)
        else:
            raise ValueError(
                f"this scale cannot be set to {kind}={value}{unit} (body_weight, unit, mode={'|'.join(_MODES)}, pieces)"
            )

    def _frame(self, at_us: int) -> bytes:
        gross_kg = self._load.felt(at_us)
        counting = self._mode == "count"
        unit = _PIECES if counting else self._unit
        if not _FLOOR_KG <= gross_kg <= _CAPACITY_KG:
            return frame(self._layout, "OL", gross_kg, unit)
        if counting:
            return frame(self._layout, "QT", self._pieces, unit)
        header = "ST" if self._load.still(at_us) else "US"
        return frame(self._layout, header, (gross_kg - self._tare_kg) / KG_PER[unit], unit)
