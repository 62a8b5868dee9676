"""What all scales share in the physical world: a load that takes a moment to settle, a beat, and what a kilogram is.

Time is whole microseconds since power-on, and what a load cell feels is a function of the instant alone. So the bytes
are the same however the caller cuts the time.
"""

from __future__ import annotations

import math
import random

US = 1_000_000
SETTLE_S = 1.0

# Exact: NIST Handbook 44, appendix C.
KG_PER = {"kg": 1.0, "g": 0.001, "lb": 0.45359237, "oz": 0.45359237 / 16}
_WIRE_UNITS = {"[lb_av]": "lb", "[oz_av]": "oz"}


class Beat:
    """The instants at which a device speaks."""

    def __init__(self, period_s: float) -> None:
        self._period_us = round(period_s * US)
        self.now_us = 0

    def advance(self, dt_s: float) -> list[int]:
        """Let `dt_s` seconds pass; answer the instants that fell into them."""
        if dt_s < 0:
            raise ValueError("time does not go back")
        before, self.now_us = self.now_us, self.now_us + round(dt_s * US)
        period = self._period_us
        return [n * period for n in range(before // period + 1, self.now_us // period + 1)]


class Load:
    """What stands on the platform, as the load cell feels it, in kilograms."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._from_kg = self._to_kg = 0.0
        self._phase = 0.0
        self.changed_us = -round(SETTLE_S * US)

    def put(self, kg: float, at_us: int) -> None:
        """Change the load to `kg`: it sways for SETTLE_S before it is still."""
        self._from_kg, self._to_kg, self.changed_us = self.felt(at_us), kg, at_us
        self._phase = self._random.uniform(0.0, math.tau)

    def felt(self, at_us: int) -> float:
        """Kilograms at this instant, on the way from one load to the next or still."""
        if self.still(at_us):
            return self._to_kg
        t = (at_us - self.changed_us) / US / SETTLE_S
        step = self._to_kg - self._from_kg
        sway = 0.05 * step * (1 - t) * math.sin(self._phase + 20 * t)
        # Never below both loads: a platform that empties is not pulled up.
        return max(self._to_kg - step * (1 - t) ** 3 + sway, min(self._from_kg, self._to_kg))

    def still(self, at_us: int) -> bool:
        """Whether the load has settled."""
        return at_us - self.changed_us >= SETTLE_S * US


def wire_unit(text: str, allowed: tuple[str, ...]) -> str:
    """Answer the scale's own word for a unit given so or in UCUM; ValueError names those `allowed`."""
    unit = _WIRE_UNITS.get(text, text)
    if unit not in allowed:
        raise ValueError(f"unit {text!r} is not one of this scale's ({', '.join(allowed)})")
    return unit


def number(text: str, what: str) -> float:
    """Answer a finite number; ValueError says of `what` it was not one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} must be a number, not {text!r}")
    return value
