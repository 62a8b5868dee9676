"""What a correction changes and what not, in a real store; the whole way is in tests/system/test_clocks.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from drivers.contract import ClockReading, Identity, Measurement, Sample
from gateway import corrections, kept
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.corrections import WORTH_S, correct_times
from gateway.fence import Evidence
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.reading import Mode
from gateway.rows import Captured
from gateway.settings import Device
from gateway.store import MEGABYTE, DatabaseError, Draft, Mark, Row, Store

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SHOWN = datetime(2026, 11, 22, 11, 59, 50)  # noqa: DTZ001 - a device's clock has no zone
BOOT_ID = "7c9e6679742540de944be07fc1f90ae7"


class Machine:
    """One start of a machine, whose clock is off until it is synchronized."""

    def __init__(self, folder: Path, off: timedelta) -> None:
        self.path = folder / "outbox.db"
        self.mono, self.off, self.synced = 100.0, off, False
        self.clock = self._new_clock()
        self.store = Store(self.path)
        self.origin = Origin("northside", "exam-3", "0.9", self.store.stream)

    def _new_clock(self) -> Clock:
        def wall() -> float:
            return (NOON + timedelta(seconds=self.mono) + self.off).timestamp()

        clock = Clock([lambda: self.synced], lambda: self.mono, wall, lambda: 0.0)
        clock.refresh()
        return clock

    def look(self, off: timedelta, *, synced: bool) -> None:
        self.off, self.synced = off, synced
        self.clock.refresh()

    def restart(self) -> None:
        self.store.close()
        self.clock = self._new_clock()
        self.store = Store(self.path)

    def intake(self, model: str = "and-standard-scale", address: str | None = None) -> Intake:
        row = load_model(model)
        device = Device("device", model, row, row.line, address=address)
        return Intake(device, self.origin, load_ranges(), self.clock)

    def weigh(self, text: str = "184.50", unit: str = "kg") -> dict[str, Any]:
        intake = self.intake()
        sample = Sample((Measurement("body_weight", Decimal(text), unit),), raw=b"raw", at=self.mono)
        return self.keep(intake.draft(intake.reading(sample, Mode.REAL)))

    def keep(self, draft: Draft) -> dict[str, Any]:
        (row,) = self.store.write([draft], [])
        return members(row)

    def correct(self) -> list[dict[str, Any]]:
        rows, _ = correct_times(self.store, self.clock, self.origin)
        return [members(row) for row in rows]


def members(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(row.payload, parse_float=Decimal)
    return told


@pytest.fixture(autouse=True)
def _boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOT_ID", BOOT_ID)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, timedelta(days=-9000))
    yield made
    made.store.close()


def test_the_right_time_is_that_of_the_capture_and_nothing_else_changes(machine: Machine) -> None:
    first = machine.weigh()
    machine.mono += 50.0
    assert machine.correct() == [], "not before the clock is right"
    machine.look(timedelta(0), synced=True)
    (right,) = machine.correct()
    assert right["taken_at"] == right["received_at"] == "2026-11-22T12:01:40.000Z"
    assert (right["id"], right["revision"], right["state"]) == (first["id"], 2, "corrected")
    assert (right["sequence"], right["reasons"]) == (2, ["time_corrected"])
    assert right["time"] == {**first["time"], "quality": "synced"}
    changed = {"revision", "state", "sequence", "taken_at", "received_at", "time", "reasons"}
    assert {n: v for n, v in right.items() if n not in changed} == {n: v for n, v in first.items() if n not in changed}


@pytest.mark.parametrize(("text", "unit"), [("184.50", "kg"), ("0.0000001", "kg"), ("184.5", "[lb_av]"), ("70", "kg")])
def test_no_digit_of_a_value_is_written_anew(machine: Machine, text: str, unit: str) -> None:
    machine.weigh(text, unit)
    machine.look(timedelta(0), synced=True)
    machine.correct()
    first, right = (row.payload for row in machine.store.waiting(0, 10, ()))
    vitals = [payload[payload.index(b'"vitals"') : payload.index(b'"flags"')] for payload in (first, right)]
    assert vitals[0] == vitals[1]


def test_once_over_any_restart(machine: Machine) -> None:
    machine.weigh()
    machine.restart()
    machine.look(timedelta(0), synced=True)
    assert len(machine.correct()) == 1
    assert machine.correct() == []
    machine.restart()
    assert machine.correct() == []


def test_a_correction_that_the_disk_did_not_take_is_made_later_and_costs_no_sequence(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.weigh()
    machine.look(timedelta(0), synced=True)
    machine.store._db.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON uncertain_time BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(DatabaseError):
        machine.correct()
    assert len(machine.store.waiting(0, 10, ())) == 1
    machine.store._db.execute("DROP TRIGGER full")
    assert [right["sequence"] for right in machine.correct()] == [2]


def test_a_reading_of_another_start_of_the_machine_is_not_corrected_and_counted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.weigh()
    monkeypatch.setenv("BOOT_ID", "1" * 32)
    machine.restart()
    machine.look(timedelta(0), synced=True)
    assert machine.correct() == []
    assert machine.store.give_up_times(machine.clock.boot) == 1
    assert machine.store.give_up_times(machine.clock.boot) == 0


def test_what_was_unsynced_and_right_all_the_same_is_told_again(machine: Machine) -> None:
    machine.look(timedelta(0), synced=False)
    first = machine.weigh()
    machine.look(timedelta(0), synced=True)
    (right,) = machine.correct()
    assert right["taken_at"] == first["taken_at"]
    assert right["time"]["quality"] == "synced"


@pytest.mark.parametrize(
    ("drift_s", "told"), [(0.4, False), (WORTH_S - 0.1, False), (-WORTH_S - 0.1, True), (30.0, True)]
)
def test_drift_in_holdover_is_corrected_from_two_seconds_on(machine: Machine, drift_s: float, told: bool) -> None:
    machine.look(timedelta(0), synced=True)
    machine.off, machine.synced = timedelta(0), False
    machine.clock.refresh()
    for _ in range(60):  # it drifts, by less than a move at each look
        machine.look(machine.off + timedelta(seconds=drift_s) / 60, synced=False)
    first = machine.weigh()
    assert first["time"]["quality"] == "holdover"
    machine.look(timedelta(0), synced=True)
    corrected = machine.correct()
    assert bool(corrected) is told
    if told:
        assert corrected[0]["taken_at"] == "2026-11-22T12:01:40.000Z"
    assert machine.correct() == []


def test_what_was_synced_is_never_corrected(machine: Machine) -> None:
    machine.look(timedelta(0), synced=True)
    machine.weigh()
    machine.look(timedelta(hours=3), synced=True)
    assert machine.correct() == []


def test_a_held_record_stays_held_and_the_offset_of_its_clock_is_right(machine: Machine) -> None:
    """A device with a memory, under an unsynced clock: the reading waits for a person, who now knows when it came."""
    made = machine.intake("and-ua-651ble", "C8:1E:8E:00:00:01")
    evidence = Evidence(ClockReading(SHOWN, machine.mono, 0.5))
    measured = Sample((Measurement("systolic", Decimal(128), "mm[Hg]"),), device_time=SHOWN, raw=b"raw")
    taken = made.record(measured, Mode.REAL, evidence, Identity(), machine.mono)
    first = machine.keep(made.draft(taken.reading, taken.record))
    assert (first["disposition"], first["taken_at"]) == ("hold", None)
    machine.look(timedelta(0), synced=True)
    (right,) = machine.correct()
    assert (right["disposition"], right["taken_at"]) == ("hold", None)
    assert right["reasons"] == ["clock_unverifiable", "time_corrected"]
    assert right["received_at"] == "2026-11-22T12:01:40.000Z"
    assert right["time"]["clock_offset_s"] == Decimal("110.0")
    assert right["time"]["device_time"] == first["time"]["device_time"]
    topics = {row.topic for row in machine.store.waiting(0, 10, ())}
    assert topics == {"vitals/v1/northside/exam-3/quarantine"}


def test_a_higher_revision_that_is_there_already_is_the_last_word(machine: Machine) -> None:
    first = machine.weigh()
    (row,) = machine.store.uncertain(BOOT_ID, 10)
    machine.store.write([Draft(row.id, 2, "device", row.topic, lambda *_: b"{}")], [])
    machine.look(timedelta(0), synced=True)
    assert machine.correct() == []
    assert machine.store.uncertain(BOOT_ID, 10) == []
    assert first["revision"] == 1


@pytest.mark.parametrize(
    "payload", [b"{}", b"no json", b'{"received_at": 3}', b'{"received_at": "2026-11-22T12:00:00Z"}']
)
def test_a_row_that_cannot_be_read_holds_up_no_other(machine: Machine, payload: bytes) -> None:
    bad = Draft(uuid4(), 1, "device", "topic", lambda *_: payload, captured=Captured(BOOT_ID, 1.0, "unsynced"))
    machine.store.write([bad], [])
    machine.weigh()
    machine.look(timedelta(0), synced=True)
    assert len(machine.correct()) == 1


def test_a_row_that_is_damaged_is_not_told_again_as_if_it_were_sound(machine: Machine) -> None:
    """One bit of a digit, where it is JSON all the same: under a new checksum nobody would find it any more."""
    machine.weigh("70.0")
    machine.weigh("71.0")
    machine.store._db.execute(
        "UPDATE reading SET payload = CAST(replace(payload, '70.0', '78.0') AS BLOB) WHERE sequence = 1"
    )
    machine.look(timedelta(0), synced=True)
    assert [right["vitals"][0]["value"] for right in machine.correct()] == [Decimal("71.0")]
    assert machine.store.uncertain(BOOT_ID, 10) == []


def test_many_are_corrected_in_portions(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "PORTION", 2)
    for _ in range(5):
        machine.weigh()
    machine.look(timedelta(0), synced=True)
    done = [correct_times(machine.store, machine.clock, machine.origin) for _ in range(3)]
    assert [(len(rows), all_done) for rows, all_done in done] == [(2, False), (2, False), (1, True)]


def test_the_age_of_what_waits_is_told_by_its_right_time(machine: Machine) -> None:
    machine.weigh()
    machine.look(timedelta(0), synced=True)
    machine.correct()
    assert machine.store.depth()[1] == (NOON + timedelta(seconds=100)).timestamp()


def test_what_was_kept_under_a_wrong_clock_is_found_by_its_right_time(machine: Machine) -> None:
    machine.weigh()
    machine.store._db.execute("UPDATE reading SET kept_at = 86400.0")  # the second of January 1970
    machine.look(timedelta(0), synced=True)
    right = (NOON + timedelta(seconds=machine.mono)).timestamp()
    assert kept.select_since(machine.store, right - 1).sequences == ()
    assert kept.by_time(machine.store, "device", right - 1, right + 1) == []
    machine.correct()
    machine.store.write([], [Mark(1, "delivered", "success")])
    assert kept.select_since(machine.store, right - 1).sequences == (1,)
    assert [row.sequence for row in kept.by_time(machine.store, "device", right - 1, right + 1)] == [1]
    assert [row.sequence for row in kept.by_time(machine.store, "device", 86000.0, 87000.0)] == [1], "as it was shown"
    assert kept.by_time(machine.store, "other", right - 1, right + 1) == []


def test_corrections_wait_for_room_as_readings_do(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.weigh()
    machine.look(timedelta(0), synced=True)
    monkeypatch.setattr(machine.store, "_max_bytes", 1)
    assert correct_times(machine.store, machine.clock, machine.origin) == ([], True)
    monkeypatch.setattr(machine.store, "_max_bytes", MEGABYTE)
    assert len(machine.correct()) == 1


def test_a_correction_is_no_earlier_reading_to_compare_with(machine: Machine) -> None:
    machine.weigh("70.0")
    machine.weigh("71.0")
    machine.look(timedelta(0), synced=True)
    assert len(machine.correct()) == 2
    weights = [json.loads(last)["vitals"][0]["value"] for last in machine.store.last_payloads("device", 8)]
    assert weights == [70.0, 71.0]


def test_what_is_deleted_is_forgotten(machine: Machine) -> None:
    machine.weigh()
    machine.store.write([], [Mark(1, "delivered", "success")])
    assert machine.store.purge(time.time() + 1) == 1
    with closing(machine.store._db.execute("SELECT count(*) FROM uncertain_time")) as found:
        assert found.fetchone() == (0,)


def test_the_raw_frame_goes_with_the_correction(machine: Machine) -> None:
    machine.weigh()
    machine.look(timedelta(0), synced=True)
    machine.correct()
    assert machine.store._db.execute("SELECT raw FROM reading").fetchall() == [(b"raw",), (b"raw",)]


@pytest.mark.parametrize(("is_live", "taken_at"), [(True, "2026-11-22T12:01:40.000Z"), (False, None)])
def test_what_a_device_says_to_everybody_is_corrected_too(
    machine: Machine, is_live: bool, taken_at: str | None
) -> None:
    made = machine.intake("xiaomi-mi-scale", "C8:1E:8E:00:06:01")
    weight = Sample((Measurement("body_weight", Decimal("80.8"), "kg"),), device_time=SHOWN, raw=b"raw")
    taken = made.heard(weight, Mode.REAL, machine.mono, is_live=is_live)
    machine.keep(made.draft(taken.reading, taken.record, "181D"))
    machine.mono += 50.0
    machine.look(timedelta(0), synced=True)
    (right,) = machine.correct()
    assert (right["received_at"], right["taken_at"]) == ("2026-11-22T12:01:40.000Z", taken_at)
    assert right["time"]["quality"] == "synced"


def test_a_repeat_that_is_found_on_disk_is_corrected_too(machine: Machine) -> None:
    made = machine.intake("and-ua-651ble", "C8:1E:8E:00:00:01")
    measured = Sample((Measurement("systolic", Decimal(128), "mm[Hg]"),), device_time=SHOWN, raw=b"raw")
    for _ in range(2):
        taken = made.record(measured, Mode.REAL, Evidence(), Identity(), machine.mono)
        told = machine.keep(made.draft(replace(taken.reading), taken.record))
    assert told["possible_repeat_of"] is not None
    machine.look(timedelta(0), synced=True)
    assert [right["possible_repeat_of"] for right in machine.correct()] == [None, told["possible_repeat_of"]]
