"""What bleak does not do with bluetoothd: registering a pairing agent, noticing that daemon or adapter come and go.

One connection to the system bus, beside those that bleak makes for itself.

1. Without an agent bluetoothd refuses a bonding that it did not start itself, and never answers the call that caused
   it. What the agent answers is bluez_agent.py's.
2. bleak does not notice that bluetoothd died: its calls hang, its links look alive. The bus tells who owns the name.
3. An adapter that is switched off or pulled out ends a discovery without a word to whoever started it.

Sources: bluez doc/org.bluez.AgentManager.rst, org.bluez.Adapter.rst; D-Bus Specification, NameOwnerChanged.
Seen with bluetoothd 5.66 and 5.82.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from drivers.errors import LinkFault, LinkLost
from drivers.links import bluez_agent
from drivers.links.bluez_agent import Agent, Person

_log = logging.getLogger(__name__)

RETRY_S = 2.0
CALL_S = 5.0  # for what bluetoothd answers at once
POWER_OFF_S = 1.0  # an adapter's own time between off and on
POWER_ON_TRIES = 3  # it answers Busy while it goes off

_BLUEZ, _ROOT = "org.bluez", "/org/bluez"
_ADAPTER, _DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
_OBJECTS, _PROPERTIES = "org.freedesktop.DBus.ObjectManager", "org.freedesktop.DBus.Properties"
_DBUS, _DBUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_RULES = (
    f"type='signal',sender='{_DBUS}',member='NameOwnerChanged',arg0='{_BLUEZ}'",
    f"type='signal',sender='{_BLUEZ}',interface='{_OBJECTS}',path='/'",
    f"type='signal',sender='{_BLUEZ}',interface='{_PROPERTIES}',arg0='{_ADAPTER}'",
)
_BUS_ERRORS = (OSError, EOFError, TimeoutError, DBusFastError, LinkLost)

_SYSTEM_BUS = Path("/run/dbus/system_bus_socket")
_RADIOS = Path("/sys/class/bluetooth")


@dataclass(slots=True)
class Adapter:
    """An adapter as bluetoothd shows it."""

    powered: bool
    discovering: bool


class Bluez:
    """The daemon and its adapters. `on_change` is called when any of it changes, on the event loop."""

    def __init__(
        self, may_bond: Callable[[str], bool], on_change: Callable[[], None], *, only_looks: bool = False
    ) -> None:
        """`may_bond` says whether the device with this address may bond.

        `only_looks`: no agent is registered, which would take the questions away from the service's.
        """
        self._agent = Agent(may_bond, self._send)
        self._only_looks = only_looks
        self._on_change = on_change
        self._bus: MessageBus | None = None
        self._owner = ""
        self._ask_again = asyncio.Event()
        self._asking = False
        self._complained = False
        self._cycling = asyncio.Lock()
        self._adapters: dict[str, Adapter] = {}
        self.epoch = 0  # counts what ends every discovery: a daemon, an adapter or its power that went

    @property
    def adapter(self) -> str | None:
        """The name of the adapter that is used: the first with power, as `hci0`."""
        return next((path.rpartition("/")[2] for path, a in sorted(self._adapters.items()) if a.powered), None)

    @property
    def discovering(self) -> bool:
        """Whether an adapter says that it scans, for whomever."""
        return any(adapter.discovering for adapter in self._adapters.values())

    @property
    def trouble(self) -> LinkLost | None:
        """Why there is no radio; None while there is one."""
        if not self._owner:
            words = "no bluetoothd answers on the system bus: systemctl status bluetooth"
            return LinkLost(LinkFault.NO_BLUETOOTH, words)
        if not self._adapters:
            return LinkLost(
                LinkFault.NO_ADAPTER, "there is no Bluetooth adapter: is it plugged in? see: bluetoothctl list"
            )
        if self.adapter is None:
            words = "the Bluetooth adapter is switched off: rfkill unblock bluetooth, bluetoothctl power on"
            return LinkLost(LinkFault.ADAPTER_OFF, words)
        return None

    async def run(self) -> None:
        """Keep the connection to the bus, and the agent on it, until cancelled."""
        try:
            while True:
                try:
                    await self._attend()
                except _BUS_ERRORS as error:
                    _log.debug("the system bus: %s", type(error).__name__)
                self._leave_the_bus()
                self._daemon_is_gone()
                await asyncio.sleep(RETRY_S)
        finally:
            async with self._cycling:  # what was switched off is switched on by this connection
                self._leave_the_bus()

    async def power_cycle(self) -> None:
        """Switch the adapter off and on again. Raises LinkLost where that is not to be had."""
        path = f"{_ROOT}/{self.adapter}"
        async with self._cycling:
            try:
                await self._power(path, on=False)
                await asyncio.sleep(POWER_OFF_S)
            except BaseException:  # nobody else would switch on again what we switched off
                try:
                    await self._power_on(path)
                except LinkLost as error:
                    _log.warning("the adapter may be switched off: %s", error)
                raise
            await self._power_on(path)

    async def _power_on(self, path: str) -> None:
        for _ in range(POWER_ON_TRIES - 1):
            try:
                return await self._power(path, on=True)
            except LinkLost as error:
                _log.debug("not switched on: %s", error)
                await asyncio.sleep(POWER_OFF_S)
        return await self._power(path, on=True)

    async def _power(self, path: str, *, on: bool) -> None:
        body = [_ADAPTER, "Powered", Variant("b", on)]
        await self._call(Message(_BLUEZ, path, _PROPERTIES, "Set", signature="ssv", body=body))

    @asynccontextmanager
    async def attended(self, address: str, person: Person) -> AsyncIterator[None]:
        """Let `person` answer what bluetoothd asks of the device with this address. Raises LinkLost."""
        self._agent.attend(address, person)
        try:
            with _bus_that_may_go():
                await self._register_agent()
            yield
        finally:
            self._agent.leave()
            try:
                await self._register_agent()
            except _BUS_ERRORS as error:  # it is registered anew with the next daemon
                _log.debug("the agent: %s", type(error).__name__)

    async def forget(self, address: str) -> None:
        """Remove a device, and its bond, from bluetoothd. Raises LinkLost where that is not to be had."""
        with _bus_that_may_go():
            await self._forget(address)

    async def _forget(self, address: str) -> None:
        path = f"{_ROOT}/{self.adapter}"
        device = f"{path}/dev_{address.replace(':', '_')}"
        (objects,) = await self._call(Message(_BLUEZ, "/", _OBJECTS, "GetManagedObjects"))
        for known, interfaces in objects.items():  # the path keeps the private address that it bonded with
            shown = interfaces.get(_DEVICE, {}).get("Address")
            if shown is not None and shown.value == address and known.startswith(path):
                device = known
        await self._call(Message(_BLUEZ, path, _ADAPTER, "RemoveDevice", signature="o", body=[device]))

    # ---- the bus -------------------------------------------------------------------------------------------------

    async def _attend(self) -> None:
        """Connect to the bus and follow the daemon, until the bus is gone."""
        async with asyncio.timeout(CALL_S):
            self._bus = bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        bus.add_message_handler(self._on_message)
        for rule in _RULES:
            await self._call(Message(_DBUS, _DBUS_PATH, _DBUS, "AddMatch", signature="s", body=[rule]))
        bus_gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # dbus_fast says no types here
        try:
            while not bus_gone.done():
                self._ask_again.clear()  # before asking: what changes while we ask is asked again
                self._asking = True
                known = await self._ask_daemon()
                self._asking = False
                changed = asyncio.ensure_future(self._ask_again.wait())
                try:
                    either: set[asyncio.Future[Any]] = {bus_gone, changed}
                    await asyncio.wait(either, timeout=None if known else RETRY_S, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
        finally:
            if not bus_gone.cancel() and not bus_gone.cancelled():
                bus_gone.exception()  # why the bus is gone is all the same

    async def _ask_daemon(self) -> bool:
        """Take up what the daemon has, and register the agent with it; answer whether all that is known is known."""
        try:
            name = Message(_DBUS, _DBUS_PATH, _DBUS, "NameHasOwner", signature="s", body=[_BLUEZ])
            if not (await self._call(name))[0]:
                return True  # the bus will tell when somebody has it
            (owner,) = await self._call(Message(_DBUS, _DBUS_PATH, _DBUS, "GetNameOwner", signature="s", body=[_BLUEZ]))
            self._owner = str(owner)  # before asking: what it tells meanwhile is its own
            await self._register_agent()
            (objects,) = await self._call(Message(_BLUEZ, "/", _OBJECTS, "GetManagedObjects"))
        except LinkLost as error:
            _log.log(logging.DEBUG if self._complained else logging.WARNING, "%s; tried again", error)
            self._complained = True
            self._daemon_is_gone()
            return False
        self._complained = False
        self._adapters.clear()
        for path, interfaces in objects.items():
            self._note(path, interfaces)
        self._on_change()
        return True

    async def _register_agent(self) -> None:
        if self._only_looks:
            return
        for member, signature, body in (
            ("UnregisterAgent", "o", [bluez_agent.PATH]),  # one that a try before left behind
            ("RegisterAgent", "os", [bluez_agent.PATH, self._agent.capability]),
            ("RequestDefaultAgent", "o", [bluez_agent.PATH]),
        ):
            message = Message(_BLUEZ, _ROOT, "org.bluez.AgentManager1", member, signature=signature, body=body)
            try:
                await self._call(message)
            except LinkLost:
                if member != "UnregisterAgent":
                    raise

    async def _call(self, message: Message) -> list[Any]:
        """Answer the reply's body. Raises LinkLost; OSError, EOFError where the bus is gone."""
        if self._bus is None:
            raise LinkLost(LinkFault.NO_BLUETOOTH, "there is no system bus")
        try:
            async with asyncio.timeout(CALL_S):  # asyncio.wait_for may swallow a cancellation (python/cpython#86296)
                reply = await self._bus.call(message)
        except TimeoutError:
            raise LinkLost(LinkFault.NO_BLUETOOTH, f"{message.member} is not answered") from None
        if reply is None or reply.message_type is MessageType.ERROR:
            name = None if reply is None else reply.error_name
            raise LinkLost(LinkFault.NO_BLUETOOTH, f"{message.member} is answered by {name}")
        return reply.body

    def _send(self, message: Message) -> None:
        if self._bus is not None and self._bus.connected:
            self._bus.send(message)

    def _leave_the_bus(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()

    def _daemon_is_gone(self) -> None:
        self._owner = ""
        self._adapters.clear()
        self.epoch += 1
        self._on_change()

    # ---- what comes in -------------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> Message | bool | None:
        if message.message_type is MessageType.METHOD_CALL:
            return self._agent.answer(message, self._owner) if message.path == bluez_agent.PATH else None
        if message.message_type is not MessageType.SIGNAL:
            return None
        if message.sender == _DBUS and message.member == "NameOwnerChanged" and message.body[0] == _BLUEZ:
            self._daemon_is_gone()
            self._ask_again.set()
            return None
        if message.sender == self._owner and self._asking:
            self._ask_again.set()  # the answer that is under way may be older than this
        if message.sender == self._owner and message.member == "InterfacesAdded":
            self._note(*message.body)
            self._on_change()
        elif message.sender == self._owner and message.member == "InterfacesRemoved":
            path, interfaces = message.body
            if _ADAPTER in interfaces and self._adapters.pop(path, None) is not None:
                self.epoch += 1
                self._on_change()
        elif message.sender == self._owner and message.member == "PropertiesChanged" and message.path in self._adapters:
            adapter, changed = self._adapters[message.path], message.body[1]
            if "Powered" in changed:
                adapter.powered = changed["Powered"].value
                self.epoch += 1
            if "Discovering" in changed:
                adapter.discovering = changed["Discovering"].value
            self._on_change()
        return None

    def _note(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        shown = interfaces.get(_ADAPTER)
        if shown is not None and "central" in (shown["Roles"].value if "Roles" in shown else ["central"]):
            self._adapters[path] = Adapter(shown["Powered"].value, shown["Discovering"].value)


@contextmanager
def _bus_that_may_go() -> Iterator[None]:
    """Say LinkLost for what a call raises on a bus that is gone."""
    try:
        yield
    except LinkLost:
        raise
    except _BUS_ERRORS as error:
        raise LinkLost(LinkFault.NO_BLUETOOTH, "the system bus is gone: systemctl status dbus bluetooth") from error


def radio_is_real(adapter: str | None) -> bool:
    """Whether `adapter` is a radio of this machine, reached through the machine's own system bus.

    Neither a private bus nor a virtual controller (hci_vhci, a controller on a pty) has a patient behind it.
    """
    return adapter is not None and _is_system_bus() and _has_hardware(_RADIOS / adapter)


def _is_system_bus() -> bool:
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "")
    if not address:
        return True
    found = re.fullmatch(r"unix:path=([^,;]+)(,guid=[0-9a-f]+)?", address)
    try:
        return found is not None and Path(found[1]).resolve() == _SYSTEM_BUS.resolve()
    except OSError:
        return False


def _has_hardware(radio: Path) -> bool:
    """Linux shows what is only software under /sys/devices/virtual (Documentation/driver-api/driver-model)."""
    try:
        device = radio.resolve(strict=True)
    except OSError:
        return False
    return "virtual" not in device.parts
