"""What cuffs, thermometers and oximeters share: the vitals of whoever is at the device, and a clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from simulators.serial.load import number

# Vitals of nobody in particular, in the contract's units.
USUAL = {
    "systolic": 120.0,
    "diastolic": 80.0,
    "mean_arterial_pressure": 93.0,
    "pulse_rate": 72.0,
    "oxygen_saturation": 97.0,
    "body_temperature": 37.0,
    "body_weight": 75.0,
    "body_height": 170.0,
}
_UNITS = {
    "systolic": "mm[Hg]",
    "diastolic": "mm[Hg]",
    "mean_arterial_pressure": "mm[Hg]",
    "pulse_rate": "/min",
    "oxygen_saturation": "%",
    "body_temperature": "Cel",
    "body_weight": "kg",
    "body_height": "cm",
}
_SWITCHED_ON = datetime(2026, 1, 5, 8, 0, 0)  # noqa: DTZ001 - a device's clock has no zone


class Vitals:
    """What a device would measure now, by kind."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._values = {kind: USUAL[kind] for kind in kinds}

    def __getitem__(self, kind: str) -> float:
        return self._values[kind]

    def set(self, kind: str, value: str, unit: str) -> None:
        """Set one; a mean pressure follows from the other two unless it is set after them. ValueError if it cannot."""
        if kind not in self._values:
            raise ValueError(f"this device cannot be set to {kind}={value}{unit} ({', '.join(self._values)})")
        if unit == "[degF]" and kind == "body_temperature":
            self._values[kind] = (number(value, kind) - 32) * 5 / 9
            return
        if unit not in ("", _UNITS[kind]):
            raise ValueError(f"{kind} is in {_UNITS[kind]} here, not in {unit}")
        self._values[kind] = number(value, kind)
        if kind in ("systolic", "diastolic") and "mean_arterial_pressure" in self._values:
            systolic, diastolic = self._values["systolic"], self._values["diastolic"]
            self._values["mean_arterial_pressure"] = diastolic + (systolic - diastolic) / 3


class Clock:
    """A device's clock: what it shows so many microseconds after it was switched on. It is never right."""

    def __init__(self, shows: datetime = _SWITCHED_ON) -> None:
        self._shows = shows

    def at(self, us: int) -> datetime:
        """Answer what it shows, without fractions of a second."""
        return (self._shows + timedelta(microseconds=us)).replace(microsecond=0)
