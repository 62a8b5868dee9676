"""The room's radio against a simulated room: bleak's own BlueZ backend, a real bus, real GATT; what goes wrong ends."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.bluezdbus import manager as bleak_manager
from bleak_retry_connector import establish_connection
from dbus_fast import Message, Variant

from drivers.errors import DeviceRefused, LinkError, LinkFault, LinkLost, LinkTimeout
from drivers.links import bluetooth, calls, gatt
from drivers.links import bluez as bluez_module
from drivers.links import radio as radio_module
from drivers.links.gatt import GattLink
from drivers.links.radio import Radio
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.faults import BleFault
from simulators.ports.bluez_objects import ADAPTER, CHARACTERISTIC, DEVICE, BluezError, Unanswered
from simulators.ports.room import Room

CUFF, NEIGHBORS = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02"
PATIENCE_S = 15.0
SILENCE_S = 10.0
CLOCK = bytes.fromhex("ea070b160d0509")

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
StartRadio = Callable[..., Radio]


@pytest.fixture
async def radio(room: Room, start_radio: StartRadio, eventually: Eventually) -> Radio:
    """One that scans."""
    started = start_radio(CUFF)
    await eventually(lambda: room.bluez.discovering)
    return started


def fault(radio: Radio) -> LinkFault | None:
    return None if radio.trouble is None else radio.trouble.fault


def connected(room: Room) -> bool:
    return any(device.connected for device in room.bluez._adapter._devices.values())


async def read_all(radio: Radio, address: str = CUFF) -> list[bytes]:
    """One session, as a supervisor holds it: to the device's hanging up."""
    taken = []
    async with asyncio.timeout(PATIENCE_S), radio.link(address) as link:
        await link.bond()
        await link.subscribe("2A35")
        while (value := await link.next_value(SILENCE_S)) is not None:
            taken.append(value.data)
    return taken


@asynccontextmanager
async def linked(radio: Radio, address: str = CUFF) -> AsyncIterator[GattLink]:
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(PATIENCE_S):
            link = await stack.enter_async_context(radio.link(address))
        yield link


async def fails(work: Awaitable[Any]) -> LinkError:
    with pytest.raises(LinkError) as failed:
        async with asyncio.timeout(PATIENCE_S):
            await work
    return failed.value


# ---- one session -----------------------------------------------------------------------------------------------------


async def test_a_cuff_is_read_and_hangs_up(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    records = [await cuff.measure(128, 82, 66), await cuff.measure(129, 83, 67)]
    before = time.monotonic()
    async with linked(radio) as link:
        assert {"2A35", "2A49", "2A08", "2A19", "2A25"} <= link.has
        assert not link.is_real
        assert await link.read("2A25") == cuff.serial_number.encode()
        await link.bond()
        await link.write("2A08", CLOCK)
        await link.subscribe("2A35")
        values = [await link.next_value(SILENCE_S) for _ in records]
        assert await link.next_value(SILENCE_S) is None
        assert link.is_gone
    taken = [value for value in values if value is not None]
    assert [value.data for value in taken] == records
    assert all(value.characteristic == "2A35" and before <= value.at <= time.monotonic() for value in taken)
    assert cuff.peripheral.bonded
    assert not connected(room)
    assert "GattCharacteristic1.StopNotify" not in room.bluez.calls  # a cuff would forget its bond


async def test_a_cuff_that_is_bonded_is_read_again(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    for systolic in (120, 121, 122):
        record = await cuff.measure(systolic, 80, 60)
        assert await read_all(radio) == [record]
    assert room.bluez.calls.count("Device1.Pair") == 1


async def test_the_neighbors_cuff_is_never_touched(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    async with AndUa651ble(room.air.radio("other"), NEIGHBORS, advertising_interval_ms=20) as neighbors:
        await neighbors.measure(120, 80, 60)
        waiting = asyncio.create_task(read_all(radio, NEIGHBORS))
        record = await cuff.measure(128, 82, 66)
        assert await read_all(radio) == [record]
        assert not waiting.done()
        assert not neighbors.journal
        assert len(neighbors.memory) == 1
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_who_is_silent_is_hung_up(room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually) -> None:
    await cuff.advertise()
    async with linked(radio) as link:
        assert await link.next_value(0.05) is None
        assert not link.is_gone
    await eventually(lambda: not connected(room))
    assert cuff.peripheral.connection is None


async def test_a_session_that_fails_or_is_cancelled_closes_its_link(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    async def fail() -> None:
        async with linked(radio):
            raise ValueError

    await cuff.advertise()
    with pytest.raises(ValueError, match=r"^$"):
        await fail()
    await eventually(lambda: not connected(room))

    await cuff.advertise()
    waiting = asyncio.create_task(read_all(radio))
    await eventually(lambda: connected(room))
    waiting.cancel()
    await asyncio.wait([waiting])
    await eventually(lambda: not connected(room))
    assert not radio._links


async def test_a_disconnection_that_is_not_answered_is_asked_for_once_more(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that stays connected does not advertise: it would never be heard again."""
    monkeypatch.setattr(calls, "DISCONNECT_S", 0.2)
    await cuff.advertise()
    async with linked(radio):
        room.bluez.fail("Device1.Disconnect", Unanswered())
    await eventually(lambda: not connected(room))
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]


async def test_a_link_that_a_gateway_before_us_left_is_ended(
    room: Room, start_radio: StartRadio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    await cuff.advertise()
    found = await BleakScanner.find_device_by_address(CUFF, PATIENCE_S)
    assert found is not None
    left = BleakClient(found)
    await left.connect()
    assert connected(room)
    radio = start_radio(CUFF)
    await eventually(lambda: not connected(room) and not left.is_connected)
    await left.disconnect()
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]


# ---- connecting ------------------------------------------------------------------------------------------------------


async def test_a_device_that_vanished_is_given_up_in_time(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.3)
    cuff.inject(BleFault.VANISH)
    await cuff.measure(120, 80, 60)
    error = await fails(read_all(radio))
    assert error.fault is LinkFault.NOT_CONNECTED
    await eventually(lambda: not calls._abandoned)
    monkeypatch.setattr(bluetooth, "CONNECT_S", 10.0)
    await cuff.advertise()
    assert len(await read_all(radio)) == 1


async def test_a_connection_that_is_never_answered(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.2)
    room.bluez.fail("Device1.Connect", Unanswered())
    await cuff.measure(120, 80, 60)
    assert (await fails(read_all(radio))).fault is LinkFault.NOT_CONNECTED
    monkeypatch.setattr(bluetooth, "CONNECT_S", 10.0)
    assert len(await read_all(radio)) == 1


async def test_a_connection_that_was_made_and_not_told_is_ended(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.3)
    room.bluez.fail("Device1.Connect", Unanswered(), done=True)
    await cuff.measure(120, 80, 60)
    assert (await fails(read_all(radio))).fault is LinkFault.NOT_CONNECTED
    await eventually(lambda: not connected(room))


async def test_a_connection_that_failed_is_tried_again_by_itself(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    room.bluez.fail("Device1.Connect", BluezError("Failed", "Software caused connection abort"), times=2)
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]
    assert room.bluez.calls.count("Device1.Connect") == 3


async def test_a_link_that_is_lost_before_it_is_taken_over_was_not_connected(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """The device hangs up between bleak's word that it is connected and ours."""
    establish = establish_connection

    clients: list[Any] = []

    async def lose(*arguments: Any, **options: Any) -> Any:
        client = await establish(*arguments, **options)
        clients.append(client)
        await cuff.peripheral.hang_up()
        await eventually(lambda: not client.is_connected)
        return client

    monkeypatch.setattr(bluetooth, "establish_connection", lose)
    await cuff.advertise()
    assert (await fails(read_all(radio))).fault is LinkFault.NOT_CONNECTED
    assert clients[0]._backend._bus is None  # bleak's connection to the bus is given back


async def test_a_session_that_is_cancelled_in_the_moment_of_connecting_leaves_no_link(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    establish = establish_connection
    tasks: list[asyncio.Task[Any]] = []

    async def connect_and_cancel(*arguments: Any, **options: Any) -> Any:
        client = await establish(*arguments, **options)
        tasks[0].cancel()
        return client

    monkeypatch.setattr(bluetooth, "establish_connection", connect_and_cancel)
    await cuff.advertise()
    tasks.append(asyncio.create_task(read_all(radio)))
    await asyncio.wait(tasks, timeout=PATIENCE_S)
    assert tasks[0].cancelled()
    await eventually(lambda: not connected(room) and not calls._abandoned)


@asynccontextmanager
async def cuffs(room: Room, count: int) -> AsyncIterator[list[AndUa651ble]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                AndUa651ble(room.air.radio(f"cuff {n}"), f"C8:1E:8E:00:01:{n:02X}", advertising_interval_ms=20)
            )
            for n in range(count)
        ]


async def test_three_sessions_beside_one_another_and_the_fourth_waits(
    room: Room, start_radio: StartRadio, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    async with cuffs(room, 4) as four:
        radio = start_radio(*(cuff.address for cuff in four))
        release, inside = asyncio.Event(), set()

        async def hold(cuff: AndUa651ble) -> None:
            async with radio.link(cuff.address):
                inside.add(cuff.address)
                await release.wait()

        for cuff in four:
            await cuff.advertise()
        holding = [asyncio.create_task(hold(cuff)) for cuff in four]
        await eventually(lambda: len(inside) == 3)
        (last,) = [cuff for cuff in four if cuff.address not in inside]
        await eventually(lambda: radio._sessions.locked() and len(radio._sessions._waiters or ()) == 1)
        assert last.peripheral.advertising
        release.set()
        await asyncio.wait_for(asyncio.gather(*holding), PATIENCE_S)
        assert len(inside) == 4
        await eventually(lambda: not connected(room))


async def test_one_connects_at_a_time(
    room: Room, start_radio: StartRadio, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    establish, connecting, most = establish_connection, 0, 0

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal connecting, most
        connecting += 1
        most = max(most, connecting)
        try:
            return await establish(*arguments, **options)
        finally:
            connecting -= 1

    monkeypatch.setattr(bluetooth, "establish_connection", counted)
    async with cuffs(room, 3) as three:
        radio = start_radio(*(cuff.address for cuff in three))
        for cuff in three:
            await cuff.measure(120, 80, 60)
        taken = await asyncio.gather(*(read_all(radio, cuff.address) for cuff in three))
        assert [len(records) for records in taken] == [1, 1, 1]
        assert most == 1


async def test_who_was_heard_long_before_its_turn_is_waited_for_anew(
    room: Room, start_radio: StartRadio, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Else an absent device would keep the radio from the others for as long as connecting may take."""
    monkeypatch.setattr(radio_module, "SESSIONS", 1)
    async with cuffs(room, 2) as (here, gone):
        radio = start_radio(here.address, gone.address)
        await here.advertise()
        async with linked(radio, here.address):
            await gone.advertise()
            waiting = asyncio.create_task(read_all(radio, gone.address))
            await eventually(lambda: gone.address in radio._heard_last and gone.address not in radio._expected)
            await gone.peripheral.stop_advertising()
            monkeypatch.setattr(radio_module, "FRESH_S", 0.0)
        await eventually(lambda: gone.address in radio._expected)
        assert not gone.journal
        monkeypatch.setattr(radio_module, "FRESH_S", 10.0)
        record = await gone.measure(120, 80, 60)
        assert await waiting == [record]


# ---- calls that do not end -------------------------------------------------------------------------------------------


async def do(link: GattLink, call: str) -> None:
    if call == "Device1.Pair":
        await link.bond()
    elif call == "GattCharacteristic1.ReadValue":
        await link.read("2A19")
    elif call == "GattCharacteristic1.WriteValue":
        await link.write("2A08", CLOCK)
    else:
        await link.subscribe("2A35")


CALLS = [
    "Device1.Pair",
    "GattCharacteristic1.ReadValue",
    "GattCharacteristic1.WriteValue",
    "GattCharacteristic1.StartNotify",
]


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_is_never_answered_ends(
    room: Room,
    radio: Radio,
    cuff: AndUa651ble,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
    call: str,
) -> None:
    monkeypatch.setattr(gatt, "CALL_S", 0.1)
    monkeypatch.setattr(gatt, "BOND_S", 0.1)
    await cuff.advertise()
    room.bluez.fail(call, Unanswered())
    async with linked(radio) as link:
        error = await fails(do(link, call))
        assert isinstance(error, LinkTimeout)
        assert error.fault is LinkFault.NO_ANSWER
        assert not link.is_gone
    await eventually(lambda: not connected(room))


@pytest.mark.parametrize("call", CALLS)
async def test_a_link_that_is_lost_during_a_call_ends_it(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually, call: str
) -> None:
    await cuff.advertise()
    room.bluez.fail(call, Unanswered())
    async with linked(radio) as link:
        calling = asyncio.create_task(fails(do(link, call)))
        await eventually(lambda: call in room.bluez.calls)
        await cuff.peripheral.hang_up()
        error = await calling
        # Some versions of bluetoothd leave a pairing that the device refuses unanswered, and the link is gone.
        refused = call == "Device1.Pair"
        assert error.fault is (LinkFault.PAIRING_REFUSED if refused else LinkFault.LINK_LOST)
        assert link.is_gone


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_on_a_link_that_is_gone_ends(room: Room, radio: Radio, cuff: AndUa651ble, call: str) -> None:
    await cuff.advertise()
    async with linked(radio) as link:
        await cuff.peripheral.hang_up()
        assert await link.next_value(SILENCE_S) is None
        assert (await fails(do(link, call))).fault is LinkFault.LINK_LOST


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BluezError("Failed", "Operation failed with ATT error: 0x80 (Unknown error code)"), LinkFault.DEVICE_REFUSED),
        (BluezError("Failed", "Operation failed with ATT error: 0xe5"), LinkFault.DEVICE_REFUSED),
        (BluezError("NotPermitted", "Read not permitted"), LinkFault.DEVICE_REFUSED),
        (BluezError("NotSupported", "Operation is not supported"), LinkFault.DEVICE_REFUSED),
        (BluezError("NotAuthorized", "Operation Not Authorized"), LinkFault.DEVICE_REFUSED),
        (BluezError("InvalidArguments", "Invalid Length"), LinkFault.DEVICE_REFUSED),
        (BluezError("NotPermitted", "Not paired"), LinkFault.PAIRING_REFUSED),
        (BluezError("Failed", "Not connected"), LinkFault.LINK_LOST),
        (BluezError("NotConnected", "Not Connected"), LinkFault.LINK_LOST),
        (BluezError("org.freedesktop.DBus.Error.UnknownObject", "gone"), LinkFault.LINK_LOST),
    ],
)
async def test_what_a_call_fails_with_is_told_apart(
    room: Room, radio: Radio, cuff: AndUa651ble, error: BluezError, expected: LinkFault
) -> None:
    await cuff.advertise()
    async with linked(radio) as link:
        room.bluez.fail("GattCharacteristic1.ReadValue", error)
        told = await fails(link.read("2A19"))
        assert told.fault is expected
        assert isinstance(told, DeviceRefused) is (expected is not LinkFault.LINK_LOST)
        assert await link.read("2A19") == b"\x64"  # the link stands


async def test_a_device_that_refuses_a_setting(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    cuff.inject(BleFault.CLOCK_WRITE_ERROR)
    record = await cuff.measure(120, 80, 60)
    async with linked(radio) as link:
        await link.bond()
        error = await fails(link.write("2A08", CLOCK))
        assert isinstance(error, DeviceRefused)
        assert "0x80" in str(error)
        await link.subscribe("2A35")
        value = await link.next_value(SILENCE_S)
        assert value is not None
        assert value.data == record


async def test_the_last_error_before_the_link_is_lost_is_its_loss(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    """bluetoothd answers 0x0e, Unlikely Error, and tells of the loss a moment later."""
    await cuff.advertise()
    unlikely = BluezError("Failed", "Operation failed with ATT error: 0x0e")
    room.bluez.fail("GattCharacteristic1.ReadValue", unlikely)
    async with linked(radio) as link:
        reading = asyncio.create_task(fails(link.read("2A19")))
        await eventually(lambda: "GattCharacteristic1.ReadValue" in room.bluez.calls)
        await cuff.peripheral.hang_up()
        assert (await reading).fault is LinkFault.LINK_LOST


async def test_what_the_device_does_not_have(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    await cuff.advertise()
    async with linked(radio) as link:
        for work in (link.read("2A1C"), link.write("2A1C", b""), link.subscribe("2A1C")):
            assert (await fails(work)).fault is LinkFault.NOT_THIS_MODEL


# ---- bonds -----------------------------------------------------------------------------------------------------------


async def test_a_pairing_that_the_device_refuses(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    cuff.inject(BleFault.REFUSE_PAIRING)
    await cuff.measure(120, 80, 60)
    error = await fails(read_all(radio))
    assert isinstance(error, LinkLost | DeviceRefused)
    assert error.fault in (LinkFault.PAIRING_REFUSED, LinkFault.LINK_LOST)
    await eventually(lambda: not connected(room))
    await cuff.advertise()
    assert len(await read_all(radio)) == 1


@pytest.mark.parametrize("how", ["Failed", "Rejected", "Canceled", "Timeout"])
async def test_a_pairing_that_comes_to_nothing_needs_a_person(
    room: Room, radio: Radio, cuff: AndUa651ble, how: str
) -> None:
    room.bluez.fail("Device1.Pair", BluezError(f"Authentication{how}", "Authentication Failed"))
    await cuff.advertise()
    async with linked(radio) as link:
        error = await fails(link.bond())
        assert isinstance(error, DeviceRefused)
        assert error.fault is LinkFault.PAIRING_REFUSED


async def test_a_device_that_is_bonded_by_now_is_bonded(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    """It asked for the bonding itself, faster than we did."""
    await cuff.measure(120, 80, 60)
    room.bluez.fail("Device1.Pair", BluezError("AlreadyExists", "Already Exists"))
    assert len(await read_all(radio)) == 1


async def test_a_bonding_that_the_device_began_is_waited_for(room: Room, radio: Radio, cuff: AndUa651ble) -> None:
    await cuff.measure(120, 80, 60)
    room.bluez.fail("Device1.Pair", BluezError("InProgress", "Operation already in progress"), times=2)
    assert len(await read_all(radio)) == 1
    assert room.bluez.calls.count("Device1.Pair") == 3


async def test_a_lost_bond_is_told_when_it_shows_often_enough(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cuff.measure(120, 80, 60)
    assert len(await read_all(radio)) == 1
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.3)
    cuff.inject(BleFault.LOSE_BOND)
    record = await cuff.measure(121, 80, 60)
    faults = []
    for _ in range(radio_module.BOND_LOST_AFTER + 1):
        faults.append((await fails(read_all(radio))).fault)
        await cuff.advertise()
    assert faults == [LinkFault.NOT_CONNECTED] * (radio_module.BOND_LOST_AFTER - 1) + [LinkFault.BOND_LOST] * 2
    monkeypatch.setattr(bluetooth, "CONNECT_S", 10.0)
    await room.bluez._adapter.remove_device(f"/org/bluez/hci0/dev_{CUFF.replace(':', '_')}")
    await cuff.pairing_mode()
    assert await read_all(radio) == [record]
    assert not radio._failures


async def test_a_device_that_was_never_bonded_has_lost_no_bond(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.2)
    room.bluez.fail("Device1.Connect", Unanswered(), times=9)
    await cuff.advertise()
    for _ in range(radio_module.BOND_LOST_AFTER + 1):
        assert (await fails(read_all(radio))).fault is LinkFault.NOT_CONNECTED


# ---- values ----------------------------------------------------------------------------------------------------------


async def test_no_value_is_lost_when_its_waiter_is_cancelled_in_the_moment_of_its_arrival(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await cuff.measure(120, 80, 60)
    async with linked(radio) as link:
        await link.bond()
        waiting = asyncio.create_task(link.next_value(SILENCE_S))
        arrive = link._arrived.set

        def arrive_and_cancel() -> None:
            arrive()
            waiting.cancel()

        monkeypatch.setattr(link._arrived, "set", arrive_and_cancel)
        await link.subscribe("2A35")
        await asyncio.wait([waiting], timeout=PATIENCE_S)
        assert waiting.cancelled()
        assert [value.data for value in link.take_values()] == [record]
        assert link.take_values() == []


async def test_what_came_before_the_link_was_lost_is_answered_after_it(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    records = [await cuff.measure(120 + n, 80, 60) for n in range(5)]
    async with linked(radio) as link:
        await link.bond()
        await link.subscribe("2A35")
        await eventually(lambda: link.is_gone)
        taken = [await link.next_value(SILENCE_S) for _ in range(6)]
        assert [value and value.data for value in taken] == [*records, None]


def measurement_path(room: Room) -> str:
    """Where bluetoothd shows the cuff's 2A35."""
    shown = room.bluez._tree.managed
    (path,) = [
        path
        for path, interfaces in shown.items()
        if CHARACTERISTIC in interfaces and interfaces[CHARACTERISTIC]["UUID"].value.startswith("00002a35")
    ]
    return path


async def test_what_comes_until_the_link_is_closed_can_still_be_taken(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    """bluetoothd has confirmed it: the device has forgotten it."""
    cuff.peripheral.on_subscribed = None  # it does not hang up by itself
    await cuff.advertise()
    handlers = room.bluez._calls._handlers
    disconnect = handlers[DEVICE, "Disconnect"]

    async def send_and_disconnect(message: Message) -> Any:
        (device,) = room.bluez._adapter._devices.values()
        device.gatt._tell(measurement_path(room), b"late")
        return await disconnect(message)

    handlers[DEVICE, "Disconnect"] = send_and_disconnect
    async with linked(radio) as link:
        await link.bond()
        await link.subscribe("2A35")
        assert await link.next_value(0.05) is None
        await link.close()
        assert [value.data for value in link.take_values()] == [b"late"]


async def test_a_device_that_floods_is_given_up_and_what_fits_is_answered(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(gatt, "VALUES_LIMIT", 10)
    cuff.peripheral.on_subscribed = None
    await cuff.advertise()
    async with linked(radio) as link:
        await link.bond()
        await link.subscribe("2A35")
        (device,) = room.bluez._adapter._devices.values()
        for number in range(20):
            device.gatt._tell(measurement_path(room), bytes([number]))
        await eventually(lambda: link.is_gone)
        values = [await link.next_value(SILENCE_S) for _ in range(11)]
        assert [value and value.data for value in values] == [*(bytes([n]) for n in range(10)), None]
        assert link.thrown_away == 10
    await eventually(lambda: not connected(room))


# ---- daemon, adapter, scanner ----------------------------------------------------------------------------------------


async def lose_daemon(room: Room) -> None:
    await room.bluez.die()


async def lose_power(room: Room) -> None:
    await room.bluez.power(on=False)


async def lose_adapter(room: Room) -> None:
    await room.bluez.unplug()


async def regain(room: Room) -> None:
    await room.bluez.start()
    room.bluez.plug()
    await room.bluez.power(on=True)


LOSSES = [
    (lose_daemon, LinkFault.NO_BLUETOOTH),
    (lose_power, LinkFault.ADAPTER_OFF),
    (lose_adapter, LinkFault.NO_ADAPTER),
]
Lose = Callable[[Room], Awaitable[None]]


@pytest.mark.parametrize(("lose", "expected"), LOSSES)
async def test_what_is_gone_is_shown_and_healed_when_it_is_back(
    room: Room, start_radio: StartRadio, cuff: AndUa651ble, eventually: Eventually, lose: Lose, expected: LinkFault
) -> None:
    told: list[LinkFault | None] = []
    shown: Radio = start_radio(CUFF, on_change=lambda: told.append(fault(shown)))
    await eventually(lambda: shown.listens)
    told.clear()
    await lose(room)
    await eventually(lambda: fault(shown) is expected)
    await regain(room)
    await eventually(lambda: shown.trouble is None and room.bluez.discovering)
    assert told[0] is expected
    assert told[-1] is None
    record = await cuff.measure(120, 80, 60)
    assert await read_all(shown) == [record]


@pytest.mark.parametrize(("lose", "expected"), LOSSES)
async def test_what_is_gone_in_the_moment_in_which_the_scan_has_started_is_shown(
    room: Room,
    start_radio: StartRadio,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
    lose: Lose,
    expected: LinkFault,
) -> None:
    start, to_lose = BleakScanner.start, [lose]

    async def start_and_lose(self: BleakScanner) -> None:
        await start(self)
        if to_lose:
            await to_lose.pop()(room)
            await eventually(lambda: fault(shown) is expected)

    monkeypatch.setattr(BleakScanner, "start", start_and_lose)
    told: list[LinkFault | None] = []
    shown: Radio = start_radio(CUFF, on_change=lambda: told.append(fault(shown)))
    await eventually(lambda: shown._heard_at)
    assert fault(shown) is expected
    await regain(room)
    await eventually(lambda: shown.trouble is None and room.bluez.discovering)
    assert told[-1] is None


@pytest.mark.parametrize("lose", [lose for lose, _ in LOSSES])
async def test_what_is_gone_for_a_moment_is_scanned_with_again(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually, lose: Lose
) -> None:
    await lose(room)
    await regain(room)
    await eventually(lambda: room.bluez.discovering and radio.trouble is None)
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]


@pytest.mark.parametrize(("lose", "expected"), LOSSES)
async def test_a_session_ends_with_what_carried_it(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually, lose: Lose, expected: LinkFault
) -> None:
    await cuff.advertise()
    async with linked(radio) as link:
        waiting = asyncio.create_task(link.next_value(600.0))
        await lose(room)
        async with asyncio.timeout(PATIENCE_S):
            assert await waiting is None
        assert link.is_gone
        assert (await fails(link.read("2A19"))).fault is LinkFault.LINK_LOST
    await regain(room)
    await eventually(lambda: room.bluez.discovering)
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]


@pytest.mark.parametrize(("lose", "expected"), LOSSES)
async def test_a_connection_that_was_being_made_ends_with_what_carries_it(
    room: Room,
    radio: Radio,
    cuff: AndUa651ble,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
    lose: Lose,
    expected: LinkFault,
) -> None:
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.4)
    room.bluez.fail("Device1.Connect", Unanswered(), times=9)
    await cuff.advertise()
    reading = asyncio.create_task(fails(read_all(radio)))
    await eventually(lambda: "Device1.Connect" in room.bluez.calls)
    await lose(room)
    assert (await reading).fault is expected
    assert not radio._failures  # no fault of the device


async def test_there_is_no_bus_and_then_there_is_one(
    start_radio: StartRadio, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Room()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", later.environment["DBUS_SYSTEM_BUS_ADDRESS"])
    radio = start_radio(CUFF)
    await eventually(lambda: fault(radio) is LinkFault.NO_BLUETOOTH)
    async with later:
        await eventually(lambda: radio.trouble is None and later.bluez.discovering)
        async with AndUa651ble(later.air.radio("cuff"), CUFF, advertising_interval_ms=20) as cuff:
            record = await cuff.measure(120, 80, 60)
            assert await read_all(radio) == [record]
    await eventually(lambda: fault(radio) is LinkFault.NO_BLUETOOTH)


@pytest.mark.parametrize(
    ("failure", "done"),
    [
        (BluezError("InProgress", "Operation already in progress"), False),
        (BluezError("NotReady", "Resource Not Ready"), False),
        (Unanswered(), False),
        (Unanswered(), True),  # done, and never said: bluetoothd answers InProgress to the next one
    ],
    ids=["in progress", "not ready", "unanswered", "done and unanswered"],
)
async def test_a_scan_that_does_not_start_is_started_again(
    room: Room,
    start_radio: StartRadio,
    cuff: AndUa651ble,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
    failure: BluezError | Unanswered,
    done: bool,
) -> None:
    monkeypatch.setattr(bluetooth, "SCANNER_S", 0.2)
    room.bluez.fail("Adapter1.StartDiscovery", failure, done=done)
    radio = start_radio(CUFF)
    await eventually(lambda: fault(radio) is LinkFault.SCAN_FAILED)
    await eventually(lambda: radio.trouble is None)
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]


async def test_an_adapter_that_forgot_that_it_scans_is_told_again(
    room: Room, radio: Radio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(radio_module, "NOT_DISCOVERING_S", 0.1)
    room.bluez._adapter._discovering.clear()
    room.bluez._tree.change("/org/bluez/hci0", ADAPTER, Discovering=Variant("b", False))
    await eventually(lambda: room.bluez.discovering)
    record = await cuff.measure(120, 80, 60)
    assert await read_all(radio) == [record]


@pytest.mark.parametrize("when", ["scanning", "starting"])
async def test_it_stops_scanning_when_it_is_stopped(room: Room, eventually: Eventually, when: str) -> None:
    radio = Radio((CUFF,), lambda: None)
    if when == "starting":
        room.bluez.fail("Adapter1.StartDiscovery", Unanswered(), done=True)
    running = asyncio.create_task(radio.run())
    await eventually(lambda: room.bluez.discovering and (radio._heard_at or when == "starting"))
    running.cancel()
    await asyncio.wait([running], timeout=PATIENCE_S)
    assert running.cancelled()
    await eventually(lambda: not room.bluez.discovering)


# ---- a deaf radio ----------------------------------------------------------------------------------------------------


async def test_a_radio_that_hears_nobody_is_started_anew_then_with_power_each_after_twice_the_silence(
    room: Room, start_radio: StartRadio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(radio_module, "DEAF_AFTER_S", 0.1)
    patience: list[float] = []
    heal = Radio._heal

    async def watched(self: Radio) -> None:
        patience.append(time.monotonic() - self._heard_at)
        await heal(self)

    monkeypatch.setattr(Radio, "_heal", watched)
    told: list[LinkFault | None] = []
    shown: Radio = start_radio(CUFF, on_change=lambda: told.append(fault(shown)))
    await eventually(lambda: len(patience) == 1)
    assert fault(shown) is LinkFault.RADIO_DEAF
    assert "Properties.Set" not in room.bluez.calls
    await eventually(lambda: room.bluez.calls.count("Adapter1.StartDiscovery") == 2)
    assert fault(shown) is LinkFault.RADIO_DEAF  # scanning is not hearing
    await eventually(lambda: room.bluez.calls.count("Properties.Set") == 2)
    await eventually(lambda: room.bluez.calls.count("Adapter1.StartDiscovery") == 3)
    await eventually(lambda: fault(shown) is LinkFault.RADIO_DEAF)  # not: switched off
    await eventually(lambda: len(patience) == 3)
    assert all(waited >= 0.1 * 2**n for n, waited in enumerate(patience))
    assert told[1:].count(None) == 0  # the first one: it listens
    record = await cuff.measure(120, 80, 60)
    assert await read_all(shown) == [record]
    assert shown.trouble is None
    assert shown._silent_starts == 0


async def test_stopping_in_the_midst_of_healing_leaves_the_adapter_switched_on(
    room: Room, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(radio_module, "DEAF_AFTER_S", 0.02)
    monkeypatch.setattr(bluez_module, "POWER_OFF_S", 60.0)
    radio = Radio((CUFF,), lambda: None)
    running = asyncio.create_task(radio.run())
    await eventually(lambda: fault(radio) is LinkFault.ADAPTER_OFF)
    running.cancel()
    await asyncio.wait([running], timeout=PATIENCE_S)
    assert running.cancelled()
    room.bluez._adapter.require_power()


async def test_after_ever_so_many_silences_it_still_tries(
    room: Room, start_radio: StartRadio, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(radio_module, "DEAF_AFTER_S", 0.05)
    monkeypatch.setattr(radio_module, "DEAF_CAP_S", 0.05)
    radio = start_radio(CUFF)
    radio._silent_starts = 2000  # 83 days at one an hour
    await eventually(lambda: radio._silent_starts > 2002)


async def test_who_is_connected_is_heard(
    room: Room, start_radio: StartRadio, cuff: AndUa651ble, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """No adapter is switched off under a session, nor right after it."""
    monkeypatch.setattr(radio_module, "DEAF_AFTER_S", 0.3)
    radio = start_radio(CUFF)
    await cuff.advertise()
    async with linked(radio) as link:
        assert await link.next_value(0.5) is None
        heard_at = radio._heard_at
        assert time.monotonic() - heard_at < 0.3
    assert radio._silent_starts == 0


# ---- nothing stays behind --------------------------------------------------------------------------------------------


async def test_ten_sessions_leave_nothing_behind(
    room: Room, radio: Radio, cuff: AndUa651ble, eventually: Eventually
) -> None:
    async def session() -> None:
        record = await cuff.measure(120, 80, 60)
        assert await read_all(radio) == [record]
        await eventually(lambda: not connected(room) and not calls._abandoned)

    def held() -> tuple[int, int, int]:
        manager = bleak_manager._global_instances[asyncio.get_running_loop()]
        watchers = sum(len(some) for some in manager._device_watchers.values())
        return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), watchers  # noqa: PTH208

    await session()
    before = held()
    for _ in range(10):
        await session()
    await eventually(lambda: held() <= before)


async def test_nothing_that_a_device_says_is_logged(
    room: Room, radio: Radio, cuff: AndUa651ble, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("drivers", "gateway"):
        caplog.set_level(logging.DEBUG, name)
    record = await cuff.measure(128, 82, 66)
    taken = await read_all(radio)
    assert taken == [record]
    ours = " ".join(r.getMessage() for r in caplog.records if r.name.startswith(("drivers", "gateway")))
    assert record.hex() not in ours
    assert CUFF not in ours
