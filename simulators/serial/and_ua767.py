"""A&D UA-767PC: says its result once, ten hexadecimal characters with nothing before or behind them.

Source: a public JavaScript module UA767: status, systolic less diastolic, diastolic, pulse, mean pressure. What stands
behind a status that is no measurement is not known: zeros here.

It lies as the cuff does: nothing tells where a result begins or ends, nor when it was measured.
"""

from __future__ import annotations

from simulators.serial.cuff import Cuff, Measured

_GOOD, _FAILED = 0x80, 0x82
_GREATEST = 255


def result(status: int, systolic: float, diastolic: float, pulse: float, mean: float) -> bytes:
    """One result. ValueError if a number does not fit into its two characters."""
    numbers = [status, round(systolic) - round(diastolic), round(diastolic), round(pulse), round(mean)]
    if not all(0 <= number <= _GREATEST for number in numbers):
        raise ValueError("a number does not fit into two hexadecimal characters")
    return "".join(f"{number:02X}" for number in numbers).encode("ascii")


def and_ua767(seed: int = 0) -> Cuff:  # noqa: ARG001 - nothing here is by chance
    """One cuff."""
    return Cuff(_say, {})


def _say(measured: Measured) -> bytes:
    vitals = measured.vitals
    if measured.failed:
        return result(_FAILED, 0, 0, 0, 0)
    mean = vitals["mean_arterial_pressure"]
    return result(_GOOD, vitals["systolic"], vitals["diastolic"], vitals["pulse_rate"], mean)
