"""One look at bluetoothd and its adapters, without an agent and without a change: beside a service that runs.

Radio and agent are the service's (bluez.py). Source: bluez doc/org.bluez.Adapter.rst, org.bluez.Device.rst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbus_fast import BusType, Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from drivers.errors import LinkFault, LinkLost

_ADAPTER, _DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"


@dataclass(frozen=True, slots=True)
class Bluetooth:
    """What bluetoothd shows: its adapters, whether each has power; devices by address, whether each is bonded."""

    powered: Mapping[str, bool]
    bonded: Mapping[str, bool]


async def look(limit_s: float) -> Bluetooth:
    """Ask bluetoothd for all it has. Raises LinkLost where there is none, or it does not answer in time."""
    try:
        async with asyncio.timeout(limit_s):
            bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            try:
                objects = await _objects(bus)
            finally:
                bus.disconnect()
    except TimeoutError:
        raise LinkLost(LinkFault.NO_BLUETOOTH, f"bluetoothd does not answer within {limit_s:g} s") from None
    except (OSError, EOFError, DBusFastError) as error:
        raise LinkLost(LinkFault.NO_BLUETOOTH, "no system bus answers: systemctl status dbus") from error
    powered: dict[str, bool] = {}
    bonded: dict[str, bool] = {}
    for path, interfaces in objects.items():
        if (adapter := interfaces.get(_ADAPTER)) is not None:
            powered[path.rpartition("/")[2]] = bool(adapter["Powered"].value)
        if (device := interfaces.get(_DEVICE)) is not None and "Address" in device:
            address = str(device["Address"].value).upper()
            bonded[address] = bonded.get(address, False) or _is(device, "Bonded") or _is(device, "Paired")
    return Bluetooth(powered, bonded)


async def _objects(bus: MessageBus) -> dict[str, dict[str, Any]]:
    objects_of = "org.freedesktop.DBus.ObjectManager"
    message = Message("org.bluez", "/", objects_of, "GetManagedObjects", flags=MessageFlag.NO_AUTOSTART)
    reply = await bus.call(message)
    if reply is None or reply.message_type is MessageType.ERROR:
        name = None if reply is None else reply.error_name
        raise LinkLost(LinkFault.NO_BLUETOOTH, f"no bluetoothd answers on the system bus ({name})")
    objects: dict[str, dict[str, Any]] = reply.body[0]
    return objects


def _is(device: Mapping[str, Any], name: str) -> bool:
    return name in device and bool(device[name].value)
