"""Examples worked out by hand, and the one promise: converting back gives what the display showed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import Measurement, Sample
from drivers.models import DeviceModel
from gateway.normalize import UnknownUnit, display_step, normalize
from gateway.reading import ClockQuality, Device, Measured, Mode, Modifier, Reading, Status, Times, Vital

AT = datetime(2026, 11, 22, 13, 5, 10, 412000, tzinfo=UTC)
TIMES = Times(taken_at=AT, received_at=AT, source="gateway", uncertainty_s=0.1, quality=ClockQuality.SYNCED)
SCALE = Device("scale", "health-o-meter-500kl", "Health o meter")
ID = UUID("0f0c0b52-2f0e-4f2c-9d5c-6b0f2f3a9f11")


def model(steps: Mapping[str, Mapping[str, Decimal]] | None = None) -> DeviceModel:
    return DeviceModel(
        maker="Health o meter",
        model="500KL",
        kind="scale",
        link="serial",
        driver="health_o_meter",
        evidence=("manual",),
        sources=("Pelstar Communication Protocols REV20230711",),
        steps=steps or {},
    )


def normalized(
    sample: Sample, device: Device = SCALE, mode: Mode = Mode.REAL, row: DeviceModel | None = None
) -> Reading:
    return normalize(sample, model=row or model(), device=device, mode=mode, times=TIMES, reading_id=ID)


def vital_of(kind: str, value: str, unit: str, row: DeviceModel | None = None) -> Vital:
    (vital,) = normalized(Sample((Measurement(kind, Decimal(value), unit),)), row=row).vitals
    return vital


@pytest.mark.parametrize(
    ("kind", "value", "unit", "expected", "canonical"),
    [
        ("body_weight", "184.5", "[lb_av]", "83.69", "kg"),  # 83.687792265
        ("body_weight", "184.50", "[lb_av]", "83.688", "kg"),  # step 0.01 lb = 0.0045 kg
        ("body_weight", "120", "[oz_av]", "3.40", "kg"),  # 3.401942775; step 1 oz = 0.028 kg
        ("body_weight", "3402", "g", "3.402", "kg"),
        ("body_weight", "184.50", "kg", "184.50", "kg"),
        ("body_temperature", "98.6", "[degF]", "37.00", "Cel"),
        ("body_temperature", "101.3", "[degF]", "38.50", "Cel"),
        ("body_temperature", "36.60", "Cel", "36.60", "Cel"),
        ("body_height", "70.0", "[in_i]", "177.8", "cm"),
        ("body_height", "70.25", "[in_i]", "178.44", "cm"),  # 178.435, half to even
        ("body_height", "1.78", "m", "178", "cm"),
        ("body_height", "2", "m", "200", "cm"),  # a step of 100 cm, and still no exponent
        ("systolic", "16.0", "kPa", "120.0", "mm[Hg]"),  # 120.0102; step 0.1 kPa = 0.75 mm[Hg]
        ("systolic", "128", "mm[Hg]", "128", "mm[Hg]"),
        ("oxygen_saturation", "98", "%", "98", "%"),
    ],
)
def test_canonical_digits(kind: str, value: str, unit: str, expected: str, canonical: str) -> None:
    vital = vital_of(kind, value, unit)
    assert str(vital.value) == expected
    assert vital.unit == canonical
    assert vital.measured == Measured(Decimal(value), unit)
    assert (vital.status, vital.reasons, vital.absent) == (Status.VALID, (), None)


def test_exact_is_not_rounded() -> None:
    assert vital_of("body_weight", "184.5", "[lb_av]").exact == Fraction("83.687792265")
    assert vital_of("body_temperature", "98.7", "[degF]").exact == Fraction(667, 18)


def test_half_goes_to_even() -> None:
    assert str(vital_of("body_height", "0.25", "[in_i]").value) == "0.64"  # 0.635 -> 0.64
    assert str(vital_of("body_height", "0.75", "[in_i]").value) == "1.90"  # 1.905 -> 1.90
    assert str(vital_of("body_height", "-0.75", "[in_i]").value) == "-1.90"


def test_the_models_step_decides_where_the_row_knows_it() -> None:
    row = model({"body_weight": {"[lb_av]": Decimal(1)}})
    assert str(vital_of("body_weight", "184.0", "[lb_av]", row).value) == "83.5"  # 83.46; step 1 lb = 0.45 kg
    assert str(vital_of("body_weight", "184.0", "[lb_av]").value) == "83.46"


def test_a_row_that_the_digits_disprove_is_not_followed() -> None:
    row = model({"body_weight": {"[lb_av]": Decimal(1)}})
    assert display_step("body_weight", Decimal("184.5"), "[lb_av]", row) == Fraction(1, 10)
    assert str(vital_of("body_weight", "184.5", "[lb_av]", row).value) == "83.69"


def test_a_step_of_another_unit_or_of_nothing_is_not_taken() -> None:
    row = model({"body_weight": {"kg": Decimal(5), "[lb_av]": Decimal(0)}})
    assert display_step("body_weight", Decimal("184.5"), "[lb_av]", row) == Fraction(1, 10)


@pytest.mark.parametrize(("value", "expected"), [("1.2E+2", "120"), ("12E1", "120"), ("-1E+2", "-100"), ("0E+3", "0")])
def test_a_devices_exponent_is_written_out(value: str, expected: str) -> None:
    vital = vital_of("systolic", value, "mm[Hg]")
    assert str(vital.value) == expected
    assert vital.measured == Measured(Decimal(value), "mm[Hg]")


@pytest.mark.parametrize(
    ("kind", "unit"), [("body_weight", "st"), ("body_weight", "mm[Hg]"), ("cuff_pressure", "mm[Hg]"), ("systolic", "")]
)
def test_what_the_vocabulary_does_not_know_is_refused(kind: str, unit: str) -> None:
    with pytest.raises(UnknownUnit, match="driver health_o_meter") as refusal:
        vital_of(kind, "184.5", unit)
    assert "184.5" not in str(refusal.value)


def test_a_refusal_repeats_no_endless_word() -> None:
    with pytest.raises(UnknownUnit) as refusal:
        vital_of("k" * 5000, "1", "u" * 5000)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("number", ["NaN", "-Infinity"])
def test_a_number_that_is_none_has_no_value(number: str) -> None:
    vital = vital_of("body_weight", number, "kg")
    assert (vital.value, vital.exact, vital.absent) == (None, None, "error")
    assert (vital.status, vital.reasons) == (Status.INVALID, ("not_a_number",))


def test_a_tare_is_a_modifier_and_makes_the_weight_net() -> None:
    sample = Sample(
        (Measurement("body_weight", Decimal("184.5"), "[lb_av]"),),
        modifiers={"tare": Measurement("tare", Decimal("5.5"), "[lb_av]")},
    )
    reading = normalized(sample)
    assert reading.modifiers == {
        "tare": Modifier(Decimal("2.49"), "device", "kg", Measured(Decimal("5.5"), "[lb_av]"))  # 2.494758035
    }
    assert reading.flags == ("net",)


def test_a_tare_of_zero_is_none() -> None:
    sample = Sample(
        (Measurement("body_weight", Decimal("184.5"), "[lb_av]"),),
        modifiers={"tare": Measurement("tare", Decimal("0.0"), "[lb_av]")},
    )
    reading = normalized(sample)
    assert reading.modifiers == {}
    assert reading.flags == ()


def test_a_tare_that_is_no_number_is_none() -> None:
    reading = normalized(Sample((), modifiers={"tare": Measurement("tare", Decimal("NaN"), "kg")}))
    assert (reading.modifiers, reading.flags) == ({}, ())


def test_a_tare_in_an_unknown_unit_is_refused() -> None:
    with pytest.raises(UnknownUnit):
        normalized(Sample((), modifiers={"tare": Measurement("tare", Decimal(1), "st")}))


def test_only_what_a_chart_can_use_is_carried_and_once() -> None:
    flags = ("stable", "net", "height_absent", "stored", "net", "stray_6_prefix", "single_packet", "possible_repeat")
    assert normalized(Sample((), flags=flags)).flags == ("net", "stored", "single_packet", "possible_repeat")


@pytest.mark.parametrize(
    ("user", "serial", "mode", "expected"),
    [
        ("SIM-000001", None, Mode.REAL, Mode.TEST),
        (None, "SIM-42", Mode.REAL, Mode.TEST),
        ("1234567890", "SIM-42", Mode.REAL, Mode.TEST),
        ("SIM-000001", None, Mode.DEMO, Mode.DEMO),
        ("SIM-000001", None, Mode.TEST, Mode.TEST),
        ("1234567890", "5010012345", Mode.REAL, Mode.REAL),
        (None, None, Mode.REAL, Mode.REAL),
    ],
)
def test_a_simulators_marker_is_never_real(user: str | None, serial: str | None, mode: Mode, expected: Mode) -> None:
    device = Device("scale", "health-o-meter-500kl", "Health o meter", serial=serial)
    assert normalized(Sample((), device_user=user), device, mode).mode is expected


def test_the_rest_is_handed_on() -> None:
    reading = normalized(Sample((), device_user="1234567890", raw=b"\x1bR"))
    assert (reading.id, reading.times, reading.raw, reading.revision) == (ID, TIMES, b"\x1bR", 1)
    assert reading.device == Device("scale", "health-o-meter-500kl", "Health o meter", user="1234567890")


# The factors once more, from UCUM: kind, unit, canonical = value * factor + offset.
CONVERTED = [
    ("body_weight", "[lb_av]", Fraction("0.45359237"), Fraction(0)),
    ("body_weight", "[oz_av]", Fraction("0.028349523125"), Fraction(0)),
    ("body_weight", "g", Fraction("0.001"), Fraction(0)),
    ("body_temperature", "[degF]", Fraction(5, 9), Fraction(-160, 9)),
    ("body_height", "[in_i]", Fraction("2.54"), Fraction(0)),
    ("body_height", "m", Fraction(100), Fraction(0)),
    ("systolic", "kPa", Fraction(1_000_000, 133_322), Fraction(0)),
]
STEPS = [Decimal(step) for step in ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5")]
ROWS = [model(), *(model({kind: {unit: step} for kind, unit, _, _ in CONVERTED}) for step in STEPS)]


@settings(deadline=None)
@given(
    conversion=st.sampled_from(CONVERTED),
    digits=st.integers(-(10**7), 10**7),
    exponent=st.integers(-4, 2),
    row=st.sampled_from(ROWS),
)
def test_converting_back_gives_what_the_display_showed(
    conversion: tuple[str, str, Fraction, Fraction], digits: int, exponent: int, row: DeviceModel
) -> None:
    kind, unit, factor, offset = conversion
    shown = Decimal(digits).scaleb(exponent)
    (vital,) = normalized(Sample((Measurement(kind, shown, unit),)), row=row).vitals
    assert vital.value is not None
    assert int(vital.value.as_tuple().exponent) <= 0
    step = display_step(kind, shown, unit, row)
    back = (Fraction(vital.value) - offset) / factor
    assert round(back / step) * step == Fraction(shown)
    # and no digit more is said than the device's step carries
    assert Fraction(10) ** int(vital.value.as_tuple().exponent) > step * factor / 10 or step * factor >= 10


@settings(deadline=None)
@given(digits=st.integers(0, 10**9), exponent=st.integers(-9, 0))
def test_the_same_unit_keeps_the_digits(digits: int, exponent: int) -> None:
    shown = Decimal(digits).scaleb(exponent)
    (vital,) = normalized(Sample((Measurement("body_weight", shown, "kg"),))).vitals
    assert vital.value is not None
    assert vital.value.as_tuple() == shown.as_tuple()
    assert vital.exact == Fraction(shown)
