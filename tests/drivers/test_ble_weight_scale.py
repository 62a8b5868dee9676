"""A scale's weights by Bluetooth: the published values, what is refused, where a model departs from the standard."""

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
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model

VECTORS = Path(__file__).parents[1] / "vectors" / "ble" / "ble_weight_scale.jsonl"
ROWS = [json.loads(line, parse_float=Decimal) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
RENPHO = load_model("renpho-es-wbe28").quirks
DETECTO = load_model("detecto-icon").quirks

Vector = dict[str, Any]


def decode(value: bytes | str, quirks: Quirks | None = None, uuid: str = "2A9D") -> Event:
    data = bytes.fromhex(value) if isinstance(value, str) else value
    return registry.characteristics("ble_weight_scale", quirks or Quirks())[uuid](data)


def sample_of(value: bytes | str, quirks: Quirks | None = None) -> Sample:
    event = decode(value, quirks)
    assert isinstance(event, Sample), event
    return event


def numbers(sample: Sample) -> dict[str, str]:
    return {m.kind: f"{m.value:f} {m.unit}" for m in sample.measurements}


def code_of(event: Event) -> str:
    assert isinstance(event, Notice), event
    return event.code


def of(uuid: str) -> list[Any]:
    return [
        pytest.param(row, id=row["hex"])
        for row in ROWS
        if row["characteristic"] == f"0x{uuid}" and not row.get("expect_reject")
    ]


@pytest.mark.parametrize("vector", of("2A9D"))
def test_a_weight_is_what_its_vector_says(vector: Vector) -> None:
    expected = vector["expected"]
    sample = sample_of(vector["hex"], RENPHO if expected.get("profile") == "renpho-0.05kg-quirk" else None)
    unit = {"kg": "kg", "lb": "[lb_av]"}[expected["unit"]]
    said = {"body_weight": (expected["weight"], unit)}
    if "bmi" in expected:
        said["bmi"] = (expected["bmi"], "kg/m2")
    if "height_m" in expected:
        said["body_height"] = (expected["height_m"], "m")
    if "height_in" in expected:
        said["body_height"] = (expected["height_in"], "[in_i]")
    assert {m.kind: (m.value, m.unit) for m in sample.measurements} == said
    assert sample.device_time == (datetime.fromisoformat(expected["timestamp"]) if "timestamp" in expected else None)
    assert sample.device_user == (str(expected["user_id"]) if "user_id" in expected else None)


@pytest.mark.parametrize("vector", of("2A9E"))
def test_the_features_are_told_by_name(vector: Vector) -> None:
    expected = vector["expected"]
    names = {"timestamp_supported": "timestamp", "multiple_users": "multiple_users", "bmi_supported": "bmi"}
    words = [word for name, word in names.items() if expected[name]]
    words += [f"{name}={expected[name]}" for name in ("weight_resolution", "height_resolution") if expected[name]]
    event = decode(vector["hex"], uuid="2A9E")
    assert isinstance(event, Notice)
    assert (event.code, event.detail.split()) == ("feature", words)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        # RonanB96/bluetooth-sig-python, test_weight_scale_feature.py
        ("8f000000", "timestamp multiple_users bmi weight_resolution=0.5kg/1lb height_resolution=0.01m/1in"),
        ("b8010000", "weight_resolution=0.005kg/0.01lb height_resolution=0.001m/0.1in"),
        ("78000000", ""),  # a resolution that is reserved
        ("000000fe", ""),
    ],
)
def test_a_resolution_is_declared_or_not_known(value: str, words: str) -> None:
    event = decode(value, uuid="2A9E")
    assert isinstance(event, Notice)
    assert event.detail == words


def test_a_declared_resolution_changes_no_weight() -> None:
    before = decode("00b036")
    decode("08000000", uuid="2A9E")
    assert decode("00b036") == before


def test_digits_are_the_scales() -> None:
    assert numbers(sample_of("01543d")) == {"body_weight": "157.00 [lb_av]"}
    assert numbers(sample_of("01553d")) == {"body_weight": "157.01 [lb_av]"}
    assert numbers(sample_of("00b136")) == {"body_weight": "70.005 kg"}
    assert numbers(sample_of("4e6a07ea0707040c1a06aa00000000", RENPHO)) == {"body_weight": "94.90 kg"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("08b0360000d606", {"body_weight", "body_height"}),
        ("08b036f5000000", {"body_weight", "bmi"}),
        ("08b03600000000", {"body_weight"}),
    ],
)
def test_a_bmi_or_a_height_of_zero_is_not_known(value: str, said: set[str]) -> None:
    assert set(numbers(sample_of(value))) == said


@pytest.mark.parametrize(("slot", "user"), [("00", "0"), ("aa", "170"), ("fe", "254"), ("ff", None)])
def test_the_slot_of_the_memory_is_told_but_for_the_unknown_one(slot: str, user: str | None) -> None:
    assert sample_of(f"04b036{slot}").device_user == user


@pytest.mark.parametrize(("value", "code"), [("000000", "zero_weight"), ("010000", "zero_weight")])
def test_an_empty_scale_is_a_notice(value: str, code: str) -> None:
    assert code_of(decode(value)) == code


@pytest.mark.parametrize("value", ["00ffff", "01ffff", "08fffff500d606"])
def test_an_unsuccessful_measurement_is_a_notice(value: str) -> None:
    assert code_of(decode(value)) == "measurement_failed"


def test_a_time_whose_year_is_not_known_is_none() -> None:
    assert sample_of("02b03600000c190e1e2d").device_time is None
    assert decode("02b036e7070d190e1e2d") == Rejected("invalid_date_time", bytes.fromhex("02b036e7070d190e1e2d"))


@pytest.mark.parametrize("value", ["", "0001", "00b03600", "02b036e7070c190e1e", "0cb03605f500d60600", "08b036f500d6"])
@pytest.mark.parametrize("quirks", [Quirks(), RENPHO, DETECTO], ids=["standard", "renpho", "detecto"])
def test_another_length_than_the_flags_promise_is_refused(value: str, quirks: Quirks) -> None:
    assert decode(value, quirks) == Rejected("length", bytes.fromhex(value))


def test_reserved_bits_mean_nothing() -> None:
    assert numbers(sample_of("f0b036")) == numbers(sample_of("00b036"))


# Steps: what one count is worth.


@pytest.mark.parametrize(("weight", "fits"), [("b036", True), ("dc05", False), ("e02e", True), ("ffef", True)])
def test_a_weight_that_contradicts_its_bmi_is_refused_and_never_corrected(weight: str, fits: bool) -> None:
    """At a BMI of 24.5 and 1.75 m it is about 75 kg: 70, 60 and 307; and 7.5 kg, ten times less."""
    value = bytes.fromhex(f"08{weight}f500d606")
    event = decode(value)
    if weight == "ffef":
        assert event == Rejected("weight_contradicts_bmi", value)
        return
    assert isinstance(event, Sample) is fits
    if not fits:
        assert event == Rejected("weight_contradicts_bmi", value)


def test_the_renphos_step_is_seen_where_its_row_was_not_taken() -> None:
    """94.9 kg, 1.75 m, BMI 31: by the standard's step it would be 9.49 kg."""
    value = "086a073601d606"
    assert numbers(sample_of(value, RENPHO))["body_weight"] == "94.90 kg"
    assert isinstance(decode(value), Rejected)


def test_pounds_and_inches_are_held_against_the_bmi_too() -> None:
    assert isinstance(decode("09543df500a802"), Sample)
    assert isinstance(decode("092206f500a802"), Rejected)  # 15.7 lb


def test_without_the_check_the_row_has_the_word() -> None:
    assert isinstance(decode("08dc05f500d606", Quirks(bmi_check=False)), Sample)


def test_a_height_that_is_not_trusted_is_left_out() -> None:
    assert set(numbers(sample_of("08b036f500d606", Quirks(trust_height=False)))) == {"body_weight"}


def test_what_comes_of_a_profile_is_flagged() -> None:
    profile = Quirks(user_profile=True)
    assert sample_of("08b036f500d606", profile).flags == ("user_profile",)
    assert sample_of("00b036", profile).flags == ()
    assert sample_of("08b036f500d606").flags == ()


def test_a_unit_whose_step_no_source_tells_is_refused() -> None:
    assert decode("00b036", DETECTO) == Rejected("unknown_resolution", bytes.fromhex("00b036"))
    assert numbers(sample_of("01543d", DETECTO)) == {"body_weight": "157.00 [lb_av]"}
    assert decode("01543d", RENPHO) == Rejected("unknown_resolution", bytes.fromhex("01543d"))


def test_below_zero_is_a_notice_for_the_model_that_says_it_by_bit_4() -> None:
    assert code_of(decode("110000", DETECTO)) == "below_zero"
    assert code_of(decode("100000", DETECTO)) == "below_zero"
    assert code_of(decode("11543d", DETECTO)) == "below_zero"  # status first, number second
    assert code_of(decode("010000", DETECTO)) == "zero_weight"
    assert isinstance(decode("11543d"), Sample)  # reserved, for all others


# What holds for any bytes.

ANY = st.binary(max_size=24) | st.tuples(st.integers(0, 15), st.binary(min_size=14, max_size=14)).map(
    lambda parts: (
        bytes([parts[0]]) + parts[1][: 2 + 7 * (parts[0] >> 1 & 1) + (parts[0] >> 2 & 1) + 4 * (parts[0] >> 3)]
    )
)


@pytest.mark.parametrize("quirks", [Quirks(), RENPHO, DETECTO], ids=["standard", "renpho", "detecto"])
@pytest.mark.parametrize("uuid", ["2A9D", "2A9E", "2A9C", "2A9B", "2A9F", "2A85", "2A8C", "2A8E", "2A99"])
@given(value=ANY)
def test_any_value_is_one_event_with_its_bytes(uuid: str, quirks: Quirks, value: bytes) -> None:
    event = decode(value, quirks, uuid)
    assert isinstance(event, Sample | Notice | Rejected)
    assert event.raw == value
    if isinstance(event, Sample):
        assert uuid in ("2A9D", "2A9C")
        assert all(m.value.is_finite() and m.value > 0 for m in event.measurements)
        assert {m.kind for m in event.measurements} & {"body_weight", "body_fat"}
        assert len({m.kind for m in event.measurements}) == len(event.measurements)


@given(count=st.integers(1, 0xFFFE), imperial=st.booleans())
def test_every_weight_is_its_count_times_the_step(count: int, imperial: bool) -> None:
    (weight,) = sample_of(bytes([imperial]) + count.to_bytes(2, "little")).measurements
    assert weight.value == count * (Decimal("0.01") if imperial else Decimal("0.005"))
