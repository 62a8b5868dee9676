"""Blood Pressure Profile, service 1810: a cuff's records (2A35), its progress (2A36), what it can tell (2A49).

2A35 and 2A36, little-endian; a field in brackets is there if its flag is set, in this order:

    flags 8 | systolic, diastolic, mean pressure: SFLOAT each | [date time 7 bytes] [pulse SFLOAT] [user 8] [status 16]
    flags: bit 0 kPa (else mm[Hg]), 1 date time, 2 pulse, 3 user, 4 status; bits 5 to 7 reserved

1. The length that the flags promise is the length that came, or the value is refused. Vendors send frames of their own
   on 2A35 (0xFE, 20 bytes): read on, they give plausible nonsense. Beurer's BM48, BM59, BM85 and ELITE 900 send a user
   that no flag announces, pulse and status big-endian, and a mean pressure of 0 for none: their rows say so, by name.
2. Reserved bits are set in practice and mean nothing.
3. A pressure is left out where the cuff says NaN, NRes or reserved. A record without systolic and diastolic is a failed
   measurement, whatever else stands in it. An infinite one of the two is over or under the range, a notice: the other
   alone would hide it. A mean pressure or a pulse that is no number is ordinary: it is left out.
4. 2A36 is the pressure in the cuff: never a vital.
5. `device_user` is the slot of the cuff's memory in decimal, as the device said it: no ID that someone keyed in, and
   no claim about who was measured. 255 is "not known"; 170 is a slot like others.

Source: Bluetooth SIG, Blood Pressure Service 1.1.1 and GATT Specification Supplement. Failed records, reserved bits:
captures in HEADS-project/ThingML-BLE and stackoverflow.com/questions/78176577. Beurer:
derdilla/blood-pressure-monitor-fl #735, #737, ble_measurement_data_test.dart (captures of a BM85). Frames of vendors:
pauldemarco/flutter_blue#687.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Literal

from drivers.ble import date_time
from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Rejected, Sample
from drivers.ieee11073 import SFLOAT_BYTES, Special, decode_sfloat
from drivers.models import Quirks

_KPA, _DATE_TIME, _PULSE, _USER, _STATUS = (1 << bit for bit in range(5))
_OPTIONAL = ((_DATE_TIME, date_time.LENGTH), (_PULSE, SFLOAT_BYTES), (_USER, 1), (_STATUS, 2))
_PRESSURES = ("systolic", "diastolic", "mean_arterial_pressure")
_USER_UNKNOWN = 0xFF
_OUT_OF_RANGE = {
    Special.POSITIVE_INFINITY: ("over_range", "a pressure is above what the cuff can measure"),
    Special.NEGATIVE_INFINITY: ("under_range", "a pressure is below what the cuff can measure"),
}

_STATUS_FLAGS = {0: "body_movement", 1: "cuff_loose", 2: "irregular_pulse", 5: "position_improper"}
_PULSE_RANGE_SHIFT, _PULSE_RANGE_MASK = 3, 0b11
_PULSE_ABOVE, _PULSE_BELOW = 0b01, 0b10  # 0b11 is reserved

_FEATURES = (
    "body_movement",
    "cuff_fit",
    "irregular_pulse",
    "pulse_rate_range",
    "measurement_position",
    "multiple_bonds",
    "e2e_crc",
    "user_data_service",
    "user_facing_time",
)


@dataclass(frozen=True, slots=True)
class _Record:
    """The fields of a 2A35 or 2A36 value; None for what it does not have."""

    unit: str
    pressures: tuple[Decimal | Special, ...]
    pulse: Decimal | Special | None
    device_time: datetime | None
    user: int | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where records of some models differ: fields that are always there, the byte order of pulse and status."""

    always: int = 0
    tail: Literal["little", "big"] = "little"
    no_mean: Decimal | None = None


_LAYOUTS = {"standard": _Layout(), "beurer": _Layout(always=_USER, tail="big", no_mean=Decimal(0))}


def decode_measurement(value: bytes, layout: _Layout = _LAYOUTS["standard"]) -> Event:
    """2A35: answer the record as a Sample, or why there is none."""
    record = _record(value, layout)
    if isinstance(record, Rejected):
        return record
    systolic, diastolic, _ = record.pressures
    if isinstance(systolic, Special) and isinstance(diastolic, Special):
        return Notice("measurement_failed", ", ".join(("the cuff could not measure", *record.flags)), value)
    for pressure in (systolic, diastolic):
        if isinstance(pressure, Special) and pressure in _OUT_OF_RANGE:
            return Notice(*_OUT_OF_RANGE[pressure], value)
    numbers = [*zip(_PRESSURES, record.pressures, [record.unit] * 3, strict=True), ("pulse_rate", record.pulse, "/min")]
    return Sample(
        tuple(Measurement(kind, number, unit) for kind, number, unit in numbers if isinstance(number, Decimal)),
        record.flags,
        device_time=record.device_time,
        device_user=None if record.user in (None, _USER_UNKNOWN) else str(record.user),
        raw=value,
    )


def decode_intermediate_cuff_pressure(value: bytes) -> Event:
    """2A36: answer that the cuff is at work; its pressure is no vital."""
    record = _record(value, _LAYOUTS["standard"])
    return record if isinstance(record, Rejected) else Notice("measuring", "the cuff is measuring", value)


def decode_feature(value: bytes) -> Event:
    """2A49: answer what the cuff can tell, by the names of the supplement; 16 bits, reserved ones ignored."""
    if len(value) != 2:
        return Rejected("length", value)
    bits = int.from_bytes(value, "little")
    return Notice("feature", " ".join(name for bit, name in enumerate(_FEATURES) if bits >> bit & 1), value)


# What a session subscribes to.
SERVICES = ("1810",)
RECORDS = ("2A35",)

_CODECS: Mapping[str, CharacteristicCodec] = {
    "2A35": decode_measurement,
    "2A36": decode_intermediate_cuff_pressure,
    "2A49": decode_feature,
}


def characteristics(quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codec of each characteristic that this driver reads."""
    return {**_CODECS, "2A35": partial(decode_measurement, layout=_LAYOUTS[quirks.pressure_record])}


def _record(value: bytes, layout: _Layout) -> _Record | Rejected:
    bits = value[0] | layout.always if value else 0
    fixed = 1 + SFLOAT_BYTES * len(_PRESSURES)
    field, end = {}, fixed
    for flag, length in _OPTIONAL:
        if bits & flag:
            field[flag] = value[end : end + length]
            end += length
    if len(value) != end:
        return Rejected("length", value)
    try:
        device_time = date_time.decode(field[_DATE_TIME]) if _DATE_TIME in field else None
    except ValueError:
        return Rejected("invalid_date_time", value)
    pressures = [decode_sfloat(value[at : at + SFLOAT_BYTES]) for at in range(1, fixed, SFLOAT_BYTES)]
    if pressures[-1] == layout.no_mean:
        pressures[-1] = Special.NAN
    little = slice(None, None, 1 if layout.tail == "little" else -1)
    return _Record(
        unit="kPa" if bits & _KPA else "mm[Hg]",
        pressures=tuple(pressures),
        pulse=decode_sfloat(field[_PULSE][little]) if _PULSE in field else None,
        device_time=device_time,
        user=field[_USER][0] if _USER in field else None,
        flags=_status_flags(int.from_bytes(field.get(_STATUS, b""), layout.tail)),
    )


def _status_flags(status: int) -> tuple[str, ...]:
    flags = [name for bit, name in _STATUS_FLAGS.items() if status >> bit & 1]
    if status >> _PULSE_RANGE_SHIFT & _PULSE_RANGE_MASK in (_PULSE_ABOVE, _PULSE_BELOW):
        flags.append("pulse_out_of_range")
    return tuple(flags)
