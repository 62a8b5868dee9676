"""A scale's body composition and user data by Bluetooth: the published values, placeholders, and what is refused."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.ble.user_data import encode_consent
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Consent, Quirks
from gateway.catalogue import load_model

VECTORS = Path(__file__).parents[1] / "vectors" / "ble" / "ble_body_composition.jsonl"
ROWS = [json.loads(line, parse_float=Decimal) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
RENPHO = load_model("renpho-es-wbe28").quirks

Vector = dict[str, Any]


def decode(uuid: str, value: bytes | str, quirks: Quirks | None = None) -> Event:
    data = bytes.fromhex(value) if isinstance(value, str) else value
    return registry.characteristics("ble_body_composition", quirks or Quirks())[uuid](data)


def told(uuid: str, value: str, quirks: Quirks | None = None) -> tuple[str, str]:
    event = decode(uuid, value, quirks)
    assert isinstance(event, Notice), event
    return event.code, event.detail


def sample_of(value: str, quirks: Quirks | None = None) -> Sample:
    event = decode("2A9C", value, quirks)
    assert isinstance(event, Sample), event
    return event


def of(uuid: str) -> list[Any]:
    return [
        pytest.param(row, id=row["hex"])
        for row in ROWS
        if row["characteristic"] == f"0x{uuid}" and not row.get("expect_reject")
    ]


def said(sample: Sample) -> dict[str, tuple[Decimal, str]]:
    return {m.kind: (m.value, m.unit) for m in (*sample.measurements, *sample.modifiers.values())}


NAMES = {
    "body_fat_pct": ("body_fat", "%"),
    "weight_kg": ("body_weight", "kg"),
    "height_m": ("body_height", "m"),
    "muscle_pct": ("muscle_share", "%"),
    "muscle_mass_kg": ("muscle_mass", "kg"),
    "soft_lean_mass_kg": ("soft_lean_mass", "kg"),
    "body_water_mass_kg": ("body_water_mass", "kg"),
    "basal_metabolism_kJ": ("basal_metabolism", "kJ"),
    "impedance_ohm": ("impedance", "Ohm"),
}


@pytest.mark.parametrize("vector", of("2A9C"))
def test_a_body_composition_is_what_its_vector_says(vector: Vector) -> None:
    if vector.get("device") == "RENPHO":
        assert decode("2A9C", vector["hex"]) == Rejected("length", bytes.fromhex(vector["hex"]))
        assert told("2A9C", vector["hex"], RENPHO)[0] == "composition_not_read"
        return
    sample, expected = sample_of(vector["hex"]), vector["expected"]
    assert said(sample) == {NAMES[n][0]: (v, NAMES[n][1]) for n, v in expected.items() if n in NAMES}
    assert {m.kind for m in sample.measurements} <= {"body_fat", "body_weight", "body_height"}
    assert sample.device_time == (datetime.fromisoformat(expected["timestamp"]) if "timestamp" in expected else None)
    assert sample.device_user == (str(expected["user_id"]) if "user_id" in expected else None)


@pytest.mark.parametrize("vector", of("2A9B"))
def test_the_features_are_told_by_name(vector: Vector) -> None:
    expected = vector["expected"]
    words = [f"{name}={expected[name]}" for name in ("mass_resolution", "height_resolution") if expected[name]]
    assert told("2A9B", vector["hex"]) == ("feature", " ".join(words))


def test_each_feature_has_its_name() -> None:
    assert told("2A9B", "ff070000")[1].split() == [
        *("timestamp", "multiple_users", "basal_metabolism", "muscle_percentage", "muscle_mass", "fat_free_mass"),
        *("soft_lean_mass", "body_water_mass", "impedance", "weight", "height"),
    ]


def test_masses_of_one_value() -> None:
    # RonanB96/bluetooth-sig-python, test_body_composition_measurement.py
    assert said(sample_of("c0015000e02e1027401f")) == {
        "body_fat": (Decimal("8.0"), "%"),
        "fat_free_mass": (Decimal(60), "kg"),
        "soft_lean_mass": (Decimal(50), "kg"),
        "body_water_mass": (Decimal(40), "kg"),
    }


def test_pounds_and_inches() -> None:
    assert said(sample_of("010c7800543da802")) == {
        "body_fat": (Decimal("12.0"), "%"),
        "body_weight": (Decimal("157.00"), "[lb_av]"),
        "body_height": (Decimal("68.0"), "[in_i]"),
    }


# KristianP26/ble-scale-sync, tests/scales/beurer-bf720.test.ts: of a BF788 (#229).


def test_a_placeholder_is_no_reading() -> None:
    assert told("2A9C", "9803000096230000000000000000")[0] == "placeholder"
    assert told("2A9C", "9803000000000000000000000000")[0] == "placeholder"
    assert told("2A9C", "00000000")[0] == "placeholder"


def test_an_unsuccessful_measurement_is_no_reading() -> None:
    assert told("2A9C", "9803ffff96230000000000000000")[0] == "measurement_failed"
    assert told("2A9C", "0004ffffb036")[0] == "measurement_failed"


def test_the_one_of_36_that_was_real() -> None:
    assert said(sample_of("9803f300962389014042fa2f550f")) == {
        "body_fat": (Decimal("24.3"), "%"),
        "basal_metabolism": (Decimal(9110), "kJ"),
        "muscle_share": (Decimal("39.3"), "%"),
        "soft_lean_mass": (Decimal("84.8"), "kg"),
        "body_water_mass": (Decimal("61.41"), "kg"),
        "impedance": (Decimal("392.5"), "Ohm"),
    }


def test_a_weight_beside_no_body_fat_is_a_weight() -> None:
    assert said(sample_of("00040000b036")) == {"body_weight": (Decimal(70), "kg")}


def test_a_measurement_in_more_packets_is_told_and_not_put_together() -> None:
    assert told("2A9C", "00103200")[0] == "more_packets"
    assert told("2A9C", "00143200b036")[0] == "more_packets"


@pytest.mark.parametrize(
    "value",
    [
        "0326e607020e10293af701f136",  # a Mi scale's own 13 bytes, on 2A9C (oliexdev/openScale#392)
        "0226e607020e10293af7019a38",
        "9803c200",
        "9803c200df1a9701cc2fca21a8",
        "9803c200df1a9701cc2fca21a81100",
        "000032",
        "",
    ],
)
@pytest.mark.parametrize("driver", ["ble_body_composition", "ble_weight_scale"])
def test_another_length_than_the_flags_promise_is_refused(driver: str, value: str) -> None:
    data = bytes.fromhex(value)
    assert registry.characteristics(driver, Quirks())["2A9C"](data) == Rejected("length", data)


def test_a_mi_scales_frame_that_has_the_length_of_its_flags_is_refused_too() -> None:
    value = bytes.fromhex("02a4e607020e10293a00009a38")
    assert decode("2A9C", value) == Rejected("invalid_date_time", value)
    morning = bytes.fromhex("02a4e607020e0a140f00009a38")  # the same at 10:20:15: a date in the year 3586, by chance
    assert decode("2A9C", morning) == Rejected("body_fat_above_100", morning)


def test_a_cut_value_is_refused_of_the_model_too_whose_composition_is_not_read() -> None:
    assert decode("2A9C", "0c02f901f701", RENPHO) == Rejected("length", bytes.fromhex("0c02f901f701"))


def test_a_mass_whose_step_no_source_tells_is_refused() -> None:
    unknown = Quirks(kg_step=None)
    assert decode("2A9C", "00043200b036", unknown) == Rejected("unknown_resolution", bytes.fromhex("00043200b036"))
    assert said(sample_of("00003200", unknown)) == {"body_fat": (Decimal("5.0"), "%")}


def test_what_comes_of_a_profile_is_flagged() -> None:
    assert sample_of("00003200", Quirks(user_profile=True)).flags == ("user_profile",)


# User data.


@pytest.mark.parametrize("vector", of("2A9F"))
def test_the_control_point(vector: Vector) -> None:
    expected, (code, detail) = vector["expected"], told("2A9F", vector["hex"])
    if expected["op"] == "response":
        assert code == "consent_accepted"
        return
    assert (code, detail) == ("consent", f"consent to user {expected['user_index']}")
    consent = Consent(expected["user_index"], expected["consent_code"])
    assert encode_consent(consent).hex() == vector["hex"]
    assert str(expected["consent_code"]) not in repr(consent)


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        ("200205", "consent_refused", "not authorized"),
        ("200204", "consent_refused", "failed"),
        ("200299", "consent_refused", "result 153"),
        ("20010102", "user_control", "register new user: success"),
        ("209902", "user_control", "request 153: the request is not supported"),
        ("016712", "user_control", "register new user"),
        ("04", "user_control", "list all users"),
    ],
)
def test_what_else_is_said_at_the_control_point(value: str, code: str, detail: str) -> None:
    told_code, told_detail = told("2A9F", value)
    assert told_code == code
    assert detail in told_detail


@pytest.mark.parametrize("value", ["", "20", "2002", "20020100", "02aa0f", "02aa0f2700", "06", "00", "ff00"])
def test_what_is_nothing_at_the_control_point(value: str) -> None:
    assert isinstance(decode("2A9F", value), Rejected)


@pytest.mark.parametrize("uuid", ["2A85", "2A8C", "2A8E", "2A99"])
def test_what_a_slot_holds_of_a_person_is_told_to_nobody(uuid: str) -> None:
    for row in ROWS:
        if row["characteristic"] == f"0x{uuid}":
            assert told(uuid, row["hex"])[1] == ""
            for wrong in ("", row["hex"] + "00"):
                assert decode(uuid, wrong) == Rejected("length", bytes.fromhex(wrong))


@pytest.mark.parametrize(("uuid", "value"), [("2A85", "bf070d08"), ("2A85", "e907021e"), ("2A8C", "03")])
def test_what_is_no_date_and_no_gender_is_refused(uuid: str, value: str) -> None:
    assert isinstance(decode(uuid, value), Rejected)


def test_an_unknown_birthday_is_legal() -> None:
    assert told("2A85", "00000000")[0] == "date_of_birth"


@pytest.mark.parametrize(("user", "code"), [(255, 1), (-1, 1), (1, 10_000), (1, -1)])
def test_a_consent_that_cannot_be_is_none(user: int, code: int) -> None:
    with pytest.raises(ValueError, match="9999"):
        Consent(user, code)


def test_a_consent_code_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("gateway").warning("%s", Consent(1, 4711))
    assert "4711" not in caplog.text
