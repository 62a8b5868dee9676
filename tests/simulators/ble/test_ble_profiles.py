"""Encoders against literal bytes that others published, and against the definition of the number formats."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.ble.profiles import (
    BloodPressureStatus,
    TemperatureType,
    blood_pressure_measurement,
    date_time,
    float32,
    read_date_time,
    sfloat,
    temperature_measurement,
)

TIMES = st.datetimes(min_value=datetime.fromisoformat("1582-01-01"), max_value=datetime.fromisoformat("9999-12-31"))


def test_numbers_that_others_published() -> None:
    # Bluetooth SIG Personal Health Devices Transcoding White Paper, 2.2.6: 114, and 36.4 as FLOAT.
    assert sfloat(Decimal(114)) == bytes.fromhex("7200")
    assert float32(Decimal("36.4")) == bytes.fromhex("6c0100ff")
    # A&D documentation, as quoted in obniz parts: 17.6.
    assert sfloat(Decimal("17.6")) == bytes.fromhex("b0f0")
    # stackoverflow.com/questions/60841331: 36.97.
    assert float32(Decimal("36.97")) == bytes.fromhex("710e00fe")
    assert (sfloat(None), float32(None)) == (bytes.fromhex("ff07"), bytes.fromhex("ffff7f00"))


def test_blood_pressures_that_others_published() -> None:
    # HEADS-project/ThingML-BLE, AND_Medical_UA651BLE.md: captures of a UA-651BLE, one of them a failed measurement.
    taken, status = datetime.fromisoformat("2017-01-16T12:39:54"), BloodPressureStatus.NOTHING
    captured = blood_pressure_measurement(
        Decimal(125), Decimal(80), Decimal(102), taken=taken, pulse=Decimal(64), status=status
    )
    assert captured == bytes.fromhex("167d0050006600e10701100c273640000000")
    failed_at = datetime.fromisoformat("2017-01-16T11:29:02")
    failed = blood_pressure_measurement(None, None, None, taken=failed_at, status=status)
    assert failed == bytes.fromhex("16ff07ff07ff07e10701100b1d02ff070000")
    # NordicSemiconductor/Android-BLE-Common-Library, BloodPressureMeasurementDataCallbackTest: kPa, no time.
    kilopascal = blood_pressure_measurement(
        Decimal("18.9"),
        Decimal(11),
        Decimal("15.9"),
        kilopascal=True,
        pulse=Decimal(60),
        status=BloodPressureStatus.CUFF_LOOSE | BloodPressureStatus.PULSE_BELOW_RANGE,
    )
    assert kilopascal == bytes.fromhex("15bdf00b009ff03c001200")
    # The same white paper: nothing but three pressures.
    plain = blood_pressure_measurement(Decimal(114), Decimal(114), Decimal(114), with_pulse=False)
    assert plain == bytes.fromhex("00720072007200")


def test_a_user_stands_between_pulse_and_status() -> None:
    flagged = blood_pressure_measurement(
        Decimal(1), Decimal(2), Decimal(3), pulse=Decimal(4), user=5, status=BloodPressureStatus.BODY_MOVEMENT
    )
    assert flagged == bytes.fromhex("1c 0100 0200 0300 0400 05 0100")


def test_temperatures_that_others_published() -> None:
    # stackoverflow.com/questions/45975736: a capture.
    taken = datetime.fromisoformat("2017-08-30T08:50:30")
    captured = temperature_measurement(Decimal("35.80"), taken=taken, site=TemperatureType.ARMPIT)
    assert captured == bytes.fromhex("06fc0d00fee107081e08321e01")
    # Bluetooth SIG Transcoding White Paper, 4.1.
    taken = datetime.fromisoformat("2010-12-18T15:00:00")
    assert temperature_measurement(Decimal("37.0"), taken=taken) == bytes.fromhex("02720100ffda070c120f0000")
    assert temperature_measurement(Decimal("98.5"), fahrenheit=True)[0] == 0x01


@given(mantissa=st.integers(-2045, 2045), exponent=st.integers(-8, 7))
def test_an_sfloat_is_mantissa_and_exponent(mantissa: int, exponent: int) -> None:
    packed = int.from_bytes(sfloat(Decimal(mantissa).scaleb(exponent)), "little")
    assert signed(packed & 0xFFF, 12) == mantissa
    assert signed(packed >> 12, 4) == exponent


@given(mantissa=st.integers(-(2**23 - 3), 2**23 - 3), exponent=st.integers(-128, 127))
def test_a_float_is_mantissa_and_exponent(mantissa: int, exponent: int) -> None:
    packed = int.from_bytes(float32(Decimal(mantissa).scaleb(exponent)), "little")
    assert signed(packed & 0xFFFFFF, 24) == mantissa
    assert signed(packed >> 24, 8) == exponent


@pytest.mark.parametrize("value", ["2046", "-2046", "204.65", "1E+8", "1E-9", "NaN", "Infinity"])
def test_what_does_not_fit_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=value.replace("+", r"\+")):
        sfloat(Decimal(value))


@given(TIMES)
def test_a_time_comes_back_to_the_second(when: datetime) -> None:
    assert read_date_time(date_time(when)) == when.replace(microsecond=0)


@pytest.mark.parametrize("data", ["dd07081a090a", "dd07081a090a1400", "dd070d1a090a14", "00000000000000"])
def test_what_is_no_time_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_date_time(bytes.fromhex(data))


def test_a_time_that_others_published() -> None:
    # A&D documentation, as quoted in obniz parts, ua651ble.
    assert date_time(datetime.fromisoformat("2013-08-26T09:10:20")) == bytes.fromhex("dd07081a090a14")
    assert date_time(None) == bytes(7)


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value
