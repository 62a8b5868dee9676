"""Ranges of plausibility, as data (config/ranges.yaml, read by config.py); validate.py applies them.

They are about the data, never about the patient: outside `absolute` no living body is (the number is wrong),
outside `unusual` a person should look. Both in the canonical unit of the kind, both ends included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Band:
    """From `low` to `high`, both included."""

    __pydantic_config__: ClassVar = _STRICT

    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class KindRanges:
    """The two bands of one kind."""

    __pydantic_config__: ClassVar = _STRICT

    absolute: Band
    unusual: Band


@dataclass(frozen=True, slots=True)
class CrossChecks:
    """Limits that bind several vitals of one reading.

    `pulse_pressure_unusual`: systolic - diastolic, mm[Hg]. `mean_tolerance`: how far outside diastolic..systolic
    the mean may lie, mm[Hg]. `mean_fraction_unusual`: (mean - diastolic) / pulse pressure. `bmi_tolerance`: kg/m2.
    """

    __pydantic_config__: ClassVar = _STRICT

    pulse_pressure_unusual: Band
    mean_tolerance: Decimal
    mean_fraction_unusual: Band
    bmi_tolerance: Decimal


@dataclass(frozen=True, slots=True)
class Ranges:
    """config/ranges.yaml as a whole."""

    __pydantic_config__: ClassVar = _STRICT

    kinds: Mapping[str, KindRanges]
    cross: CrossChecks
