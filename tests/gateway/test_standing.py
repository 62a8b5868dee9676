"""A device's account: the counts add up at any moment, and no value stands in what is told of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import Identity, Notice, Rejected
from gateway.catalogue import load_model
from gateway.clock import Clock
from gateway.normalize import UnknownUnit
from gateway.reading import ClockQuality, Device, Disposition, Measured, Mode, Reading, Times, Vital
from gateway.settings import Device as ConfiguredDevice
from gateway.standing import EVENT_INTERVAL_S, UNREADABLE_AFTER, DeviceStatus, Standing
from gateway.states import Counts

AT = datetime(2026, 11, 22, 13, 5, 10, tzinfo=UTC)
VALUE = "128.7"  # looked for in all that is told
RAW = b"SECRET 128.7"
MODEL = load_model("and-ua-651ble")
CUFF = ConfiguredDevice("cuff", "and-ua-651ble", MODEL, MODEL.line, address="C8:1E:8E:00:00:01")
FAILED = Notice("measurement_failed", "the cuff could not measure", RAW)
SETTLING = Notice("settling", "", RAW)
REJECTED = Rejected("length", RAW)

Kept = asyncio.Future[frozenset[UUID]]


class Told:
    def __init__(self) -> None:
        self.statuses: list[DeviceStatus] = []
        self.events: list[str] = []
        self.standing = Standing(CUFF, Clock(), self._changed, self._event)

    def _changed(self, device_id: str) -> None:
        assert device_id == "cuff"
        self.statuses.append(self.standing.status)

    def _event(self, _device: ConfiguredDevice, notice: Notice, _mode: Mode) -> None:
        self.events.append(notice.code)

    @property
    def counts(self) -> Counts:
        return self.standing.status.counts


@pytest.fixture
def told() -> Told:
    return Told()


def reading(*, held: bool = False) -> Reading:
    return Reading(
        uuid4(),
        Device("cuff", "and-ua-651ble", "A&D"),
        Mode.REAL,
        Times(AT, AT, "device", 1.0, ClockQuality.SYNCED),
        (Vital("systolic", Decimal(VALUE), Fraction(VALUE), "mm[Hg]", Measured(Decimal(VALUE), "mm[Hg]")),),
        raw=RAW,
        disposition=Disposition.HOLD if held else Disposition.USABLE,
        reasons=("stored_record",) if held else (),
    )


def kept(loop: asyncio.AbstractEventLoop) -> Kept:
    return loop.create_future()


def adds_up(counts: Counts) -> bool:
    return counts.frames == counts.samples + counts.notices + sum(counts.rejected.values())


_ACTS: dict[str, Callable[[Standing, Kept], None]] = {
    "reading": lambda standing, done: standing.readings([reading()], done),
    "two readings": lambda standing, done: standing.readings([reading(), reading(held=True)], done),
    "notice": lambda standing, _: standing.notice(FAILED, Mode.REAL),
    "quiet notice": lambda standing, _: standing.notice(SETTLING, Mode.REAL),
    "rejected": lambda standing, _: standing.rejected(REJECTED),
    "unknown unit": lambda standing, _: standing.unknown_unit(UnknownUnit("kind")),
    "link": lambda standing, _: standing.note("offline", "link_lost", "again later"),
    "opened": lambda standing, _: standing.opened("the port is open"),
    "battery": lambda standing, _: standing.found(battery=50),
}


@given(st.lists(st.sampled_from(sorted(_ACTS)), max_size=30))
def test_the_counts_add_up_at_any_moment(acts: list[str]) -> None:
    loop = asyncio.new_event_loop()
    told = Told()
    for act in acts:
        _ACTS[act](told.standing, kept(loop))
        assert adds_up(told.counts)
    loop.close()
    assert all(adds_up(status.counts) for status in told.statuses)
    assert told.counts.samples == acts.count("reading") + 2 * acts.count("two readings")
    assert told.counts.notices == acts.count("notice") + acts.count("quiet notice")
    assert told.counts.rejected.get("length", 0) == acts.count("rejected")
    assert told.counts.rejected.get("unknown_unit", 0) == acts.count("unknown unit")
    assert told.standing.status.held == acts.count("two readings")


async def test_a_repeat_is_no_new_reading(told: Told) -> None:
    done = kept(asyncio.get_running_loop())
    live, old = reading(), reading(held=True)
    told.standing.readings([live, old], done)
    status = told.standing.status
    assert (status.readings, status.held, status.last_held_reason) == (2, 1, "stored_record")
    before = len(told.statuses)
    done.set_result(frozenset({old.id, uuid4()}))
    await asyncio.sleep(0)
    status = told.standing.status
    assert (status.readings, status.held, status.counts.repeats) == (1, 0, 1)
    assert adds_up(status.counts)  # it was a sample all the same
    assert status.counts.samples == 2
    assert len(told.statuses) == before + 1


@pytest.mark.parametrize("end", ["none known", "cancelled"])
async def test_what_was_kept_stays_counted(told: Told, end: str) -> None:
    done = kept(asyncio.get_running_loop())
    told.standing.readings([reading(held=True)], done)
    before = len(told.statuses)
    if end == "cancelled":
        done.cancel()
    else:
        done.set_result(frozenset())
    await asyncio.sleep(0)
    status = told.standing.status
    assert (status.readings, status.held, status.counts.repeats) == (1, 1, 0)
    assert len(told.statuses) == before


def test_no_value_is_told(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    loop = asyncio.new_event_loop()
    for act in _ACTS.values():
        act(told.standing, kept(loop))
    loop.close()
    try:
        raise ValueError(f"cannot read {VALUE}")
    except ValueError as error:
        told.standing.defect(error)
    for _ in range(UNREADABLE_AFTER):
        told.standing.rejected(REJECTED)
    assert len(caplog.records) > 3
    assert len(told.statuses) > 3
    for text in (caplog.text, repr(told.statuses), repr(told.events)):
        assert VALUE not in text
        assert "SECRET" not in text
        assert RAW.hex() not in text


def test_a_device_that_says_what_cannot_be_read_is_shown(told: Told) -> None:
    for _ in range(UNREADABLE_AFTER - 1):
        told.standing.rejected(REJECTED)
    assert told.standing.status.reason != "unreadable"
    told.standing.notice(SETTLING, Mode.REAL)  # between them: one that can be read
    for _ in range(UNREADABLE_AFTER - 1):
        told.standing.rejected(REJECTED)
    assert told.standing.status.reason is None
    told.standing.rejected(REJECTED)
    shown = [(status.state, status.reason) for status in told.statuses]
    told.standing.heard()
    shown.append((told.standing.status.state, told.standing.status.reason))
    assert shown[-2:] == [("unknown", "unreadable"), ("online", None)]


def test_a_link_that_was_opened_anew_starts_the_count_anew(told: Told) -> None:
    for _ in range(UNREADABLE_AFTER - 1):
        told.standing.rejected(REJECTED)
    told.standing.opened("")
    told.standing.rejected(REJECTED)
    assert told.standing.status.reason == "not_heard_yet"


def test_the_same_is_told_once(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        told.standing.note("offline", "link_lost", "again later")
    assert len(told.statuses) == len(caplog.records) == 1


def test_people_hear_of_a_notice_that_is_for_them_once_in_a_while(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(30):
        told.standing.notice(FAILED, Mode.REAL)
        told.standing.notice(SETTLING, Mode.REAL)
    assert told.events == ["measurement_failed"]
    now += EVENT_INTERVAL_S
    told.standing.notice(FAILED, Mode.REAL)
    assert told.events == ["measurement_failed"] * 2
    assert told.counts.notices == 61


def test_what_a_device_says_of_itself_stays_until_it_says_something_else(told: Told) -> None:
    identity = Identity("A&D", "UA-651BLE", "5171200001", "1.0")
    told.standing.found(identity=identity)
    told.standing.found(battery=90)
    told.standing.found(battery=90)
    assert (told.standing.status.battery, told.standing.status.identity) == (90, identity)
    assert len(told.statuses) == 2
    told.standing.found(battery=0)
    assert told.standing.status.battery == 0


def test_the_last_reading_is_that_of_before_until_there_is_another(told: Told) -> None:
    before, new = uuid4(), reading()
    told.standing.last_reading(before)
    assert told.standing.status.last_reading_id == before
    loop = asyncio.new_event_loop()
    told.standing.readings([replace(new)], kept(loop))
    loop.close()
    assert told.standing.status.last_reading_id == new.id
