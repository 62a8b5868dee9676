"""Reading x ranges -> Reading with statuses, reasons and a disposition. Pure, total, idempotent.

1. No vital is dropped, no value is clamped or changed. One exception, which the contract names: an invalid companion
   (the pulse beside a good pressure) loses its value and says `error`, so that the rest can be used; what the device
   said stays in `measured`. In a reading that its vitals hold, all values stay, for people to see.
2. What is examined is `exact`, before any rounding. A vital without a value is not examined.
3. A vital's status only ever gets worse and its reasons only grow. The reading's status, reasons and disposition are
   worked out anew each time: nobody else's word stands in them.
4. It marks data, never patients: the ranges say what a number can be, not what it should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from drivers.models import DeviceModel, MeasuringRange
from gateway.normalize import display_step
from gateway.ranges import Band, CrossChecks, Ranges
from gateway.reading import Disposition, Reading, Status, Vital
from gateway.vocabulary import DOUBTING_FLAGS, HOLDING_FLAGS, KINDS, OF_A_PROFILE, TEST_OVERLAP, UNITS, to_canonical


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reading is held against: ranges, the model's row, and the device's `unit` and `stored` of the YAML."""

    ranges: Ranges
    model: DeviceModel
    pinned_unit: str | None = None
    publish_stored: bool = False


def validate(reading: Reading, rules: Rules) -> Reading:
    """Answer the reading with its marks; never raises.

    `status` is the worst among the vitals that still have a value: a companion that lost its own no longer weighs.
    Where no vital has a value it is invalid. `reasons` are those of the reading as a whole, then those of the
    vitals that hold it.
    """
    vitals = [_mark(vital, _single_marks(vital, reading.flags, rules)) for vital in reading.vitals]
    cross_marks = list(_cross_marks(vitals, rules))
    vitals = [_mark(vital, [(s, r) for kind, s, r in cross_marks if kind == vital.kind]) for vital in vitals]
    holding = _holding_reasons(vitals)
    if not holding:
        vitals = [_without_value(vital) if vital.status is Status.INVALID else vital for vital in vitals]
    told = list(_reading_reasons(reading, rules))
    held = bool(holding) or any(reason != "stored_record" or not rules.publish_stored for reason in told)
    return replace(
        reading,
        vitals=tuple(vitals),
        status=max((v.status for v in vitals if v.value is not None), key=_BADNESS.__getitem__, default=Status.INVALID),
        disposition=Disposition.HOLD if held else Disposition.USABLE,
        reasons=tuple(dict.fromkeys(told + holding)),
    )


_BADNESS = {Status.VALID: 0, Status.QUESTIONABLE: 1, Status.INVALID: 2}

_Mark = tuple[Status, str]
_KindMark = tuple[str, Status, str]


def _mark(vital: Vital, marks: Sequence[_Mark]) -> Vital:
    if not marks:
        return vital
    status = max((vital.status, *(status for status, _ in marks)), key=_BADNESS.__getitem__)
    return replace(vital, status=status, reasons=tuple(dict.fromkeys((*vital.reasons, *(r for _, r in marks)))))


def _exact(vital: Vital) -> Fraction | None:
    if vital.value is None:
        return None
    if vital.exact is not None:
        return vital.exact
    return Fraction(vital.value) if vital.value.is_finite() else None


# One vital by itself


def _single_marks(vital: Vital, flags: Sequence[str], rules: Rules) -> list[_Mark]:
    exact = _exact(vital)
    if exact is None:
        return []
    marks = [(Status.QUESTIONABLE, flag) for flag in flags if flag in DOUBTING_FLAGS]
    if "user_profile" in flags and vital.kind in OF_A_PROFILE:
        marks.append((Status.QUESTIONABLE, "user_profile"))
    ranges = rules.ranges.kinds.get(vital.kind)
    if ranges is not None and (side := _outside(exact, ranges.absolute)):
        return [*marks, (Status.INVALID, f"{side}_absolute_range")]
    if side := _outside_model(vital, exact, rules.model.ranges.get(vital.kind, ())):
        marks.append((Status.QUESTIONABLE, f"{side}_model_range"))
    if ranges is not None and (side := _outside(exact, ranges.unusual)):
        marks.append((Status.QUESTIONABLE, f"{side}_unusual_range"))
    return marks


_limit = lru_cache(maxsize=256)(Fraction)  # the same few limits with every reading


def _outside(value: Fraction, band: Band | MeasuringRange) -> str | None:
    if value < _limit(band.low):
        return "below"
    return "above" if value > _limit(band.high) else None


def _outside_model(vital: Vital, exact: Fraction, ranges: Sequence[MeasuringRange]) -> str | None:
    """Compare in the unit that was measured if the manual gives the range in it: makers round theirs."""
    measured = vital.measured
    if measured is not None and measured.value.is_finite():
        for band in ranges:
            if band.unit == measured.unit:
                return _outside(Fraction(measured.value), band)
    for band in ranges:
        unit = UNITS.get(band.unit)
        if unit is not None and unit.canonical == vital.unit:
            if exact < to_canonical(band.low, band.unit):
                return "below"
            return "above" if exact > to_canonical(band.high, band.unit) else None
    return None


# Vitals against one another


def _cross_marks(vitals: Sequence[Vital], rules: Rules) -> Iterator[_KindMark]:
    """Compare what is not invalid by itself: a number that is no number contradicts nothing."""
    sound: dict[str, Vital] = {}
    for vital in vitals:
        if vital.status is not Status.INVALID and _exact(vital) is not None:
            sound.setdefault(vital.kind, vital)
    exact = {kind: value for kind, vital in sound.items() if (value := _exact(vital)) is not None}
    yield from _pressure_marks(exact, rules.ranges.cross)
    if rules.model.quirks.bmi_check and {"bmi", "body_weight", "body_height"} <= exact.keys():
        slack = {kind: _half_step(vital, rules.model) for kind, vital in sound.items()}
        if not _bmi_follows(exact, slack, Fraction(rules.ranges.cross.bmi_tolerance)):
            yield "bmi", Status.QUESTIONABLE, "bmi_does_not_match"


def _pressure_marks(exact: Mapping[str, Fraction], cross: CrossChecks) -> Iterator[_KindMark]:
    systolic, diastolic = exact.get("systolic"), exact.get("diastolic")
    if systolic is None or diastolic is None:
        return
    pulse_pressure = systolic - diastolic
    if pulse_pressure <= 0:
        yield "systolic", Status.INVALID, "diastolic_not_below_systolic"
        yield "diastolic", Status.INVALID, "diastolic_not_below_systolic"
        return
    if _outside(pulse_pressure, cross.pulse_pressure_unusual):
        yield "systolic", Status.QUESTIONABLE, "pulse_pressure_unusual"
        yield "diastolic", Status.QUESTIONABLE, "pulse_pressure_unusual"
    mean = exact.get("mean_arterial_pressure")
    if mean is None:
        return
    tolerance = Fraction(cross.mean_tolerance)
    if not diastolic - tolerance <= mean <= systolic + tolerance:
        yield "mean_arterial_pressure", Status.INVALID, "mean_not_between"
    elif _outside((mean - diastolic) / pulse_pressure, cross.mean_fraction_unusual):
        yield "mean_arterial_pressure", Status.QUESTIONABLE, "mean_unusual"


def _bmi_follows(exact: Mapping[str, Fraction], slack: Mapping[str, Fraction], tolerance: Fraction) -> bool:
    """Whether some weight, height and BMI that the display would round to these agree within `tolerance`, kg/m2."""
    weight, height = exact["body_weight"], exact["body_height"]
    shortest = height - slack["body_height"]
    if shortest <= 0:
        return True  # no height at all is within the display's step: nothing can be said
    lowest = (weight - slack["body_weight"]) / ((height + slack["body_height"]) / 100) ** 2
    highest = (weight + slack["body_weight"]) / (shortest / 100) ** 2
    tolerance += slack["bmi"]
    return lowest - tolerance <= exact["bmi"] <= highest + tolerance


def _half_step(vital: Vital, model: DeviceModel) -> Fraction:
    measured = vital.measured
    if measured is None or measured.unit not in UNITS or not measured.value.is_finite():
        return Fraction(0)
    return display_step(vital.kind, measured.value, measured.unit, model) * UNITS[measured.unit].factor / 2


# What becomes of them


def _is_primary(vital: Vital) -> bool:
    return vital.kind in KINDS and KINDS[vital.kind].primary


def _holding_reasons(vitals: Sequence[Vital]) -> list[str]:
    """Answer why the vitals hold the reading: an invalid primary, or nothing in it that can be believed; else none."""
    if any(vital.value is not None and vital.status is not Status.INVALID for vital in vitals):
        holding = [vital for vital in vitals if _is_primary(vital) and vital.status is Status.INVALID]
        return [reason for vital in holding for reason in vital.reasons or ("invalid",)]
    return [reason for vital in vitals for reason in vital.reasons] or ["no_valid_value"]


def _without_value(vital: Vital) -> Vital:
    return vital if vital.value is None else replace(vital, value=None, absent="error")


def _reading_reasons(reading: Reading, rules: Rules) -> Iterator[str]:
    if "stored" in reading.flags:
        yield "stored_record"
    if _is_of_unknown_age(reading, rules.model):
        yield "clock_unverifiable"
    yield from (flag for flag in reading.flags if flag in HOLDING_FLAGS or flag == TEST_OVERLAP)
    if rules.pinned_unit is not None and _contradicts(reading, rules.pinned_unit):
        yield "unit_conflict"
    if reading.possible_repeat_of is not None or "possible_repeat" in reading.flags:
        yield "possible_repeat"


def _is_of_unknown_age(reading: Reading, model: DeviceModel) -> bool:
    """Whether nobody can say that it was measured just now: neither its device's clock, nor who heard it settle."""
    if model.memory == "broadcast":
        return reading.times.taken_at is None
    return model.memory != "none" and reading.times.source == "gateway"


def _contradicts(reading: Reading, pinned_unit: str) -> bool:
    """Whether a vital of the pinned unit's dimension was measured in another unit."""
    pinned = UNITS.get(pinned_unit)
    return pinned is not None and any(
        vital.unit == pinned.canonical and vital.measured is not None and vital.measured.unit != pinned_unit
        for vital in reading.vitals
    )
