"""Adam MUW-300L: prints doctor, patient, weight, height and BMI when PRINT is pressed.

Source: Adam Equipment MUW-300L manual p. 16 (manualsonline.com muw_300l p. 16). Each line ends CR LF and can be
switched off. The scale shows the last recorded reading until CLEAR.

It lies as the manual tells: PRINT after the patient has left prints that patient's reading, ID and all. Unless
`print=key`, somebody presses PRINT as soon as a load has come to rest, and CLEAR when it has gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulators.serial.indicator import Indicator
from simulators.serial.load import number

_PERSON_KG = 2.0
_ID_WIDTH, _DOCTOR_WIDTH = 10, 5
LINES = ("doctor", "patient", "weight", "height", "bmi")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of one person, in kg and cm; `lines`: those that are switched on."""

    kg: float
    cm: float
    patient: str
    doctor: str


def printed(reading: Recorded, lines: frozenset[str]) -> bytes:
    """The lines of one print that are switched on: doctor, patient, weight, height, bmi."""
    bmi = reading.kg / (reading.cm / 100) ** 2
    text = {
        "doctor": f"Doctor Id: {reading.doctor:0>{_DOCTOR_WIDTH}}\r\n",
        "patient": f"Patient Id: {reading.patient:0>{_ID_WIDTH}}\r\n",
        "weight": f"Weight: {reading.kg:.2f} kg\r\n",
        "height": f"Height: {reading.cm:.0f} cm\r\n",
        "bmi": f"BMI: {bmi:.1f}\r\n",
    }
    return "".join(line for name, line in text.items() if name in lines).encode("ascii")


class AdamStation(Indicator):
    """One weighing station, in kg and cm."""

    units = ("kg",)
    keys = ("print", "clear", "zero")
    switches: ClassVar = {"print": ("by_itself", "key"), **{line: ("on", "off") for line in LINES if line != "weight"}}

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._cm, self._patient = 170.0, "SIM-000001"
        self._recorded: Recorded | None = None
        self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what was printed."""
        out, self._queued = self._queued, b""
        return out + super().advance(dt_s)

    def press(self, key: str) -> None:
        """Press print (what was recorded last), clear or zero; ValueError for another key."""
        super().press(key)
        if key == "print" and self._recorded is not None:
            self._queued += printed(self._recorded, self._lines())
        elif key == "clear":
            self._recorded = None

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (kg), body_height (cm), id, print, or a line on or off; ValueError if it cannot."""
        if kind == "id" and value.isalnum() and len(value) <= _ID_WIDTH:
            self._patient = value
        elif kind == "body_height" and unit in ("", "cm") and number(value, kind) > 0:
            self._cm = number(value, kind)
        else:
            super().set_value(kind, value, unit)

    def _said(self, at_us: int) -> bytes:
        shown, by_itself = self._shown(at_us), self._switched["print"] == "by_itself"
        if not shown.still:
            return b""
        if shown.net < _PERSON_KG:
            if by_itself:
                self._recorded = None
            return b""
        if self._recorded is not None and round(self._recorded.kg, 2) == round(shown.net, 2):
            return b""
        self._recorded = Recorded(shown.net, self._cm, self._patient, "1")
        return printed(self._recorded, self._lines()) if by_itself else b""

    def _lines(self) -> frozenset[str]:
        return frozenset(line for line in LINES if self._switched.get(line) != "off")
