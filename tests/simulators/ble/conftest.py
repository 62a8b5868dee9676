"""A simulated room, and a reader that is plain bleak: its own BlueZ backend, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.bluezdbus import manager as bleak_manager
from bleak.backends.device import BLEDevice
from bleak.exc import BleakBluetoothNotAvailableError
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from simulators.ble.and_device import AndDevice
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ports.room import Room

PATIENCE_S = 10.0


class Reader:
    """What a gateway does with one device, without a gateway's patience."""

    def __init__(self) -> None:
        self.indications: asyncio.Queue[bytes] = asyncio.Queue()
        self.hung_up = asyncio.Event()

    async def find(self, device: AndDevice) -> BLEDevice:
        found = await BleakScanner.find_device_by_address(device.address, PATIENCE_S)
        assert found is not None, "not seen"
        return found

    def client(self, found: BLEDevice, **options: Any) -> BleakClient:
        options = {"timeout": PATIENCE_S, **options}
        return BleakClient(found, disconnected_callback=lambda _client: self.hung_up.set(), **options)

    async def hears_of_adapter(self, *, there: bool) -> None:
        """Wait until bleak has heard that there is an adapter with power, or none."""
        manager = await bleak_manager.get_global_bluez_manager()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    manager.get_default_adapter()
                    heard = True
                except BleakBluetoothNotAvailableError:
                    heard = False
                if heard is there:
                    return
                await asyncio.sleep(0.005)

    async def subscribe(self, client: BleakClient, device: AndDevice) -> None:
        await client.start_notify(self.measurement(device), lambda _sender, value: self._take(value))

    async def read(self, device: AndDevice, found: BLEDevice | None = None, **options: Any) -> list[bytes]:
        """Find it, connect, turn on indications, and wait until it hangs up."""
        self.hung_up.clear()
        async with self.client(found or await self.find(device), **options) as client:
            await self.subscribe(client, device)
            async with asyncio.timeout(PATIENCE_S):
                await self.hung_up.wait()
        return self.taken()

    def taken(self) -> list[bytes]:
        return [self.indications.get_nowait() for _ in range(self.indications.qsize())]

    @staticmethod
    def measurement(device: AndDevice) -> str:
        return f"0000{device.model.measurement:04x}-0000-1000-8000-00805f9b34fb"

    def _take(self, value: bytearray) -> None:
        self.indications.put_nowait(bytes(value))


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait until what another process does has happened."""

    async def wait(happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():  # noqa: ASYNC110 - there is no event for what another process does
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
async def bare_room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A room in which nobody has registered a pairing agent."""
    async with Room() as room:
        for name, value in room.environment.items():
            monkeypatch.setenv(name, value)
        yield room
        await _close_bleak()


@pytest.fixture
async def room(bare_room: Room) -> AsyncIterator[Room]:
    """A room with a NoInputNoOutput agent that agrees to everything."""
    async with AsyncExitStack() as stack:
        await register_agent(bare_room, stack)
        yield bare_room


@pytest.fixture
def agent() -> Callable[[Room, AsyncExitStack], Awaitable[None]]:
    return register_agent


@pytest.fixture
def close_bleak() -> Callable[[], Awaitable[None]]:
    return _close_bleak


@pytest.fixture
async def cuff(bare_room: Room) -> AsyncIterator[AndUa651ble]:
    async with AndUa651ble(bare_room.air.radio("cuff"), "C8:1E:8E:00:00:01", advertising_interval_ms=20) as cuff:
        yield cuff


async def register_agent(room: Room, stack: AsyncExitStack) -> None:
    bus = await MessageBus(bus_address=room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()
    stack.push_async_callback(_close, bus)

    def agree(message: Message) -> Message | None:
        if message.message_type is MessageType.METHOD_CALL and message.interface == "org.bluez.Agent1":
            return Message.new_method_return(message)
        return None

    bus.add_message_handler(agree)
    for member, signature, body in (
        ("RegisterAgent", "os", ["/agent", "NoInputNoOutput"]),
        ("RequestDefaultAgent", "o", ["/agent"]),
    ):
        call = Message("org.bluez", "/org/bluez", "org.bluez.AgentManager1", member, signature=signature, body=body)
        reply = await bus.call(call)
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body


async def _close(bus: MessageBus) -> None:
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def _close_bleak() -> None:
    # bleak keeps one connection to the bus for a loop's whole life, and offers no way to end it.
    manager = bleak_manager._global_instances.pop(asyncio.get_running_loop(), None)
    if manager is not None and manager._bus is not None:
        if manager._bus.connected:
            await _close(manager._bus)
        if manager._bus_watcher_task is not None:
            await asyncio.wait({manager._bus_watcher_task})
