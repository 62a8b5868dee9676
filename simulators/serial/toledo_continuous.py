"""Indicators in Toledo continuous output with its checksum.

Source: METTLER TOLEDO Wildcat manual p. 41; Rockwell 57C428 appendix D and KERN FTC manual p. 42 (checksum); Ohaus
Defender 5000 manual p. EN-67 (leading zeros are blanks); Cardinal 225 manual p. 118 (a short form without tare).

It lies as the manuals tell: the weight has no sign and no point, stands there out of range and in motion too, and one
bit says over and under alike; until the scale has found its zero after power-up, what it says is a weight by looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulators.serial.indicator import Indicator

_STX, _CR = 0x02, 0x0D
_ALWAYS = 0x20
_STEP_OF_ONE = 0x08
_DECIMALS_CODE = {0: 0b010, 1: 0b011, 2: 0b100, 3: 0b101}
_LARGEST = 999_999


@dataclass(frozen=True, slots=True)
class Layout:
    """How a maker sends it: decimals shown, blanks for leading zeros, the tare left out."""

    decimals: int = 1
    blanks: bool = False
    short: bool = False


USUAL = Layout()
OHAUS = Layout(blanks=True)
CARDINAL_SHORT = Layout(short=True)


@dataclass(frozen=True, slots=True)
class Status:
    """Status byte B, but for the sign."""

    net: bool = False
    out_of_range: bool = False
    moves: bool = False
    no_zero: bool = False


def frame(layout: Layout, weight: float, tare: float, unit: str, status: Status) -> bytes:
    """One frame; `weight` and `tare` are in `unit` (kg, lb)."""
    counts = round(weight * 10**layout.decimals)
    byte_b = _ALWAYS | status.net | (counts < 0) << 1 | status.out_of_range << 2 | status.moves << 3
    byte_b |= (unit == "kg") << 4 | status.no_zero << 6
    body = bytes([_STX, _ALWAYS | _STEP_OF_ONE | _DECIMALS_CODE[layout.decimals], byte_b, _ALWAYS])
    body += _six(counts, layout)
    if not layout.short:
        body += _six(round(tare * 10**layout.decimals), layout)
    body += bytes([_CR])
    return body + bytes([-sum(byte & 0x7F for byte in body) & 0x7F])


def _six(counts: int, layout: Layout) -> bytes:
    digits = min(abs(counts), _LARGEST)
    return (f"{digits:>6}" if layout.blanks else f"{digits:06}").encode("ascii")


class ToledoIndicator(Indicator):
    """One indicator: ten frames a second, as long as it is on. `zero=lost`: it has not found its zero."""

    switches: ClassVar = {"zero": ("found", "lost")}

    def __init__(self, layout: Layout = USUAL, seed: int = 0) -> None:
        super().__init__(seed)
        self._layout = layout

    def _said(self, at_us: int) -> bytes:
        shown = self._shown(at_us)
        status = Status(bool(shown.tare), bool(shown.beyond), not shown.still, self._switched["zero"] == "lost")
        return frame(self._layout, shown.net, shown.tare, shown.unit, status)
