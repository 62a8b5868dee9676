"""Whose a measurement is: a patient's never goes to a test topic alone, a test's never to the chart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import Measurement, Notice, Sample
from gateway import trial_file
from gateway.activity import Activity, SerialActivity
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.payload import Origin, topic
from gateway.reading import ClockQuality, Device, Disposition, Mode, Reading, Times
from gateway.settings import Device as Configured
from gateway.trial_file import TrialFile
from gateway.trials import LATE_PRESSURE_S, LATE_S, LONGEST_S, Taken, Trials, Verdict

START = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
CUFF, RANGES = load_model("and-ua-651ble"), load_ranges()
ORIGIN = Origin("northside", "exam-3", "0", uuid4())


class Room:
    """One device's trials, with a clock that only the test moves. Monotonic time begins at 1000 s."""

    def __init__(self, *, is_pressure: bool = False, boot: str | None = None, at: float = 1000.0) -> None:
        self.at, self.wall_off, self.synced = at, START.timestamp() - 1000.0, True
        self.clock = Clock([lambda: self.synced], lambda: self.at, lambda: self.at + self.wall_off, slept=lambda: 50.0)
        self.clock.boot = boot if boot is not None else self.clock.boot
        self.clock.refresh()
        self.activity = Activity()
        self.told: list[datetime | None] = []
        self.heard: list[Verdict] = []
        self.trials = Trials(self.clock, self.activity, self.told.append, is_pressure=is_pressure)
        configured = Configured("cuff", "and-ua-651ble", CUFF, CUFF.line, address="C8:1E:8E:00:00:01", stored="publish")
        self.intake = Intake(configured, ORIGIN, RANGES, self.clock)

    def open(self, for_s: float = LONGEST_S) -> None:
        self.trials.open(for_s)

    def arrives(
        self, *, taken_at: float | None = None, unsure_s: float = 1.0, stored: bool = False, undated: bool = False
    ) -> tuple[str, tuple[str, ...]]:
        """A reading arrives now; `taken_at`: by its device's stamp. Answer where it goes, and why it is held."""
        now = self.clock.now().utc
        stamped = taken_at is not None
        taken = now - timedelta(seconds=self.at - taken_at) if taken_at is not None else now
        times = Times(
            None if undated else taken,
            now,
            "device" if stamped else "gateway",
            unsure_s if stamped else 2.0,
            ClockQuality.SYNCED,
        )
        flags = ("stored",) if stored else ()
        device = Device("cuff", "and-ua-651ble", "A&D")
        reading = Reading(uuid4(), device, Mode.REAL, times, (), flags)
        settled = self.trials.settle(reading, self.at, lambda one, flag: replace(one, flags=(*one.flags, flag)))
        held = tuple(flag for flag in settled.flags if flag == "test_overlap")
        assert not (held and settled.mode is Mode.TEST)
        return settled.mode.value, held


@pytest.fixture
async def room() -> Room:
    return Room()


REAL, TEST, HELD = ("real", ()), ("test", ()), ("real", ("test_overlap",))


async def test_from_opening_to_end_what_arrives_is_a_tests(room: Room) -> None:
    assert room.arrives() == REAL
    room.open()
    assert room.told == [START + timedelta(seconds=LONGEST_S)]
    assert room.trials.mode(Mode.REAL) is Mode.TEST
    assert room.arrives() == TEST
    room.at += 100
    assert room.arrives() == TEST
    room.trials.end()
    assert room.told[-1] is None
    assert room.trials.mode(Mode.REAL) is Mode.REAL
    assert room.arrives() == HELD, "within ten seconds of the end"
    room.at += LATE_S
    room.activity.look(room.at)
    assert room.arrives() == REAL


async def test_it_ends_by_itself_after_five_minutes_at_the_latest(room: Room) -> None:
    room.open(3600.0)
    room.at += LONGEST_S - 0.1
    assert room.arrives() == TEST
    room.at += 0.1
    assert room.arrives() == HELD
    assert room.told[-1] is None, "though no timer ran"
    (past,) = room.trials.past
    assert past.until - past.since == pytest.approx(LONGEST_S)


async def test_what_is_under_way_at_the_end_is_a_tests_once(room: Room) -> None:
    room.open()
    room.activity.pending(room.at, 2.0)  # frames that were not told yet
    room.at += 1
    room.trials.end()
    room.at += 0.5
    assert room.arrives() == TEST
    room.at += LATE_S
    assert room.arrives() == HELD, "it was never at rest since"
    room.activity.over(room.at)
    assert room.arrives() == REAL


async def test_what_was_told_before_the_end_owes_nothing(room: Room) -> None:
    room.open()
    room.activity.goes_on(room.at, 1000.0)
    room.activity.told()
    assert room.arrives() == TEST
    room.at += 1
    room.trials.end()
    room.at += LATE_S + 1
    assert room.arrives() == HELD


async def test_who_stands_on_it_since_the_test_is_not_taken_for_a_patient_after_a_reload(room: Room) -> None:
    model = load_model("and-standard-scale")

    def attended() -> SerialActivity:
        room.activity = SerialActivity(model)
        room.trials = Trials(room.clock, room.activity, room.told.append, is_pressure=False)
        return room.activity

    activity = attended()
    room.open()
    activity.bytes_came(room.at)
    assert room.arrives() == TEST
    activity.take(Sample((Measurement("body_weight", Decimal(80), "kg"),)), room.at)
    room.at += 0.5
    room.trials.end()
    earlier, at = room.trials, room.at
    while room.at < at + 2 * LATE_S:  # whoever it is stays on it
        room.at += 0.5
        activity.bytes_came(room.at)
        activity.take(Notice("repeat"), room.at)
    activity = attended()
    room.trials.succeed(earlier)
    activity.opened(room.at)
    room.at += 0.5
    activity.bytes_came(room.at)
    assert room.arrives() == HELD
    room.at += 60.0
    activity.bytes_came(room.at)
    assert room.arrives() == REAL


async def test_an_old_or_undated_record_that_arrives_meanwhile_is_held_as_a_patients(room: Room) -> None:
    room.open()
    assert room.arrives(stored=True) == HELD
    assert room.arrives(undated=True) == HELD
    room.activity.over(room.at)
    room.trials.end()
    room.at += LATE_S
    room.activity.look(room.at)
    assert room.arrives(undated=True) == REAL


async def test_a_cuff_that_told_nothing_may_tell_its_result_later() -> None:
    cuff = Room(is_pressure=True)
    cuff.open()
    cuff.at += 60
    cuff.trials.end()
    cuff.at += LATE_PRESSURE_S - 1
    cuff.activity.look(cuff.at)
    assert cuff.arrives() == HELD
    cuff.open()
    assert cuff.arrives() == TEST
    cuff.trials.end()
    cuff.at += LATE_S
    cuff.activity.look(cuff.at)
    assert cuff.arrives() == REAL


@given(
    st.floats(-400, 400),
    st.floats(0, 60),
    st.sampled_from(["open", "ended", "restarted", "rebooted"]),
    st.floats(0, 5000),
)
@settings(deadline=None)
def test_a_stamped_record_is_a_tests_exactly_if_it_was_taken_in_a_trial(
    taken_after: float, unsure_s: float, when: str, later: float
) -> None:
    """Whenever it arrives, and over a restart too; within the uncertainty of its stamp it is held."""

    async def lived() -> None:
        room = Room(boot="one")
        since = room.at
        room.open()
        until, off = float("inf"), 0.0
        if when != "open":
            room.at += 200
            until = room.at
            room.trials.end()
        if when in ("restarted", "rebooted"):
            past = list(room.trials.past)
            wall = room.at + room.wall_off
            if when == "restarted":
                room = Room(boot="one", at=room.at)
            else:
                off = room.at + 80.0  # a hundred seconds later it is up for seventy, twenty of them awake
                room = Room(boot="two", at=20.0)
                room.wall_off = wall + 100.0 - 20.0
                room.clock.refresh()
            room.trials.past.extend(past)
        taken_at = since + taken_after - off
        room.at = max(room.at, taken_at) + later
        if when == "open":
            room.trials._limit = float("inf")
        since, until = since - off, until - off
        where = room.arrives(taken_at=taken_at, unsure_s=unsure_s)
        margin = min(
            abs(taken_at - edge) for edge in (since + unsure_s, since - unsure_s, until - unsure_s, until + unsure_s)
        )
        if margin < 0.01:
            return  # the clocks' own roundings
        inside = since + unsure_s <= taken_at <= until - unsure_s
        outside = taken_at < since - unsure_s or taken_at > until + unsure_s
        assert where == (TEST if inside else REAL if outside else HELD)

    asyncio.run(lived())


async def test_a_trial_whose_end_nobody_noted_makes_its_records_held(tmp_path: Path) -> None:
    """The service was killed in the midst of it, and started again 30 s later."""
    room, file = Room(boot="one"), TrialFile(tmp_path / "outbox.db")
    planned = room.trials.planned(LONGEST_S)
    await file.save({"cuff": [planned]})
    assert (tmp_path / "outbox.db.trials").stat().st_mode & 0o777 == 0o600
    room.at += 30
    again = Room(boot="one", at=room.at)
    again.trials.past.extend(file.load(again.clock)["cuff"])
    again.at += 60
    assert again.arrives(taken_at=1010.0) == HELD
    assert again.arrives(taken_at=1050.0) == REAL, "after the start it was over"
    rebooted = Room(boot="two", at=20.0)
    rebooted.wall_off = START.timestamp() + 120.0 - 20.0
    rebooted.clock.refresh()
    rebooted.trials.past.extend(file.load(rebooted.clock)["cuff"])
    rebooted.at += 100
    assert rebooted.arrives(taken_at=20.0 - 110.0) == HELD
    assert rebooted.arrives(taken_at=10.0) == REAL, "after the machine started it was over"


async def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    room, file = Room(), TrialFile(tmp_path / "outbox.db")
    room.open()
    room.at += 20
    room.trials.end()
    room.synced = False
    room.clock.refresh()
    await file.save({"cuff": list(room.trials.past)})
    assert file.load(room.clock) == {"cuff": list(room.trials.past)}
    (tmp_path / "outbox.db.trials").write_text('{"devices": {"cuff": [1]}}')
    assert file.load(room.clock) == {}
    (tmp_path / "outbox.db.trials").unlink()
    assert file.load(room.clock) == {}


async def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await TrialFile(tmp_path / "no-folder" / "outbox.db").save({})


async def test_what_a_disk_has_held_up_is_not_written_over_what_came_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, file, held_up = Room(), TrialFile(tmp_path / "outbox.db"), [threading.Event()]
    write, planned = file._replace, room.trials.planned(LONGEST_S)

    def slow(data: bytes) -> None:
        if held_up:
            held_up.pop().wait()
        write(data)

    monkeypatch.setattr(file, "_replace", slow)
    monkeypatch.setattr(trial_file, "SAVE_S", 0.05)
    going = held_up[0]
    with pytest.raises(OSError, match="does not answer"):
        await file.save({})
    with pytest.raises(OSError, match="does not answer"):
        await file.save({"cuff": [planned]})
    going.set()
    monkeypatch.setattr(trial_file, "SAVE_S", 20.0)
    await file.save({"cuff": [planned]})
    assert list(file.load(room.clock)) == ["cuff"]
    file._write(b"{}", 1)
    assert list(file.load(room.clock)) == ["cuff"]


async def test_one_at_a_time_and_the_end_of_who_took_it_ends_the_trial(room: Room) -> None:
    def hear(_reading: Reading, verdict: Verdict) -> None:
        room.heard.append(verdict)

    with room.trials.taken(hear):
        with pytest.raises(Taken), room.trials.taken(hear):
            pass
        room.open()
        room.arrives()
        room.arrives(stored=True)
    assert room.heard == [Verdict.TESTS, Verdict.EITHERS]
    assert not room.trials.is_open
    assert not room.trials.is_taken
    room.arrives()
    assert len(room.heard) == 2


async def test_what_may_be_eithers_is_held_whatever_the_site_says_of_stored(room: Room) -> None:
    room.open()
    sample = Sample(
        (Measurement("systolic", Decimal(128), "mm[Hg]"), Measurement("diastolic", Decimal(82), "mm[Hg]")),
        ("stored",),
        device_time=None,
    )
    reading = room.intake.reading(sample, Mode.REAL)
    held = room.trials.settle(reading, room.at, room.intake.hold)
    assert (held.disposition, held.mode) == (Disposition.HOLD, Mode.REAL)
    assert "test_overlap" in held.reasons
    assert topic(held, ORIGIN).endswith("exam-3/quarantine")
    assert room.intake.draft(held).held is not None


# ---- at rest --------------------------------------------------------------------------------------------------------

Feed = Callable[[SerialActivity, float], None]


def sample(_: str = "") -> Sample:
    return Sample((Measurement("body_weight", Decimal("83.7"), "kg"),))


def came(activity: SerialActivity, at: float, *events: Sample | Notice) -> None:
    activity.bytes_came(at)
    for event in events:
        activity.take(event, at)


def test_a_scale_is_at_rest_when_it_says_so_or_says_nothing() -> None:
    scale = SerialActivity(load_model("and-standard-scale"))
    scale.opened(0.0)
    assert not scale.is_at_rest(1.9), "a stream may have been joined in its middle"
    assert scale.is_at_rest(2.0)
    came(scale, 10.0, Notice("unstable"))
    assert not scale.is_at_rest(11.0)
    assert scale.is_untold(11.0)
    came(scale, 11.0, sample())
    assert not scale.is_untold(11.5)
    came(scale, 12.0, Notice("repeat"))
    assert not scale.is_at_rest(13.0)
    assert not scale.is_untold(13.0)
    came(scale, 13.0, Notice("zero"))
    assert scale.is_at_rest(13.0)
    came(scale, 20.0)
    assert scale.is_untold(20.0), "half a frame"
    assert scale.is_at_rest(22.0)


def test_a_monitor_that_repeats_its_result_is_at_rest_between_them() -> None:
    monitor = SerialActivity(load_model("ge-dinamap-pro"))
    monitor.opened(0.0)
    came(monitor, 30.0)
    came(monitor, 30.1, Notice("repeat"))
    assert monitor.is_at_rest(30.2)
    came(monitor, 31.0, Notice("measuring"))
    assert not monitor.is_at_rest(31.5)
    came(monitor, 60.0, sample())
    assert monitor.is_at_rest(60.0)
