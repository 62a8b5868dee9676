"""Many measurements in a row, with faults by chance: none lost, none twice, and nothing left behind.

CYCLES=500 in the environment makes it the long run; the ordinary one has fewer.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from drivers.links import bluetooth
from gateway import ble_supervisor
from simulators.ble.faults import BleFault
from simulators.ports.bluez_objects import BluezError

CYCLES = int(os.environ.get("CYCLES", "40"))
WARM_UP = 5
FAULTS = [BleFault.HANG_UP, BleFault.REPEAT_LAST, BleFault.VANISH, BleFault.REFUSE_PAIRING, BleFault.CLOCK_WRITE_ERROR]
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


async def at_rest(exam_room: Any) -> None:
    async with asyncio.timeout(30):
        radio, cuff = exam_room.service._radio, exam_room.cuff.peripheral
        while cuff.connection is not None or radio._links:  # noqa: ASYNC110 - two processes' worth of parts, no Event
            await asyncio.sleep(0.01)
    await exam_room.nothing_left()
    await asyncio.sleep(2 * bluetooth.LAST_WORD_S)  # what bleak does behind a link's end has no event


@pytest.mark.timeout(60 + 4 * CYCLES)
async def test_nothing_is_lost_doubled_or_left_behind(exam_room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluetooth, "CONNECT_S", 1.0)
    monkeypatch.setattr(ble_supervisor, "REST_S", 0.02)
    monkeypatch.setattr(ble_supervisor, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(ble_supervisor, "RETRY_CAP_S", 0.1)
    monkeypatch.setattr(ble_supervisor, "RETRY_CAP_REFUSED_S", 0.1)
    chance = random.Random(20261124)
    await exam_room.start()
    await exam_room.listening()
    # A time of its own for each record: the stamps count seconds, and equal bytes are one record.
    began = exam_room.cuff.clock.now().replace(microsecond=0) - timedelta(seconds=100)
    before = None
    for cycle in range(CYCLES + WARM_UP):
        if cycle == WARM_UP:
            await at_rest(exam_room)
            before = await what_is_held(exam_room)
        if cycle >= WARM_UP and chance.random() < 0.3:
            exam_room.cuff.inject(chance.choice(FAULTS))
        if cycle >= WARM_UP and chance.random() < 0.1:
            exam_room.room.bluez.fail(chance.choice(CALLS), BluezError("Failed", "Software caused connection abort"))
        taken = began + timedelta(seconds=cycle // 5)
        await exam_room.cuff.measure(90 + cycle % 100, 50 + cycle % 30, 40 + cycle // 100, taken=taken)
        await exam_room.heard_again()
    await at_rest(exam_room)
    await exam_room.chart.wait_for(lambda chart: len(chart.readings) >= CYCLES + WARM_UP, timeout=30)
    told = Counter(
        (vitals["systolic"], vitals["diastolic"], vitals["pulse_rate"])
        for payload in exam_room.chart.readings.values()
        for vitals in [{vital["kind"]: vital["value"] for vital in payload["vitals"]}]
    )
    assert set(told.values()) == {1}
    assert len(told) == CYCLES + WARM_UP
    assert not exam_room.chart.gaps
    assert not exam_room.chart.duplicates
    after = await what_is_held(exam_room)
    assert after == before
