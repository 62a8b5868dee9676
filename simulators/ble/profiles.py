"""What a health device puts on the air: the number formats and records of the Bluetooth SIG's services.

1. Digits are kept: 36.8 goes out as 368 × 10⁻¹, 36.80 as 3680 × 10⁻². Nothing passes through a binary float.
2. None is NaN, "no number": what a device sends for a measurement that failed.
3. All fields are little-endian (Bluetooth Core Specification, vol. 3, part G, 2.4).
"""

from __future__ import annotations

import struct
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, IntFlag

# Assigned numbers, 16 bits each.
CURRENT_TIME_SERVICE = 0x1805
HEALTH_THERMOMETER = 0x1809
HEART_RATE = 0x180D
DEVICE_INFORMATION = 0x180A
BATTERY = 0x180F
BLOOD_PRESSURE = 0x1810
PULSE_OXIMETER = 0x1822
BODY_COMPOSITION = 0x181B
USER_DATA = 0x181C
WEIGHT_SCALE = 0x181D
DATE_TIME = 0x2A08
BATTERY_LEVEL = 0x2A19
TEMPERATURE_MEASUREMENT = 0x2A1C
MODEL_NUMBER = 0x2A24
SERIAL_NUMBER = 0x2A25
FIRMWARE_REVISION = 0x2A26
MANUFACTURER_NAME = 0x2A29
CURRENT_TIME = 0x2A2B
BLOOD_PRESSURE_MEASUREMENT = 0x2A35
HEART_RATE_MEASUREMENT = 0x2A37
BLOOD_PRESSURE_FEATURE = 0x2A49
PLX_SPOT_CHECK = 0x2A5E
PLX_CONTINUOUS = 0x2A5F
PLX_FEATURES = 0x2A60
BODY_COMPOSITION_MEASUREMENT = 0x2A9C
WEIGHT_MEASUREMENT = 0x2A9D
WEIGHT_SCALE_FEATURE = 0x2A9E
USER_CONTROL_POINT = 0x2A9F


class BloodPressureStatus(IntFlag):
    """Measurement Status of 2A35 (Blood Pressure Service 1.1, 3.1.1.7)."""

    NOTHING = 0
    BODY_MOVEMENT = 1 << 0
    CUFF_LOOSE = 1 << 1
    IRREGULAR_PULSE = 1 << 2
    PULSE_ABOVE_RANGE = 1 << 3
    PULSE_BELOW_RANGE = 1 << 4
    POSITION_IMPROPER = 1 << 5


class TemperatureType(IntEnum):
    """Where it was taken: Temperature Type, 2A1D, also the last field of 2A1C."""

    NOT_SAID = 0  # reserved, and seen
    ARMPIT = 1
    BODY = 2
    EAR = 3
    FINGER = 4
    GASTRO_INTESTINAL = 5
    MOUTH = 6
    RECTUM = 7
    TOE = 8
    TYMPANUM = 9


def sfloat(value: Decimal | None) -> bytes:
    """IEEE 11073-20601 SFLOAT, 2 bytes: 4-bit exponent, 12-bit mantissa. ValueError if the digits do not fit."""
    return _scaled(value, exponent_bits=4, mantissa_bits=12)


def float32(value: Decimal | None) -> bytes:
    """IEEE 11073-20601 FLOAT, 4 bytes: 8-bit exponent, 24-bit mantissa. ValueError if the digits do not fit."""
    return _scaled(value, exponent_bits=8, mantissa_bits=24)


def date_time(when: datetime | None) -> bytes:
    """Date Time, 2A08, 7 bytes, to the second; None is the unknown date: year, month and day zero."""
    if when is None:
        return bytes(7)
    return struct.pack("<HBBBBB", when.year, when.month, when.day, when.hour, when.minute, when.second)


def read_date_time(data: bytes) -> datetime:
    """The time that a host writes to 2A08. ValueError if it is not 7 bytes or no date."""
    if len(data) != 7:
        raise ValueError(f"a Date Time has 7 bytes, this {len(data)}")
    year, month, day, hour, minute, second = struct.unpack("<HBBBBB", data)
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - a device's clock knows no zone


def current_time(when: datetime | None) -> bytes:
    """Current Time, 2A2B, 10 bytes: to 1/256 s, with the day of the week, never adjusted; None is the unknown date."""
    if when is None:
        return bytes(10)
    return date_time(when) + bytes([when.isoweekday(), when.microsecond * 256 // 1_000_000, 0])


def read_current_time(data: bytes) -> datetime:
    """The time that a host writes to 2A2B, to the second. ValueError if it is not 10 bytes or no date."""
    if len(data) != 10:
        raise ValueError(f"a Current Time has 10 bytes, this {len(data)}")
    return read_date_time(data[:7])


def beurer_record(systolic: int, diastolic: int, pulse: int, *, taken: datetime, user: int, status: int) -> bytes:
    """2A35 as a BM85 sends it: flags 0x56, no mean pressure, a user unannounced, pulse and status big-endian."""
    pressures = sfloat(Decimal(systolic)) + sfloat(Decimal(diastolic)) + bytes(2)
    tail = sfloat(Decimal(pulse))[::-1] + bytes([user]) + struct.pack(">H", status)
    return bytes([0x56]) + pressures + date_time(taken) + tail


def blood_pressure_measurement(
    systolic: Decimal | None,
    diastolic: Decimal | None,
    mean: Decimal | None,
    *,
    kilopascal: bool = False,
    taken: datetime | None = None,
    pulse: Decimal | None = None,
    with_pulse: bool = True,
    user: int | None = None,
    status: BloodPressureStatus | None = None,
) -> bytes:
    """Blood Pressure Measurement, 2A35: mmHg or kPa; `taken`, `user` and `status` only where they are given."""
    flags = (
        kilopascal << 0
        | (taken is not None) << 1
        | with_pulse << 2
        | (user is not None) << 3
        | (status is not None) << 4
    )
    return b"".join(
        (
            bytes([flags]),
            sfloat(systolic),
            sfloat(diastolic),
            sfloat(mean),
            date_time(taken) if taken is not None else b"",
            sfloat(pulse) if with_pulse else b"",
            bytes([user]) if user is not None else b"",
            struct.pack("<H", status) if status is not None else b"",
        )
    )


def temperature_measurement(
    temperature: Decimal | None,
    *,
    fahrenheit: bool = False,
    taken: datetime | None = None,
    site: TemperatureType | None = None,
) -> bytes:
    """Temperature Measurement, 2A1C: °C or °F; `taken` and `site` only where they are given."""
    flags = fahrenheit << 0 | (taken is not None) << 1 | (site is not None) << 2
    return b"".join(
        (
            bytes([flags]),
            float32(temperature),
            date_time(taken) if taken is not None else b"",
            bytes([site]) if site is not None else b"",
        )
    )


def weight_measurement(
    weight: Decimal | None,
    *,
    step: Decimal,
    pounds: bool = False,
    taken: datetime | None = None,
    user: int | None = None,
    bmi_and_height: tuple[int, int] | None = None,
    reserved: int = 0,
) -> bytes:
    """Weight Measurement, 2A9D; None: unsuccessful. One count is worth `step`; `bmi_and_height` are counts.

    ValueError if the weight lies between two counts, or has too many.
    """
    flags = (
        pounds << 0 | (taken is not None) << 1 | (user is not None) << 2 | (bmi_and_height is not None) << 3 | reserved
    )
    return b"".join(
        (
            struct.pack("<BH", flags, 0xFFFF if weight is None else _counted(weight, step)),
            date_time(taken) if taken is not None else b"",
            bytes([user]) if user is not None else b"",
            struct.pack("<HH", *bmi_and_height) if bmi_and_height is not None else b"",
        )
    )


def body_composition_measurement(
    body_fat: int, *fields: tuple[int, int], taken: datetime | None = None, user: int | None = None
) -> bytes:
    """Body Composition Measurement, 2A9C, metric: `body_fat` in tenths of a per cent, 0xFFFF unsuccessful.

    `fields`: the bit of the flags (3 to 11, rising) and the counts of each.
    """
    flags = (taken is not None) << 1 | (user is not None) << 2 | sum(1 << bit for bit, _ in fields)
    return b"".join(
        (
            struct.pack("<HH", flags, body_fat),
            date_time(taken) if taken is not None else b"",
            bytes([user]) if user is not None else b"",
            *(struct.pack("<H", count) for _, count in fields),
        )
    )


def _counted(value: Decimal, step: Decimal) -> int:
    counts = value / step
    if counts != counts.to_integral_value() or not 0 <= counts < 0xFFFF:
        raise ValueError(f"{value} is no weight in steps of {step} that 16 bits hold")
    return int(counts)


def _scaled(value: Decimal | None, *, exponent_bits: int, mantissa_bits: int) -> bytes:
    nan = (1 << mantissa_bits - 1) - 1
    if value is None:
        mantissa, exponent = nan, 0
    else:
        if not value.is_finite():
            raise ValueError(f"{value} is no number; None is NaN on the wire")
        exponent = int(value.as_tuple().exponent)
        mantissa = int(value.scaleb(-exponent))
        # The two mantissas at either end (and -2^n itself) are NaN, NRes, ±INF and reserved.
        if abs(mantissa) > nan - 2 or not -(1 << exponent_bits - 1) <= exponent < 1 << exponent_bits - 1:
            raise ValueError(f"{value} has too many digits, or too large an exponent, for {mantissa_bits} bits")
    packed = (exponent & (1 << exponent_bits) - 1) << mantissa_bits | mantissa & (1 << mantissa_bits) - 1
    return packed.to_bytes((exponent_bits + mantissa_bits) // 8, "little")
