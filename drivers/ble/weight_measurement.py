"""Weight Measurement (2A9D) and Weight Scale Feature (2A9E), service 181D; and the units that 2A9C shares with it.

2A9D, little-endian; a field in brackets is there if its flag is set, in this order:

    flags 8 | weight 16 | [date time 7 bytes] [user 8] [BMI 16, height 16]
    flags: bit 0 pounds and inches (else kg and m), 1 date time, 2 user, 3 BMI and height; bits 4 to 7 reserved
    one count is 0.005 kg or 0.01 [lb_av], 0.1 kg/m2, 0.001 m or 0.1 [in_i]

1. The length that the flags promise is the length that came, or the value is refused; reserved bits mean nothing.
2. Digits are the scale's: a count times the step, in decimal. What a count is worth never comes from 2A9E (a scale that
   declares 0.005 kg sends 0.05): it is the standard's, or the row says so by name (`kg_step`, `lb_step`).
3. Where BMI and height stand beside it, they say what the weight must be about. A weight that is less than half or more
   than twice of that was counted in other steps: the value is refused, never corrected.
4. BMI or height 0 is "not known": left out. Weight 0 is an empty scale, FFFF an unsuccessful measurement: notices.
5. `device_user` is the slot of the scale's memory in decimal, and no claim about who stood on it. 255 is "not known".

Source: Bluetooth SIG, Weight Scale Service 1.0 and GATT Specification Supplement. 0.05 kg: captures in
KristianP26/ble-scale-sync, tests/scales/renpho.test.ts. Below zero: Detecto 7550 manual 0065-0647, p. 56.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from drivers.ble import date_time
from drivers.contract import Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks

_IMPERIAL, _DATE_TIME, _USER, _BMI_AND_HEIGHT, _BELOW_ZERO = (1 << bit for bit in range(5))
_FIXED = 3
_OPTIONAL = ((_DATE_TIME, date_time.LENGTH), (_USER, 1), (_BMI_AND_HEIGHT, 4))
UNSUCCESSFUL = 0xFFFF
USER_UNKNOWN = 0xFF

# What is worked out from the person whom the scale has in its memory, whoever stands on it.
_OF_A_PROFILE = frozenset({"body_height", "bmi", "body_fat"})
_TENTH, _POUND, _INCH = Decimal("0.1"), Decimal("0.45359237"), Decimal("0.0254")
_METER_STEP, _INCH_STEP = Decimal("0.001"), Decimal("0.1")

_FEATURES = ("timestamp", "multiple_users", "bmi")
_MASS_RESOLUTIONS = (
    *(None, "0.5kg/1lb", "0.2kg/0.5lb", "0.1kg/0.2lb", "0.05kg/0.1lb", "0.02kg/0.05lb", "0.01kg/0.02lb"),
    "0.005kg/0.01lb",
)
_HEIGHT_RESOLUTIONS = (None, "0.01m/1in", "0.005m/0.5in", "0.001m/0.1in")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one count is worth: steps in the units that a flag of the value names. `mass` None: nobody knows."""

    mass: Decimal | None
    mass_unit: str
    height: Decimal
    height_unit: str


def counts(quirks: Quirks, *, imperial: bool) -> Counts:
    """Answer what one count of this model is worth."""
    if imperial:
        return Counts(quirks.lb_step, "[lb_av]", _INCH_STEP, "[in_i]")
    return Counts(quirks.kg_step, "kg", _METER_STEP, "m")


def decode_measurement(value: bytes, quirks: Quirks) -> Event:
    """2A9D: answer the weight, and what stands beside it, as a Sample; or why there is none."""
    bits = value[0] if value else 0
    field, end = fields(value, bits, _OPTIONAL, _FIXED)
    if len(value) != end:
        return Rejected("length", value)
    try:
        device_time = time_of(field.get(_DATE_TIME))
    except ValueError:
        return Rejected("invalid_date_time", value)
    count = number(value[1:3])
    if count == UNSUCCESSFUL:
        return Notice("measurement_failed", "the scale could not weigh", value)
    if quirks.below_zero_bit and bits & _BELOW_ZERO:
        return Notice("below_zero", "less than nothing is on the scale: it was tared under a load", value)
    if not count:
        return Notice("zero_weight", "the scale is empty", value)
    worth = counts(quirks, imperial=bool(bits & _IMPERIAL))
    if worth.mass is None:
        return Rejected("unknown_resolution", value)
    beside = field.get(_BMI_AND_HEIGHT, bytes(4))
    measured = [
        Measurement("body_weight", count * worth.mass, worth.mass_unit),
        Measurement("bmi", number(beside[:2]) * _TENTH, "kg/m2"),
        Measurement("body_height", number(beside[2:]) * worth.height, worth.height_unit),
    ]
    return sample_of(measured, device_time, field.get(_USER), value, quirks)


def decode_feature(value: bytes) -> Event:
    """2A9E: answer what the scale can tell, and its resolutions as it declares them."""
    return features(value, _FEATURES, "weight_resolution")


def features(value: bytes, names: Sequence[str], mass: str) -> Event:
    """Answer what 32 bits say: `names` from bit 0, then the resolutions of `mass` and height; reserved ones ignored."""
    if len(value) != 4:
        return Rejected("length", value)
    bits = number(value)
    words = [name for bit, name in enumerate(names) if bits >> bit & 1]
    declared = bits >> len(names)
    words += _resolutions(declared, _MASS_RESOLUTIONS, mass)
    words += _resolutions(declared >> 4 & 0b111, _HEIGHT_RESOLUTIONS, "height_resolution")
    return Notice("feature", " ".join(words), value)


def fields(value: bytes, bits: int, optional: Sequence[tuple[int, int]], start: int) -> tuple[Mapping[int, bytes], int]:
    """Answer the fields that the flags announce, by their flag, and where the value must end."""
    found, end = {}, start
    for flag, length in optional:
        if bits & flag:
            found[flag] = value[end : end + length]
            end += length
    return found, end


def number(field: bytes) -> int:
    """Answer a field's number."""
    return int.from_bytes(field, "little")


def time_of(field: bytes | None) -> datetime | None:
    """Answer what a date time field shows. Raises ValueError for no date."""
    return None if field is None else date_time.decode(field)


def _resolutions(bits: int, known: Sequence[str | None], name: str) -> list[str]:
    """Answer the words for a resolution that a feature's low four bits declare; none for what is not specified."""
    index = bits & 0b1111
    declared = known[index] if index < len(known) else None
    return [] if declared is None else [f"{name}={declared}"]


def sample_of(
    measured: Iterable[Measurement],
    device_time: datetime | None,
    user: bytes | None,
    value: bytes,
    quirks: Quirks,
    modifiers: Mapping[str, Measurement] | None = None,
) -> Event:
    """Answer the Sample of what is not zero, or Rejected where weight, BMI and height contradict one another."""
    said = {one.kind: one for one in measured if one.value}
    if quirks.bmi_check and not _steps_fit(said):
        return Rejected("weight_contradicts_bmi", value)
    if not quirks.trust_height:
        said = {kind: one for kind, one in said.items() if kind not in ("body_height", "bmi")}
    of_a_profile = quirks.user_profile and not _OF_A_PROFILE.isdisjoint(said)
    return Sample(
        tuple(said.values()),
        ("user_profile",) if of_a_profile else (),
        device_time=device_time,
        device_user=None if user is None or user[0] == USER_UNKNOWN else str(user[0]),
        modifiers=modifiers or {},
        raw=value,
    )


def _steps_fit(said: Mapping[str, Measurement]) -> bool:
    if not {"body_weight", "bmi", "body_height"} <= said.keys():
        return True
    weight, height = said["body_weight"], said["body_height"]
    kilograms = weight.value * (_POUND if weight.unit == "[lb_av]" else 1)
    meters = height.value * (_INCH if height.unit == "[in_i]" else 1)
    expected = said["bmi"].value * meters * meters
    return expected / 2 <= kilograms <= expected * 2
