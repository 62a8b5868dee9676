"""Adam MDW-300L in its NCI mode: it answers W CR with its weight and status, S CR with its status alone.

Source: Adam Equipment MDW manual p. 12-14 (manualsonline.com mdw300l p. 15). An answer is LF, the weight, kg or lb,
CR LF, three status bytes, CR ETX. Over capacity the weight is carets, under it underscores, with an error of the zero
dashes; what is not known is answered with a question mark. Z, T, U and X act on the scale and are not simulated.

It lies as the manual tells: in hold the number stays when its owner has left, and looks like any other but for one bit.
"""

from __future__ import annotations

from typing import ClassVar

from simulators.serial.indicator import Indicator
from simulators.serial.load import KG_PER

_WIDTH = 8
_FILLED = 6
_EMPTY_KG = 0.05
_LONGEST_COMMAND = 16


def answer(weight: str, unit: str, status: bytes) -> bytes:
    """One answer to W; `weight` as it stands in its field."""
    return f"\n{weight}{unit}\r\n".encode("ascii") + status + b"\r\x03"


def status(
    *, moves: bool = False, at_zero: bool = False, beyond: int = 0, hold: bool = False, net: bool = False
) -> bytes:
    """The three status bytes; `beyond`: 1 over, -1 under capacity."""
    h1 = 0x30 | moves | at_zero << 1
    h2 = 0x70 | (beyond < 0) | (beyond > 0) << 1
    h3 = 0x30 | (0b10 if hold else 0b01) | net << 2
    return bytes([h1, h2, h3])


def shown_as(value: float) -> str:
    """The field of a weight with two decimals: a sign, then digits with leading zeros, right-aligned."""
    value = round(value, 2) + 0.0
    return f"{'-' if value < 0 else ' '}{abs(value):06.2f}".rjust(_WIDTH)


class NciScale(Indicator):
    """One scale: says nothing unasked."""

    keys = ("unit", "tare", "zero", "hold")
    switches: ClassVar = {"zero_error": ("no", "yes")}

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._hold = False
        self._held_kg: float | None = None
        self._heard = b""

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer each at once."""
        *commands, self._heard = (self._heard + data).split(b"\r")
        self._heard = self._heard[-_LONGEST_COMMAND:]
        return b"".join(map(self._answered, commands))

    def press(self, key: str) -> None:
        """Press unit, tare, zero or hold (once more ends it); ValueError for another key."""
        super().press(key)
        if key == "hold":
            self._hold, self._held_kg = not self._hold, None

    def _said(self, at_us: int) -> bytes:
        if self._hold and self._held_kg is None:
            gross_kg = self._load.felt(at_us)
            if self._load.still(at_us) and gross_kg > _EMPTY_KG:
                self._held_kg = gross_kg - self._tare_kg
        return b""

    def _answered(self, command: bytes) -> bytes:
        if command not in (b"W", b"S"):
            return b"\n?\r\x03"
        shown = self._shown(self._beat.now_us)
        held = self._hold and self._held_kg is not None
        net = self._held_kg / KG_PER[shown.unit] if self._held_kg is not None and held else shown.net
        said = status(
            moves=not shown.still and not held,
            at_zero=shown.still and not held and abs(shown.net) < _EMPTY_KG,
            beyond=shown.beyond,
            hold=self._hold,
            net=bool(shown.tare),
        )
        if command == b"S":
            return b"\n" + said + b"\r\x03"
        if self._switched["zero_error"] == "yes":
            return answer("-" * _FILLED, shown.unit, said)
        if shown.beyond:
            return answer(("^" if shown.beyond > 0 else "_") * _FILLED, shown.unit, said)
        return answer(shown_as(net), shown.unit, said)
