"""Many measurements in a row, with faults by chance: none lost, none twice, and nothing left behind.

CYCLES=1000 in the environment makes it the long run (`--log-level=info` shows its counts); the ordinary one has fewer.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from drivers.links import bluetooth, calls
from gateway import ble_supervisor
from simulators.ble.and_device import AndDevice
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ports.bluez_objects import BluezError

CYCLES = int(os.environ.get("CYCLES", "40"))
FAULTS = [BleFault.HANG_UP, BleFault.REPEAT_LAST, BleFault.VANISH, BleFault.REFUSE_PAIRING, BleFault.CLOCK_WRITE_ERROR]
Told = tuple[object, ...]  # a device and its numbers

_log = logging.getLogger(__name__)

CALLS = ["Device1.Connect", "GattCharacteristic1.StartNotify", "GattCharacteristic1.ReadValue"]


def ours(task: asyncio.Task[Any]) -> Any:
    """A task's coroutine, unless it belongs to a simulated device: those wait for a dead link's answer for 30 s."""
    coroutine: Any = task.get_coro()
    return None if "simulators" in coroutine.cr_code.co_filename else coroutine


async def what_is_held(exam_room: Any) -> tuple[Counter[str], int, Counter[str]]:
    """Tasks by name, file descriptors, and match rules on the bus by rule: all that could be left behind."""
    bus = await MessageBus(bus_address=exam_room.room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()
    path, stats = "/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats"
    reply = await bus.call(Message("org.freedesktop.DBus", path, stats, "GetAllMatchRules"))
    assert reply is not None
    rules = Counter(rule for of_client in reply.body[0].values() for rule in of_client)
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
    gc.collect()
    tasks = Counter(coroutine.__qualname__ for task in asyncio.all_tasks() if (coroutine := ours(task)) is not None)
    return tasks, sum(1 for _ in Path("/proc/self/fd").iterdir()), rules  # noqa: ASYNC240 - the kernel's own list


async def at_rest(exam_room: Any, devices: Iterable[AndDevice]) -> None:
    async with asyncio.timeout(30):
        while exam_room.service._attendants.radio._links or any(device.peripheral.connection for device in devices):  # noqa: ASYNC110 - two processes' worth of parts, no Event
            await asyncio.sleep(0.01)
    await exam_room.nothing_left()
    await asyncio.sleep(2 * calls.LAST_WORD_S)  # what bleak does behind a link's end has no event


async def until_told(device: AndDevice) -> None:
    """The device offers what it keeps, as when its key is pressed, until nothing is left."""
    async with asyncio.timeout(60):
        while device.memory:
            if device.peripheral.connection is None and not device.peripheral.advertising:
                await device.advertise()
            await asyncio.sleep(0.02)


async def measure(device: AndDevice, number: int, taken: datetime) -> Told:
    """A measurement that no other of this device has; answer how the chart will know it."""
    if isinstance(device, AndUa651ble):
        values = 90 + number % 100, 50 + number % 30, 40 + number // 100
        await device.measure(*values, taken=taken)
        return (device.address, *values)
    assert isinstance(device, AndUt201ble)
    value = Decimal(3500 + number % 600) / 100
    await device.measure(value, taken=taken)
    return (device.address, value)


def told(payload: Mapping[str, Any]) -> Told:
    vitals = {vital["kind"]: vital["value"] for vital in payload["vitals"]}
    kinds = ("body_temperature",) if "body_temperature" in vitals else ("systolic", "diastolic", "pulse_rate")
    return (payload["device"]["hardware"], *(vitals[kind] for kind in kinds))


@pytest.fixture
async def devices(exam_room: Any) -> AsyncIterator[list[AndDevice]]:
    """As many as two adapters carry at once: three links each."""
    async with AsyncExitStack() as stack:
        made: list[AndDevice] = [exam_room.cuff, exam_room.thermometer]
        for number, (kind, model) in enumerate([(AndUa651ble, "and-ua-651ble"), (AndUt201ble, "and-ut-201ble")] * 2):
            address = f"C8:1E:8E:00:01:{number:02X}"
            radio = exam_room.room.air.radio(f"more {number}")
            device = kind(radio, address, clock=DeviceClock(ZoneInfo("America/Chicago")), advertising_interval_ms=20)
            made.append(await stack.enter_async_context(device))
            exam_room.more_devices.append(f'{{id: more-{number}, model: {model}, address: "{address}"}}')
        yield made
        await exam_room.stop()


@pytest.mark.timeout(120 + 4 * CYCLES)
async def test_nothing_is_lost_doubled_or_left_behind(
    exam_room: Any, devices: list[AndDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to three devices measure at once; each of them is a cycle."""
    monkeypatch.setattr(bluetooth, "CONNECT_S", 1.0)
    monkeypatch.setattr(ble_supervisor, "REST_S", 0.02)
    monkeypatch.setattr(ble_supervisor, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(ble_supervisor, "RETRY_CAP_S", 0.1)
    monkeypatch.setattr(ble_supervisor, "RETRY_CAP_REFUSED_S", 0.1)
    chance = random.Random(20261124)
    await exam_room.start()
    await exam_room.listening()
    # A time of its own for each record: the stamps count seconds, and equal bytes are one record.
    began = exam_room.cuff.clock.now().replace(microsecond=0)
    expected: list[Told] = []
    faults: Counter[str] = Counter()
    for device in devices:
        expected.append(await measure(device, len(expected), began))
        await until_told(device)
    await at_rest(exam_room, devices)
    before = await what_is_held(exam_room)
    while len(expected) < CYCLES + len(devices):
        at_once = chance.sample(devices, chance.randint(1, 3))
        for device in at_once:
            if chance.random() < 0.3:
                device.inject(fault := chance.choice(FAULTS))
                faults[fault.value] += 1
        if chance.random() < 0.1:
            exam_room.room.bluez.fail(call := chance.choice(CALLS), BluezError("Failed", "connection abort"))
            faults[call] += 1
        now = exam_room.cuff.clock.now().replace(microsecond=0)
        for device in at_once:
            expected.append(await measure(device, len(expected), now))
        await asyncio.gather(*map(until_told, at_once))
    await at_rest(exam_room, devices)
    await exam_room.chart.wait_for(lambda chart: len(chart.readings) >= len(expected), timeout=30)
    assert Counter(map(told, exam_room.chart.readings.values())) == Counter(expected)
    assert not exam_room.chart.gaps
    assert not exam_room.chart.duplicates
    after = await what_is_held(exam_room)
    assert after == before
    _log.info("%d cycles, faults %s; before and after: %s", len(expected), dict(faults), before)
