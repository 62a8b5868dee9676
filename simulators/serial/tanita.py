"""Tanita scales: one message when the weight has settled, and nothing before or after it.

Source: Tanita SC-240 manual p. 24, SC-330 p. 47, PW-650MA p. 25, WB-3000 p. 10. A message is `{0,16`, control data,
model and results as header and value with commas between, `CS` and the check sum, CR LF. The check sum is two
upper-case hexadecimal digits: all bytes before CS added up, of which the last eight bits count.

It lies as the manuals tell: the weight is without the clothes that were keyed in (Pt), the WB-3000 sends a character
that means nothing 0.1 s later, and who listens too late hears nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from simulators.serial.bedside import USUAL, Clock
from simulators.serial.load import KG_PER, US, Beat, Load, number, wire_unit

SIMULATED_ID = "SIM-000001"  # the marker by which nothing simulated can look real
NO_ID = "0000000000"
_UNITS = ("kg", "lb")  # of a load that is set; the message is in kg: how pounds' height looks, no manual shows
_PERIOD_S = 0.1
_EMPTY_KG = 0.1
_FAT_PERCENT = 21.5
_JUNK = b"\xff"  # the manual does not say which character it is


@dataclass(frozen=True, slots=True)
class Row:
    """What one model sends, in order; `control` are the numbers of ~0, ~1, ~2."""

    name: str
    control: int
    headers: tuple[str, ...]
    junk: bool = False


ROWS = {
    "tanita-sc-240": Row("SC-240", 3, ("SN", "Bt", "GE", "AG", "Hm", "Pt", "Wk", "FW", "MI")),
    "tanita-sc-330": Row("SC-330", 3, ("SN", "ID", "Da", "TI", "Bt", "GE", "AG", "Hm", "Pt", "Wk", "FW", "MI")),
    "tanita-pw-650ma": Row("PW-650", 1, ("Da", "TI", "Wk", "Pt", "Ta")),
    "tanita-wb-3000": Row("WB-3000", 3, ("Hm", "Wk", "MI"), junk=True),
}


def message(items: Sequence[tuple[str, str]]) -> bytes:
    """One message with these headers and values after `{0,16`."""
    before = ("{0,16," + "".join(f"{header},{value}," for header, value in items)).encode("ascii")
    return before + f"CS,{sum(before) % 256:02X}\r\n".encode("ascii")


class TanitaScale:
    """One scale. `model` is an id of ROWS; ValueError for another."""

    def __init__(self, model: str, seed: int = 0) -> None:
        if model not in ROWS:
            raise ValueError(f"no Tanita row {model!r} ({', '.join(ROWS)})")
        self._row = ROWS[model]
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._clock = Clock()
        self._ident = SIMULATED_ID
        self._height_cm = USUAL["body_height"]
        self._preset_kg = 0.0
        self._to_send = False
        self._junk_at_us: int | None = None

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        out = b""
        for at_us in self._beat.advance(dt_s):
            if self._junk_at_us is not None and at_us >= self._junk_at_us:
                self._junk_at_us = None
                out += _JUNK
            if self._to_send and self._load.still(at_us):
                self._to_send = False
                self._junk_at_us = at_us + round(0.1 * US) if self._row.junk else None
                out += self._message(at_us)
        return out

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: the PC mode is not simulated."""
        return b""

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on, dressed."""
        self._load.put(kg, self._beat.now_us)
        self._to_send = kg > _EMPTY_KG

    def step_off(self) -> None:
        """The platform is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press clear (the ID is taken away); ValueError for another key."""
        if key != "clear":
            raise ValueError(f"this scale has no key {key!r} (clear)")
        self._ident = NO_ID

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), body_height, tare (clothes), id or clock; ValueError if not."""
        if kind == "body_weight":
            self.step_on(number(value, kind) * KG_PER[wire_unit(unit or "kg", _UNITS)])
        elif kind == "body_height" and unit in ("", "cm"):
            self._height_cm = number(value, kind)
        elif kind == "tare" and unit in ("", "kg"):
            self._preset_kg = number(value, kind)
        elif kind == "id" and value.isascii() and len(value) <= len(NO_ID) and '"' not in value:
            self._ident = value.rjust(len(NO_ID), "0")
        elif kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        else:
            raise ValueError(
                f"this scale cannot be set to {kind}={value}{unit} (body_weight, body_height, tare, id, clock)"
            )

    def _message(self, at_us: int) -> bytes:
        kg, at = self._load.felt(at_us) - self._preset_kg, self._clock.at(at_us)
        values = {
            "SN": '"00000001"',
            "ID": f'"{self._ident}"',
            "Da": f'"{at:%d/%m/%Y}"',
            "TI": f'"{at:%H:%M}"',
            "Bt": "0",
            "GE": "2",
            "AG": "40",
            "Hm": f"{self._height_cm:.1f}",
            "Pt": f"{self._preset_kg:.1f}",
            "Ta": "0.0",
            "Wk": f"{kg:.1f}",
            "FW": f"{_FAT_PERCENT:.1f}",
            "MI": f"{kg / (self._height_cm / 100) ** 2:.1f}",
        }
        control = [(f"~{n}", "1") for n in range(self._row.control)]
        results = [(header, values[header]) for header in self._row.headers]
        return message([*control, ("MO", f'"{self._row.name}"'), *results])
