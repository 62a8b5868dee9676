"""Ohaus scales that print continuously, in the two formats of the RS232 interface.

Source: Ohaus RS232 Interface manual p. EN-3 (manualslib.fr 558648 p. 5). Format 1: the weight in 12 characters, a
blank, the unit in 5, `?` while the load moves. Format 2: the weight in 12, or 11 without a point, a blank, the unit, a
blank, `?` or a blank. A word may follow. CR LF.

It lies as the manual shows: pieces look like a weight but for PCS; in a density mode the weight under water is a weight
but for a word at the end.
"""

from __future__ import annotations

from typing import ClassVar

from simulators.serial.indicator import Indicator

_DECIMALS = {"kg": 3, "g": 2, "lb": 3, "oz": 4, "PCS": 0}
_WIDTH = 12
_UNIT_WIDTH = 5


def frame(number: str, unit: str, *, moves: bool = False, word: str = "", long: bool = True) -> bytes:
    """One line of format 1, or of format 2 where not `long`; `number` as it is displayed."""
    mark = "?" if moves else " "
    if long:
        line = f"{number:>{_WIDTH}} {unit:<{_UNIT_WIDTH}}{mark}"
    else:
        line = f"{number:>{_WIDTH if '.' in number else _WIDTH - 1}} {unit} {mark}"
    return f"{line}{word and ' ' + word}\r\n".encode("ascii")


class OhausScale(Indicator):
    """One scale, ten lines a second. `long`: format 1."""

    units = ("kg", "g", "lb", "oz")
    switches: ClassVar = {"mode": ("weigh", "count", "density")}

    def __init__(self, *, long: bool = True, seed: int = 0) -> None:
        super().__init__(seed)
        self._long = long

    def _said(self, at_us: int) -> bytes:
        shown = self._shown(at_us)
        unit = "PCS" if self._switched["mode"] == "count" else shown.unit
        decimals = _DECIMALS[unit]
        number = f"{round(shown.net, decimals) + 0.0:.{decimals}f}"
        word = "WET WT" if self._switched["mode"] == "density" else ""
        return frame(number, unit, moves=not shown.still, word=word, long=self._long)
