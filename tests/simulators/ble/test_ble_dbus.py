"""What the stand-in for bluetoothd says and asks on the bus, as a plain D-Bus client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from bleak.exc import BleakDBusError
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.faults import BleFault
from simulators.ports.room import Room

PATIENCE_S = 10.0
SHORT_S = 0.5  # how long nothing is waited for
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
HCI0 = "/org/bluez/hci0"
CUFF = f"{HCI0}/dev_C8_1E_8E_00_00_01"
AGENT_MANAGER = "org.bluez.AgentManager1"
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


class Client:
    """`signals`: member, path and body of all that was told. `asked`: what its agent was asked, with its body."""

    def __init__(self, bus: MessageBus) -> None:
        self.signals: list[tuple[str | None, str | None, list[Any]]] = []
        self.asked: list[tuple[str | None, list[Any]]] = []
        self.answer_with: str | None = None  # an error, in place of consent
        self._bus = bus
        bus.add_message_handler(self._on_message)

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Message:
        call = Message("org.bluez", path, interface, member, signature=signature, body=list(body))
        reply = await self._bus.call(call)
        assert reply is not None
        return reply

    async def does(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> list[Any]:
        reply = await self.call(path, interface, member, signature, *body)
        assert reply.message_type is MessageType.METHOD_RETURN, (reply.error_name, reply.body)
        return reply.body

    async def agent(self, member: str, path: str = "/agent") -> str | None:
        """The error, if it was one."""
        rest = ("os", path, "NoInputNoOutput") if member == "RegisterAgent" else ("o", path)
        return (await self.call("/org/bluez", AGENT_MANAGER, member, *rest)).error_name

    async def get(self, path: str, interface: str, name: str) -> Any:
        (value,) = await self.does(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)
        return value.value

    async def power(self, on: bool) -> None:
        await self.does(HCI0, "org.freedesktop.DBus.Properties", "Set", "ssv", ADAPTER, "Powered", Variant("b", on))

    async def discover(self, *, start: bool = True) -> None:
        await self.does(HCI0, ADAPTER, "StartDiscovery" if start else "StopDiscovery")

    def told(self, name: str, path: str = HCI0) -> list[Any]:
        """The values that a property took, as they were told."""
        changes = [body[1] for member, where, body in self.signals if (member, where) == ("PropertiesChanged", path)]
        return [changed[name].value for changed in changes if name in changed]

    def of(self, member: str) -> list[str]:
        """What `InterfacesAdded` or `InterfacesRemoved` named."""
        return [body[0] for signal, _, body in self.signals if signal == member]

    def owners(self) -> list[bool]:
        """Whether org.bluez had an owner, after each change."""
        changes = [body for member, _, body in self.signals if member == "NameOwnerChanged"]
        return [bool(new) for name, _, new in changes if name == "org.bluez"]

    def _on_message(self, message: Message) -> Message | None:
        if message.message_type is MessageType.SIGNAL:
            self.signals.append((message.member, message.path, message.body))
        if message.message_type is MessageType.METHOD_CALL and message.interface == "org.bluez.Agent1":
            self.asked.append((message.member, message.body))
            if self.answer_with is not None:
                return Message.new_error(message, self.answer_with, "Rejected")
            return Message.new_method_return(message)
        return None


Clients = Callable[[], Awaitable[Client]]


@pytest.fixture
async def clients(bare_room: Room) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:

        async def connect() -> Client:
            bus = await MessageBus(bus_address=bare_room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()
            stack.push_async_callback(_close, bus)
            client = Client(bus)
            dbus = "org.freedesktop.DBus"
            for rule in ("type='signal',sender='org.bluez'", f"type='signal',sender='{dbus}',arg0='org.bluez'"):
                await bus.call(Message(dbus, "/org/freedesktop/DBus", dbus, "AddMatch", signature="s", body=[rule]))
            return client

        yield connect


@pytest.fixture
async def client(clients: Clients) -> Client:
    return await clients()


async def _close(bus: MessageBus) -> None:
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def test_the_default_agent_is_asked_when_a_subscription_makes_it_bond(
    bare_room: Room, cuff: AndUa651ble, reader: Any, clients: Clients
) -> None:
    first, second = await clients(), await clients()
    assert await first.agent("RegisterAgent") is None
    assert await second.agent("RegisterAgent") is None
    record = await cuff.measure(120, 80, 60)
    assert await reader.read(cuff) == [record]
    assert (first.asked, second.asked) == ([("RequestAuthorization", [CUFF])], [])
    await second.does(HCI0, ADAPTER, "RemoveDevice", "o", CUFF)
    cuff.peripheral.forget_bond()
    assert await second.agent("RequestDefaultAgent") is None
    record = await cuff.measure(121, 80, 60)
    assert await reader.read(cuff) == [record]
    assert (len(first.asked), second.asked) == (1, [("RequestAuthorization", [CUFF])])


async def test_the_next_agent_is_the_default_when_the_first_has_left(
    bare_room: Room, cuff: AndUa651ble, reader: Any, clients: Clients
) -> None:
    first, second = await clients(), await clients()
    await first.agent("RegisterAgent")
    await second.agent("RegisterAgent")
    assert await first.agent("UnregisterAgent") is None
    await cuff.measure(120, 80, 60)
    assert len(await reader.read(cuff)) == 1
    assert (first.asked, len(second.asked)) == ([], 1)


async def test_an_agent_that_rejects_refuses_the_pairing(
    bare_room: Room, cuff: AndUa651ble, reader: Any, client: Client
) -> None:
    await client.agent("RegisterAgent")
    client.answer_with = "org.bluez.Error.Rejected"
    record = await cuff.measure(120, 80, 60)
    connected = reader.client(await reader.find(cuff))
    await connected.connect()
    subscribing = asyncio.create_task(reader.subscribe(connected, cuff))
    await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subscribing, SHORT_S)
    await connected.disconnect()
    assert client.asked == [("RequestAuthorization", [CUFF])]
    assert not cuff.peripheral.bonded
    client.answer_with = None
    await cuff.advertise()
    assert await reader.read(cuff) == [record]


async def test_pair_needs_an_agent_and_asks_none(
    bare_room: Room, cuff: AndUa651ble, reader: Any, client: Client
) -> None:
    record = await cuff.measure(120, 80, 60)
    found = await reader.find(cuff)
    with pytest.raises(BleakDBusError, match="AuthenticationFailed"):
        await reader.client(found, pair=True).connect()
    await client.agent("RegisterAgent")
    client.answer_with = "org.bluez.Error.Rejected"
    await cuff.advertise()
    assert await reader.read(cuff, pair=True) == [record]
    assert client.asked == []


async def test_agents_are_their_clients_own(bare_room: Room, client: Client) -> None:
    gone = "org.bluez.Error.DoesNotExist"
    assert await client.agent("RequestDefaultAgent") == gone
    assert await client.agent("UnregisterAgent") == gone
    assert await client.agent("RegisterAgent") is None
    assert await client.agent("RegisterAgent") == "org.bluez.Error.AlreadyExists"
    assert await client.agent("RequestDefaultAgent", "/another") == gone
    assert await client.agent("UnregisterAgent", "/another") == gone
    assert await client.agent("UnregisterAgent") is None
    assert await client.agent("RegisterAgent") is None
    await bare_room.bluez.die()
    await bare_room.bluez.start()
    assert await client.agent("RequestDefaultAgent") == gone


async def test_it_is_told_that_the_daemon_died_and_returned(
    bare_room: Room, client: Client, eventually: Eventually
) -> None:
    await bare_room.bluez.die()
    await eventually(lambda: client.owners() == [False])
    await bare_room.bluez.start()
    await eventually(lambda: client.owners() == [False, True])
    assert await client.get(HCI0, ADAPTER, "Discovering") is False


async def test_an_adapter_pulled_out_and_put_in_is_told(
    bare_room: Room, cuff: AndUa651ble, client: Client, eventually: Eventually
) -> None:
    await client.discover()
    await cuff.measure(120, 80, 60)
    await eventually(lambda: CUFF in client.of("InterfacesAdded"))
    await bare_room.bluez.unplug()
    await eventually(lambda: client.of("InterfacesRemoved") == [CUFF, HCI0])
    reply = await client.call(HCI0, ADAPTER, "StartDiscovery")
    assert reply.error_name == "org.freedesktop.DBus.Error.UnknownObject"
    bare_room.bluez.plug()
    await eventually(lambda: HCI0 in client.of("InterfacesAdded"))
    assert await client.get(HCI0, ADAPTER, "Discovering") is False


async def test_a_power_cycle_by_a_client_ends_discovery_for_good(
    bare_room: Room, cuff: AndUa651ble, client: Client, eventually: Eventually
) -> None:
    await client.discover()
    await cuff.measure(120, 80, 60)
    await eventually(lambda: bool(client.told("RSSI", CUFF)))
    await client.power(False)
    assert client.told("Discovering") == [True, False]
    assert client.told("Powered") == [False]
    assert client.of("InterfacesRemoved") == [CUFF]  # not bonded
    assert (await client.call(HCI0, ADAPTER, "StartDiscovery")).error_name == "org.bluez.Error.NotReady"
    await client.power(True)
    assert client.told("Powered") == [False, True]
    assert not await client.get(HCI0, ADAPTER, "Discovering")
    assert not bare_room.bluez.discovering
    await client.discover()
    await cuff.advertise()
    await eventually(lambda: client.of("InterfacesAdded") == [CUFF, CUFF])


@pytest.mark.parametrize("until", ["restart", "power"])
async def test_a_deaf_adapter_hears_again_after_its_cure(
    bare_room: Room, cuff: AndUa651ble, client: Client, eventually: Eventually, until: Any
) -> None:
    async def is_heard() -> None:
        heard = len(client.told("RSSI", CUFF)) + len(client.of("InterfacesAdded"))
        await eventually(lambda: len(client.told("RSSI", CUFF)) + len(client.of("InterfacesAdded")) > heard)

    await client.discover()
    await cuff.measure(120, 80, 60)
    await is_heard()
    bare_room.bluez.go_deaf(until=until)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(is_heard(), SHORT_S)
    assert await client.get(HCI0, ADAPTER, "Discovering") is True
    await client.discover(start=False)
    await client.discover()
    if until == "power":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(is_heard(), SHORT_S)
        await client.power(False)
        await client.power(True)
        await client.discover()
    await is_heard()


async def test_a_device_that_lost_its_bond_is_still_paired_to_the_host_until_it_is_removed(
    room: Room, cuff: AndUa651ble, reader: Any, client: Client, eventually: Eventually
) -> None:
    await cuff.measure(120, 80, 60)
    await reader.read(cuff)
    assert await client.get(CUFF, DEVICE, "Paired") is True
    cuff.inject(BleFault.LOSE_BOND)
    record = await cuff.measure(121, 80, 60)
    reply = await client.call(CUFF, DEVICE, "Connect")
    assert (reply.error_name, reply.body) == ("org.bluez.Error.Failed", ["le-connection-abort-by-local"])
    assert await client.get(CUFF, DEVICE, "Paired") is True
    assert await client.get(CUFF, DEVICE, "Connected") is False
    await client.does(HCI0, ADAPTER, "RemoveDevice", "o", CUFF)
    await client.discover()
    await cuff.advertise()
    await eventually(lambda: CUFF in client.of("InterfacesAdded"))
    assert await client.get(CUFF, DEVICE, "Paired") is False
    await client.discover(start=False)
    assert await reader.read(cuff) == [record]
    assert await client.get(CUFF, DEVICE, "Paired") is True


async def test_a_daemon_that_hangs_owns_its_name_and_answers_when_it_goes_on(
    bare_room: Room, cuff: AndUa651ble, client: Client, eventually: Eventually
) -> None:
    await client.discover()
    bare_room.bluez.hang()
    await cuff.measure(120, 80, 60)
    asking = asyncio.create_task(client.get(HCI0, ADAPTER, "Discovering"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asking), SHORT_S)
    assert client.told("RSSI", CUFF) == []
    assert client.of("InterfacesAdded") == []
    assert client.owners() == []
    stopping = asyncio.create_task(client.discover(start=False))
    await eventually(lambda: bare_room.bluez.calls[-1] == "Adapter1.StopDiscovery")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(stopping), SHORT_S)
    assert bare_room.bluez.discovering
    bare_room.bluez.resume()
    assert await asyncio.wait_for(asking, PATIENCE_S) is True
    await asyncio.wait_for(stopping, PATIENCE_S)
    assert client.of("InterfacesAdded") == [CUFF]


async def test_a_daemon_that_hangs_can_be_killed(bare_room: Room, client: Client, eventually: Eventually) -> None:
    bare_room.bluez.hang()
    asking = asyncio.create_task(client.call(HCI0, ADAPTER, "StartDiscovery"))
    await eventually(lambda: "Adapter1.StartDiscovery" in bare_room.bluez.calls)
    await bare_room.bluez.die()
    reply = await asyncio.wait_for(asking, PATIENCE_S)
    assert reply.error_name == "org.freedesktop.DBus.Error.NoReply"  # dbus-daemon's own word
    await bare_room.bluez.start()
    assert await client.get(HCI0, ADAPTER, "Discovering") is False


async def test_each_advertisement_of_a_bonded_device_is_told(
    room: Room, cuff: AndUa651ble, reader: Any, client: Client, eventually: Eventually
) -> None:
    await cuff.measure(120, 80, 60)
    await reader.read(cuff)
    assert await client.get(CUFF, DEVICE, "Bonded") is True
    await client.discover()
    client.signals.clear()
    await cuff.measure(121, 80, 60)
    await eventually(lambda: len(client.told("RSSI", CUFF)) >= 3)
    assert client.of("InterfacesAdded") == []
