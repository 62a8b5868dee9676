"""What the simulated cuffs of others do that a gateway must not provoke, as bleak's own BlueZ backend sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError

from simulators.ble import profiles
from simulators.ble.faults import BleFault
from simulators.ble.sig_device import SigDevice
from simulators.ble.sig_models import MODELS
from simulators.ports.room import Room

PATIENCE_S = 10.0
ADDRESS = "C8:1E:8E:01:00:01"
RECORD, CLOCK = (f"0000{uuid:04x}-0000-1000-8000-00805f9b34fb" for uuid in (0x2A35, 0x2A2B))


async def test_who_turns_indications_off_has_lost_an_omrons_bond(room: Room) -> None:
    device = SigDevice(room.air.radio("cuff"), ADDRESS, MODELS["omron-evolv"], advertising_interval_ms=20)
    async with device:
        device.inject(BleFault.NAN_FLOOD)
        await device.pressure(131, 84, 71)
        found = await BleakScanner.find_device_by_address(ADDRESS, PATIENCE_S)
        assert found is not None
        first: asyncio.Event = asyncio.Event()
        async with BleakClient(found, timeout=PATIENCE_S) as client:
            await client.start_notify(RECORD, lambda _sender, _value: first.set())
            await asyncio.wait_for(first.wait(), PATIENCE_S)
            assert device.peripheral.bonded
            await client.stop_notify(RECORD)
        assert "unsubscribed" in device.journal
        assert not device.peripheral.bonded


async def test_an_omron_says_in_its_advertisement_how_it_stands(room: Room) -> None:
    heard: asyncio.Queue[dict[int, bytes]] = asyncio.Queue()
    async with SigDevice(room.air.radio("cuff"), ADDRESS, MODELS["omron-bp5250"], clock_known=False) as device:
        assert device._manufacturer_data() == bytes.fromhex("0e02012c000000"), (
            "company, each user's data, flags: standard services, to be paired, time not set; a user's counts"
        )
        async with BleakScanner(lambda _device, said: heard.put_nowait(said.manufacturer_data)):
            await device.pairing_mode()
            await asyncio.wait_for(heard.get(), PATIENCE_S)


async def test_an_omrons_clock_is_refused_unless_it_was_told(room: Room, close_bleak: Any) -> None:
    async with SigDevice(room.air.radio("cuff"), ADDRESS, MODELS["omron-evolv"], clock_known=False) as device:
        await device.pairing_mode()
        found = await BleakScanner.find_device_by_address(ADDRESS, PATIENCE_S)
        assert found is not None
        now = profiles.current_time(device.clock.now())
        told: asyncio.Queue[bytes] = asyncio.Queue()
        async with BleakClient(found, timeout=PATIENCE_S) as client:
            with pytest.raises(BleakError):
                await client.write_gatt_char(CLOCK, now, response=True)
            await client.start_notify(CLOCK, lambda _sender, value: told.put_nowait(bytes(value)))
            assert await asyncio.wait_for(told.get(), PATIENCE_S) == bytes(10)
            await client.write_gatt_char(CLOCK, now, response=True)
            await asyncio.wait_for(told.get(), PATIENCE_S)
            with pytest.raises(BleakError):
                await client.write_gatt_char(CLOCK, now, response=True)
    assert device.journal.count("clock set") == 1
