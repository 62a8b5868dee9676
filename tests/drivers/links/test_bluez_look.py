"""A look at bluetoothd from beside the service: what it shows, nothing changed, and an end where it does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from drivers.errors import LinkFault, LinkLost
from drivers.links import bluez_look
from drivers.links.bluez import Bluez
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ports.bluez_objects import Unanswered
from simulators.ports.room import Room

CUFF = "C8:1E:8E:00:00:01"


async def test_it_shows_adapters_and_their_power(room: Room) -> None:
    assert await bluez_look.look(10.0) == bluez_look.Bluetooth({"hci0": True}, {})
    await room.bluez.power(on=False)
    assert await bluez_look.look(10.0) == bluez_look.Bluetooth({"hci0": False}, {})


async def test_the_agent_of_the_service_stays(
    room: Room, start_bluez: Callable[..., Bluez], eventually: Callable[..., Awaitable[None]]
) -> None:
    service = start_bluez(CUFF)
    await eventually(lambda: service.adapter is not None)
    epoch = service.epoch
    registered = room.bluez.calls.count("AgentManager1.RegisterAgent")
    await bluez_look.look(10.0)
    assert room.bluez.calls.count("AgentManager1.RegisterAgent") == registered
    assert (service.epoch, service.trouble) == (epoch, None)


async def test_a_daemon_that_hangs_or_is_not_there(room: Room) -> None:
    room.bluez.fail("ObjectManager.GetManagedObjects", Unanswered())
    with pytest.raises(LinkLost, match="does not answer within") as caught:
        await bluez_look.look(0.2)
    assert caught.value.fault is LinkFault.NO_BLUETOOTH
    await room.bluez.die()
    with pytest.raises(LinkLost, match="no bluetoothd answers on the system bus"):
        await bluez_look.look(10.0)


async def test_no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/to/be/found")
    with pytest.raises(LinkLost, match="no system bus answers"):
        await bluez_look.look(10.0)


async def test_a_device_without_a_bond_is_shown_as_such(room: Room, cuff: AndUa651ble) -> None:
    assert CUFF not in (await bluez_look.look(10.0)).bonded
