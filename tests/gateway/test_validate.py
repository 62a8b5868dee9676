"""What is marked, what is held, and what never happens: a value dropped, clamped or changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.models import DeviceModel, MeasuringRange, Quirks
from gateway.ranges import Band, CrossChecks, KindRanges, Ranges
from gateway.reading import (
    ClockQuality,
    Device,
    Disposition,
    Measured,
    Mode,
    Reading,
    Status,
    Times,
    Vital,
)
from gateway.validate import Rules, validate
from gateway.vocabulary import CARRIED_FLAGS, KINDS, UNITS, to_canonical

AT = datetime(2026, 11, 22, 13, 5, 10, 412000, tzinfo=UTC)
TIMES = Times(taken_at=AT, received_at=AT, source="gateway", uncertainty_s=0.1, quality=ClockQuality.SYNCED)
ID = UUID("0f0c0b52-2f0e-4f2c-9d5c-6b0f2f3a9f11")
EARLIER = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")

VALID = (Status.VALID, ())


def band(low: str, high: str) -> Band:
    return Band(Decimal(low), Decimal(high))


RANGES = Ranges(
    kinds={
        "systolic": KindRanges(band("20", "350"), band("60", "250")),
        "diastolic": KindRanges(band("5", "300"), band("30", "150")),
        "mean_arterial_pressure": KindRanges(band("10", "330"), band("40", "200")),
        "pulse_rate": KindRanges(band("10", "350"), band("30", "220")),
        "body_temperature": KindRanges(band("20", "46"), band("32", "42")),
        "oxygen_saturation": KindRanges(band("1", "100"), band("70", "100")),
        "body_weight": KindRanges(band("0.2", "650"), band("2", "250")),
        "body_height": KindRanges(band("15", "275"), band("40", "230")),
        "bmi": KindRanges(band("5", "250"), band("10", "80")),
    },
    cross=CrossChecks(band("10", "150"), Decimal(1), band("0.2", "0.6"), Decimal("0.2")),
)


def model(
    *,
    ranges: dict[str, tuple[MeasuringRange, ...]] | None = None,
    memory: Literal["none", "unfenced"] = "none",
    bmi_check: bool = True,
) -> DeviceModel:
    return DeviceModel(
        maker="A&D",
        model="UA-651BLE",
        kind="blood_pressure",
        link="ble",
        driver="blood_pressure",
        evidence=("manual",),
        sources=("manual",),
        ranges=ranges or {},
        memory=memory,
        quirks=Quirks(bmi_check=bmi_check),
    )


RULES = Rules(RANGES, model())


def vital(kind: str, value: str, unit: str | None = None) -> Vital:
    unit = unit or KINDS[kind].unit
    exact = to_canonical(Decimal(value), unit)
    shown = Decimal(value) if unit == KINDS[kind].unit else Decimal(f"{float(exact):.2f}")
    return Vital(kind, shown, exact, KINDS[kind].unit, Measured(Decimal(value), unit))


def reading(*vitals: Vital, flags: tuple[str, ...] = ()) -> Reading:
    return Reading(ID, Device("d", "m", "A&D"), Mode.REAL, TIMES, vitals, flags)


def pressure(systolic: str, diastolic: str, *others: Vital, flags: tuple[str, ...] = ()) -> Reading:
    return reading(vital("systolic", systolic), vital("diastolic", diastolic), *others, flags=flags)


def marks(judged: Reading) -> dict[str, tuple[Status, tuple[str, ...]]]:
    return {v.kind: (v.status, v.reasons) for v in judged.vitals}


def invalid(*reasons: str) -> tuple[Status, tuple[str, ...]]:
    return Status.INVALID, reasons


def questionable(*reasons: str) -> tuple[Status, tuple[str, ...]]:
    return Status.QUESTIONABLE, reasons


def test_a_good_reading_is_left_as_it_is() -> None:
    given_reading = pressure("128", "82", vital("mean_arterial_pressure", "97"), vital("pulse_rate", "74"))
    assert validate(given_reading, RULES) == given_reading


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("systolic", "19", invalid("below_absolute_range")),
        ("systolic", "20", questionable("below_unusual_range")),
        ("systolic", "59", questionable("below_unusual_range")),
        ("systolic", "60", VALID),
        ("systolic", "250", VALID),
        ("systolic", "251", questionable("above_unusual_range")),
        ("systolic", "350", questionable("above_unusual_range")),
        ("systolic", "351", invalid("above_absolute_range")),
        ("oxygen_saturation", "0", invalid("below_absolute_range")),
        ("body_weight", "-3.2", invalid("below_absolute_range")),
        ("heart_rate", "999", VALID),  # nobody gave a range for it
    ],
)
def test_the_layers_and_their_edges(kind: str, value: str, expected: tuple[Status, tuple[str, ...]]) -> None:
    assert marks(validate(reading(vital(kind, value)), RULES)) == {kind: expected}


def test_what_is_examined_is_the_exact_value() -> None:
    # 107.62 degF = 42.0111 Cel, which goes out as 42.01; a display of 42.0 Cel is not above 42.
    above = replace(vital("body_temperature", "42.0"), exact=Fraction(42) + Fraction(1, 1000))
    assert marks(validate(reading(above), RULES)) == {"body_temperature": questionable("above_unusual_range")}


def test_a_value_that_came_without_an_exact_one_is_examined_all_the_same() -> None:
    bare = replace(vital("systolic", "999"), exact=None)
    assert marks(validate(reading(bare), RULES)) == {"systolic": invalid("above_absolute_range")}


WEIGHING: dict[str, tuple[MeasuringRange, ...]] = {
    "body_weight": (
        MeasuringRange(Decimal("4.5"), Decimal(227), "kg"),
        MeasuringRange(Decimal(10), Decimal(500), "[lb_av]"),
    )
}
IN_POUNDS_ONLY = {"body_weight": (WEIGHING["body_weight"][1],)}


@pytest.mark.parametrize(
    ("value", "unit", "ranges", "expected"),
    [
        ("227.0", "kg", WEIGHING, VALID),
        ("227.1", "kg", WEIGHING, questionable("above_model_range")),
        ("4.4", "kg", WEIGHING, questionable("below_model_range")),
        ("500", "[lb_av]", WEIGHING, VALID),
        ("500.1", "[lb_av]", WEIGHING, questionable("above_model_range")),  # 226.8 kg: inside the other row
        ("226.7", "kg", IN_POUNDS_ONLY, VALID),  # 500 lb = 226.796185 kg
        ("226.8", "kg", IN_POUNDS_ONLY, questionable("above_model_range")),
        ("4.5359237", "kg", IN_POUNDS_ONLY, VALID),
        ("226.796185", "kg", IN_POUNDS_ONLY, VALID),
        ("100", "kg", {"body_weight": (MeasuringRange(Decimal(0), Decimal(9), "cm"),)}, VALID),
        ("4.5", "kg", IN_POUNDS_ONLY, questionable("below_model_range")),  # 10 lb = 4.5359237 kg
        ("300", "kg", WEIGHING, questionable("above_model_range", "above_unusual_range")),
        ("0.1", "kg", WEIGHING, invalid("below_absolute_range")),
        (
            "300",
            "kg",
            {"body_weight": (MeasuringRange(Decimal(0), Decimal(9), "st"),)},
            questionable("above_unusual_range"),
        ),
    ],
)
def test_the_models_own_range(
    value: str, unit: str, ranges: dict[str, tuple[MeasuringRange, ...]], expected: tuple[Status, tuple[str, ...]]
) -> None:
    judged = validate(reading(vital("body_weight", value, unit)), Rules(RANGES, model(ranges=ranges)))
    assert marks(judged) == {"body_weight": expected}


@pytest.mark.parametrize(
    "flag",
    [
        *("body_movement", "cuff_loose", "position_improper", "pulse_out_of_range", "low_signal"),
        "questionable_measurement",
    ],
)
def test_what_the_device_doubts_is_questionable_and_goes_out(flag: str) -> None:
    judged = validate(pressure("128", "82", vital("pulse_rate", "74"), flags=(flag,)), RULES)
    assert marks(judged) == dict.fromkeys(("systolic", "diastolic", "pulse_rate"), questionable(flag))
    assert (judged.status, judged.disposition, judged.reasons) == (Status.QUESTIONABLE, Disposition.USABLE, ())


def test_what_a_broken_device_measures_is_held_with_its_values() -> None:
    judged = validate(pressure("128", "82", flags=("equipment_malfunction",)), Rules(RANGES, model(), None, True))
    assert (judged.disposition, judged.reasons) == (Disposition.HOLD, ("equipment_malfunction",))
    assert all(one.value is not None for one in judged.vitals)


def test_what_the_device_finds_is_no_doubt() -> None:
    judged = validate(pressure("128", "82", flags=("irregular_pulse", "low_battery", "averaged")), RULES)
    assert (judged.status, judged.disposition) == (Status.VALID, Disposition.USABLE)


@pytest.mark.parametrize(("systolic", "diastolic"), [("80", "120"), ("100", "100")])
def test_diastolic_not_below_systolic(systolic: str, diastolic: str) -> None:
    judged = validate(pressure(systolic, diastolic, vital("mean_arterial_pressure", "100")), RULES)
    expected = invalid("diastolic_not_below_systolic")
    assert marks(judged) == {"systolic": expected, "diastolic": expected, "mean_arterial_pressure": VALID}
    assert (judged.disposition, judged.reasons) == (Disposition.HOLD, ("diastolic_not_below_systolic",))
    assert [v.value for v in judged.vitals] == [Decimal(systolic), Decimal(diastolic), Decimal(100)]


@pytest.mark.parametrize(
    ("systolic", "diastolic", "expected"),
    [
        ("100", "91", questionable("pulse_pressure_unusual")),
        ("100", "90", VALID),
        ("230", "80", VALID),
        ("230", "79", questionable("pulse_pressure_unusual")),
    ],
)
def test_pulse_pressure(systolic: str, diastolic: str, expected: tuple[Status, tuple[str, ...]]) -> None:
    assert marks(validate(pressure(systolic, diastolic), RULES)) == {"systolic": expected, "diastolic": expected}


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ("78", invalid("mean_not_between")),
        ("79", questionable("mean_unusual")),  # within the tolerance of 1, fraction below 0.2
        ("87", questionable("mean_unusual")),
        ("88", VALID),  # (88 - 80) / 40 = 0.2
        ("104", VALID),  # 0.6
        ("105", questionable("mean_unusual")),
        ("121", questionable("mean_unusual")),
        ("122", invalid("mean_not_between")),
    ],
)
def test_the_mean(mean: str, expected: tuple[Status, tuple[str, ...]]) -> None:
    judged = validate(pressure("120", "80", vital("mean_arterial_pressure", mean)), RULES)
    assert marks(judged)["mean_arterial_pressure"] == expected
    assert judged.disposition is Disposition.USABLE


def body(weight: str, height: str, bmi: str) -> Reading:
    return reading(vital("body_weight", weight), vital("body_height", height), vital("bmi", bmi))


@pytest.mark.parametrize(
    ("weight", "height", "bmi", "expected"),
    [
        # 83.7 kg, 178.0 cm: 26.417; display ±0.05 kg and ±0.05 cm explain ±0.031, its own digit ±0.05, tolerance 0.2
        ("83.7", "178.0", "26.4", VALID),
        ("83.7", "178.0", "26.6", VALID),
        ("83.7", "178.0", "26.7", questionable("bmi_does_not_match")),  # 26.417 + 0.281 = 26.698
        ("83.7", "178.0", "26.2", VALID),
        ("83.7", "178.0", "26.1", questionable("bmi_does_not_match")),
        # 84 kg, 178 cm: 26.512; ±0.5 kg and ±0.5 cm explain ±0.31 more
        ("84", "178", "26.9", VALID),
        ("84", "178", "27.2", questionable("bmi_does_not_match")),
        # each display's rounding by itself: 80.24 kg, 200 cm: 20.06; its own digit ±0.05
        ("80.24000", "200.0000", "20.3", VALID),
        ("80.24000", "200.0000", "20.4", questionable("bmi_does_not_match")),
        ("80.16000", "200.0000", "19.8", VALID),  # 20.04
        # 80 ±0.5 kg, 200 cm: 19.875 to 20.125
        ("80", "200.0000", "20.30000", VALID),
        ("80", "200.0000", "20.33000", questionable("bmi_does_not_match")),
        ("80", "200.0000", "19.70000", VALID),
        ("80", "200.0000", "19.67000", questionable("bmi_does_not_match")),
        # 80 kg, 200 ±0.5 cm: 19.9004 to 20.1004
        ("80.00000", "200", "20.29000", VALID),
        ("80.00000", "200", "20.31000", questionable("bmi_does_not_match")),
        ("80.00000", "200", "19.71000", VALID),
        ("80.00000", "200", "19.69000", questionable("bmi_does_not_match")),
        ("83.7", "178.0", "30.0", questionable("bmi_does_not_match")),
        ("83.7", "178.0", "20.0", questionable("bmi_does_not_match")),
    ],
)
def test_bmi_follows_from_weight_and_height(
    weight: str, height: str, bmi: str, expected: tuple[Status, tuple[str, ...]]
) -> None:
    judged = validate(body(weight, height, bmi), RULES)
    assert marks(judged) == {"body_weight": VALID, "body_height": VALID, "bmi": expected}
    assert judged.disposition is Disposition.USABLE


def test_bmi_is_let_alone_where_the_model_computes_it_its_own_way() -> None:
    rules = Rules(RANGES, model(bmi_check=False))
    assert validate(body("83.7", "178.0", "30.0"), rules).status is Status.VALID


def test_what_comes_of_a_profile_is_questionable_and_the_weight_is_not() -> None:
    said = (vital("body_weight", "83.7"), vital("body_height", "178.0"), vital("bmi", "26.4"), vital("body_fat", "20"))
    judged = validate(reading(*said, flags=("user_profile",)), RULES)
    doubted = questionable("user_profile")
    assert marks(judged) == {"body_weight": VALID, "body_height": doubted, "bmi": doubted, "body_fat": doubted}
    assert judged.disposition is Disposition.USABLE
    assert set(marks(validate(reading(*said), RULES)).values()) == {VALID}


def test_bmi_is_not_held_against_a_height_that_is_none() -> None:
    judged = validate(body("83.7", "0.3", "26.4"), RULES)
    assert marks(judged)["bmi"] == VALID
    assert marks(judged)["body_height"] == invalid("below_absolute_range")


@pytest.mark.parametrize("height", ["0.0", "-178.0"])
def test_bmi_is_not_divided_by_a_height_of_nothing(height: str) -> None:
    judged = validate(body("83.7", height, "26.4"), replace(RULES, ranges=replace(RANGES, kinds={})))
    assert set(marks(judged).values()) == {VALID}


def test_a_companion_that_says_why_it_has_no_value_goes_on_saying_it() -> None:
    gone = replace(vital("pulse_rate", "74"), value=None, absent="over_range", status=Status.INVALID)
    judged = validate(pressure("128", "82", gone), RULES)
    assert judged.vitals[2] == gone
    assert (judged.status, judged.disposition) == (Status.VALID, Disposition.USABLE)


def test_a_bad_companion_loses_its_value_and_holds_nothing() -> None:
    judged = validate(pressure("128", "82", vital("pulse_rate", "999")), RULES)
    pulse = judged.vitals[2]
    assert (pulse.value, pulse.absent, pulse.measured) == (None, "error", Measured(Decimal(999), "/min"))
    assert (pulse.status, pulse.reasons) == invalid("above_absolute_range")
    assert (judged.status, judged.disposition, judged.reasons) == (Status.VALID, Disposition.USABLE, ())


def test_a_bad_companion_beside_a_good_companion_loses_its_value_too() -> None:
    judged = validate(reading(vital("heart_rate", "74"), vital("pulse_rate", "999")), RULES)
    assert [(v.value, v.absent) for v in judged.vitals] == [(Decimal(74), None), (None, "error")]
    assert (judged.status, judged.disposition) == (Status.VALID, Disposition.USABLE)


def test_a_bad_companion_beside_a_bad_primary_stays_for_people_to_see() -> None:
    judged = validate(pressure("999", "82", vital("pulse_rate", "998")), RULES)
    assert [v.value for v in judged.vitals] == [Decimal(999), Decimal(82), Decimal(998)]
    assert (judged.status, judged.disposition) == (Status.INVALID, Disposition.HOLD)
    assert judged.reasons == ("above_absolute_range",)


@pytest.mark.parametrize("kind", ["systolic", "diastolic", "body_weight", "body_temperature", "oxygen_saturation"])
def test_an_invalid_primary_holds_the_reading(kind: str) -> None:
    judged = validate(reading(vital(kind, "9999"), vital("heart_rate", "74")), RULES)
    assert (judged.status, judged.disposition) == (Status.INVALID, Disposition.HOLD)
    assert judged.reasons == ("above_absolute_range",)


def test_an_invalid_primary_without_a_reason_is_held_with_one() -> None:
    judged = validate(
        reading(replace(vital("systolic", "128"), status=Status.INVALID), vital("diastolic", "82")), RULES
    )
    assert (judged.disposition, judged.reasons) == (Disposition.HOLD, ("invalid",))


def test_a_lone_companion_that_is_invalid_holds_the_reading() -> None:
    judged = validate(reading(vital("pulse_rate", "999")), RULES)
    assert judged.vitals[0].value == 999
    assert (judged.status, judged.disposition) == (Status.INVALID, Disposition.HOLD)
    assert judged.reasons == ("above_absolute_range",)


@pytest.mark.parametrize("vitals", [(), (Vital("systolic", None, None, "mm[Hg]", None, "over_range"),)])
def test_a_reading_without_any_value_is_held(vitals: tuple[Vital, ...]) -> None:
    judged = validate(reading(*vitals), RULES)
    assert judged.vitals == vitals
    assert (judged.status, judged.disposition, judged.reasons) == (
        Status.INVALID,
        Disposition.HOLD,
        ("no_valid_value",),
    )


def test_a_primary_that_was_not_measured_does_not_hold_the_rest() -> None:
    judged = validate(
        reading(Vital("systolic", None, None, "mm[Hg]", None, "over_range"), vital("diastolic", "82")), RULES
    )
    assert (judged.status, judged.disposition) == (Status.VALID, Disposition.USABLE)


def test_a_stored_record_is_held_unless_the_site_wants_it() -> None:
    stored = pressure("128", "82", flags=("stored",))
    held = validate(stored, RULES)
    assert (held.status, held.disposition, held.reasons) == (Status.VALID, Disposition.HOLD, ("stored_record",))
    told = validate(stored, replace(RULES, publish_stored=True))
    assert (told.disposition, told.reasons) == (Disposition.USABLE, ("stored_record",))


def test_wanting_stored_records_excuses_nothing_else() -> None:
    judged = validate(pressure("80", "120", flags=("stored",)), replace(RULES, publish_stored=True))
    assert judged.disposition is Disposition.HOLD
    assert judged.reasons == ("stored_record", "diastolic_not_below_systolic")


@pytest.mark.parametrize(
    ("memory", "source", "reasons"),
    [
        ("unfenced", "gateway", ("clock_unverifiable",)),
        ("unfenced", "device", ()),
        ("none", "gateway", ()),
    ],
)
def test_a_memory_without_a_clock(memory: Literal["none", "unfenced"], source: str, reasons: tuple[str, ...]) -> None:
    given_reading = replace(pressure("128", "82"), times=replace(TIMES, source=source))
    judged = validate(given_reading, Rules(RANGES, model(memory=memory), publish_stored=True))
    assert judged.reasons == reasons
    assert judged.disposition is (Disposition.HOLD if reasons else Disposition.USABLE)


@pytest.mark.parametrize(
    ("pinned", "unit", "reasons"),
    [
        ("kg", "[lb_av]", ("unit_conflict",)),
        ("kg", "g", ("unit_conflict",)),
        ("kg", "kg", ()),
        ("[lb_av]", "kg", ("unit_conflict",)),
        ("cm", "[lb_av]", ()),  # another dimension
        ("stone", "kg", ()),  # no unit at all: config.py's to refuse
        (None, "kg", ()),
    ],
)
def test_the_pinned_unit(pinned: str | None, unit: str, reasons: tuple[str, ...]) -> None:
    judged = validate(
        reading(vital("body_weight", "8450" if unit == "g" else "84.5", unit)), replace(RULES, pinned_unit=pinned)
    )
    assert judged.reasons == reasons
    assert judged.disposition is (Disposition.HOLD if reasons else Disposition.USABLE)


@pytest.mark.parametrize(
    "repeat",
    [
        pressure("128", "82", flags=("possible_repeat",)),
        replace(pressure("128", "82"), possible_repeat_of=EARLIER),
    ],
)
def test_what_may_be_a_repeat_is_held(repeat: Reading) -> None:
    judged = validate(repeat, RULES)
    assert (judged.status, judged.disposition, judged.reasons) == (Status.VALID, Disposition.HOLD, ("possible_repeat",))


def test_nobody_elses_word_stands_in_the_readings_own_marks() -> None:
    told = replace(
        pressure("128", "82"), status=Status.INVALID, disposition=Disposition.HOLD, reasons=("stale_reason",)
    )
    assert validate(told, RULES) == pressure("128", "82")


# What must always hold, of any reading whatever

NUMBERS = st.decimals(Decimal(-1000), Decimal(1000), places=2) | st.decimals(allow_nan=False, allow_infinity=False)
KIND_NAMES = st.sampled_from([*KINDS, "cuff_pressure"])
UNIT_NAMES = st.sampled_from([*UNITS, "st"])
REASONS = st.lists(st.sampled_from(["low_signal", "not_a_number"]), max_size=1).map(tuple)
VITALS = st.builds(
    Vital,
    kind=KIND_NAMES,
    value=st.none() | NUMBERS,
    exact=st.none() | st.fractions(-1000, 1000, max_denominator=1000),
    unit=UNIT_NAMES,
    measured=st.none() | st.builds(Measured, NUMBERS, UNIT_NAMES),
    absent=st.none() | st.sampled_from(["over_range", "error"]),
    status=st.sampled_from(Status),
    reasons=REASONS,
)
PRESSURES = st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400), st.integers(0, 400)).map(
    lambda n: (
        vital("systolic", str(n[0])),
        vital("diastolic", str(n[1])),
        vital("mean_arterial_pressure", str(n[2])),
        vital("pulse_rate", str(n[3])),
    )
)
READINGS = st.builds(
    Reading,
    id=st.just(ID),
    device=st.just(Device("d", "m", "A&D")),
    mode=st.sampled_from(Mode),
    times=st.sampled_from([TIMES, replace(TIMES, source="device")]),
    vitals=PRESSURES | st.lists(VITALS, max_size=5).map(tuple),
    flags=st.lists(st.sampled_from(sorted(CARRIED_FLAGS)), max_size=3).map(tuple),
    status=st.sampled_from(Status),
    disposition=st.sampled_from(Disposition),
    reasons=REASONS,
    possible_repeat_of=st.none() | st.just(EARLIER),
)
ALL_RULES = st.builds(
    Rules,
    ranges=st.sampled_from([RANGES, replace(RANGES, kinds={})]),
    model=st.sampled_from([model(), model(ranges=WEIGHING, memory="unfenced", bmi_check=False)]),
    pinned_unit=st.none() | UNIT_NAMES,
    publish_stored=st.booleans(),
)


@settings(deadline=None)
@given(READINGS, ALL_RULES)
def test_no_vital_is_dropped_and_no_value_changed(given_reading: Reading, rules: Rules) -> None:
    judged = validate(given_reading, rules)
    assert len(judged.vitals) == len(given_reading.vitals)
    for before, after in zip(given_reading.vitals, judged.vitals, strict=True):
        assert (after.kind, after.exact, after.unit, after.measured) == (
            before.kind,
            before.exact,
            before.unit,
            before.measured,
        )
        assert set(before.reasons) <= set(after.reasons)
        if after.value is not before.value:
            assert (after.value, after.absent, after.status) == (None, "error", Status.INVALID)
            assert after.kind not in KINDS or not KINDS[after.kind].primary
        else:
            assert after.absent == before.absent


@settings(deadline=None)
@given(READINGS, ALL_RULES)
def test_a_hold_has_a_reason_and_what_is_usable_has_something_to_use(given_reading: Reading, rules: Rules) -> None:
    judged = validate(given_reading, rules)
    if judged.disposition is Disposition.HOLD:
        assert judged.reasons
    else:
        assert set(judged.reasons) <= {"stored_record"}
        assert judged.status is not Status.INVALID
        assert any(v.value is not None for v in judged.vitals)


@settings(deadline=None)
@given(READINGS, ALL_RULES)
def test_judging_twice_is_judging_once(given_reading: Reading, rules: Rules) -> None:
    once = validate(given_reading, rules)
    assert validate(once, rules) == once


@settings(deadline=None)
@given(READINGS, st.sampled_from(["NaN", "-Infinity"]), ALL_RULES)
def test_not_even_a_number_that_is_none_raises(given_reading: Reading, none: str, rules: Rules) -> None:
    odd = Vital("body_weight", Decimal(none), None, "kg", Measured(Decimal(none), "kg"))
    judged = validate(replace(given_reading, vitals=(*given_reading.vitals, odd)), rules)
    assert len(judged.vitals) == len(given_reading.vitals) + 1


def test_a_measured_number_that_is_none_says_nothing_of_range_or_rounding() -> None:
    vitals = [replace(v, measured=Measured(Decimal("NaN"), v.unit)) for v in body("83.7", "178.0", "26.4").vitals]
    judged = validate(reading(*vitals), Rules(RANGES, model(ranges=WEIGHING)))
    assert set(marks(judged).values()) == {VALID}
