"""The numbers of a cuff's text record: two pressures, and a mean and a pulse if they are not zero. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Measurement


def measurements(found: re.Match[bytes]) -> tuple[Measurement, ...] | None:
    """Answer what the groups systolic, mean, diastolic (mm[Hg]) and pulse (/min) say; None if a pressure is zero."""
    systolic, mean, diastolic, pulse = (
        Decimal(found[name].decode("ascii")) for name in ("systolic", "mean", "diastolic", "pulse")
    )
    if not systolic or not diastolic:
        return None
    told = [Measurement("systolic", systolic, "mm[Hg]"), Measurement("diastolic", diastolic, "mm[Hg]")]
    if mean:
        told.append(Measurement("mean_arterial_pressure", mean, "mm[Hg]"))
    if pulse:
        told.append(Measurement("pulse_rate", pulse, "/min"))
    return tuple(told)
