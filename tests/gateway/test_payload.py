"""The promise to charts, member by member, and the digits; then the states and events beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import Identity
from gateway.account import Account, Books, Counts
from gateway.in_force import InForce
from gateway.payload import Origin, encode, topic
from gateway.reading import (
    ClockQuality,
    Device,
    Disposition,
    Measured,
    Mode,
    Modifier,
    Reading,
    Status,
    Times,
    Vital,
)
from gateway.states import (
    DETAIL_LIMIT,
    device_state,
    device_topic,
    event,
    event_topic,
    gateway_state,
    gateway_topic,
)
from gateway.vocabulary import CARRIED_FLAGS, KINDS

ID = UUID("0f0c0b52-2f0e-5f2c-9d5c-6b0f2f3a9f11")
STREAM = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
ORIGIN = Origin("northside", "exam-3", "0.1.0", STREAM)
AT = datetime(2026, 11, 22, 13, 5, 10, 412000, tzinfo=UTC)

CUFF_READING = Reading(
    id=ID,
    device=Device("cuff", "and-ua-651ble", "A&D", hardware="C8:1E:8E:00:00:01"),
    mode=Mode.REAL,
    times=Times(
        taken_at=datetime(2026, 11, 22, 13, 5, 9, tzinfo=UTC),
        received_at=AT,
        source="device",
        uncertainty_s=1.0,
        quality=ClockQuality.SYNCED,
        device_time=datetime(2026, 11, 22, 7, 5, 9),  # noqa: DTZ001 - a device's clock has no zone
        clock_offset_s=0.4,
    ),
    vitals=(
        Vital("systolic", Decimal(128), Fraction(128), "mm[Hg]", Measured(Decimal(128), "mm[Hg]")),
        Vital("diastolic", Decimal(82), Fraction(82), "mm[Hg]", Measured(Decimal(82), "mm[Hg]")),
    ),
    flags=("irregular_pulse",),
    raw=b"\x1e\x80",
)

# The contract's own example, as text: order, spelling and digits.
EXAMPLE = """{
  "schema": "vitals.reading/1",
  "id": "0f0c0b52-2f0e-5f2c-9d5c-6b0f2f3a9f11", "revision": 1, "state": "final",
  "stream": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "sequence": 412,
  "disposition": "usable", "mode": "real",
  "gateway": {"id": "northside-exam-3", "version": "0.1.0"},
  "site": "northside", "room": "exam-3",
  "session": null, "operator": null,
  "device": {"id": "cuff", "model": "and-ua-651ble", "maker": "A&D", "hardware": "C8:1E:8E:00:00:01",
             "serial": null, "firmware": null, "user": null},
  "taken_at": "2026-11-22T13:05:09.000Z", "received_at": "2026-11-22T13:05:10.412Z",
  "time": {"source": "device", "device_time": "2026-11-22T07:05:09", "clock_offset_s": 0.4,
           "uncertainty_s": 1.0, "quality": "synced"},
  "status": "valid",
  "codes": [{"system": "http://loinc.org", "code": "85354-9"}],
  "vitals": [
    {"kind": "systolic", "value": 128, "unit": "mm[Hg]", "absent": null,
     "codes": [{"system": "http://loinc.org", "code": "8480-6"},
               {"system": "urn:iso:std:iso:11073:10101", "code": "150021", "display": "MDC_PRESS_BLD_NONINV_SYS"}],
     "measured": {"value": "128", "unit": "mm[Hg]"}, "status": "valid", "reasons": []},
    {"kind": "diastolic", "value": 82, "unit": "mm[Hg]", "absent": null,
     "codes": [{"system": "http://loinc.org", "code": "8462-4"},
               {"system": "urn:iso:std:iso:11073:10101", "code": "150022", "display": "MDC_PRESS_BLD_NONINV_DIA"}],
     "measured": {"value": "82", "unit": "mm[Hg]"}, "status": "valid", "reasons": []}
  ],
  "aggregate": null, "modifiers": {}, "series": null,
  "flags": ["irregular_pulse"], "reasons": [], "possible_repeat_of": null, "raw": null
}"""
HELD = {"unit_conflict": 1}
ACCOUNT = Account(
    {
        "scale": Counts(
            frames=8, samples=3, notices=3, rejected={"bad_checksum": 2}, usable=2, held={"unit_conflict": 1}
        ),
        "cuff": Counts(frames=1, samples=1, repeats=1),
    },
    Books(waiting_at_start=5, committed=3, repeats=1),
    delivered=2,
    parked=0,
    waiting=6,
)


MustFit = Callable[[bytes | str], Any]


def decoded(payload: bytes) -> Any:
    return json.loads(payload, parse_float=Decimal, parse_int=Decimal, parse_constant=pytest.fail)


def weight(value: str) -> Reading:
    number = Decimal(value)
    return replace(
        CUFF_READING,
        vitals=(Vital("body_weight", number, Fraction(number), "kg", Measured(number, "kg")),),
        flags=(),
    )


def test_the_contracts_example(must_fit: MustFit) -> None:
    compact = json.dumps(json.loads(EXAMPLE), separators=(",", ":"), ensure_ascii=False)
    assert encode(CUFF_READING, ORIGIN, 412).decode() == compact
    must_fit(compact)


@pytest.mark.parametrize(
    "digits", ["184.50", "83.7", "100", "0.0", "0.0000001", "0.00000000", "-3.20", "123456789012345678901234567890.10"]
)
def test_the_devices_digits_stand_in_the_payload(digits: str) -> None:
    payload = encode(weight(digits), ORIGIN, 1).decode()
    assert f'"value":{digits},"unit":"kg"' in payload
    assert f'"measured":{{"value":"{digits}","unit":"kg"}}' in payload


def test_a_devices_exponent_is_written_out() -> None:
    payload = encode(weight("1.2E+2"), ORIGIN, 1).decode()
    assert '"value":120,' in payload
    assert '"measured":{"value":"120","unit":"kg"}' in payload


def test_a_vital_without_a_value_says_why() -> None:
    (vital,) = weight("999").vitals
    gone = replace(vital, value=None, absent="error", status=Status.INVALID, reasons=("above_absolute_range",))
    (told,) = decoded(encode(replace(CUFF_READING, vitals=(gone,)), ORIGIN, 1))["vitals"]
    assert (told["value"], told["absent"]) == (None, "error")
    assert told["measured"] == {"value": "999", "unit": "kg"}
    assert (told["status"], told["reasons"]) == ("invalid", ["above_absolute_range"])


def test_a_number_that_is_none_is_null() -> None:
    (told,) = decoded(
        encode(replace(CUFF_READING, vitals=(Vital("systolic", Decimal("NaN"), None, "mm[Hg]", None),)), ORIGIN, 1)
    )["vitals"]
    assert (told["value"], told["measured"]) == (None, None)


def test_a_weight_has_no_panel_code() -> None:
    told = decoded(encode(weight("83.70"), ORIGIN, 1))
    assert told["codes"] == []
    assert [coding["code"] for coding in told["vitals"][0]["codes"]] == ["29463-7", "188736"]


def test_the_pulse_beside_a_pressure_is_a_cuffs() -> None:
    pulse = Vital("pulse_rate", Decimal(74), Fraction(74), "/min", None)
    beside = decoded(encode(replace(CUFF_READING, vitals=(*CUFF_READING.vitals, pulse)), ORIGIN, 1))
    alone = decoded(encode(replace(CUFF_READING, vitals=(pulse,)), ORIGIN, 1))
    assert beside["vitals"][2]["codes"][1]["display"] == "MDC_PULS_RATE_NON_INV"
    assert alone["vitals"][0]["codes"][1]["display"] == "MDC_PULS_RATE"


def test_modifiers_say_how_it_was_measured_and_who_said_so(must_fit: MustFit) -> None:
    modifiers = {
        "tare": Modifier(Decimal("2.50"), "device", "kg", Measured(Decimal("5.5"), "[lb_av]")),
        "site": Modifier("oral", "staff"),
    }
    payload = encode(replace(CUFF_READING, modifiers=modifiers), ORIGIN, 1).decode()
    assert (
        '"modifiers":{"tare":{"value":2.50,"unit":"kg","measured":{"value":"5.5","unit":"[lb_av]"},"source":"device"},'
        '"site":{"value":"oral","source":"staff"}}'
    ) in payload
    must_fit(payload)


def test_an_average_is_not_a_single_reading() -> None:
    told = decoded(encode(replace(CUFF_READING, flags=("averaged",)), ORIGIN, 1))
    assert told["aggregate"] == {"statistic": "mean", "of": None}


def test_a_later_revision_is_a_correction() -> None:
    told = decoded(encode(replace(CUFF_READING, revision=2), ORIGIN, 1))
    assert (told["revision"], told["state"]) == (2, "corrected")


def test_raw_bytes_go_out_only_where_the_site_asked_for_them() -> None:
    asked = replace(ORIGIN, publish_raw=True)
    assert decoded(encode(CUFF_READING, ORIGIN, 1))["raw"] is None
    assert decoded(encode(CUFF_READING, asked, 1))["raw"] == "1e80"
    assert decoded(encode(replace(CUFF_READING, raw=b""), asked, 1))["raw"] is None


def test_times_are_utc_in_milliseconds() -> None:
    zoned = datetime(2026, 11, 22, 7, 5, 9, 999999, tzinfo=timezone(timedelta(hours=-6)))
    times = replace(CUFF_READING.times, taken_at=None, received_at=zoned, device_time=None, clock_offset_s=None)
    told = decoded(encode(replace(CUFF_READING, times=times), ORIGIN, 1))
    assert (told["taken_at"], told["received_at"]) == (None, "2026-11-22T13:05:09.999Z")
    assert (told["time"]["device_time"], told["time"]["clock_offset_s"]) == (None, None)


def test_a_device_clock_has_no_zone_even_if_somebody_gave_it_one() -> None:
    times = replace(CUFF_READING.times, device_time=AT)
    told = decoded(encode(replace(CUFF_READING, times=times), ORIGIN, 1))
    assert told["time"]["device_time"] == "2026-11-22T13:05:10.412000"


def test_a_time_without_a_zone_is_not_guessed_at() -> None:
    times = replace(CUFF_READING.times, received_at=AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="without a zone"):
        encode(replace(CUFF_READING, times=times), ORIGIN, 1)


def test_a_small_offset_has_no_exponent() -> None:
    times = replace(CUFF_READING.times, clock_offset_s=0.00004, uncertainty_s=float("nan"))
    payload = encode(replace(CUFF_READING, times=times), ORIGIN, 1).decode()
    assert '"clock_offset_s":0.0,"uncertainty_s":null' in payload


def test_text_of_the_device_cannot_break_the_payload() -> None:
    user = '"},\x00\n\udc80é'
    told = decoded(encode(replace(CUFF_READING, device=replace(CUFF_READING.device, user=user)), ORIGIN, 1))
    assert told["device"]["user"] == '"},\x00\n?é'


@pytest.mark.parametrize(
    ("disposition", "mode", "expected"),
    [
        (Disposition.USABLE, Mode.REAL, "vitals/v1/northside/exam-3/reading"),
        (Disposition.HOLD, Mode.REAL, "vitals/v1/northside/exam-3/quarantine"),
        (Disposition.USABLE, Mode.TEST, "vitals/v1/northside/exam-3/test/reading"),
        (Disposition.HOLD, Mode.TEST, "vitals/v1/northside/exam-3/test/quarantine"),
        (Disposition.USABLE, Mode.DEMO, "vitals/v1/northside/exam-3/test/reading"),
        (Disposition.HOLD, Mode.DEMO, "vitals/v1/northside/exam-3/test/quarantine"),
    ],
)
def test_topics_of_readings(disposition: Disposition, mode: Mode, expected: str) -> None:
    assert topic(replace(CUFF_READING, disposition=disposition, mode=mode), ORIGIN) == expected


# What must always hold, of any reading whatever

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)
VITALS = st.builds(
    Vital,
    kind=st.sampled_from([*KINDS, "cuff_pressure"]),
    value=st.none() | NUMBERS,
    exact=st.none(),
    unit=st.sampled_from(["kg", "mm[Hg]", "/min"]),
    measured=st.none() | st.builds(Measured, NUMBERS, st.sampled_from(["[lb_av]", "kPa"])),
    absent=st.none() | st.just("error"),
    status=st.sampled_from(Status),
    reasons=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)
TEXTS = st.none() | st.text(st.characters(), max_size=20)  # half surrogate pairs too
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-6)), timezone(timedelta(hours=5, minutes=45))])
INSTANTS = st.datetimes(min_value=datetime(1970, 1, 2), timezones=ZONES)  # noqa: DTZ001 - hypothesis wants it bare
READINGS = st.builds(
    Reading,
    id=st.uuids(),
    device=st.builds(
        Device, st.just("d"), st.just("m"), st.just("A&D"), hardware=TEXTS, serial=TEXTS, firmware=TEXTS, user=TEXTS
    ),
    mode=st.sampled_from(Mode),
    times=st.builds(
        Times,
        taken_at=st.none() | INSTANTS,
        received_at=INSTANTS,
        source=st.sampled_from(["device", "gateway"]),
        uncertainty_s=st.floats(),
        quality=st.sampled_from(ClockQuality),
        device_time=st.none() | st.datetimes(),
        clock_offset_s=st.none() | st.floats(),
    ),
    vitals=st.lists(VITALS, max_size=5).map(tuple),
    flags=st.lists(st.sampled_from(sorted(CARRIED_FLAGS)), max_size=3).map(tuple),
    modifiers=st.dictionaries(
        st.sampled_from(["tare", "site"]),
        st.builds(Modifier, value=NUMBERS | st.just("oral"), source=st.just("device"), unit=st.just("kg")),
    ),
    raw=st.binary(max_size=20),
    revision=st.integers(1, 5),
    status=st.sampled_from(Status),
    disposition=st.sampled_from(Disposition),
    reasons=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    possible_repeat_of=st.none() | st.uuids(),
)
MEMBERS = list(json.loads(EXAMPLE))
VITAL_MEMBERS = list(json.loads(EXAMPLE)["vitals"][0])


@settings(deadline=None)
@given(READINGS, st.integers(1, 2**53), st.booleans())
def test_every_payload_has_the_contracts_members_and_the_devices_digits(
    reading: Reading, sequence: int, publish_raw: bool
) -> None:
    told = decoded(encode(reading, replace(ORIGIN, publish_raw=publish_raw), sequence))
    assert list(told) == MEMBERS
    for member in ("gateway", "device", "time"):
        assert list(told[member]) == list(json.loads(EXAMPLE)[member])
    assert told["sequence"] == sequence
    assert len(told["vitals"]) == len(reading.vitals)
    for vital, shown in zip(reading.vitals, told["vitals"], strict=True):
        assert list(shown) == VITAL_MEMBERS
        if vital.value is None:
            assert shown["value"] is None
        else:
            assert format(shown["value"], "f") == format(vital.value, "f")
        if vital.measured is not None:
            assert shown["measured"]["value"] == format(vital.measured.value, "f")


# States and events: retained or not, and never a value

MINUTE_AGO = AT - timedelta(minutes=1)


def test_topics_of_states_and_events() -> None:
    assert event_topic(ORIGIN) == "vitals/v1/northside/exam-3/event"
    assert gateway_topic(ORIGIN) == "vitals/v1/northside/exam-3/gateway"
    assert device_topic(ORIGIN, "cuff") == "vitals/v1/northside/exam-3/device/cuff"


def test_an_event(must_fit: MustFit) -> None:
    payload = event(
        ORIGIN, device_id="cuff", model="and-ua-651ble", code="low_battery", at=AT, mode=Mode.REAL, detail="replace it"
    )
    assert must_fit(payload) == {
        "schema": "vitals.event/1",
        "gateway": {"id": "northside-exam-3", "version": "0.1.0"},
        "site": "northside",
        "room": "exam-3",
        "device": {"id": "cuff", "model": "and-ua-651ble"},
        "code": "low_battery",
        "detail": "replace it",
        "at": "2026-11-22T13:05:10.412Z",
        "mode": "real",
    }


def test_a_detail_is_bounded() -> None:
    long = "é" * (DETAIL_LIMIT + 1)
    told = json.loads(event(ORIGIN, device_id="d", model="m", code="c", at=AT, mode=Mode.REAL, detail=long))
    assert told["detail"] == long[:-1]
    state = json.loads(device_state(ORIGIN, device_id="d", model="m", state="offline", at=AT, detail=long))
    assert state["detail"] == long[:-1]


def test_the_gateways_state(must_fit: MustFit) -> None:
    payload = gateway_state(
        ORIGIN,
        state="online",
        at=AT,
        config_hash="0123456789ab",
        in_force=InForce("0123456789ab", "last_good", 2, "gateway.yaml:3:1: " + "x" * 400, ("scale",)),
        clock=ClockQuality.HOLDOVER,
        started_at=MINUTE_AGO,
        outbox_depth=3,
        outbox_oldest_age_s=12.34567,
        outbox_parked=1,
        refused={"vitals/v1/northside/exam-3/reading": "not_authorized"},
        certificates={"broker": AT + timedelta(days=9, hours=23), "client": MINUTE_AGO},
        account=ACCOUNT,
    )
    assert must_fit(payload) == {
        "schema": "vitals.gateway/1",
        "gateway": {"id": "northside-exam-3", "version": "0.1.0"},
        "site": "northside",
        "room": "exam-3",
        "stream": str(STREAM),
        "state": "online",
        "reason": None,
        "at": "2026-11-22T13:05:10.412Z",
        "started_at": "2026-11-22T13:04:10.412Z",
        "config_hash": "0123456789ab",
        "config": {
            "hash": "0123456789ab",
            "in_force": "last_good",
            "problems": 2,
            "first_problem": "gateway.yaml:3:1: " + "x" * 282,
            "left_out": ["scale"],
        },
        "clock": "holdover",
        "outbox": {"depth": 3, "oldest_age_s": 12.346, "parked": 1},
        "refused": {"vitals/v1/northside/exam-3/reading": "not_authorized"},
        "certificates": {
            "broker": {"not_after": "2026-12-02T12:05:10.412Z", "days_left": 9},
            "client": {"not_after": "2026-11-22T13:04:10.412Z", "days_left": -1},
        },
        "held": 1,
        "not_kept": 0,
        "account": ACCOUNT.members(),
    }


def test_the_account_is_told_without_a_device() -> None:
    assert ACCOUNT.members() == {
        "frames": 9,
        "samples": 4,
        "notices": 3,
        "repeats": 1,
        "rejected": {"bad_checksum": 2},
        "usable": 2,
        "held": {"unit_conflict": 1},
        "committing": 0,
        "not_kept": 0,
        "revisions": 0,
        "waiting_at_start": 5,
        "replaced": 0,
        "waiting": 6,
        "delivered": 2,
        "parked": 0,
        "damaged": 0,
        "unbalanced": [],
    }


def test_the_will_has_the_same_members_and_knows_less(must_fit: MustFit) -> None:
    will = must_fit(gateway_state(ORIGIN, state="offline", at=AT, reason="connection_lost"))
    assert list(will) == list(json.loads(gateway_state(ORIGIN, state="online", at=AT)))
    assert (will["state"], will["reason"]) == ("offline", "connection_lost")
    assert (will["clock"], will["started_at"], will["held"]) == (None, None, None)
    assert will["outbox"] == {"depth": None, "oldest_age_s": None, "parked": None}
    assert will["refused"] is None


def test_a_devices_state(must_fit: MustFit) -> None:
    payload = device_state(
        ORIGIN,
        device_id="scale",
        model="health-o-meter-500kl",
        state="offline",
        at=AT,
        reason="port_absent",
        detail="plug in the scale's cable",
        battery=80,
        last_seen=MINUTE_AGO,
        last_reading_id=ID,
        held=2,
        last_held_reason="unit_conflict",
        identity=Identity("A&D Medical", "UA-651BLE", "5190900123", None),
        counts=Counts(
            frames=9, samples=4, notices=3, repeats=1, rejected={"bad_checksum": 2}, usable=1, held={"unit_conflict": 2}
        ),
    )
    assert must_fit(payload) == {
        "schema": "vitals.device/1",
        "gateway": {"id": "northside-exam-3", "version": "0.1.0"},
        "site": "northside",
        "room": "exam-3",
        "device": {"id": "scale", "model": "health-o-meter-500kl"},
        "state": "offline",
        "reason": "port_absent",
        "detail": "plug in the scale's cable",
        "battery": 80,
        "information": {"maker": "A&D Medical", "model": "UA-651BLE", "serial": "5190900123", "firmware": None},
        "last_seen": "2026-11-22T13:04:10.412Z",
        "last_reading_id": str(ID),
        "held": 2,
        "last_held_reason": "unit_conflict",
        "counts": {
            "frames": 9,
            "samples": 4,
            "notices": 3,
            "repeats": 1,
            "rejected": {"bad_checksum": 2},
            "usable": 1,
            "held": {"unit_conflict": 2},
            "committing": 0,
            "not_kept": 0,
        },
        "also_claimed_by": [],
        "test_until": None,
        "at": "2026-11-22T13:05:10.412Z",
    }


def test_a_device_of_which_nothing_is_known_yet(must_fit: MustFit) -> None:
    told = must_fit(device_state(ORIGIN, device_id="scale", model="health-o-meter-500kl", state="unknown", at=AT))
    assert (told["last_seen"], told["last_reading_id"], told["battery"], told["reason"]) == (None, None, None, None)
    assert told["counts"] == Counts().members()
