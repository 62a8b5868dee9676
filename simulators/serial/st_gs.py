"""Indicators that stream ST,GS lines to a computer, as the Triner TS-700 does.

Source: Triner TS-700 Series owner's manual v4.0 p. 15. A line is the status (ST standstill, US not, OL overload), a
comma, the mode (GS gross, NT net), a comma, the sign, the number with its point, the unit, CR LF.

It lies as the manual tells: under OL there is a number too, nines; after a tare nothing says how much was tared.
"""

from __future__ import annotations

from simulators.serial.indicator import Indicator

_DECIMALS = 2
_WIDTH = 7
_NINES = 999.99


def frame(status: str, mode: str, value: float, unit: str) -> bytes:
    """One line; `value` is in `unit` (kg, lb). Under OL only its sign counts."""
    shown = round(value, _DECIMALS) + 0.0  # a scale does not show -0.00
    digits = f"{_NINES}" if status == "OL" else f"{abs(shown):>{_WIDTH}.{_DECIMALS}f}"
    return f"{status},{mode},{'-' if shown < 0 else '+'}{digits}{unit}\r\n".encode("ascii")


class StGsIndicator(Indicator):
    """One indicator: ten lines a second, as long as it is on."""

    def _said(self, at_us: int) -> bytes:
        shown = self._shown(at_us)
        status = "OL" if shown.beyond else "ST" if shown.still else "US"
        return frame(status, "NT" if shown.tare else "GS", shown.beyond or shown.net, shown.unit)
