"""Body Composition Profile, service 181B: what a scale works out of a body (2A9C), what it can tell (2A9B).

2A9C, little-endian; a field in brackets is there if its flag is set, in this order:

    flags 16 | body fat 16 | [date time 7 bytes] [user 8] [basal metabolism] [muscle %] [muscle mass] [fat free mass]
    [soft lean mass] [body water mass] [impedance] [weight] [height]: 16 bits each
    flags: bit 0 pounds and inches, 1 date time, 2 user, 3 to 11 the fields in this order, 12 more than one packet
    one count is 0.1 %, 1 kJ, 0.1 Ohm; masses and height as in weight_measurement.py, whose laws hold here too

1. Body fat FFFF is an unsuccessful measurement, whatever else stands there. Body fat 0 without a weight is a
   placeholder (of 36 values that a Beurer BF788 sent, 35 were): both are notices. Any other 0 is "not known".
2. A measurement in more than one packet is told and not put together: no source shows how its parts are told from
   those of the next, and one of them alone would be half a reading, or the same one twice.
3. Fat, weight and height are vitals. The rest are `modifiers`: what the scale worked out, and the impedance from which
   it did. No code system names them all (docs/decisions/0014).
4. More than 100 % of fat is another maker's frame: what a Mi scale sends on 2A9C has 13 bytes, as many as its first two
   promise by chance, and the year stands where the fat would.
5. It carries no time of its own in practice, and is a reading of its own, beside that of the weight.

Source: Bluetooth SIG, Body Composition Service 1.0 and GATT Specification Supplement. Placeholders:
KristianP26/ble-scale-sync#229. A frame of another maker under this number: oliexdev/openScale#392.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial

from drivers.ble import date_time, user_data, weight_measurement
from drivers.ble.weight_measurement import (
    UNSUCCESSFUL,
    counts,
    features,
    fields,
    number,
    sample_of,
    time_of,
)
from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Rejected
from drivers.models import Quirks

_IMPERIAL, _DATE_TIME, _USER = 1, 2, 4
_TENTH = Decimal("0.1")
_ALL = 1000  # 100 %
_PLAIN = {3: ("basal_metabolism", Decimal(1), "kJ"), 4: ("muscle_share", _TENTH, "%"), 9: ("impedance", _TENTH, "Ohm")}
_MASSES = {5: "muscle_mass", 6: "fat_free_mass", 7: "soft_lean_mass", 8: "body_water_mass"}
_WEIGHT, _HEIGHT, _MORE_PACKETS = 1 << 10, 1 << 11, 1 << 12
_FIXED = 4
_OPTIONAL = ((_DATE_TIME, date_time.LENGTH), (_USER, 1), *((1 << bit, 2) for bit in range(3, 12)))

_FEATURES = (
    *("timestamp", "multiple_users", "basal_metabolism", "muscle_percentage", "muscle_mass", "fat_free_mass"),
    *("soft_lean_mass", "body_water_mass", "impedance", "weight", "height"),
)


def decode_measurement(value: bytes, quirks: Quirks) -> Event:
    """2A9C: answer body fat, weight and height as a Sample, the rest as its modifiers; or why there is none."""
    bits = number(value[:2])
    field, end = fields(value, bits, _OPTIONAL, _FIXED)
    if quirks.composition_unread and len(value) >= end:
        return Notice("composition_not_read", "what this model sends of the body is not understood", value)
    if len(value) != end:
        return Rejected("length", value)
    try:
        device_time = time_of(field.get(_DATE_TIME))
    except ValueError:
        return Rejected("invalid_date_time", value)
    if bits & _MORE_PACKETS:
        return Notice("more_packets", "a body composition in more than one packet is not put together", value)
    count = {flag: number(found) for flag, found in field.items()}
    fat, weight = number(value[2:_FIXED]), count.get(_WEIGHT, 0)
    if UNSUCCESSFUL in (fat, weight):
        return Notice("measurement_failed", "the scale could not measure the body", value)
    if fat > _ALL:
        return Rejected("body_fat_above_100", value)
    if not fat and not weight:
        return Notice("placeholder", "the scale has no body composition to tell", value)
    worth = counts(quirks, imperial=bool(bits & _IMPERIAL))
    masses = {name: mass for bit, name in _MASSES.items() if (mass := count.get(1 << bit))}
    if worth.mass is None and (weight or masses):
        return Rejected("unknown_resolution", value)
    step = worth.mass or Decimal()
    measured = (
        Measurement("body_fat", fat * _TENTH, "%"),
        Measurement("body_weight", weight * step, worth.mass_unit),
        Measurement("body_height", count.get(_HEIGHT, 0) * worth.height, worth.height_unit),
    )
    told = {
        name: Measurement(name, known * size, unit)
        for bit, (name, size, unit) in _PLAIN.items()
        if (known := count.get(1 << bit))
    }
    told |= {name: Measurement(name, mass * step, worth.mass_unit) for name, mass in masses.items()}
    return sample_of(measured, device_time, field.get(_USER), value, quirks, told)


def decode_feature(value: bytes) -> Event:
    """2A9B: answer what the scale can tell, and its resolutions as it declares them."""
    return features(value, _FEATURES, "mass_resolution")


# What a session subscribes to: the first must be there, the others may.
SERVICES = ("181B", "181D")
RECORDS = ("2A9C", "2A9D")


def characteristics(quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codec of each characteristic that a scale with a radio has."""
    return {
        "2A9D": partial(weight_measurement.decode_measurement, quirks=quirks),
        "2A9E": weight_measurement.decode_feature,
        "2A9C": partial(decode_measurement, quirks=quirks),
        "2A9B": decode_feature,
        **user_data.CODECS,
    }
