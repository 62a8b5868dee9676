"""What came over a Bluetooth link is taken, in whatever moment it came. A real cuff cannot be made to hit them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

import pytest

from drivers.ble import date_time
from drivers.errors import LinkFault, LinkLost
from drivers.links.gatt import Value
from drivers.links.radio import Radio
from gateway import ble_session, pairing
from gateway.ble_session import Observer
from gateway.ble_supervisor import BleSupervisor
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.reading import Mode, Reading
from gateway.settings import Device

CUFF = "C8:1E:8E:00:00:01"
# 128/82 mmHg, mean 97, 2026-11-22 13:05, pulse 66
RECORD = bytes.fromhex("16800052006100ea070b160d050042000000")


class _Link:
    """A cuff that sends a record in a given moment: while asked, when it fails, or when its link is closed."""

    is_real, is_simulated, is_gone = True, False, False
    thrown_away = 2
    has = frozenset({"2A35", "2A08"})

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.record = RECORD
        self.clock: datetime | None = None
        self.values: list[Value] = []
        self.closed = 0

    async def bond(self) -> None:
        return None

    async def read(self, _characteristic: str) -> bytes:
        return b"" if self.clock is None else date_time.encode(self.clock)

    async def write(self, _characteristic: str, _value: bytes) -> None:
        return None

    async def subscribe(self, characteristic: str) -> None:
        if self.moment == "refused":
            self._send()
            raise LinkLost(LinkFault.LINK_LOST, "in the midst of subscribing")

    async def next_value(self, _silence_s: float) -> Value | None:
        if self.moment == "lost":
            self._send()
            raise LinkLost(LinkFault.LINK_LOST, "while nobody had taken it")
        if self.moment == "cancelled":
            self._send()
            await asyncio.Event().wait()
        return None

    def take_values(self) -> list[Value]:
        values, self.values = self.values, []
        return values

    async def close(self) -> None:
        self.closed += 1
        if self.moment == "closing":
            self._send()

    def _send(self) -> None:
        self.values.append(Value("2A35", self.record, asyncio.get_running_loop().time()))
        self.moment = ""


class _Radio:
    trouble = None
    listens = True

    def __init__(self, link: _Link) -> None:
        self._links = [link]
        self.waiting = asyncio.Event()

    @asynccontextmanager
    async def link(self, _address: str) -> AsyncIterator[_Link]:
        if not self._links:
            self.waiting.set()
            await asyncio.Event().wait()
        yield self._links.pop()


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db", lambda _rows: None)
    yield outbox
    await outbox.close()


def attend(
    outbox: Outbox, link: _Link, radio: _Radio, stored: Literal["quarantine", "publish"] = "quarantine"
) -> BleSupervisor:
    model = load_model("and-ua-651ble")
    device = Device("cuff", "and-ua-651ble", model, model.line, address=CUFF, stored=stored)
    clock = Clock([lambda: True])
    clock.refresh()
    intake = Intake(device, Origin("northside", "exam-3", "0", outbox.stream), load_ranges(), clock)
    told: Callable[..., None] = lambda *_: None  # noqa: E731
    return BleSupervisor(
        device,
        CUFF,
        intake,
        outbox,
        clock,
        cast("Radio", radio),
        zone=UTC,
        demo=False,
        on_change=told,
        on_event=told,
    )


@pytest.mark.parametrize("moment", ["refused", "lost", "cancelled", "closing"])
async def test_a_record_is_taken_in_whatever_moment_it_comes(outbox: Outbox, moment: str) -> None:
    link = _Link(moment)
    radio = _Radio(link)
    supervisor = attend(outbox, link, radio)
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(10):
        if moment == "cancelled":
            while link.moment:  # noqa: ASYNC110 - the link has sent
                await asyncio.sleep(0)
        else:
            await radio.waiting.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert link.closed == 1
    assert supervisor.standing.status.counts.samples == 1
    assert supervisor.standing.status.counts.rejected == {"overflow": 2}
    assert (await outbox.state()).depth == 1


class _Observer:
    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def reading(self, reading: Reading) -> None:
        self.readings.append(reading)

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.mark.parametrize(("observed", "live"), [(True, True), (True, False), (False, True)])
async def test_what_is_measured_while_a_person_pairs_reaches_no_chart(
    outbox: Outbox, observed: bool, live: bool
) -> None:
    """On a real radio. What is held may be a patient's, and stays where staff look for it."""
    link = _Link("closing")
    radio = _Radio(link)
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    link.clock = now if live else None
    link.record = RECORD[:7] + date_time.encode(now) + RECORD[14:]
    supervisor = attend(outbox, link, radio)
    observer = _Observer()
    with supervisor.observed(cast("Observer", observer)) if observed else nullcontext():
        running = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(radio.waiting.wait(), 10)
        running.cancel()
        await asyncio.wait([running])
    (row,) = await outbox.ask(lambda store: store.waiting(0, 10, []))
    folder = "quarantine" if not live else "reading"
    assert row.topic == f"vitals/v1/northside/exam-3/{'test/' if observed and live else ''}{folder}"
    assert [reading.mode for reading in observer.readings] == ([Mode.TEST if live else Mode.REAL] if observed else [])


class _FullCuff(_Link):
    """A cuff that sends what it kept for long, and what was measured now when it is let go on."""

    def __init__(self, now: datetime) -> None:
        super().__init__("")
        self.clock = now
        self.goes_on = asyncio.Event()
        self._to_send = [now - timedelta(hours=3), now]

    async def next_value(self, _silence_s: float) -> Value | None:
        if not self._to_send:
            return None
        if len(self._to_send) == 1:
            await self.goes_on.wait()
        stamp = date_time.encode(self._to_send.pop(0))
        return Value("2A35", RECORD[:7] + stamp + RECORD[14:], asyncio.get_running_loop().time())


@pytest.mark.parametrize(("long_after", "folder"), [(False, "test/reading"), (True, "reading")])
async def test_who_pairs_measures_themselves_though_an_old_record_ended_the_pairing(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, long_after: bool, folder: str
) -> None:
    """A full cuff sends the oldest first: that proves the pairing, and nobody looks on when their own record comes."""
    if long_after:
        monkeypatch.setattr(ble_session, "SAME_PERSON_S", -3600.0)
    cuff = _FullCuff(datetime.now(UTC).replace(tzinfo=None, microsecond=0))
    radio = _Radio(cuff)
    supervisor = attend(outbox, cuff, radio)
    observer = _Observer()
    async with asyncio.timeout(10):
        with supervisor.observed(cast("Observer", observer)):
            running = asyncio.create_task(supervisor.run())
            while not observer.readings:  # noqa: ASYNC110 - the first record was told
                await asyncio.sleep(0)
        cuff.goes_on.set()
        await radio.waiting.wait()
    running.cancel()
    await asyncio.wait([running])
    rows = await outbox.ask(lambda store: store.waiting(0, 10, []))
    assert [row.topic.removeprefix("vitals/v1/northside/exam-3/") for row in rows] == ["quarantine", folder]


async def test_what_is_stored_is_no_test_of_who_pairs_and_is_not_shown(outbox: Outbox) -> None:
    """Where a site publishes what is stored, a patient's record must not be lost to a pairing."""
    link = _Link("closing")
    radio = _Radio(link)
    link.clock = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    link.record = RECORD[:7] + date_time.encode(link.clock - timedelta(hours=3)) + RECORD[14:]
    supervisor = attend(outbox, link, radio, stored="publish")
    told: list[dict[str, object]] = []

    class _Asked:
        async def tell(self, **members: object) -> None:
            told.append(members)

        async def ask(self, **_members: object) -> dict[str, object]:
            return {}

    story = pairing._Story(_Asked())
    with supervisor.observed(story):
        running = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(story.tell_until_read(), 10)
        running.cancel()
        await asyncio.wait([running])
    (row,) = await outbox.ask(lambda store: store.waiting(0, 10, []))
    assert row.topic == "vitals/v1/northside/exam-3/reading"
    assert told[-1]["vitals"] == [
        {"kind": kind} for kind in ("systolic", "diastolic", "mean_arterial_pressure", "pulse_rate")
    ]


@pytest.mark.parametrize(
    ("age_s", "stored", "where"),
    [
        (10.0, "quarantine", "test/reading"),
        (200.0, "quarantine", "test/quarantine"),
        (200.0, "publish", "test/reading"),
        (3600.0, "quarantine", "quarantine"),
        (3600.0, "publish", "reading"),
        (300.0, "publish", "quarantine"),
    ],
)
async def test_a_record_of_a_trial_is_a_tests_though_it_comes_after_its_end(
    outbox: Outbox, age_s: float, stored: Literal["quarantine", "publish"], where: str
) -> None:
    """A real cuff measures while somebody certifies it (from 300 to 5 s ago), and connects now."""
    link = _Link("closing")
    radio = _Radio(link)
    link.clock = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    link.record = RECORD[:7] + date_time.encode(link.clock - timedelta(seconds=age_s)) + RECORD[14:]
    supervisor = attend(outbox, link, radio, stored=stored)
    since = supervisor.trials.planned(1.0)
    supervisor.trials.past.append(replace(since, since=since.since - 300.0, until=since.since - 5.0, is_sure=True))
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(radio.waiting.wait(), 10)
    running.cancel()
    await asyncio.wait([running])
    (row,) = await outbox.ask(lambda store: store.waiting(0, 10, []))
    assert row.topic == f"vitals/v1/northside/exam-3/{where}"
