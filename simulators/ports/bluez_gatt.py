"""The GATT of one connected device, as bluetoothd shows it on the bus."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from functools import partial

from bumble.core import UUID
from bumble.device import Connection, Peer
from bumble.gatt import Characteristic
from bumble.gatt_client import CharacteristicProxy, DescriptorProxy
from dbus_fast import Variant

from simulators.ports.bluez_objects import CHARACTERISTIC, DESCRIPTOR, SERVICE, BluezError, ObjectTree

_MTU = 517
_Property = Characteristic.Properties
_FLAGS = {
    "broadcast": _Property.BROADCAST,
    "read": _Property.READ,
    "write-without-response": _Property.WRITE_WITHOUT_RESPONSE,
    "write": _Property.WRITE,
    "notify": _Property.NOTIFY,
    "indicate": _Property.INDICATE,
}


def long_uuid(short: UUID) -> str:
    """A UUID as BlueZ writes it: 128 bits, lower case, with hyphens."""
    return str(uuid.UUID(bytes=short.to_bytes(force_128=True)[::-1]))


class RemoteGatt:
    """Attributes by D-Bus path. Raises bumble's ATT_Error as the device answers, and BluezError."""

    def __init__(self, device_path: str, tree: ObjectTree) -> None:
        self._device_path = device_path
        self._tree = tree
        self._attributes: dict[str, CharacteristicProxy[bytes] | DescriptorProxy] = {}
        self._sessions: set[tuple[str, str]] = set()  # who is told of what: (path, client)
        self._tellers: dict[tuple[str, str], Callable[[bytes], None]] = {}

    async def resolve(self, connection: Connection, between: Callable[[], Awaitable[None]]) -> None:
        """Discover all, and show it: services, then, after `between`, what they have."""
        peer = Peer(connection)
        await peer.request_mtu(_MTU)
        services = await peer.discover_services()
        for service in services:
            path = f"{self._device_path}/service{service.handle:04x}"
            self._tree.add(
                path,
                {
                    SERVICE: {
                        "UUID": Variant("s", long_uuid(service.uuid)),
                        "Device": Variant("o", self._device_path),
                        "Primary": Variant("b", True),
                        "Includes": Variant("ao", []),
                    }
                },
            )
        await between()
        for service in services:
            path = f"{self._device_path}/service{service.handle:04x}"
            for characteristic in await service.discover_characteristics():
                await self._show(characteristic, path, connection.att_mtu)

    def close(self, *, bonded: bool) -> None:
        """The link is gone: forget the attributes; those of a bonded device stay on the bus."""
        self._attributes.clear()
        self._sessions.clear()
        self._tellers.clear()
        for path in self._tree.under(self._device_path):
            if path == self._device_path:
                continue
            if not bonded:
                self._tree.remove(path)
            elif "Notifying" in self._tree.properties(path, CHARACTERISTIC):
                self._tree.change(path, CHARACTERISTIC, Notifying=Variant("b", False))

    async def read(self, path: str) -> bytes:
        """Read a characteristic or descriptor."""
        value = bytes(await self._attribute(path).read_value())
        for interface in (CHARACTERISTIC, DESCRIPTOR):
            self._tree.change(path, interface, Value=Variant("ay", value))
        return value

    async def write(self, path: str, value: bytes, *, with_response: bool) -> None:
        """Write a characteristic or descriptor."""
        await self._attribute(path).write_value(value, with_response=with_response)

    async def start_notify(self, path: str, client: str) -> None:
        """Notifications, or else indications, for `client`: each is told as a change of Value."""
        characteristic = self._characteristic(path)
        if not characteristic.properties & (_Property.NOTIFY | _Property.INDICATE):
            raise BluezError("NotSupported", "Operation is not supported")
        if (path, client) in self._sessions:
            raise BluezError("InProgress", "In Progress")

        session = path, client
        # The same one again after bonding: bumble keeps it when the CCCD is refused, and would call both.
        tell = self._tellers.setdefault(session, partial(self._tell, path))
        self._sessions.add(session)
        try:
            await characteristic.subscribe(tell, prefer_notify=bool(characteristic.properties & _Property.NOTIFY))
        except BaseException:
            self._sessions.discard(session)
            raise
        self._tree.change(path, CHARACTERISTIC, Notifying=Variant("b", True))

    async def stop_notify(self, path: str, client: str) -> None:
        """End what start_notify began."""
        characteristic = self._characteristic(path)
        if (path, client) not in self._sessions:
            raise BluezError("Failed", "No notify session started")
        self._sessions.remove((path, client))
        await characteristic.unsubscribe(self._tellers.pop((path, client)))
        if not any(notifying == path for notifying, _ in self._sessions):
            self._tree.change(path, CHARACTERISTIC, Notifying=Variant("b", False))

    def notifying(self, client: str) -> list[str]:
        """The paths that `client` has started to notify."""
        return [path for path, who in self._sessions if who == client]

    def _tell(self, path: str, value: bytes) -> None:
        self._tree.change(path, CHARACTERISTIC, Value=Variant("ay", bytes(value)))

    async def _show(self, characteristic: CharacteristicProxy[bytes], service_path: str, mtu: int) -> None:
        # BlueZ names a characteristic by its declaration, which stands one handle before its value.
        path = f"{service_path}/char{characteristic.handle - 1:04x}"
        self._attributes[path] = characteristic
        shown = {
            "UUID": Variant("s", long_uuid(characteristic.uuid)),
            "Service": Variant("o", service_path),
            "Value": Variant("ay", b""),
            "MTU": Variant("q", mtu),
            "Flags": Variant("as", [name for name, bit in _FLAGS.items() if characteristic.properties & bit]),
        }
        if characteristic.properties & (_Property.NOTIFY | _Property.INDICATE):
            shown["Notifying"] = Variant("b", False)
        self._tree.add(path, {CHARACTERISTIC: shown})
        for descriptor in await characteristic.discover_descriptors():
            descriptor_path = f"{path}/desc{descriptor.handle:04x}"
            self._attributes[descriptor_path] = descriptor
            self._tree.add(
                descriptor_path,
                {
                    DESCRIPTOR: {
                        "UUID": Variant("s", long_uuid(descriptor.type)),
                        "Characteristic": Variant("o", path),
                        "Value": Variant("ay", b""),
                    }
                },
            )

    def _attribute(self, path: str) -> CharacteristicProxy[bytes] | DescriptorProxy:
        attribute = self._attributes.get(path)
        if attribute is None:
            raise BluezError("Failed", "Not connected")
        return attribute

    def _characteristic(self, path: str) -> CharacteristicProxy[bytes]:
        attribute = self._attribute(path)
        if not isinstance(attribute, CharacteristicProxy):
            raise BluezError("NotSupported", "Operation is not supported")
        return attribute
