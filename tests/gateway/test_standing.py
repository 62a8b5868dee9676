"""A device's account: the counts add up at any moment, and no value stands in what is told of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import Identity, Notice, Rejected
from gateway.account import Counts, Fate
from gateway.catalogue import load_model
from gateway.clock import Clock
from gateway.normalize import UnknownUnit
from gateway.reading import Mode
from gateway.settings import Device as ConfiguredDevice
from gateway.standing import EVENT_INTERVAL_S, UNREADABLE_AFTER, DeviceStatus, Standing

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


def fate(outcome: Literal["kept", "repeat", "not_kept"], held: str | None = None, revision: int = 1) -> Fate:
    return Fate("cuff", uuid4(), revision, outcome, held)


def adds_up(counts: Counts) -> bool:
    return not counts.unbalanced("cuff")


def settled(standing: Standing, became: Fate) -> None:
    standing.samples(1)
    standing.became(became)


_ACTS: dict[str, Callable[[Standing], None]] = {
    "sample": lambda standing: standing.samples(1),
    "two samples": lambda standing: standing.samples(2),
    "usable": lambda standing: settled(standing, fate("kept")),
    "held": lambda standing: settled(standing, fate("kept", "stored_record")),
    "repeat": lambda standing: settled(standing, fate("repeat")),
    "not kept": lambda standing: settled(standing, fate("not_kept")),
    "revision": lambda standing: standing.became(fate("kept", revision=2)),
    "notice": lambda standing: standing.notice(FAILED, Mode.REAL),
    "quiet notice": lambda standing: standing.notice(SETTLING, Mode.REAL),
    "rejected": lambda standing: standing.rejected(REJECTED),
    "thrown away": lambda standing: standing.thrown_away(3),
    "unknown unit": lambda standing: standing.unknown_unit(UnknownUnit("kind")),
    "link": lambda standing: standing.note("offline", "link_lost", "again later"),
    "opened": lambda standing: standing.opened("the port is open"),
    "battery": lambda standing: standing.found(battery=50),
}


@given(st.lists(st.sampled_from(sorted(_ACTS)), max_size=30))
def test_the_counts_add_up_at_any_moment(acts: list[str]) -> None:
    told = Told()
    for act in acts:
        _ACTS[act](told.standing)
        assert adds_up(told.counts)
    assert all(adds_up(status.counts) for status in told.statuses)
    answered = [acts.count(act) for act in ("usable", "held", "repeat", "not kept")]
    counts = told.counts
    assert [counts.usable, counts.held.get("stored_record", 0), counts.repeats, counts.not_kept] == answered
    assert counts.committing == acts.count("sample") + 2 * acts.count("two samples")
    assert counts.notices == acts.count("notice") + acts.count("quiet notice")
    assert counts.rejected.get("length", 0) == acts.count("rejected")
    assert counts.rejected.get("overflow", 0) == 3 * acts.count("thrown away")
    assert counts.rejected.get("unknown_unit", 0) == acts.count("unknown unit")
    assert told.standing.status.held == acts.count("held")


def test_a_repeat_is_no_new_reading(told: Told) -> None:
    held = fate("kept", "stored_record")
    settled(told.standing, held)
    settled(told.standing, fate("repeat"))
    status = told.standing.status
    assert (status.counts.readings, status.held, status.last_held_reason) == (1, 1, "stored_record")
    assert (status.counts.samples, status.counts.repeats) == (2, 1)
    assert status.last_reading_id == held.id


def test_no_value_is_told(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for act in _ACTS.values():
        act(told.standing)
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


def test_the_last_reading_is_that_of_before_until_another_is_on_disk(told: Told) -> None:
    before, new = uuid4(), fate("kept")
    told.standing.last_reading(before)
    told.standing.samples(1)
    assert told.standing.status.last_reading_id == before
    told.standing.became(new)
    assert told.standing.status.last_reading_id == new.id


def test_who_takes_over_counts_on_and_knows_the_last_reading(told: Told) -> None:
    told.standing.samples(1)
    told.standing.rejected(REJECTED)
    fate = Fate("cuff", uuid4(), 1, "kept", "stored_record")
    told.standing.became(fate)
    later = Told()
    later.standing.succeed(told.standing)
    before, after = told.standing.status, later.standing.status
    assert after.counts == before.counts
    assert after.last_reading_id == before.last_reading_id == fate.id
    assert (after.last_seen, after.last_held_reason) == (before.last_seen, "stored_record")
