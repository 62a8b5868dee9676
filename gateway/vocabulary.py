"""The table of vitals: LOINC, MDC and UCUM codes, canonical units, and what flags and notices mean. Literal data.

1. Codes are pinned here and in tests/gateway/test_vocabulary.py; they are never computed or taken from a device.
2. An MDC number is partition * 65536 + term (ISO/IEEE 11073-10101), as HL7/phd uses it: the 32-bit decimal.
3. Factors are exact. UCUM: 1 [lb_av] = 0.45359237 kg, 1 [in_i] = 2.54 cm, 1 m[Hg] = 133.3220 kPa.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

LOINC = "http://loinc.org"
MDC = "urn:iso:std:iso:11073:10101"


@dataclass(frozen=True, slots=True)
class Coding:
    """One code of one code system; `display` is MDC's reference id."""

    system: str
    code: str
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of vital: canonical unit (UCUM), its codes, and whether an invalid one holds the reading (`primary`)."""

    unit: str
    loinc: tuple[str, ...]
    mdc: int
    mdc_id: str
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A UCUM unit: `canonical` value = value * factor + offset."""

    canonical: str
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)


# LOINC: what US Core asks for; it wants both codes of a saturation by pulse oximeter (US Core 9.0.0).
# MDC: IEEE 11073-10101 as in HL7/phd and signove/antidote src/dim/nomenclature.h.
KINDS: dict[str, Kind] = {
    "systolic": Kind("mm[Hg]", ("8480-6",), 150021, "MDC_PRESS_BLD_NONINV_SYS", primary=True),
    "diastolic": Kind("mm[Hg]", ("8462-4",), 150022, "MDC_PRESS_BLD_NONINV_DIA", primary=True),
    "mean_arterial_pressure": Kind("mm[Hg]", ("8478-0",), 150023, "MDC_PRESS_BLD_NONINV_MEAN"),
    "pulse_rate": Kind("/min", ("8867-4",), 149514, "MDC_PULS_RATE"),
    "heart_rate": Kind("/min", ("8867-4",), 147842, "MDC_ECG_HEART_RATE"),
    "respiratory_rate": Kind("/min", ("9279-1",), 151562, "MDC_RESP_RATE"),
    "oxygen_saturation": Kind("%", ("2708-6", "59408-5"), 150456, "MDC_PULS_OXIM_SAT_O2", primary=True),
    "body_temperature": Kind("Cel", ("8310-5",), 150364, "MDC_TEMP_BODY", primary=True),
    "body_weight": Kind("kg", ("29463-7",), 188736, "MDC_MASS_BODY_ACTUAL", primary=True),
    "body_height": Kind("cm", ("8302-2",), 188740, "MDC_LEN_BODY_ACTUAL"),
    "bmi": Kind("kg/m2", ("39156-5",), 188752, "MDC_RATIO_MASS_BODY_LEN_SQ"),
    "body_fat": Kind("%", ("41982-0",), 188748, "MDC_BODY_FAT"),
    "perfusion_index": Kind("%", ("61006-3",), 150488, "MDC_BLD_PERF_INDEX"),
}

_PULSE_OF_CUFF = (149546, "MDC_PULS_RATE_NON_INV")
_PULSE_OF_OXIMETER = (149530, "MDC_PULS_OXIM_PULS_RATE")
_BLOOD_PRESSURE_PANEL = Coding(LOINC, "85354-9")

_POUND = Fraction("0.45359237")
UNITS: dict[str, Unit] = {
    "mm[Hg]": Unit("mm[Hg]"),
    "kPa": Unit("mm[Hg]", 1000 / Fraction("133.322")),
    "/min": Unit("/min"),
    "Cel": Unit("Cel"),
    "[degF]": Unit("Cel", Fraction(5, 9), Fraction(-160, 9)),
    "kg": Unit("kg"),
    "g": Unit("kg", Fraction(1, 1000)),
    "[lb_av]": Unit("kg", _POUND),
    "[oz_av]": Unit("kg", _POUND / 16),
    "cm": Unit("cm"),
    "m": Unit("cm", Fraction(100)),
    "[in_i]": Unit("cm", Fraction("2.54")),
    "kg/m2": Unit("kg/m2"),
    "%": Unit("%"),
    # Of modifiers alone: what a scale works out of a body has no kind of vital (docs/decisions/0014).
    "kJ": Unit("kJ"),
    "Ohm": Unit("Ohm"),
}

# The device itself doubts what it measured: every value of the reading is questionable, the flag is the reason.
DOUBTING_FLAGS = frozenset(
    {
        *("body_movement", "cuff_loose", "position_improper", "pulse_out_of_range", "low_signal"),
        "questionable_measurement",
    }
)

# The device says that it is broken, and sends numbers all the same; that it has no contact; or that it weighs a thing,
# or a child in somebody's arms: the reading is held, the flag is the reason.
HOLDING_FLAGS = frozenset({"equipment_malfunction", "no_contact", "object"})

# Our own: nobody can say whether it is a patient's or a test's (trials.py). Held; the flag is the reason.
TEST_OVERLAP = "test_overlap"

# What a chart can use. All else that a codec may flag (`stable`, `height_absent`, `bmi_absent`, `patient_id_absent`,
# `stray_6_prefix`, …) is a fact of the frame and ends here.
CARRIED_FLAGS = (
    DOUBTING_FLAGS
    | HOLDING_FLAGS
    | {
        "irregular_pulse",
        "low_battery",
        "stored",
        "manual",
        "net",
        "held",
        "averaged",
        "single_packet",
        "possible_repeat",
        "seconds_clamped",
        "user_profile",
    }
)

# Worked out from the person in the scale's memory where the flag `user_profile` stands: perhaps not who stood on it.
OF_A_PROFILE = frozenset({"body_height", "bmi", "body_fat"})

# A device at its work says these all day. Every other notice (measurement_failed, overload, underload, low_battery,
# body_movement, syntax_error, …) goes to the event topic, one that is not known here too: rather told than hidden.
PROGRESS_NOTICES = frozenset(
    {
        *("unstable", "zero", "zero_weight", "below_zero", "negative_weight", "busy", "no_answer"),
        *("settling", "repeat", "unsettled"),
        *("measuring", "feature", "temperature_type", "current_time", "date_time"),
        *("acknowledged", "none_yet", "no_data", "old_record", "companion", "header", "trend"),
        *("no_final_temperature", "record_time", "sensor_alarm", "empty_slot"),
        *("placeholder", "composition_not_read", "consent", "consent_accepted", "user_control"),
        *("date_of_birth", "gender", "user_height", "database_change_increment"),
        *("pulse_search", "sensor_off", "sensor_disconnected", "no_sensor", "standby", "unplugged"),
    }
)


def goes_to_event_topic(notice_code: str) -> bool:
    """Answer whether a notice is for people (B/event) or only progress."""
    return notice_code not in PROGRESS_NOTICES


def to_canonical(value: Decimal | Fraction, unit: str) -> Fraction:
    """Convert exactly to the canonical unit of `unit`'s dimension. `value` is finite, `unit` stands in UNITS."""
    conversion = UNITS[unit]
    if unit == conversion.canonical:
        return Fraction(value)
    return Fraction(value) * conversion.factor + conversion.offset


def vital_codings(kind: str, company: Collection[str]) -> tuple[Coding, ...]:
    """Answer the codes of a vital among the kinds of its reading (`company`); none for a kind that is not known.

    A pulse is a cuff's beside a pressure and an oximeter's beside a saturation. Beside both, nobody has said
    which of the two counted it: it stays generic.
    """
    row = KINDS.get(kind)
    if row is None:
        return ()
    number, reference_id = row.mdc, row.mdc_id
    if kind == "pulse_rate":
        by_cuff = not {"systolic", "diastolic", "mean_arterial_pressure"}.isdisjoint(company)
        by_oximeter = "oxygen_saturation" in company
        if by_cuff and not by_oximeter:
            number, reference_id = _PULSE_OF_CUFF
        elif by_oximeter and not by_cuff:
            number, reference_id = _PULSE_OF_OXIMETER
    return (*(Coding(LOINC, code) for code in row.loinc), Coding(MDC, str(number), reference_id))


def reading_codings(company: Collection[str]) -> tuple[Coding, ...]:
    """Answer the codes of a reading as a whole: the panel, where it has a systolic or a diastolic pressure."""
    return (_BLOOD_PRESSURE_PANEL,) if "systolic" in company or "diastolic" in company else ()
