"""What goes wrong with a device, as bleak's own BlueZ backend sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from bleak import BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError

from simulators.ble.and_device import FLOOD
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.faults import BleFault, BleFaults, ble_fault_named
from simulators.ble.profiles import date_time
from simulators.ports.room import Room

PATIENCE_S = 10.0
SHORT_S = 1.0  # how long a call is given that is never answered
NAN = bytes.fromhex("ff07")
DATE_TIME = "00002a08-0000-1000-8000-00805f9b34fb"
# A link lost while something is under way is told in several ways, by a race: all mean "try again".
LINK_LOST = (BleakError, TimeoutError)


async def test_it_advertises_once_and_is_gone(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    cuff.inject(BleFault.VANISH)
    seen: asyncio.Queue[Any] = asyncio.Queue()
    async with BleakScanner(lambda found, _advertisement: seen.put_nowait(found)):
        await cuff.measure(120, 80, 60)
        found = await asyncio.wait_for(seen.get(), PATIENCE_S)
    with pytest.raises(TimeoutError):
        await reader.client(found, timeout=SHORT_S).connect()
    assert cuff.journal == []
    await cuff.advertise()
    assert len(await reader.read(cuff)) == 1


async def test_it_hangs_up_in_mid_transfer(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    cuff.inject(BleFault.HANG_UP)
    records = [await cuff.measure(systolic, 80, 60) for systolic in (120, 121, 122, 123)]
    try:
        first = await reader.read(cuff)
    except LINK_LOST:
        first = reader.taken()
    assert cuff.sent == records[:2]
    assert cuff.memory == records[2:]
    assert first in (records[:2], records[:3])
    await cuff.advertise()
    assert await reader.read(cuff) == records[2:]


async def test_refused_pairing_leaves_the_call_unanswered(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    cuff.inject(BleFault.REFUSE_PAIRING)
    await cuff.measure(120, 80, 60)
    client = reader.client(await reader.find(cuff))
    await client.connect()
    subscribing = asyncio.create_task(reader.subscribe(client, cuff))
    await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subscribing, SHORT_S)
    await client.disconnect()
    assert cuff.journal[:2] == ["connected", "pairing failed"]
    await cuff.advertise()
    assert len(await reader.read(cuff)) == 1


async def test_a_lost_bond_needs_a_new_pairing(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    await reader.read(cuff)
    cuff.inject(BleFault.LOSE_BOND)
    record = await cuff.measure(121, 80, 60)
    room.bluez.calls.clear()
    found = await reader.find(cuff)
    with pytest.raises(TimeoutError):
        await reader.client(found, timeout=SHORT_S).connect()
    assert "Device1.Connect" in room.bluez.calls
    await cuff.advertise()
    await reader.client(await reader.find(cuff)).unpair()
    await cuff.advertise()
    assert await reader.read(cuff) == [record]
    assert cuff.journal.count("paired") == 2


async def test_thirty_failed_records_come_first(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    cuff.inject(BleFault.NAN_FLOOD)
    record = await cuff.measure(120, 80, 60)
    read = await reader.read(cuff)
    assert len(read) == FLOOD + 1
    assert read[-1] == record
    assert all(failed[:7] == b"\x16" + 3 * NAN and failed[14:] == NAN + b"\0\0" for failed in read[:-1])
    assert len(set(read)) == FLOOD + 1


async def test_the_last_record_comes_again(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    first = await cuff.measure(120, 80, 60)
    await reader.read(cuff)
    cuff.inject(BleFault.REPEAT_LAST)
    second = await cuff.measure(121, 80, 60)
    assert await reader.read(cuff) == [first, second]
    assert cuff.sent == [first, second]


async def test_its_clock_starts_again_in_2010(cuff: AndUa651ble) -> None:
    cuff.inject(BleFault.CLOCK_2010)
    record = await cuff.measure(120, 80, 60)
    start = datetime.fromisoformat("2010-01-01T00:00:00")
    assert record[7:14] == date_time(start)
    assert start < cuff.clock.now() < start + timedelta(seconds=60)


async def test_an_error_on_the_clock_write(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    cuff.inject(BleFault.CLOCK_WRITE_ERROR)
    await cuff.measure(120, 80, 60)
    before, wanted = cuff.clock.now(), date_time(datetime.fromisoformat("2011-01-01T00:00:00"))
    async with reader.client(await reader.find(cuff)) as client:
        with pytest.raises(BleakGATTProtocolError) as refused:
            await client.write_gatt_char(DATE_TIME, wanted, response=True)
        assert refused.value.code == 0x80
        assert cuff.clock.now() > before
        with pytest.raises(BleakGATTProtocolError):
            await client.write_gatt_char(DATE_TIME, b"\0\0\0", response=True)
        await client.write_gatt_char(DATE_TIME, wanted, response=True)
        assert cuff.clock.now().year == 2011


async def test_out_of_range_while_connected(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    record = await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)):
        room.air.take_out_of_range(cuff.address)
        await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    assert cuff.journal == ["connected", "disconnected 0x8"]
    await cuff.advertise()
    assert await BleakScanner.find_device_by_address(cuff.address, SHORT_S / 2) is None
    room.air.bring_back(cuff.address)
    assert await reader.read(cuff) == [record]


async def test_pairing_without_an_agent(
    bare_room: Room, cuff: AndUa651ble, reader: Any, agent: Callable[[Room, AsyncExitStack], Awaitable[None]]
) -> None:
    record = await cuff.measure(120, 80, 60)
    client = reader.client(await reader.find(cuff))
    await client.connect()
    subscribing = asyncio.create_task(reader.subscribe(client, cuff))
    await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subscribing, SHORT_S)
    await client.disconnect()
    await cuff.advertise()
    with pytest.raises(BleakError, match="Authentication"):
        await reader.client(await reader.find(cuff), pair=True).connect()
    assert not cuff.peripheral.bonded
    async with AsyncExitStack() as stack:
        await agent(bare_room, stack)
        await cuff.advertise()
        assert await reader.read(cuff, pair=True) == [record]


def test_a_fault_happens_once_or_stands() -> None:
    faults = BleFaults([BleFault.VANISH])
    faults.inject(BleFault.HANG_UP)
    assert [faults.met(fault) for fault in (BleFault.HANG_UP, BleFault.HANG_UP)] == [True, False]
    assert [faults.met(BleFault.VANISH) for _ in range(3)] == [True] * 3
    assert ble_fault_named("lose_bond") is BleFault.LOSE_BOND
    with pytest.raises(ValueError, match="hang_up"):
        ble_fault_named("explode")
