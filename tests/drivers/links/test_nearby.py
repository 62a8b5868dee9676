"""Who is in range is heard as it says itself, and nobody is connected or bonded. Beside a service: tests/system."""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.errors import LinkFault, LinkLost
from drivers.links import nearby
from drivers.links.bluetooth import Advertised
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.mi_scale import MiScale
from simulators.ports.room import Room

CUFF, SCALE = "C8:1E:8E:00:00:01", "C8:1E:8E:00:0C:01"
PATIENCE_S = 20.0


async def hears(*addresses: str) -> dict[str, Advertised]:
    """Listen until all of these were heard."""
    found: dict[str, Advertised] = {}
    everybody = asyncio.Event()

    def take(advertised: Advertised) -> None:
        found[advertised.address] = advertised
        if found.keys() >= set(addresses):
            everybody.set()

    listening = asyncio.create_task(nearby.listen(PATIENCE_S, take))
    async with asyncio.timeout(PATIENCE_S):
        waiting = asyncio.create_task(everybody.wait())
        await asyncio.wait({waiting, listening}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    if listening.done():
        listening.result()
    listening.cancel()
    await asyncio.wait({listening})
    return found


async def test_who_is_in_range_is_told_and_nobody_is_connected(room: Room) -> None:
    cuff = AndUa651ble(room.air.radio("cuff"), CUFF, advertising_interval_ms=20)
    scale = MiScale(room.air.radio("scale"), SCALE, advertising_interval_ms=20, beat_s=0.05)
    async with cuff, scale:
        weighing = asyncio.create_task(scale.measure(Decimal(75)))
        await cuff.advertise()
        heard = await hears(CUFF, SCALE)
        await weighing
        assert cuff.peripheral.connection is None
    told = heard[CUFF]
    assert told.name.startswith("A&D_UA-651BLE")
    assert (told.services, told.is_private, told.bonded) == (("1810",), False, False)
    assert told.rssi < 0
    assert "181D" in heard[SCALE].service_data
    assert heard[SCALE].is_simulated
    made = {call for call in room.bluez.calls if "Connect" in call or "Pair" in call or "AgentManager" in call}
    assert made == set()


@pytest.mark.parametrize("address", ["7A:1E:8E:00:00:01", "3A:1E:8E:00:00:01"])
async def test_an_address_that_changes_is_told_as_one(room: Room, address: str) -> None:
    cuff = AndUa651ble(room.air.radio("cuff"), address, advertising_interval_ms=20)
    async with cuff:
        await cuff.advertise()
        assert (await hears(address))[address].is_private


async def test_without_an_adapter_it_is_said_why(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "FIND_S", 0.3)
    await room.bluez.unplug()
    with pytest.raises(LinkLost) as raised:
        await hears(CUFF)
    assert raised.value.fault is LinkFault.NO_ADAPTER


async def test_an_adapter_that_goes_meanwhile_ends_it_in_words(room: Room) -> None:
    async with asyncio.timeout(PATIENCE_S):
        listening = asyncio.create_task(nearby.listen(PATIENCE_S, lambda _: None))
        while not room.bluez.discovering:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.01)
        await room.bluez.unplug()
        with pytest.raises(LinkLost) as raised:
            await listening
    assert raised.value.fault is LinkFault.NO_ADAPTER


async def test_without_a_bus_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "FIND_S", 0.3)
    monkeypatch.setitem(os.environ, "DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(LinkLost) as raised:
        await nearby.listen(0.1, lambda _: None)
    assert raised.value.fault is LinkFault.NO_BLUETOOTH
