"""Records of devices with a clock and a memory: their ids, their repeats, and on which topic they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import ClockReading, Identity, Measurement, Sample
from drivers.models import DeviceModel
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.fence import Evidence
from gateway.intake import RECORDS, Intake, Taken
from gateway.payload import Origin
from gateway.ranges import Ranges
from gateway.reading import Disposition, Mode
from gateway.settings import Device
from gateway.store import Store

CUFF, OTHER_CUFF = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02"
BASE = "vitals/v1/northside/exam-3"
WALL = 1_795_352_710.0
SHOWN = datetime(2026, 11, 22, 13, 5, 9)  # noqa: DTZ001 - a device's clock has no zone
READ_AT, ARRIVED = 100.0, 102.0  # monotonic
RAW = bytes.fromhex("16800052005d00ea070b160d050942000000")
NOBODY = Identity()
MODEL = load_model("and-ua-651ble")
RANGES = load_ranges()
Stored = Literal["quarantine", "publish"]


def clock(*, synced: bool = True) -> Clock:
    made = Clock([lambda: synced], monotonic=lambda: ARRIVED, wall=lambda: WALL)
    made.refresh()
    return made


def known(offset_s: float = 0.0) -> Evidence:
    """A clock that is right, but for `offset_s`, in UTC."""
    at = clock().utc_at(READ_AT)
    return Evidence(ClockReading(at.replace(tzinfo=None) + timedelta(seconds=offset_s), READ_AT, 0.5))


RIGHT = known()
NOT_BELIEVED = known(offset_s=-16 * 365 * 86_400.0)


def stamp(age_s: float, evidence: Evidence = RIGHT) -> datetime:
    assert evidence.reading is not None
    return evidence.reading.shown - timedelta(seconds=age_s)


def sample(age_s: float = 30.0, *, raw: bytes = RAW, unit: str = "mm[Hg]", characteristic: str = "2A35") -> Sample:
    values = (("systolic", "128"), ("diastolic", "82"), ("pulse_rate", "66"))
    if unit == "kPa":
        values = (("systolic", "17.1"), ("diastolic", "10.9"), ("pulse_rate", "66"))
    measurements = tuple(Measurement(k, Decimal(v), "/min" if k == "pulse_rate" else unit) for k, v in values)
    return Sample(measurements, device_time=stamp(age_s), raw=raw, at=ARRIVED, characteristic=characteristic)


def intake(
    *,
    hardware: str = CUFF,
    name: str = "cuff",
    stored: Stored = "quarantine",
    unit: str | None = None,
    model: DeviceModel = MODEL,
    ranges: Ranges = RANGES,
    synced: bool = True,
    stream: UUID | None = None,
) -> Intake:
    device = Device(name, "and-ua-651ble", model, model.line, address=hardware, stored=stored, unit=unit)
    return Intake(device, Origin("northside", "exam-3", "0", stream or uuid4()), ranges, clock(synced=synced))


def take(
    made: Intake,
    what: Sample | None = None,
    evidence: Evidence = RIGHT,
    *,
    mode: Mode = Mode.REAL,
    identity: Identity = NOBODY,
) -> Taken:
    return made.record(sample() if what is None else what, mode, evidence, identity, ARRIVED)


# ---- the id ----------------------------------------------------------------------------------------------------------


def test_the_id_of_a_record_follows_from_device_characteristic_and_bytes() -> None:
    taken = take(intake())
    assert taken.reading.id == taken.record == uuid5(RECORDS, f"{CUFF} 2A35 {RAW.hex()}")
    assert taken.reading.id.version == 5


def test_the_name_space_of_ids_never_changes() -> None:
    """A chart knows these ids for ever: what was told once must have the same id in every version."""
    assert UUID("6f1d3c0e-4b1a-5c57-9b0e-3a6b8f2d7e41") == RECORDS
    assert take(intake()).reading.id == UUID("405143e5-e84c-5493-8c26-c0043fab2616")


def test_the_same_record_has_the_same_id_whenever_and_under_whatever_name_it_comes() -> None:
    again = take(intake(name="cuff-2", stored="publish"), sample(age_s=400.0), known(offset_s=77.0))
    assert again.reading.id == take(intake()).reading.id


@given(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20))
def test_other_bytes_are_another_record(one: bytes, other: bytes) -> None:
    made = intake()
    same = take(made, sample(raw=one)).reading.id == take(made, sample(raw=other)).reading.id
    assert same is (one == other)


def test_another_device_or_characteristic_is_another_record() -> None:
    ids = {
        take(intake()).reading.id,
        take(intake(hardware=OTHER_CUFF)).reading.id,
        take(intake(), sample(characteristic="2A36")).reading.id,
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("evidence", "synced"), [(NOT_BELIEVED, True), (Evidence(), True), (RIGHT, False)], ids=["2010", "unread", "ours"]
)
def test_where_the_clock_is_not_believed_the_id_is_by_chance_and_the_record_known(
    evidence: Evidence, synced: bool
) -> None:
    made = intake(synced=synced)
    one, two = take(made, evidence=evidence), take(made, evidence=evidence)
    assert one.reading.id != two.reading.id
    assert one.reading.id.version == 4
    assert one.record == two.record == uuid5(RECORDS, f"{CUFF} 2A35 {RAW.hex()}")
    assert not one.is_live
    assert one.reading.disposition is Disposition.HOLD
    assert one.reading.reasons == ("clock_unverifiable",)
    assert one.reading.times.taken_at is None


def test_what_is_not_stamped_is_no_record() -> None:
    taken = take(intake(), replace(sample(), device_time=None))
    assert taken.record is None
    assert taken.reading.id.version == 4
    assert taken.reading.reasons == ("clock_unverifiable",)


# ---- live, stored, no memory -----------------------------------------------------------------------------------------


def test_a_live_record_is_usable() -> None:
    taken = take(intake())
    assert taken.is_live
    assert taken.reading.disposition is Disposition.USABLE
    assert taken.reading.flags == ()
    assert taken.reading.times.taken_at == clock().utc_at(READ_AT - 30)


def test_a_stored_record_is_held_with_its_time() -> None:
    made = intake()
    taken = take(made, sample(age_s=3600.0))
    assert not taken.is_live
    assert taken.reading.flags == ("stored",)
    assert taken.reading.reasons == ("stored_record",)
    assert taken.reading.times.taken_at == clock().utc_at(READ_AT - 3600)
    assert made.draft(taken.reading).topic == f"{BASE}/quarantine"


def test_a_site_may_publish_what_is_stored_and_it_says_so() -> None:
    made = intake(stored="publish")
    taken = take(made, sample(age_s=3600.0))
    assert not taken.is_live
    assert taken.reading.disposition is Disposition.USABLE
    assert taken.reading.flags == ("stored",)
    assert taken.reading.reasons == ("stored_record",)
    assert made.draft(taken.reading).topic == f"{BASE}/reading"


def test_no_site_publishes_what_nobody_can_place() -> None:
    assert take(intake(stored="publish"), evidence=NOT_BELIEVED).reading.disposition is Disposition.HOLD


@pytest.mark.parametrize("device_time", [None, SHOWN - timedelta(days=900)])
def test_a_device_without_a_memory_is_live_when_it_speaks(device_time: datetime | None) -> None:
    made = intake(model=replace(MODEL, memory="none"))
    taken = take(made, replace(sample(), device_time=device_time), Evidence())
    assert taken.record is None
    assert taken.reading.disposition is Disposition.USABLE
    assert taken.reading.times.taken_at == taken.reading.times.received_at == clock().utc_at(ARRIVED)
    assert taken.reading.times.source == "gateway"


def test_the_device_says_who_it_is() -> None:
    device = take(intake(), identity=Identity("A&D", "UA-651BLE", "5171200001", "1.0")).reading.device
    assert (device.hardware, device.serial, device.firmware) == (CUFF, "5171200001", "1.0")


# ---- topics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "serial", "usable", "held"),
    [
        (Mode.REAL, None, "reading", "quarantine"),
        (Mode.REAL, "5171200001", "reading", "quarantine"),
        (Mode.REAL, "SIM-000001", "test/reading", "test/quarantine"),
        (Mode.TEST, None, "test/reading", "test/quarantine"),
        (Mode.DEMO, "SIM-000001", "test/reading", "test/quarantine"),
    ],
)
def test_what_is_not_real_has_topics_of_its_own(mode: Mode, serial: str | None, usable: str, held: str) -> None:
    made, identity = intake(), Identity(serial=serial)
    live = take(made, mode=mode, identity=identity).reading
    old = take(made, sample(age_s=3600.0), mode=mode, identity=identity).reading
    assert (made.draft(live).topic, made.draft(old).topic) == (f"{BASE}/{usable}", f"{BASE}/{held}")
    assert (live.mode is Mode.REAL) == (usable == "reading")


def test_a_cuff_that_speaks_kpa_where_mmhg_is_pinned_is_held() -> None:
    taken = take(intake(unit="mm[Hg]"), sample(unit="kPa"))
    assert taken.reading.disposition is Disposition.HOLD
    assert taken.reading.reasons == ("unit_conflict",)
    assert taken.is_live  # it is of now, and the last that the device had: only its unit is in doubt


@pytest.mark.parametrize(("pinned", "unit"), [("kPa", "kPa"), ("mm[Hg]", "mm[Hg]"), (None, "kPa")])
def test_the_pinned_unit_or_none_pinned_is_usable(pinned: str | None, unit: str) -> None:
    assert take(intake(unit=pinned), sample(unit=unit)).reading.disposition is Disposition.USABLE


# ---- repeats, in a real store ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "outbox.db")
    yield opened
    opened.close()


@pytest.fixture
def keep(store: Store) -> Callable[..., dict[str, Any] | None]:
    """Take a record in and keep it; answer what goes out of it, if anything does."""
    made = intake(stream=store.stream)

    def take_in(evidence: Evidence, what: Sample | None = None) -> dict[str, Any] | None:
        taken = take(made, what, evidence)
        rows = store.write([made.draft(taken.reading, taken.record)], [])
        if not rows:
            assert store.became == (None,)
            return None
        (row,) = rows
        told: dict[str, Any] = json.loads(row.payload)
        assert row.topic == f"{BASE}/{'reading' if told['disposition'] == 'usable' else 'quarantine'}"
        return told

    return take_in


Keep = Callable[..., dict[str, Any]]


def test_a_record_that_comes_again_is_kept_once(keep: Keep) -> None:
    assert keep(RIGHT)["possible_repeat_of"] is None
    assert keep(RIGHT) is None


def test_a_record_that_comes_again_when_it_is_old_is_kept_once(keep: Keep) -> None:
    assert keep(RIGHT)["disposition"] == "usable"
    assert keep(known(offset_s=7200.0)) is None


@pytest.mark.parametrize(
    ("first", "second"), [(NOT_BELIEVED, NOT_BELIEVED), (NOT_BELIEVED, RIGHT), (RIGHT, NOT_BELIEVED)]
)
def test_a_record_that_comes_again_under_another_id_names_the_first_and_is_held(
    keep: Keep, first: Evidence, second: Evidence
) -> None:
    one, two = keep(first), keep(second)
    assert one["possible_repeat_of"] is None
    assert two["possible_repeat_of"] == one["id"] != two["id"]
    assert two["disposition"] == "hold"
    assert "possible_repeat" in two["reasons"]


def test_two_records_of_equal_values_are_two_readings(keep: Keep) -> None:
    one, two = keep(RIGHT), keep(RIGHT, sample(raw=RAW[:-1] + b"\x01"))
    assert one["id"] != two["id"]
    assert [one["disposition"], two["disposition"]] == ["usable", "usable"]
    assert one["possible_repeat_of"] is two["possible_repeat_of"] is None


def test_a_record_is_known_over_a_restart_and_though_its_reading_was_deleted(tmp_path: Path) -> None:
    path, ids = tmp_path / "outbox.db", []
    for _ in range(2):
        store = Store(path)
        made = intake(stream=store.stream)
        taken = take(made)
        ids.append(taken.reading.id)
        rows = store.write([made.draft(taken.reading, taken.record)], [])
        assert bool(rows) is (len(ids) == 1)
        store._db.execute("DELETE FROM reading")
        store.close()
    assert ids[0] == ids[1]
