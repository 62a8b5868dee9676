"""The whole table, pinned a second time from its sources: a typing error must be made twice to pass."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gateway.vocabulary import (
    CARRIED_FLAGS,
    DOUBTING_FLAGS,
    HOLDING_FLAGS,
    KINDS,
    LOINC,
    MDC,
    UNITS,
    Coding,
    Unit,
    goes_to_event_topic,
    reading_codings,
    to_canonical,
    vital_codings,
)

# kind: canonical unit, LOINC codes, MDC term (partition 2), MDC reference id
PINNED = {
    "systolic": ("mm[Hg]", ["8480-6"], 18949, "MDC_PRESS_BLD_NONINV_SYS"),
    "diastolic": ("mm[Hg]", ["8462-4"], 18950, "MDC_PRESS_BLD_NONINV_DIA"),
    "mean_arterial_pressure": ("mm[Hg]", ["8478-0"], 18951, "MDC_PRESS_BLD_NONINV_MEAN"),
    "pulse_rate": ("/min", ["8867-4"], 18442, "MDC_PULS_RATE"),
    "heart_rate": ("/min", ["8867-4"], 16770, "MDC_ECG_HEART_RATE"),
    "respiratory_rate": ("/min", ["9279-1"], 20490, "MDC_RESP_RATE"),
    "oxygen_saturation": ("%", ["2708-6", "59408-5"], 19384, "MDC_PULS_OXIM_SAT_O2"),
    "body_temperature": ("Cel", ["8310-5"], 19292, "MDC_TEMP_BODY"),
    "body_weight": ("kg", ["29463-7"], 57664, "MDC_MASS_BODY_ACTUAL"),
    "body_height": ("cm", ["8302-2"], 57668, "MDC_LEN_BODY_ACTUAL"),
    "bmi": ("kg/m2", ["39156-5"], 57680, "MDC_RATIO_MASS_BODY_LEN_SQ"),
    "body_fat": ("%", ["41982-0"], 57676, "MDC_BODY_FAT"),
    "perfusion_index": ("%", ["61006-3"], 19416, "MDC_BLD_PERF_INDEX"),
}
PRIMARY = {"systolic", "diastolic", "body_weight", "body_temperature", "oxygen_saturation"}


def test_every_kind_is_pinned() -> None:
    assert KINDS.keys() == PINNED.keys()
    assert {kind for kind, row in KINDS.items() if row.primary} == PRIMARY


@pytest.mark.parametrize("kind", PINNED)
def test_codes_of_a_kind_alone(kind: str) -> None:
    unit, loinc, term, reference_id = PINNED[kind]
    assert KINDS[kind].unit == unit
    assert vital_codings(kind, {kind}) == (
        *(Coding(LOINC, code) for code in loinc),
        Coding(MDC, str(2 * 65536 + term), reference_id),
    )


def test_code_systems_are_those_of_fhir() -> None:
    assert LOINC == "http://loinc.org"
    assert MDC == "urn:iso:std:iso:11073:10101"


@pytest.mark.parametrize(
    ("company", "number", "reference_id"),
    [
        ({"pulse_rate", "systolic", "diastolic"}, "149546", "MDC_PULS_RATE_NON_INV"),
        ({"pulse_rate", "mean_arterial_pressure"}, "149546", "MDC_PULS_RATE_NON_INV"),
        ({"pulse_rate", "oxygen_saturation"}, "149530", "MDC_PULS_OXIM_PULS_RATE"),
        ({"pulse_rate"}, "149514", "MDC_PULS_RATE"),
        ({"pulse_rate", "systolic", "oxygen_saturation"}, "149514", "MDC_PULS_RATE"),
    ],
)
def test_a_pulse_is_coded_by_its_company(company: set[str], number: str, reference_id: str) -> None:
    assert vital_codings("pulse_rate", company) == (Coding(LOINC, "8867-4"), Coding(MDC, number, reference_id))


def test_only_the_pulse_rate_changes_with_its_company() -> None:
    assert vital_codings("heart_rate", {"heart_rate", "systolic"})[-1] == Coding(MDC, "147842", "MDC_ECG_HEART_RATE")


def test_an_unknown_kind_has_no_codes() -> None:
    assert vital_codings("cuff_pressure", {"systolic"}) == ()


def test_the_panel_code_stands_for_a_blood_pressure_only() -> None:
    panel = (Coding(LOINC, "85354-9"),)
    assert reading_codings({"systolic", "diastolic"}) == panel
    assert reading_codings({"diastolic"}) == panel
    assert reading_codings({"body_weight", "pulse_rate", "mean_arterial_pressure"}) == ()


@pytest.mark.parametrize(
    ("value", "unit", "canonical", "expected"),
    [
        ("98.6", "[degF]", "Cel", Fraction(37)),
        ("32", "[degF]", "Cel", Fraction(0)),
        ("180", "[lb_av]", "kg", Fraction("81.6466266")),
        ("16", "[oz_av]", "kg", Fraction("0.45359237")),
        ("3402", "g", "kg", Fraction("3.402")),
        ("70", "[in_i]", "cm", Fraction("177.8")),
        ("1.778", "m", "cm", Fraction("177.8")),
        ("133.322", "kPa", "mm[Hg]", Fraction(1000)),
        ("128", "mm[Hg]", "mm[Hg]", Fraction(128)),
        ("72", "/min", "/min", Fraction(72)),
        ("36.6", "Cel", "Cel", Fraction("36.6")),
        ("83.7", "kg", "kg", Fraction("83.7")),
        ("178", "cm", "cm", Fraction(178)),
        ("26.5", "kg/m2", "kg/m2", Fraction("26.5")),
        ("98", "%", "%", Fraction(98)),
    ],
)
def test_conversion_is_exact(value: str, unit: str, canonical: str, expected: Fraction) -> None:
    assert UNITS[unit].canonical == canonical
    assert to_canonical(Fraction(value), unit) == expected


def test_every_unit_of_the_contract_is_there_and_leads_to_a_canonical_one() -> None:
    of_the_contract = "mm[Hg] kPa /min Cel [degF] kg g [lb_av] [oz_av] cm m [in_i] kg/m2 %"
    of_modifiers = {"kJ", "Ohm"}
    assert {*of_the_contract.split(), *of_modifiers} == set(UNITS)
    assert {unit.canonical for unit in UNITS.values()} == {row.unit for row in KINDS.values()} | of_modifiers
    for name in {unit.canonical for unit in UNITS.values()}:
        assert UNITS[name] == Unit(name, Fraction(1), Fraction(0))


def test_flags_that_are_carried() -> None:
    of_the_contract = (
        "irregular_pulse body_movement cuff_loose position_improper pulse_out_of_range low_battery low_signal "
        "stored manual net held averaged"
    )
    more = {"single_packet", "possible_repeat", "questionable_measurement", "equipment_malfunction", "object"}
    assert set(of_the_contract.split()) | more | {"seconds_clamped", "user_profile", "no_contact"} == CARRIED_FLAGS
    assert DOUBTING_FLAGS | HOLDING_FLAGS <= CARRIED_FLAGS
    assert not DOUBTING_FLAGS & HOLDING_FLAGS
    assert "irregular_pulse" not in DOUBTING_FLAGS  # a finding about the patient, not a doubt about the number


@pytest.mark.parametrize(
    "code", ["measurement_failed", "overload", "underload", "low_battery", "body_movement", "syntax_error", "brand_new"]
)
def test_what_people_should_know_is_an_event(code: str) -> None:
    assert goes_to_event_topic(code)


@pytest.mark.parametrize(
    "code",
    [
        *("unstable", "zero", "below_zero", "busy", "no_answer", "settling", "repeat", "unsettled"),
        *("pulse_search", "sensor_off", "none_yet", "old_record", "companion", "header"),
    ],
)
def test_progress_is_no_event(code: str) -> None:
    assert not goes_to_event_topic(code)
