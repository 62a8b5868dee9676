"""A device that is only heard: the supervisor's part, with advertisements at given instants and no radio."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from drivers.ble.xiaomi_scale import decode_first
from drivers.contract import Sample
from drivers.errors import LinkFault, LinkLost
from drivers.links.bluetooth import Sighting
from gateway import advert_supervisor, trials
from gateway.advert_supervisor import AdvertSupervisor
from gateway.catalogue import CatalogueError, load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.reading import ClockQuality, Mode
from gateway.settings import Device
from gateway.store import Draft, Store

ADDRESS = "C8:1E:8E:00:06:01"
RISING, STABLE, OFF = (f"{control}203fe607020e10293a" for control in ("02", "22", "a2"))  # 80.8 kg
PATIENCE_S = 10.0


class Disk:
    """The outbox's place, on a real database."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path)
        self.kept: list[dict[str, Any]] = []
        self.repeats = 0

    def keep(self, drafts: list[Draft]) -> asyncio.Future[None]:
        self.kept += [json.loads(row.payload) for row in self._store.write(drafts, [])]
        self.repeats += self._store.became.count(None)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def close(self) -> None:
        self._store.close()


class Radio:
    trouble: LinkLost | None = None
    listens = True

    def __init__(self) -> None:
        self.take: Callable[[Sighting], None] | None = None

    @contextmanager
    def hearing(self, _address: str, take: Callable[[Sighting], None]) -> Iterator[None]:
        self.take = take
        yield
        self.take = None


class Room:
    """One scale, its supervisor, and what became of what it said."""

    def __init__(self, disk: Disk, *, stored: Any = "quarantine", demo: bool = False) -> None:
        row = load_model("xiaomi-mi-scale")
        device = Device("scale", "xiaomi-mi-scale", row, row.line, address=ADDRESS, stored=stored, unit=None)
        self.disk, self.radio, self.events = disk, Radio(), list[str]()
        self.at = 1000.0
        clock = Clock([lambda: True])
        clock.refresh()
        intake = Intake(device, Origin("northside", "exam-3", "0", uuid4()), load_ranges(None), clock, UTC)
        parts: list[Any] = [device, ADDRESS, intake, disk, clock, self.radio]
        self.supervisor = AdvertSupervisor(
            *parts,
            demo=demo,
            on_change=lambda _id: None,
            on_event=lambda _device, notice, _mode: self.events.append(notice.code),
        )

    def hear(self, *frames: str, gap_s: float = 0.5, service: str = "181D", simulated: bool = False) -> None:
        assert self.radio.take is not None
        for frame in frames:
            self.at += gap_s
            found: Any = None
            data = {service: bytes.fromhex(frame)}
            self.radio.take(Sighting(ADDRESS, "hci0", False, self.at, found, data, is_simulated=simulated))

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)

    def is_free(self) -> bool:
        return self.supervisor.is_at_rest

    async def all_taken(self) -> None:
        await self.until(lambda: not self.supervisor._waiting)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return [(one["vitals"][0]["value"], one["disposition"], one["reasons"]) for one in self.disk.kept]


MakeRoom = Callable[..., Awaitable[Room]]


@pytest.fixture
async def make_room(tmp_path: Path) -> Any:
    """A room whose supervisor runs; another one on the same disk is the service after a restart."""
    running: list[tuple[asyncio.Task[None], Disk]] = []

    async def stop() -> None:
        for task, disk in running:
            task.cancel()
            await asyncio.wait([task])
            disk.close()
        running.clear()

    async def make(**options: Any) -> Room:
        await stop()
        room = Room(Disk(tmp_path / "outbox.db"), **options)
        running.append((asyncio.create_task(room.supervisor.run()), room.disk))
        await room.until(lambda: room.radio.take)
        return room

    yield make
    await stop()


async def test_a_weighing_is_one_reading_of_now(make_room: MakeRoom) -> None:
    room = await make_room()
    room.hear(RISING, RISING, STABLE, STABLE, OFF, OFF)
    await room.all_taken()
    (reading,) = room.disk.kept
    assert room.told == [(80.8, "usable", [])]
    assert reading["taken_at"] == reading["received_at"]
    time = reading["time"]
    assert (time["source"], time["device_time"], time["uncertainty_s"]) == ("gateway", "2022-02-14T16:41:58", 10)
    counts = room.supervisor.standing.status.counts
    assert (counts.frames, counts.samples, counts.notices) == (6, 1, 5)
    assert room.events == []


@pytest.mark.parametrize("stored", ["quarantine", "publish"])
async def test_what_was_not_heard_to_become_is_held_without_a_time(make_room: MakeRoom, stored: str) -> None:
    room = await make_room(stored=stored)
    room.hear(STABLE, STABLE)
    room.hear(OFF.replace("203f", "2044"), gap_s=60.0)
    await room.all_taken()
    assert room.told == [
        (80.8, "hold", ["clock_unverifiable"]),
        (87.2, "hold", ["stored_record", "clock_unverifiable"]),
    ]
    assert [one["taken_at"] for one in room.disk.kept] == [None, None]


async def test_a_weight_of_before_is_named_after_a_restart_and_told_once_more_at_most(make_room: MakeRoom) -> None:
    first = await make_room()
    first.hear(RISING, STABLE, OFF)
    await first.all_taken()
    (reading,) = first.disk.kept
    second = await make_room()
    second.hear(OFF, OFF)
    await second.all_taken()
    (again,) = second.disk.kept
    assert (again["disposition"], again["possible_repeat_of"]) == ("hold", reading["id"])
    third = await make_room()
    third.hear(OFF)
    await third.all_taken()
    assert third.disk.kept == []
    assert third.disk.repeats == 1


async def test_a_thing_is_held(make_room: MakeRoom) -> None:
    room = await make_room()
    room.hear("02" + RISING[2:], "62" + STABLE[2:], "e2" + STABLE[2:])
    await room.all_taken()
    assert room.told == [(80.8, "hold", ["object"])]


async def test_an_impedance_stands_beside_the_weight(make_room: MakeRoom) -> None:
    room = await make_room()
    room.supervisor._codecs = {"181B": room.supervisor._codecs["181B"]}
    room.hear("0204b2070103131a130000ac49", "0226b2070103131a15e601604a", service="181B")
    await room.all_taken()
    (reading,) = room.disk.kept
    assert reading["modifiers"]["impedance"] == {
        **reading["modifiers"]["impedance"],
        "value": 486,
        "unit": "Ohm",
    }
    assert room.told == [(95.2, "usable", [])]


async def test_the_unit_that_cannot_be_read_is_an_event(make_room: MakeRoom) -> None:
    room = await make_room()
    room.hear("32" + STABLE[2:], "32" + STABLE[2:])
    await room.all_taken()
    assert room.events == ["unit_not_supported"]
    assert room.disk.kept == []


async def test_nothing_is_real_without_a_radio_and_nothing_simulated_with_one(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await make_room()
    for number, (real, simulated) in enumerate([(False, False), (True, True), (True, False)]):
        monkeypatch.setattr(advert_supervisor, "radio_is_real", lambda _adapter, real=real: real)
        load = f"{number:02x}40"
        room.hear(f"02{load}{RISING[6:]}", f"22{load}{STABLE[6:]}", simulated=simulated)
        await room.all_taken()
    assert [one["mode"] for one in room.disk.kept] == [Mode.TEST, Mode.TEST, Mode.REAL]
    room = await make_room(demo=True)
    room.hear(RISING, STABLE)
    await room.all_taken()
    assert [one["mode"] for one in room.disk.kept] == [Mode.DEMO]


async def test_silence_is_no_fault(make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    room = await make_room()
    status = room.supervisor.standing.status
    assert (status.state, status.reason) == ("unknown", "not_heard_yet")
    monkeypatch.setattr(advert_supervisor, "SILENT_S", 0.02)
    room.hear(RISING, STABLE)
    await room.all_taken()
    await room.until(lambda: room.supervisor.standing.status.state == "online")
    await room.until(lambda: room.supervisor.standing.status.reason == "not_heard_yet")
    assert room.supervisor.standing.status.last_seen is not None


async def test_the_radios_trouble_is_shown_and_that_it_is_over(make_room: MakeRoom) -> None:
    room = await make_room()
    for fault, state in ((LinkFault.ADAPTER_OFF, "offline"), (LinkFault.RADIO_DEAF, "unknown")):
        room.radio.trouble = LinkLost(fault, "words")
        room.supervisor.radio_changed()
        assert (room.supervisor.standing.status.state, room.supervisor.standing.status.reason) == (state, fault.value)
    room.radio.trouble = None
    room.supervisor.radio_changed()
    assert room.supervisor.standing.status.reason == "not_heard_yet"


async def test_a_defect_is_this_devices_alone_and_the_next_weighing_is_read(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await make_room()
    monkeypatch.setattr(advert_supervisor, "RETRY_S", 0.01)
    whole = room.supervisor._codecs

    def breaks(_value: bytes) -> Any:
        raise ValueError("a defect")

    room.supervisor._codecs = {"181D": breaks}
    room.hear(STABLE)
    await room.until(lambda: room.supervisor.standing.status.reason == "internal_error")
    room.supervisor._codecs = whole
    room.hear(RISING, STABLE)
    await room.all_taken()
    assert room.told == [(80.8, "usable", [])]


async def test_bytes_that_are_no_frame_and_other_services_do_no_harm(make_room: MakeRoom) -> None:
    room = await make_room()
    room.hear(*["2220"] * 5)
    room.hear(STABLE, service="FE95")
    await room.all_taken()
    status = room.supervisor.standing.status
    assert (status.reason, status.counts.rejected) == ("unreadable", {"length": 5})
    room.hear(RISING, STABLE)
    await room.all_taken()
    assert room.supervisor.standing.status.state == "online"


def test_only_what_is_heard_alone_broadcasts(tmp_path: Path) -> None:
    row = (Path(__file__).parents[2] / "config" / "devices" / "xiaomi-mi-scale.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(row.replace("memory: broadcast", "memory: none"))
    with pytest.raises(CatalogueError, match="advertisements alone"):
        load_model("mine", tmp_path)


def test_a_record_is_its_stamp_and_its_load() -> None:
    row = load_model("xiaomi-mi-scale")
    device = Device("scale", "xiaomi-mi-scale", row, row.line, address=ADDRESS, stored="quarantine", unit=None)
    intake = Intake(device, Origin("northside", "exam-3", "0", uuid4()), load_ranges(None), Clock([lambda: True]), UTC)

    def record_of(frame: str, **changes: Any) -> UUID | None:
        event = decode_first(bytes.fromhex(frame))
        assert isinstance(event, Sample)
        sample = replace(event, characteristic="181D", **changes)
        return intake.heard(sample, Mode.TEST, 0.0, is_live=False).record

    assert record_of(STABLE) == record_of(OFF) is not None
    assert record_of(STABLE) != record_of(STABLE, device_time=datetime.fromisoformat("2022-02-14T16:41:59"))
    assert record_of(STABLE) != record_of(STABLE.replace("203f", "213f"))
    assert record_of(STABLE, device_time=None) is None


def test_what_was_heard_before_the_clock_was_right_can_be_put_right_later() -> None:
    row = load_model("xiaomi-mi-scale")
    device = Device("scale", "xiaomi-mi-scale", row, row.line, address=ADDRESS, stored="quarantine", unit=None)
    clock = Clock([lambda: False], slept=lambda: 5.0)
    intake = Intake(device, Origin("northside", "exam-3", "0", uuid4()), load_ranges(None), clock, UTC)
    event = decode_first(bytes.fromhex(STABLE))
    assert isinstance(event, Sample)
    taken = intake.heard(event, Mode.REAL, 7.0, is_live=True)
    captured = intake.draft(taken.reading, taken.record, "181D").captured
    assert captured is not None
    assert (captured.boot, captured.instant, captured.quality) == (clock.boot, 12.0, ClockQuality.UNSYNCED)


async def test_a_weighing_while_somebody_certifies_is_a_tests_and_a_patients_before_is_not(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advert_supervisor, "radio_is_real", lambda _adapter: True)
    monkeypatch.setattr(trials, "LATE_S", 0.0)
    room = await make_room()
    room.at = time.monotonic() - 30
    assert room.is_free()
    room.hear(RISING, gap_s=30.0)
    assert not room.is_free(), "not even taken"
    await room.all_taken()
    assert not room.is_free(), "somebody is on it"
    room.hear(STABLE, OFF, gap_s=1e-6)
    await room.all_taken()
    assert room.is_free(), "nobody is on it any more"
    room.supervisor.trials.open(60)
    room.at = time.monotonic()
    room.hear(RISING.replace("203f", "2044"), STABLE.replace("203f", "2044"), gap_s=1e-6)
    await room.all_taken()
    room.at = time.monotonic()
    room.hear(OFF.replace("203f", "2044"), RISING.replace("203f", "2045"), gap_s=1e-6)
    await room.all_taken()
    room.supervisor.trials.end()
    room.at = time.monotonic()
    room.hear(STABLE.replace("203f", "2045"), OFF.replace("203f", "2045"), gap_s=1e-6)
    room.hear(RISING.replace("203f", "2046"), STABLE.replace("203f", "2046"), gap_s=1e-6)
    await room.all_taken()
    assert [(one["mode"], one["disposition"]) for one in room.disk.kept] == [
        ("real", "usable"),
        ("test", "usable"),
        ("test", "usable"),
        ("real", "usable"),
    ]
