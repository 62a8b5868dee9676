"""Sample -> Reading: canonical units, our words. Pure; the only bridge between the two vocabularies.

1. Same unit: the device's digits. Other unit: rounded so that converting back gives what the display showed.
2. `exact` is never rounded; it is what is validated.
3. A unit is never guessed: what the vocabulary does not know is refused.
4. A simulator's marker takes the word `real` away, whatever the link says.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from drivers.contract import Measurement, Sample
from drivers.models import DeviceModel
from gateway.reading import Device, Measured, Mode, Modifier, Reading, Status, Times, Vital
from gateway.vocabulary import CARRIED_FLAGS, KINDS, UNITS, to_canonical

_SIMULATOR_MARKER = "SIM-"
_WORD_LIMIT = 40  # a driver's word in an error message: long enough for every UCUM code


class UnknownUnit(Exception):
    """A driver named a kind or a unit that the vocabulary does not have: the driver's fault, not the device's."""


def normalize(
    sample: Sample, *, model: DeviceModel, device: Device, mode: Mode, times: Times, reading_id: UUID
) -> Reading:
    """Answer the reading, not yet validated. Raises UnknownUnit for a kind or unit that is not in the vocabulary."""
    if sample.device_user is not None:
        device = replace(device, user=sample.device_user)
    vitals = tuple(_vital(measurement, model) for measurement in sample.measurements)
    modifiers = {name: _modifier(m, model) for name, m in sample.modifiers.items() if not _says_nothing(name, m)}
    flags = [flag for flag in dict.fromkeys(sample.flags) if flag in CARRIED_FLAGS]
    if sample.site is not None:
        modifiers["site"] = Modifier(sample.site, "device")
    if "tare" in modifiers and "net" not in flags:
        flags.append("net")
    return Reading(
        id=reading_id,
        device=device,
        mode=Mode.TEST if mode is Mode.REAL and _is_simulated(device) else mode,
        times=times,
        vitals=vitals,
        flags=tuple(flags),
        modifiers=modifiers,
        raw=sample.raw,
    )


def display_step(kind: str, value: Decimal, unit: str, model: DeviceModel) -> Fraction:
    """Answer the device's step in `unit`: the model's row, or else the last digit sent. `value` is finite.

    A value between the row's steps disproves the row for this device; then its digits count.
    """
    told = model.steps.get(kind, {}).get(unit)
    if told is not None and told > 0 and (Fraction(value) / Fraction(told)).denominator == 1:
        return Fraction(told)
    return Fraction(10) ** int(value.as_tuple().exponent)


def _vital(measurement: Measurement, model: DeviceModel) -> Vital:
    kind = KINDS.get(measurement.kind)
    unit = UNITS.get(measurement.unit)
    if kind is None or unit is None or unit.canonical != kind.unit:
        raise _unknown_unit(measurement, model)
    measured = Measured(measurement.value, measurement.unit)
    if not measurement.value.is_finite():
        # Codecs leave such a number out. One that does not must not end the device's session.
        return Vital(
            measurement.kind, None, None, kind.unit, measured, "error", Status.INVALID, reasons=("not_a_number",)
        )
    exact = to_canonical(measurement.value, measurement.unit)
    return Vital(measurement.kind, _canonical_digits(measurement, exact, model), exact, kind.unit, measured)


def _modifier(measurement: Measurement, model: DeviceModel) -> Modifier:
    unit = UNITS.get(measurement.unit)
    if unit is None:
        raise _unknown_unit(measurement, model)
    exact = to_canonical(measurement.value, measurement.unit)
    return Modifier(
        value=_canonical_digits(measurement, exact, model),
        source="device",
        unit=unit.canonical,
        measured=Measured(measurement.value, measurement.unit),
    )


def _canonical_digits(measurement: Measurement, exact: Fraction, model: DeviceModel) -> Decimal:
    unit = UNITS[measurement.unit]
    if measurement.unit == unit.canonical:
        # 1.2E+2 is a device's way (IEEE 11073 FLOAT) of saying 120; no chart should have to read exponents.
        return measurement.value if int(measurement.value.as_tuple().exponent) <= 0 else Decimal(int(measurement.value))
    return _rounded(exact, display_step(measurement.kind, measurement.value, measurement.unit, model) * unit.factor)


def _rounded(exact: Fraction, step: Fraction) -> Decimal:
    """Round half-even to the largest power of ten not above `step`."""
    exponent = len(str(step.numerator)) - len(str(step.denominator))
    if Fraction(10) ** exponent > step:
        exponent -= 1
    quanta = round(exact / Fraction(10) ** exponent)
    if exponent > 0:
        return Decimal(quanta * 10**exponent)
    # From its parts: arithmetic would round to the context's precision.
    return Decimal((int(quanta < 0), tuple(map(int, str(abs(quanta)))), exponent))


def _says_nothing(name: str, measurement: Measurement) -> bool:
    return not measurement.value.is_finite() or (name == "tare" and measurement.value == 0)


def _is_simulated(device: Device) -> bool:
    return any(text is not None and text.startswith(_SIMULATOR_MARKER) for text in (device.user, device.serial))


def _unknown_unit(measurement: Measurement, model: DeviceModel) -> UnknownUnit:
    return UnknownUnit(
        f"driver {model.driver} ({model.model}) said {measurement.kind[:_WORD_LIMIT]!r} "
        f"in {measurement.unit[:_WORD_LIMIT]!r}, which gateway/vocabulary.py does not know: a defect of the driver, "
        f"not of the device or its cable; keep the frame and report it"
    )
