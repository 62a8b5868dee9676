"""A patient who is not there: vitals that move with time, from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

_US = 1_000_000
_RETURN = 0.05  # share of the way back to rest in each second: nobody walks off for ever


@dataclass(frozen=True, slots=True)
class Vitals:
    """What could be measured at one instant: kg, cm, degrees Celsius, mmHg, per minute, percent."""

    weight_kg: float
    height_cm: float
    temperature_c: float
    systolic: float
    diastolic: float
    pulse: float
    spo2: float
    respiratory_rate: float


# mean, spread between people, drift in one second
_REST = {
    "temperature_c": (36.8, 0.3, 0.002),
    "systolic": (124.0, 14.0, 0.4),
    "pulse_pressure": (44.0, 5.0, 0.2),
    "pulse": (74.0, 9.0, 0.5),
    "spo2": (97.5, 0.8, 0.05),
    "respiratory_rate": (15.0, 2.0, 0.1),
}


class Patient:
    """Same seed and same whole seconds, same vitals: however the time is cut."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.height_cm = round(min(205.0, max(145.0, self._random.gauss(170.0, 10.0))), 1)
        bmi = min(45.0, max(17.0, self._random.gauss(27.0, 5.0)))
        self.weight_kg = round(bmi * (self.height_cm / 100) ** 2, 1)
        self._rest = {name: self._random.gauss(mean, spread) for name, (mean, spread, _) in _REST.items()}
        self._state = dict(self._rest)
        self._now_us = 0

    @property
    def vitals(self) -> Vitals:
        """The vitals now."""
        state = self._state
        return Vitals(
            weight_kg=self.weight_kg,
            height_cm=self.height_cm,
            temperature_c=state["temperature_c"],
            systolic=state["systolic"],
            diastolic=state["systolic"] - max(15.0, state["pulse_pressure"]),
            pulse=state["pulse"],
            spo2=min(100.0, state["spo2"]),
            respiratory_rate=state["respiratory_rate"],
        )

    def advance(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        before = self._now_us // _US
        self._now_us += round(dt_s * _US)
        for _ in range(self._now_us // _US - before):
            for name, (_, _, drift) in _REST.items():
                back = _RETURN * (self._rest[name] - self._state[name])
                self._state[name] += back + self._random.gauss(0.0, drift)
