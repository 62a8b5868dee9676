"""The Pulse Oximeter Profile: each status bit, what is absent, and what the two characteristics make of the same."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.ble.pulse_oximeter import decode_continuous, decode_features, decode_spot_check
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks

FILE = Path(__file__).parents[1] / "vectors" / "ble" / "ble_pulse_oximeter.jsonl"
VECTORS = [json.loads(line, parse_float=Decimal) for line in FILE.read_text(encoding="utf-8").splitlines()]
CODECS = registry.characteristics("ble_pulse_oximeter", Quirks())

# Pulse Oximeter Service 1.0.1: bit of the status -> the notice that it is, or the flags beside the numbers
SENSOR_NOTICES = {
    0: "out_of_track",
    3: "inadequate_signal",
    7: "loss_of_pulse",
    9: "pulse_search",
    10: "interference",
    11: "sensor_off",
    12: "unrecognized_sensor",
    13: "sensor_off",
    14: "defective_sensor",
    15: "sensor_disconnected",
}
SENSOR_FLAGS: dict[int, set[str]] = {
    1: {"equipment_malfunction"},
    2: {"signal_irregular", "low_signal"},
    4: {"poor_signal", "low_signal"},
    5: {"low_perfusion", "low_signal"},
    6: {"erratic_signal", "low_signal"},
    8: {"questionable_pulse", "low_signal"},
}
MEASUREMENT_NOTICES = {
    6: "measuring",
    10: "demonstration",
    11: "demonstration",
    12: "calibrating",
    13: "no_data",
    15: "invalid_measurement",
}
MEASUREMENT_FLAGS = {5: "ongoing", 7: "validated", 8: "fully_qualified", 14: "questionable_measurement"}
SPECIALS = ["ff07", "0008", "fe07", "0208", "0108"]


def spot(measurement: int = 0, sensor: int = 0, numbers: str = "61004800") -> bytes:
    return b"\x06" + bytes.fromhex(numbers) + measurement.to_bytes(2, "little") + sensor.to_bytes(3, "little")


def stream(measurement: int = 0, sensor: int = 0, numbers: str = "61004800") -> bytes:
    return b"\x0c" + spot(measurement, sensor, numbers)[1:]


def both(measurement: int = 0, sensor: int = 0, numbers: str = "61004800") -> list[Event]:
    return [
        decode_spot_check(spot(measurement, sensor, numbers)),
        decode_continuous(stream(measurement, sensor, numbers)),
    ]


def said(event: Event) -> dict[str, Decimal]:
    assert isinstance(event, Sample), event
    return {f"{one.kind} {one.unit}": one.value for one in event.measurements}


@pytest.mark.parametrize(
    "vector", [pytest.param(row, id=row["hex"]) for row in VECTORS if row["characteristic"] != "0x2A60"]
)
def test_a_measurement_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    expected = vector["expected"]
    event = CODECS[vector["characteristic"].removeprefix("0x")](bytes.fromhex(vector["hex"]))
    assert said(event) == {"oxygen_saturation %": expected["spo2_pct"], "pulse_rate /min": expected["pulse_bpm"]}
    assert isinstance(event, Sample)
    assert {name: one.value for name, one in event.modifiers.items()} == (
        {"pulse_amplitude_index": expected["pulse_amplitude_index_pct"]}
        if "pulse_amplitude_index_pct" in expected
        else {}
    )
    stamp = None if expected.get("device_clock_not_set") else expected.get("timestamp")
    assert event.device_time == (None if stamp is None else datetime.fromisoformat(stamp))
    flags = {MEASUREMENT_FLAGS[bit] for bit in range(16) if expected.get("measurement_status", 0) >> bit & 1}
    for bit in range(24):
        if expected.get("sensor_status", 0) >> bit & 1:
            flags |= SENSOR_FLAGS[bit]
    assert set(event.flags) == flags


def test_the_features_are_told_by_name() -> None:
    (vector,) = [row for row in VECTORS if row["characteristic"] == "0x2A60"]
    told = Notice(
        "feature", "measurement_status sensor_status slow multiple_bonds", raw := bytes.fromhex(vector["hex"])
    )
    assert decode_features(raw) == told
    assert decode_features(b"\x0c\x00") == Notice("feature", "storage timestamp", b"\x0c\x00")
    assert decode_features(b"\x01\x00") == Rejected("length", b"\x01\x00"), "it promises a field"


@pytest.mark.parametrize("bit", range(24))
def test_each_bit_of_the_sensor_status(bit: int) -> None:
    for event in both(sensor=1 << bit):
        if bit in SENSOR_NOTICES:
            assert isinstance(event, Notice)
            assert event.code == SENSOR_NOTICES[bit]
        else:
            assert said(event) == {"oxygen_saturation %": 97, "pulse_rate /min": 72}
            assert isinstance(event, Sample)
            assert set(event.flags) == SENSOR_FLAGS.get(bit, set())


@pytest.mark.parametrize("bit", [bit for bit in range(16) if bit != 9])
def test_each_bit_of_the_measurement_status(bit: int) -> None:
    for event in both(measurement=1 << bit):
        if bit in MEASUREMENT_NOTICES:
            assert isinstance(event, Notice)
            assert event.code == MEASUREMENT_NOTICES[bit]
        else:
            assert isinstance(event, Sample)
            assert event.flags == ((MEASUREMENT_FLAGS[bit],) if bit in MEASUREMENT_FLAGS else ())


def test_from_storage_a_spot_check_is_stored_and_a_frame_of_the_stream_is_no_finger() -> None:
    check, frame = both(measurement=1 << 9)
    assert isinstance(check, Sample)
    assert check.flags == ("stored",)
    assert isinstance(frame, Notice)
    assert frame.code == "trend"


@given(
    measurement=st.integers(0, 0xFFFF),
    sensor=st.integers(0, 0xFFFFFF),
    notice=st.sampled_from([(bit, 0) for bit in MEASUREMENT_NOTICES] + [(0, bit) for bit in SENSOR_NOTICES]),
)
def test_status_comes_before_number_whatever_else_is_set(
    measurement: int, sensor: int, notice: tuple[int, int]
) -> None:
    of_measurement, of_sensor = notice
    if of_measurement:
        measurement |= 1 << of_measurement
    else:
        sensor |= 1 << of_sensor
    assert all(isinstance(event, Notice) for event in both(measurement, sensor))


@pytest.mark.parametrize("absent", [*SPECIALS, "0000"])
def test_a_saturation_that_is_no_number_is_no_measurement_and_such_a_pulse_is_left_out(absent: str) -> None:
    for event in both(numbers=absent + "4800"):
        assert isinstance(event, Notice)
        assert event.code == "no_data"
    for event in both(numbers="6100" + absent):
        assert said(event) == {"oxygen_saturation %": 97}


@pytest.mark.parametrize("numbers", ["65004800", "7f004800", "ff0f4800", "6100ff0f"])  # 101, 127, -1; pulse -1
def test_what_no_oximeter_can_mean_is_refused(numbers: str) -> None:
    assert both(numbers=numbers) == [
        Rejected("bad_number", spot(numbers=numbers)),
        Rejected("bad_number", stream(numbers=numbers)),
    ]


@pytest.mark.parametrize("special", SPECIALS)
def test_an_amplitude_that_is_no_number_is_left_out(special: str) -> None:
    event = decode_spot_check(bytes.fromhex(f"0861004800{special}"))
    assert isinstance(event, Sample)
    assert event.modifiers == {}


def test_the_stamp_of_a_clock_that_was_never_set_is_no_time() -> None:
    for flags, time in (("01", datetime(2017, 1, 1, 1, 34, 19)), ("11", None)):  # noqa: DTZ001 - it has no zone
        event = decode_spot_check(bytes.fromhex(f"{flags}61004800e1070101012213"))
        assert isinstance(event, Sample)
        assert event.device_time == time
    bad = bytes.fromhex("0161004800e107ffff012213")
    assert decode_spot_check(bad) == Rejected("invalid_date_time", bad)
    assert isinstance(decode_spot_check(b"\x11" + bad[1:]), Sample), "what is not read cannot be wrong"


@given(st.integers(0, 255), st.binary(max_size=30))
def test_reserved_flags_of_the_stream_mean_nothing(flags: int, rest: bytes) -> None:
    one, other = decode_continuous(bytes([flags & 0x1F]) + rest), decode_continuous(bytes([flags | 0xE0]) + rest)
    assert type(one) is type(other)
    if isinstance(one, Sample):
        assert said(one) == said(other)
