"""Where the simulated air does what bumble's own link does not."""

from __future__ import annotations

import asyncio

import pytest
from bleak import BleakScanner
from bumble import core, hci, ll
from bumble.device import Device
from bumble.transport.common import Transport

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ports import bluez
from simulators.ports.air import Air
from simulators.ports.room import Room

PATIENCE_S = 10.0
SHORT_S = 0.5  # how long nothing is listened to
CUFF = "C8:1E:8E:00:00:01"


def central_on(radio: Transport) -> Device:
    address = hci.Address("C0:00:00:00:00:01", hci.Address.RANDOM_DEVICE_ADDRESS)
    return Device.with_hci("central", address, radio.source, radio.sink)


async def test_a_connection_to_a_device_that_is_gone_fails_with_3e() -> None:
    air = Air()
    radio = air.radio("central")
    central = central_on(radio)
    await central.power_on()
    nobody = air.radio("nobody")
    lost: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    address = hci.Address(CUFF, hci.Address.RANDOM_DEVICE_ADDRESS)
    central.on(
        central.EVENT_CONNECTION, lambda connection: connection.on(connection.EVENT_DISCONNECTION, lost.set_result)
    )
    connecting = asyncio.create_task(central.connect_le(address))
    (controller,) = (controller for controller in air.controllers if controller.name == "central")
    async with asyncio.timeout(PATIENCE_S):
        while controller.pending_le_connection is None:  # noqa: ASYNC110 - bumble has no event for it
            await asyncio.sleep(0)
    (sender,) = air.controllers - {controller}
    air.send_advertising_pdu(sender, ll.AdvInd(advertiser_address=address, data=b""))
    assert await asyncio.wait_for(lost, PATIENCE_S) == 0x3E
    await connecting
    assert controller.le_connections == {}
    await radio.close()
    await nobody.close()
    assert air.controllers == set()


async def test_an_attempt_that_was_given_up_does_not_connect_later() -> None:
    air = Air()
    radio = air.radio("central")
    central = central_on(radio)
    await central.power_on()
    async with AndUa651ble(air.radio("cuff"), CUFF) as cuff:
        with pytest.raises(core.TimeoutError):
            await central.connect_le(hci.Address(CUFF, hci.Address.RANDOM_DEVICE_ADDRESS), timeout=0.05)
        await cuff.measure(120, 80, 60)
        await asyncio.sleep(SHORT_S)
        assert cuff.journal == []
    await radio.close()


async def test_an_adapter_out_of_range_hears_nothing(bare_room: Room, cuff: AndUa651ble) -> None:
    bare_room.air.take_out_of_range(bluez.ADDRESS)
    await cuff.measure(120, 80, 60)
    assert await BleakScanner.find_device_by_address(CUFF, SHORT_S) is None
    bare_room.air.bring_back(bluez.ADDRESS)
    assert await BleakScanner.find_device_by_address(CUFF, PATIENCE_S) is not None


def test_who_is_not_on_the_air_cannot_be_taken_off() -> None:
    with pytest.raises(ValueError, match="no device"):
        Air().take_out_of_range(CUFF)
