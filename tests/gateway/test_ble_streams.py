"""A Bluetooth stream is one reading a finger: the supervisor's part, with frames at given instants and no radio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID, uuid4

import pytest

from drivers.links.gatt import Value
from gateway.ble_supervisor import BleSupervisor
from gateway.catalogue import CatalogueError, data_folder, load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.settings import Device
from gateway.store import Draft

ADDRESS = "C8:1E:8E:00:00:09"
SECOND = 1.0


def frame(saturation: int | None = 97, pulse: int = 72, sensor: int = 0, measurement: int = 0x20) -> bytes:
    """2A5F with both statuses; None: no number."""
    numbers = b"\xff\x07\xff\x07" if saturation is None else bytes([saturation, 0, pulse, 0])
    return b"\x0c" + numbers + measurement.to_bytes(2, "little") + sensor.to_bytes(3, "little")


OFF = frame(None, sensor=1 << 11)


class Disk:
    """The outbox's place: takes all at once."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def keep(self, drafts: list[Draft]) -> asyncio.Future[None]:
        self.kept += [json.loads(draft.encode(UUID(int=1), 1)) for draft in drafts]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def ask(self, _work: Callable[..., Any]) -> None:
        return None

    def numbers(self, kind: str) -> list[int]:
        return [vital["value"] for one in self.kept for vital in one["vitals"] if vital["kind"] == kind]


class Link:
    """A link over which these values come, one at a time, and then nothing."""

    is_real, is_simulated, thrown_away = True, False, 0
    has = frozenset({"2A5E", "2A5F", "2A37"})

    def __init__(self, values: Iterable[Value]) -> None:
        self._values = list(values)
        self.subscribed: list[str] = []

    async def subscribe(self, characteristic: str) -> None:
        self.subscribed.append(characteristic)

    async def next_value(self, _silence_s: float) -> Value | None:
        return self._values.pop(0) if self._values else None

    def take_values(self) -> list[Value]:
        return []

    async def close(self) -> None: ...


class Radio:
    trouble, listens = None, True

    def __init__(self) -> None:
        self.links: list[Link] = []

    @asynccontextmanager
    async def link(self, _address: str) -> AsyncIterator[Link]:
        yield self.links.pop(0)


class Room:
    """One device, its supervisor, and what became of what it said."""

    def __init__(self, model: str) -> None:
        row = load_model(model)
        device = Device("device", model, row, row.line, address=ADDRESS, stored="quarantine", unit=None)
        self.disk, self.radio, clock = Disk(), Radio(), Clock([lambda: True])
        self.notices: list[str] = []
        intake = Intake(device, Origin("northside", "exam-3", "0", uuid4()), load_ranges(None), clock, UTC)
        parts: list[Any] = [device, ADDRESS, intake, self.disk, clock, self.radio]
        self.supervisor = BleSupervisor(
            *parts,
            zone=UTC,
            demo=False,
            on_change=lambda _id: None,
            on_event=lambda _device, notice, _mode: self.notices.append(notice.code),
        )

    async def connection(self, frames: Iterable[bytes], characteristic: str = "2A5F", gap_s: float = SECOND) -> Link:
        """One connection from its beginning to its end."""
        start = asyncio.get_running_loop().time()
        link = Link(Value(characteristic, data, start + n * gap_s) for n, data in enumerate(frames))
        self.radio.links.append(link)
        await self.supervisor._attend()
        return link

    @property
    def counts(self) -> tuple[int, int]:
        counts = self.supervisor.standing.status.counts
        return counts.samples, counts.notices


@pytest.fixture
def oximeter() -> Room:
    return Room("choicemmed-plx")


async def test_one_finger_is_one_reading_the_last_of_five_that_agree(oximeter: Room) -> None:
    link = await oximeter.connection(frame(n) for n in (90, 95, 96, 97, 97, 98, 98, 97, 60))
    assert oximeter.disk.numbers("oxygen_saturation") == [98]
    assert oximeter.counts == (1, 8), "every frame is counted"
    assert link.subscribed == ["2A5F"], "its spot check would be the same finger again"
    (reading,) = oximeter.disk.kept
    assert (reading["disposition"], reading["time"]["source"]) == ("usable", "gateway")


async def test_a_finger_that_went_out_makes_the_next_one_another(oximeter: Room) -> None:
    await oximeter.connection([*[frame(97)] * 7, OFF, frame(None), *[frame(97)] * 7])
    assert oximeter.disk.numbers("oxygen_saturation") == [97, 97]


async def test_frames_of_two_fingers_are_never_put_together(oximeter: Room) -> None:
    await oximeter.connection([*[frame(97)] * 4, OFF, *[frame(97)] * 4])
    assert oximeter.disk.kept == []
    assert oximeter.counts == (0, 9)


async def test_silence_and_the_end_of_a_connection_are_breaks(oximeter: Room) -> None:
    await oximeter.connection([frame(97)] * 4)
    await oximeter.connection([frame(97)] * 4)
    await oximeter.connection([frame(97)] * 6, gap_s=10.0)
    assert oximeter.disk.kept == []
    assert oximeter.counts == (0, 14), "and what led to nothing is counted, too"
    for _ in range(2):
        await oximeter.connection([frame(97)] * 5)
    assert oximeter.disk.numbers("oxygen_saturation") == [97, 97]


@pytest.mark.parametrize("bit", [10, 11])
async def test_demonstration_is_never_a_reading_and_people_are_told(oximeter: Room, bit: int) -> None:
    await oximeter.connection([frame(97, measurement=1 << bit)] * 20)
    assert oximeter.disk.kept == []
    assert oximeter.notices == ["demonstration"], "once in ten seconds"


async def test_what_the_oximeter_remembers_is_no_finger(oximeter: Room) -> None:
    await oximeter.connection([frame(97, measurement=0x220)] * 20)
    assert oximeter.disk.kept == []


async def test_one_weak_frame_makes_the_reading_a_doubtful_one(oximeter: Room) -> None:
    await oximeter.connection([frame(97), frame(97, sensor=1 << 5), *[frame(97)] * 3])
    (reading,) = oximeter.disk.kept
    assert (reading["status"], reading["disposition"]) == ("questionable", "usable")
    assert reading["flags"] == ["low_signal"]


async def test_of_a_device_that_says_it_is_broken_nothing_is_usable(oximeter: Room) -> None:
    await oximeter.connection([frame(97, sensor=1 << 1)] * 5)
    (reading,) = oximeter.disk.kept
    assert (reading["disposition"], reading["reasons"]) == ("hold", ["equipment_malfunction"])


async def test_a_strap_is_one_reading_each_time_that_it_is_worn() -> None:
    strap = Room("polar-h7")
    on, lost = [bytes([0x16, 72 + n % 3, 0x2C, 0x03]) for n in range(30)], bytes([0x04, 73])
    await strap.connection([*on, lost, lost, *on], "2A37")
    assert strap.disk.numbers("heart_rate") == [73, 73]
    assert [one["vitals"][0]["codes"][1]["display"] for one in strap.disk.kept] == ["MDC_ECG_HEART_RATE"] * 2


async def test_a_strap_that_shows_anything_is_no_reading() -> None:
    strap = Room("polar-h10")
    await strap.connection([bytes([0x10, 60 + 37 * n % 90, 0x2C, 0x03]) for n in range(60)], "2A37")
    assert strap.disk.kept == []


async def test_a_spot_check_whose_clock_nobody_can_read_is_held() -> None:
    mightysat = Room("masimo-mightysat")
    link = await mightysat.connection([bytes.fromhex("1161006000e1070101012213"), bytes.fromhex("0061006000")], "2A5E")
    assert link.subscribed == ["2A5E"]
    assert [(one["disposition"], one["reasons"]) for one in mightysat.disk.kept] == [
        ("hold", ["clock_unverifiable"])
    ] * 2
    assert [(one["taken_at"], one["time"]["device_time"]) for one in mightysat.disk.kept] == [(None, None)] * 2


# What a row may take.


@pytest.mark.parametrize(
    ("was", "instead", "place", "words"),
    [
        ("records: [2A5F]", "records: [2A5E, 2A5F]", "session.records", "one finger is two readings"),
        (", records: [2A5F]", "", "session.records", "one finger is two readings"),
        ("records: [2A5F]", "records: [2A35]", "session.records", "2A5E"),
        ("memory: none", "memory: stamped", "memory", "measured now"),
    ],
)
def test_a_row_takes_a_stream_or_records(tmp_path: Path, was: str, instead: str, place: str, words: str) -> None:
    row = (data_folder() / "devices" / "choicemmed-plx.yaml").read_text()
    assert was in row
    (tmp_path / "mine.yaml").write_text(row.replace(was, instead, 1))
    with pytest.raises(CatalogueError) as caught:
        load_model("mine", tmp_path)
    assert [problem.path for problem in caught.value.problems] == [place]
    assert words in caught.value.problems[0].message


async def test_the_finger_after_a_pairing_is_a_patients(oximeter: Room) -> None:
    """Fingers are told apart by their breaks: nobody's has to be a test because another one was right before it."""
    with oximeter.supervisor.observed(MagicMock()):
        await oximeter.connection([frame(98, 70)] * 5)
    await oximeter.connection([frame(95, 80)] * 5)
    assert [one["mode"] for one in oximeter.disk.kept] == ["test", "real"]
