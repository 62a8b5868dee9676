"""The Heart Rate Profile: contact before rate, and lengths that nobody promised."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.ble.heart_rate import decode_measurement
from drivers.contract import Event, Measurement, Notice, Rejected, Sample

FILE = Path(__file__).parents[1] / "vectors" / "ble" / "ble_heart_rate.jsonl"
VECTORS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def decode(value: str) -> Event:
    return decode_measurement(bytes.fromhex(value))


def rate(value: str) -> Decimal:
    event = decode(value)
    assert isinstance(event, Sample), event
    ((kind, number, unit),) = ((one.kind, one.value, one.unit) for one in event.measurements)
    assert (kind, unit) == ("heart_rate", "/min")
    return number


@pytest.mark.parametrize("vector", [pytest.param(row, id=row["hex"]) for row in VECTORS])
def test_a_rate_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    expected, event = vector["expected"], decode(vector["hex"])
    if vector.get("expect_reject"):
        assert isinstance(event, Rejected)
    else:
        assert rate(vector["hex"]) == expected["heart_rate_bpm"]
        assert isinstance(event, Sample)
        assert event.flags == (("no_contact",) if expected.get("sensor_contact") == "not_detected" else ())


def test_contact_counts_only_where_the_strap_can_tell_it() -> None:
    assert rate("0048") == rate("0248") == rate("0648") == 72
    event = decode("0448")
    assert isinstance(event, Sample)
    assert event.flags == ("no_contact",)


def test_without_contact_and_without_a_rate_it_is_off() -> None:
    event = decode("0400")
    assert isinstance(event, Notice)
    assert event.code == "sensor_off"


@pytest.mark.parametrize("value", ["0000", "010000", "0600", "10002c03"])
def test_a_rate_of_zero_is_none(value: str) -> None:
    event = decode(value)
    assert isinstance(event, Notice)
    assert event.code == "no_data"


def test_sixteen_bits_energy_and_intervals() -> None:
    assert rate("01c800") == 200
    assert rate("08483200") == rate("184832002c032c03") == rate("e048") == 72


@pytest.mark.parametrize(
    "value", ["", "00", "0048ff", "0148", "0848", "084832", "1048", "10482c", "10482c032c", "184832002c"]
)
def test_a_length_that_the_flags_do_not_promise_is_refused(value: str) -> None:
    assert decode(value) == Rejected("length", bytes.fromhex(value))


@given(st.binary(max_size=30))
def test_any_value_is_one_event_with_at_most_one_vital(value: bytes) -> None:
    event = decode_measurement(value)
    assert event.raw == value
    if isinstance(event, Sample):
        assert [type(one) for one in event.measurements] == [Measurement]
        assert event.flags == (("no_contact",) if value[0] & 6 == 4 else ())
