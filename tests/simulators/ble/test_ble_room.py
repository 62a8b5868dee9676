"""A measurement's way through the simulated air and the stand-in for BlueZ, read by bleak."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakScanner
from bleak.exc import BleakError
from bumble.controller import Controller
from bumble.keys import PairingKeys
from bumble.transport import open_transport
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from simulators.ble.and_device import DISCONNECT, SEND_ALL, VENDOR_COMMAND
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.clock import DeviceClock
from simulators.ble.profiles import date_time, read_date_time
from simulators.ports.air import open_dongle
from simulators.ports.room import Room

PATIENCE_S = 10.0
DATE_TIME = "00002a08-0000-1000-8000-00805f9b34fb"
CAPTURED = bytes.fromhex("1686004d006400e10701100d00183d000000")


async def test_one_measurement_end_to_end(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    record = await cuff.measure(134, 77, 61, mean=100, taken=datetime.fromisoformat("2017-01-16T13:00:24"))
    assert record == CAPTURED  # HEADS-project/ThingML-BLE, AND_Medical_UA651BLE.md
    assert cuff.memory == [CAPTURED]
    assert await reader.read(cuff) == [CAPTURED]
    assert (cuff.memory, cuff.sent) == ([], [CAPTURED])
    assert cuff.journal == ["connected", "paired", "confirmed", "disconnected 0x13"]
    assert not cuff.peripheral.advertising


async def test_only_what_was_not_sent_is_sent(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    await reader.read(cuff)
    later = [await cuff.measure(121, 81, 61), await cuff.measure(122, 82, 62)]
    assert await reader.read(cuff) == later
    assert cuff.journal.count("paired") == 1


async def test_a_thermometer(room: Room, reader: Any) -> None:
    async with AndUt201ble(room.air.radio("thermometer"), "C8:1E:8E:00:02:01") as thermometer:
        record = await thermometer.measure(Decimal("36.8"), taken=datetime.fromisoformat("2026-11-22T13:05:09"))
        assert record == bytes.fromhex("02 700100ff ea070b160d0509")
        assert await reader.read(thermometer) == [record]


async def test_who_it_says_it_is(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    found = await reader.find(cuff)
    assert found.name == "A&D_UA-651BLE_000001"
    async with reader.client(found) as client:
        said = {
            uuid: bytes(await client.read_gatt_char(f"0000{uuid}-0000-1000-8000-00805f9b34fb"))
            for uuid in ("2a29", "2a24", "2a25", "2a19")
        }
        with pytest.raises(BleakError, match="READ_NOT_PERMITTED"):
            await client.read_gatt_char(reader.measurement(cuff))
    assert said == {"2a29": b"A&D Medical", "2a24": b"UA-651BLE", "2a25": b"SIM-000001", "2a19": bytes([100])}


async def test_it_carries_the_marker_that_anyone_may_read(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)) as client:
        (service,) = (s for s in client.services if uuid.UUID(s.uuid).bytes == b"SIMULATED\0vitals")
        (marker,) = service.characteristics
        assert (marker.uuid, marker.properties) == ("53494d55-4c41-5445-4401-766974616c73", ["read"])
        assert bytes(await client.read_gatt_char(marker)) == b"SIM"
    assert "paired" not in cuff.journal


async def test_its_clock_runs_is_read_and_set(room: Room, reader: Any) -> None:
    clock = DeviceClock(fast_by=timedelta(days=-400))
    async with AndUa651ble(room.air.radio("cuff"), "C8:1E:8E:00:00:01", clock=clock) as cuff:
        await cuff.measure(120, 80, 60)
        async with reader.client(await reader.find(cuff)) as client:
            before = clock.now().replace(microsecond=0)
            shown = read_date_time(bytes(await client.read_gatt_char(DATE_TIME)))
            assert before <= shown <= clock.now()
            wanted = datetime.fromisoformat("2026-11-22T13:05:09")
            await client.write_gatt_char(DATE_TIME, date_time(wanted), response=True)
            assert wanted <= clock.now() < wanted + timedelta(seconds=PATIENCE_S)


async def test_the_vendors_commands(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)) as client:
        await client.write_gatt_char(VENDOR_COMMAND, SEND_ALL, response=True)
        with pytest.raises(BleakError):
            await client.write_gatt_char(VENDOR_COMMAND, b"\x01", response=True)
        await client.write_gatt_char(VENDOR_COMMAND, DISCONNECT, response=True)
        await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    assert len(cuff.memory) == 1


async def test_the_neighbors_cuff_is_seen_and_left_alone(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    async with AndUa651ble(room.air.radio("neighbor"), "C8:1E:8E:00:00:02", advertising_interval_ms=20) as neighbor:
        ours, theirs = await cuff.measure(120, 80, 60), await neighbor.measure(150, 95, 90)
        seen: set[str] = set()
        async with asyncio.timeout(PATIENCE_S), BleakScanner() as scanner:
            async for found, _advertisement in scanner.advertisement_data():
                seen.add(found.address)
                if {cuff.address, neighbor.address} <= seen:
                    break
        assert await reader.read(cuff) == [ours]
        assert (neighbor.memory, neighbor.journal) == ([theirs], [])
        assert await reader.read(neighbor) == [theirs]


async def test_a_scanner_that_never_stops_sees_it_again(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    seen: asyncio.Queue[Any] = asyncio.Queue()
    async with BleakScanner(lambda found, _advertisement: seen.put_nowait(found)):
        for systolic in (120, 121, 122):
            while not seen.empty():
                seen.get_nowait()
            record = await cuff.measure(systolic, 80, 60)
            found = await asyncio.wait_for(seen.get(), PATIENCE_S)
            assert await reader.read(cuff, found) == [record]


async def test_pairing_mode_lets_another_host_in(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.peripheral._keys.update("AA:AA:AA:AA:AA:AA/P", PairingKeys())
    await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.subscribe(client, cuff), 0.5)
    assert "pairing failed" in cuff.journal
    await cuff.pairing_mode()
    assert len(await reader.read(cuff)) == 1


async def test_a_gateway_of_another_process(room: Room, cuff: AndUa651ble, tmp_path: Path) -> None:
    script = tmp_path / "reader.py"
    script.write_text(
        "import asyncio, bleak\n"
        "async def main():\n"
        f"    found = await bleak.BleakScanner.find_device_by_address({cuff.address!r}, {PATIENCE_S})\n"
        "    got, gone = [], asyncio.Event()\n"
        "    async with bleak.BleakClient(found, lambda _: gone.set()) as client:\n"
        "        await client.start_notify('2a35', lambda _, value: got.append(bytes(value)))\n"
        "        await gone.wait()\n"
        "    print(got[0].hex())\n"
        "asyncio.run(main())\n"
    )
    record = await cuff.measure(120, 80, 60)
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), env={**os.environ, **room.environment}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(child.communicate(), 3 * PATIENCE_S)
    assert said.decode().strip() == record.hex()


async def test_a_dongle_in_place_of_the_air(room: Room, reader: Any, tmp_path: Path) -> None:
    line = tmp_path / "dongle"
    far_end = await open_transport(f"pty:{line}")
    controller = Controller("dongle", host_source=far_end.source, host_sink=far_end.sink, link=room.air)
    radio = await open_dongle(f"serial:{line}")
    try:
        async with AndUa651ble(radio, "C8:1E:8E:00:00:03") as cuff:
            record = await cuff.measure(120, 80, 60)
            assert await _read_again(reader, cuff) == [record]
    finally:
        room.air.remove_controller(controller)
        await far_end.close()


async def _read_again(reader: Any, cuff: AndUa651ble) -> list[bytes]:
    """Read it, and where bleak has given up, once more, as a gateway does: bumble's two ends may miss each other."""
    try:
        return list(await reader.read(cuff))
    except TimeoutError:
        async with asyncio.timeout(PATIENCE_S):
            while cuff.peripheral.connection is not None:  # noqa: ASYNC110 - bumble sets no Event
                await asyncio.sleep(0.01)
        await cuff.advertise()
        return list(await reader.read(cuff))


async def test_fifty_cycles_leave_nothing_behind(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    async def cycle() -> None:
        record = await cuff.measure(120, 80, 60)
        assert await reader.read(cuff) == [record]

    for _ in range(3):
        await cycle()
    before = await left_behind(room)
    for _ in range(50):
        await cycle()
    assert await left_behind(room) == before


async def left_behind(room: Room) -> tuple[int, int, int]:
    """Tasks, file descriptors and D-Bus matches."""
    bus = await MessageBus(bus_address=room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()
    call = Message(
        "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats", "GetAllMatchRules"
    )
    reply = await bus.call(call)
    assert reply is not None
    matches = sum(len(rules) for rules in reply.body[0].values())
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
    await asyncio.sleep(0)
    return len(asyncio.all_tasks()), open_files(), matches


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
