"""hci0 as bluetoothd sees it: power, discovery, and the devices that were heard or are bonded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from bumble import hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Device
from bumble.keys import MemoryKeyStore
from dbus_fast import Variant

from simulators.ports.bluez_device import RemoteDevice
from simulators.ports.bluez_gatt import long_uuid
from simulators.ports.bluez_objects import ADAPTER, DEVICE, GATT_MANAGER, BluezError, ObjectTree

PATH = "/org/bluez/hci0"
# What makes an adapter hear again that has gone deaf: discovery stopped and started, or its power switched off and on.
Cure = Literal["restart", "power"]

_SERVICE_LISTS = (
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
)


def path_of(address: hci.Address) -> str:
    """Answer the path of a device's object."""
    return f"{PATH}/dev_{address.to_string(False).replace(':', '_')}"


class Adapter:
    """One adapter, over a bumble central and the bonds it keeps. Raises BluezError as bluetoothd answers.

    Clients are D-Bus names: each has its discovery and its filter. `deaf`: nothing is reported any more, though all
    looks well, until the cure. `late_s`: so long after ServicesResolved come the characteristics (bluez/bluez#1489).
    """

    def __init__(
        self, tree: ObjectTree, central: Device, keys: MemoryKeyStore, consent: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._tree = tree
        self._central = central
        self._keys = keys
        self._consent = consent
        self.deaf: Cure | None = None
        self.late_s = 0.0
        self._connecting = asyncio.Lock()
        self._devices: dict[str, RemoteDevice] = {}
        self._filters: dict[str, set[str]] = {}
        self._discovering: dict[str, set[str]] = {}  # client: the UUIDs it asked for, none for all
        central.on(central.EVENT_ADVERTISEMENT, self._heard)

    @property
    def discovering(self) -> bool:
        """Whether it scans for anyone."""
        return bool(self._discovering)

    def plug(self) -> None:
        """The adapter is there, with power; so are the devices whose bonds are kept."""
        yes, no = Variant("b", True), Variant("b", False)
        shown = {
            "Address": Variant("s", self._central.random_address.to_string(False)),
            "Name": Variant("s", "simulated"),
            "Alias": Variant("s", "simulated"),
            "Powered": yes,
            "Discovering": no,
            "Pairable": yes,
            "UUIDs": Variant("as", []),
            "Roles": Variant("as", ["central", "peripheral"]),
            "Class": Variant("u", 0),
        }
        self._tree.add(PATH, {ADAPTER: shown, GATT_MANAGER: {}})
        for device in self._devices.values():
            if device.bonded:
                device.show(PATH, {})

    async def unplug(self) -> None:
        """The adapter is gone: links too, and all objects."""
        self.deaf = None
        await self.silence()
        self._tree.remove(PATH)

    async def power(self, on: bool) -> None:
        """Switch it; without power there is neither a link nor discovery, and nobody is told but by signals.

        With power again it discovers nothing until a client asks for it anew.
        """
        if not on:
            self.deaf = None
            await self.silence()
            self._tree.change(PATH, ADAPTER, Discovering=Variant("b", False))
        self._tree.change(PATH, ADAPTER, Powered=Variant("b", on))

    async def silence(self) -> None:
        """End links and discovery."""
        self._discovering.clear()
        self._filters.clear()
        await self._stop_scanning()
        for device in tuple(self._devices.values()):
            await device.drop()

    async def remove_temporary(self) -> None:
        """Forget the devices that are not bonded, as bluetoothd does before a client switches the power off."""
        for path, device in tuple(self._devices.items()):
            if not device.bonded and path in self._tree:
                await self.remove_device(path)

    def require_power(self) -> None:
        """BluezError if there is none."""
        powered = self._tree.properties(PATH, ADAPTER).get("Powered")
        if powered is None or not powered.value:
            raise BluezError("NotReady", "Resource Not Ready")

    def set_filter(self, client: str, uuids: list[str]) -> None:
        """What `client` wants to hear of: devices that advertise one of `uuids`; none is all."""
        self.require_power()
        self._filters[client] = set(uuids)
        if client in self._discovering:
            self._discovering[client] = set(uuids)

    async def start_discovery(self, client: str) -> None:
        """Scan for one more client."""
        self.require_power()
        if client in self._discovering:
            raise BluezError("InProgress", "Operation already in progress")
        self._discovering[client] = self._filters.get(client, set())
        if len(self._discovering) == 1:
            await self._central.start_scanning(active=True, filter_duplicates=False)
            self._tree.change(PATH, ADAPTER, Discovering=Variant("b", True))

    async def stop_discovery(self, client: str) -> None:
        """Scan for one client less."""
        self.require_power()
        if client not in self._discovering:
            raise BluezError("Failed", "No discovery started")
        await self._end_discovery(client)

    async def remove_device(self, path: str) -> None:
        """Forget a device and its bond."""
        device = self._devices.get(path)
        if device is None or path not in self._tree:
            raise BluezError("DoesNotExist", "Does Not Exist")
        await device.drop()
        del self._devices[path]
        await self._keys.delete(str(device.address))
        self._tree.remove(path)

    async def forget_client(self, client: str) -> None:
        """A client left the bus: what it had asked for ends, links stay."""
        self._filters.pop(client, None)
        if client in self._discovering:
            await self._end_discovery(client)
        for device in tuple(self._devices.values()):
            await device.forget_client(client)

    def device(self, path: str) -> RemoteDevice:
        """The device at `path`, or the one that the attribute at `path` belongs to; BluezError if there is none."""
        device = self._devices.get(path.partition("/service")[0])
        if device is None or path not in self._tree:
            raise BluezError("org.freedesktop.DBus.Error.UnknownObject", "Method called on an object that is not there")
        return device

    async def _end_discovery(self, client: str) -> None:
        del self._discovering[client]
        if not self._discovering:
            await self._stop_scanning()
            self._tree.change(PATH, ADAPTER, Discovering=Variant("b", False))
            for path in self._devices:
                self._tree.invalidate(path, DEVICE, "RSSI")

    async def _stop_scanning(self) -> None:
        await self._central.stop_scanning()
        if self.deaf == "restart":
            self.deaf = None

    def _heard(self, advertisement: Advertisement) -> None:
        uuids = _services(advertisement)
        wanted = any(not asked or asked & set(uuids) for asked in self._discovering.values())
        if not wanted or self.deaf or PATH not in self._tree:
            return
        device = self._who_is(advertisement.address)
        path = path_of(advertisement.address) if device is None else device.path
        if device is None:
            device = RemoteDevice(
                advertisement.address,
                path,
                self._tree,
                self._central,
                self._keys,
                self._connecting,
                self._consent,
                lambda: self.late_s,
            )
            self._devices[path] = device
        device.heard(PATH, _advertised(advertisement, uuids))

    def _who_is(self, address: hci.Address) -> RemoteDevice | None:
        """The device that advertises with `address`, also with a private one that a bonded device's key resolves."""
        resolver = self._central.address_resolver
        identity = resolver.resolve(address) if address.is_resolvable and resolver is not None else None
        for device in self._devices.values():
            if identity is not None and device.address == identity:
                device.on_air = address
                return device
        return self._devices.get(path_of(address))


def _services(advertisement: Advertisement) -> list[str]:
    found: list[str] = []
    for kind in _SERVICE_LISTS:
        listed = advertisement.data.get(kind)
        if isinstance(listed, list):
            found += [long_uuid(uuid) for uuid in listed if isinstance(uuid, UUID)]
    return found


def _advertised(advertisement: Advertisement, uuids: list[str]) -> dict[str, Variant]:
    data = advertisement.data
    told = {
        "UUIDs": Variant("as", uuids),
        "RSSI": Variant("n", advertisement.rssi),
    }
    name = data.get(AdvertisingData.COMPLETE_LOCAL_NAME) or data.get(AdvertisingData.SHORTENED_LOCAL_NAME)
    if name:
        told |= {"Name": Variant("s", name), "Alias": Variant("s", name)}
    makers = data.get_all(AdvertisingData.MANUFACTURER_SPECIFIC_DATA)
    if makers:
        told["ManufacturerData"] = Variant("a{qv}", {company: Variant("ay", bytes(value)) for company, value in makers})
    services = data.get_all(AdvertisingData.SERVICE_DATA_16_BIT_UUID)
    if services:
        said = {long_uuid(uuid): Variant("ay", bytes(value)) for uuid, value in services}
        told["ServiceData"] = Variant("a{sv}", said)
    return told
