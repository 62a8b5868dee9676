"""What org.bluez shows on the bus: objects with interfaces with properties, and the signals that tell of changes.

Names and errors are those of bluetoothd (bluez, doc/org.bluez.*.rst; src/error.c; src/gatt-client.c).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dbus_fast import Message, Variant

ADAPTER = "org.bluez.Adapter1"
AGENT = "org.bluez.Agent1"
AGENT_MANAGER = "org.bluez.AgentManager1"
DEVICE = "org.bluez.Device1"
GATT_MANAGER = "org.bluez.GattManager1"
SERVICE = "org.bluez.GattService1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
DESCRIPTOR = "org.bluez.GattDescriptor1"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"

Interfaces = dict[str, dict[str, Variant]]


class BluezError(Exception):
    """A D-Bus error as bluetoothd answers it: `name` is the whole name, `str()` the text."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name if "." in name else f"org.bluez.Error.{name}"


class Unanswered(Exception):
    """What bluetoothd never answers; the caller waits until it gives up by itself."""


class ObjectTree:
    """The objects by path. `emit` takes each signal, whoever listens."""

    def __init__(self, emit: Callable[[Message], None]) -> None:
        self._emit = emit
        self._objects: dict[str, Interfaces] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._objects

    @property
    def managed(self) -> Mapping[str, Interfaces]:
        """What GetManagedObjects answers."""
        return self._objects

    def add(self, path: str, interfaces: Interfaces) -> None:
        """Show an object; nothing happens if it is shown already."""
        if path not in self._objects:
            self._objects[path] = interfaces
            self._emit(Message.new_signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces]))

    def remove(self, root: str) -> None:
        """Take an object away, and all below it first."""
        for path in sorted(self.under(root), reverse=True):
            interfaces = list(self._objects.pop(path))
            self._emit(Message.new_signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, interfaces]))

    def clear(self) -> None:
        """Forget all without a word, as a daemon that died."""
        self._objects.clear()

    def under(self, root: str) -> list[str]:
        """The paths of an object and of all below it."""
        return [path for path in self._objects if path == root or path.startswith(f"{root}/")]

    def properties(self, path: str, interface: str) -> dict[str, Variant]:
        """The properties of an interface, none if there is no such thing."""
        return self._objects.get(path, {}).get(interface, {})

    def change(self, path: str, interface: str, **changes: Variant) -> None:
        """Set properties and tell of those that are new; of Value and RSSI every time, as bluetoothd does."""
        shown = self._objects.get(path, {}).get(interface)
        if shown is None:
            return
        new = {name: value for name, value in changes.items() if shown.get(name) != value or name in _ALWAYS_TOLD}
        shown.update(new)
        if new:
            self._tell_changed(path, interface, new, [])

    def invalidate(self, path: str, interface: str, name: str) -> None:
        """Take a property away."""
        if self.properties(path, interface).pop(name, None) is not None:
            self._tell_changed(path, interface, {}, [name])

    def _tell_changed(self, path: str, interface: str, new: dict[str, Variant], gone: list[str]) -> None:
        self._emit(Message.new_signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, new, gone]))


_ALWAYS_TOLD = frozenset({"Value", "RSSI"})
