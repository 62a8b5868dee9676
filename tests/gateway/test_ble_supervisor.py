"""One connection to a cuff that is not there: the parts around the radio, without one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from drivers.ble import date_time
from drivers.ble.session import Subscribe
from drivers.errors import DeviceRefused, LinkFault
from drivers.links.gatt import GattLink, Value
from gateway import ble_supervisor
from gateway.ble_session import BleSession, _perform
from gateway.ble_supervisor import BleSupervisor
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.reading import Mode
from gateway.settings import Device
from gateway.standing import UNREADABLE_AFTER
from gateway.store import Draft

CUFF = "C8:1E:8E:00:00:01"
CHICAGO = ZoneInfo("America/Chicago")
NOW = datetime(2026, 11, 22, 19, 5, tzinfo=UTC)
SHOWN = datetime(2026, 11, 22, 13, 5)  # noqa: DTZ001 - what stands on the cuff


def record(age_s: float = 20.0, systolic: int = 128) -> bytes:
    """2A35: flags with a date time, three pressures in mm[Hg], the stamp."""
    pressures = b"".join(pressure.to_bytes(2, "little") for pressure in (systolic, 82, 97))
    return b"\x02" + pressures + date_time.encode(SHOWN - timedelta(seconds=age_s))


class Disk:
    """The outbox's place: takes all at once."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def keep(self, drafts: list[Draft]) -> asyncio.Future[frozenset[Any]]:
        self.kept += [json.loads(draft.encode(UUID(int=1), 1)) for draft in drafts]
        done: asyncio.Future[frozenset[Any]] = asyncio.get_running_loop().create_future()
        done.set_result(frozenset())
        return done

    async def ask(self, _work: Callable[..., Any]) -> None:
        return None


class Link:
    """A link over which the cuff answers its clock, and then says `values` all at once."""

    is_real, is_simulated, has = True, False, frozenset({"2A35", "2A08"})
    thrown_away = 0

    def __init__(self, values: list[bytes], then: Callable[[], None] = lambda: None) -> None:
        self._values = values
        self._then = then

    async def bond(self) -> None: ...

    async def read(self, _characteristic: str) -> bytes:
        return date_time.encode(SHOWN)

    async def write(self, _characteristic: str, _value: bytes) -> None: ...

    async def subscribe(self, _characteristic: str) -> None:
        self._then()

    async def next_value(self, _silence_s: float) -> Value | None:
        values = self.take_values()
        self._values = [value.data for value in values[1:]]
        return values[0] if values else None

    def take_values(self) -> list[Value]:
        values, self._values = self._values, []
        return [Value("2A35", value, asyncio.get_running_loop().time()) for value in values]

    async def close(self) -> None: ...


class Radio:
    trouble, listens = None, True

    def __init__(self, link: Link) -> None:
        self._link = link

    @asynccontextmanager
    async def link(self, _address: str) -> AsyncIterator[Link]:
        yield self._link


@pytest.fixture
def disk() -> Disk:
    return Disk()


def supervisor(disk: Disk, clock: Clock, link: Link) -> BleSupervisor:
    model = load_model("and-ua-651ble")
    device = Device("cuff", "and-ua-651ble", model, model.line, address=CUFF, stored="quarantine", unit=None)
    intake = Intake(device, Origin("northside", "exam-3", "0", uuid4()), load_ranges(None), clock, CHICAGO)
    parts: list[Any] = [device, CUFF, intake, disk, clock, Radio(link)]
    return BleSupervisor(*parts, zone=CHICAGO, demo=False, on_change=lambda _id: None, on_event=lambda *_event: None)


async def test_our_own_clock_may_be_set_right_between_the_devices_clock_and_its_record(disk: Disk) -> None:
    """A Pi shows the hour of its last shutdown until a time server answers."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    behind_s, synced = [8 * 3600.0], [False]

    def wall() -> float:
        return NOW.timestamp() + loop.time() - started - behind_s[0]

    clock = Clock([lambda: synced[0]], wall=wall)

    def a_time_server_answers() -> None:
        behind_s[0], synced[0] = 0.0, True
        clock.refresh()

    await supervisor(disk, clock, Link([record()], a_time_server_answers))._attend()
    (reading,) = disk.kept
    assert reading["disposition"] == "usable"
    taken_at = datetime.fromisoformat(reading["taken_at"])
    assert abs(taken_at - (NOW - timedelta(seconds=20))) < timedelta(minutes=1)
    assert abs(reading["time"]["clock_offset_s"]) < 60


@pytest.mark.parametrize(("ages", "drained"), [((3600, 20), 1), ((20, 3600), 0), ((20,), 1), ((20, None), 0), ((), 0)])
async def test_after_a_record_of_now_nothing_is_left_of_the_time_before_the_clock_was_set(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, ages: tuple[int | None, ...], drained: int
) -> None:
    clock = Clock([lambda: True], wall=NOW.timestamp)
    clock.refresh()
    attending = supervisor(disk, clock, Link([b"?" if age is None else record(age) for age in ages]))
    told: list[None] = []

    async def noted() -> None:
        told.append(None)

    monkeypatch.setattr(attending._attended.frames, "drained", noted)
    await attending._attend()
    assert len(told) == drained


async def test_a_cuff_of_which_no_record_can_be_read_is_shown_though_each_is_a_connection_of_its_own(
    disk: Disk,
) -> None:
    link = Link([])
    attending = supervisor(disk, Clock([lambda: True]), link)
    for _ in range(UNREADABLE_AFTER):
        link._values = [record()[:-1]]
        await attending._attend()
    assert attending.standing.status.reason == "unreadable"
    await attending._attend()  # it was heard again, and that says nothing about its records
    assert attending.standing.status.reason == "unreadable"
    link._values = [record()]
    await attending._attend()
    assert attending.standing.status.reason is None


async def test_a_device_is_left_alone_for_as_long_as_its_row_says(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rested(Exception):
        pass

    rests: list[tuple[float, float]] = []

    def rest(least: float, most: float) -> float:
        rests.append((least, most))
        raise Rested

    monkeypatch.setattr("random.uniform", rest)
    for rest_s, expected in ((0.0, ble_supervisor.REST_S), (30.0, 30.0)):
        attending = supervisor(disk, Clock([lambda: True]), Link([record()]))
        model = attending._attended.model
        attending._attended.model = replace(model, session=replace(model.session, rest_s=rest_s))
        with pytest.raises(Rested):
            await attending.run()
        assert rests.pop() == (expected, expected)


async def test_what_nobody_asked_for_is_refused(disk: Disk) -> None:
    attending = supervisor(disk, Clock([lambda: True]), Link([]))
    session = BleSession(attending._attended, cast("GattLink", Link([])), Mode.TEST)
    session._take(Value("49123040-aee8-11e1-a74d-0002a5d5c51b", b"\x08", 1.0))
    assert attending.standing.status.counts.rejected == {"unasked": 1}
    assert disk.kept == []


async def test_a_defect_in_one_record_takes_no_other_with_it(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([lambda: True])
    attending = supervisor(disk, clock, Link([record(systolic=111), record(systolic=112), record(systolic=113)]))
    draft = attending._attended.intake.draft

    def failing(reading: Any, name: Any = None, characteristic: Any = None) -> Draft:
        if reading.vitals[0].value == 111:
            raise RuntimeError
        return draft(reading, name, characteristic)

    monkeypatch.setattr(attending._attended.intake, "draft", failing)
    with pytest.raises(RuntimeError):
        await attending._attend()
    assert [reading["vitals"][0]["value"] for reading in disk.kept] == [112, 113]


class Refusing(Link):
    async def subscribe(self, _characteristic: str) -> None:
        raise DeviceRefused(LinkFault.DEVICE_REFUSED, "no")


async def test_a_refused_subscription_ends_the_session_only_where_it_must_be() -> None:
    link = cast("GattLink", Refusing([]))
    assert (await _perform(link, Subscribe("2A2B", must=False))).refused
    with pytest.raises(DeviceRefused):
        await _perform(link, Subscribe("2A35"))


class Ticking(Link):
    """Says its record, and then its clock again and again, for as long as somebody listens."""

    has = frozenset({"2A35", "2A2B"})

    def __init__(self) -> None:
        super().__init__([])
        self.patience: list[float] = []

    async def next_value(self, silence_s: float) -> Value | None:
        self.patience.append(silence_s)
        if silence_s == 0:
            return None
        await asyncio.sleep(0)
        what, said = ("2A35", record()) if len(self.patience) == 1 else ("2A2B", bytes(10))
        return Value(what, said, asyncio.get_running_loop().time())

    def take_values(self) -> list[Value]:
        return []


async def test_a_clock_that_goes_on_ticking_keeps_no_session_open(disk: Disk) -> None:
    link = Ticking()
    attending = supervisor(disk, Clock([lambda: True]), link)
    model = attending._attended.model
    attending._attended.model = replace(model, session=replace(model.session, silence_s=0.05))
    session = await attending._attend()
    assert len(disk.kept) == session.records == 1
    assert attending.standing.status.counts.notices == len(link.patience) - 2, "what it says beside is counted"
    assert link.patience[1:-1] == sorted(link.patience[1:-1], reverse=True)


async def test_who_takes_over_knows_when_a_person_has_just_paired_the_device(disk: Disk) -> None:
    """A reload right after a pairing: what that person measured must not become a patient's."""
    clock = Clock(probes=[lambda: True])
    earlier, later = supervisor(disk, clock, Link([])), supervisor(disk, clock, Link([]))
    with earlier.observed(cast(Any, None)):
        pass
    later.succeed(earlier)
    since, until = later._attended.observed
    assert since <= until <= time.monotonic()
