"""What clients may call on org.bluez, and what each call does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bumble.att import ErrorCode
from dbus_fast import Message, Variant

from simulators.ports.bluez_adapter import Adapter
from simulators.ports.bluez_agents import Agents
from simulators.ports.bluez_objects import (
    ADAPTER,
    AGENT_MANAGER,
    CHARACTERISTIC,
    DESCRIPTOR,
    DEVICE,
    OBJECT_MANAGER,
    PROPERTIES,
    BluezError,
    ObjectTree,
)

Answer = tuple[str, list[Any]] | None  # signature and body; None for neither

_ERROR = "org.freedesktop.DBus.Error"


class Calls:
    """All calls, on one tree, one adapter and the agents."""

    def __init__(self, tree: ObjectTree, adapter: Adapter, agents: Agents) -> None:
        self._tree = tree
        self._adapter = adapter
        self._agents = agents
        self._handlers = self._all_handlers()

    @property
    def names(self) -> frozenset[str]:
        """All that can be called, each as `Device1.Connect`."""
        return frozenset(f"{interface.rpartition('.')[2]}.{member}" for interface, member in self._handlers)

    async def answer(self, message: Message) -> Answer:
        """Do what is called. Raises BluezError, Unanswered and bumble's ATT_Error and BaseBumbleError."""
        if message.path != "/" and _path(message) not in self._tree:
            raise BluezError(f"{_ERROR}.UnknownObject", f'Method "{message.member}" doesn\'t exist')
        handler = self._handlers.get((message.interface or "", message.member or ""))
        if handler is None:
            raise BluezError(f"{_ERROR}.UnknownMethod", f'Method "{message.member}" doesn\'t exist')
        return await handler(message)

    async def forget_client(self, client: str) -> None:
        """A client left the bus."""
        self._agents.forget(client)
        await self._adapter.forget_client(client)

    def _all_handlers(self) -> dict[tuple[str, str], Callable[[Message], Awaitable[Answer]]]:
        return {
            (OBJECT_MANAGER, "GetManagedObjects"): self._managed_objects,
            (PROPERTIES, "GetAll"): self._get_all,
            (PROPERTIES, "Get"): self._get,
            (PROPERTIES, "Set"): self._set,
            (AGENT_MANAGER, "RegisterAgent"): self._register_agent,
            (AGENT_MANAGER, "RequestDefaultAgent"): self._request_default_agent,
            (AGENT_MANAGER, "UnregisterAgent"): self._unregister_agent,
            (ADAPTER, "SetDiscoveryFilter"): self._set_discovery_filter,
            (ADAPTER, "StartDiscovery"): self._start_discovery,
            (ADAPTER, "StopDiscovery"): self._stop_discovery,
            (ADAPTER, "RemoveDevice"): self._remove_device,
            (DEVICE, "Connect"): self._connect,
            (DEVICE, "Disconnect"): self._disconnect,
            (DEVICE, "Pair"): self._pair,
            (CHARACTERISTIC, "ReadValue"): self._read_value,
            (CHARACTERISTIC, "WriteValue"): self._write_value,
            (CHARACTERISTIC, "StartNotify"): self._start_notify,
            (CHARACTERISTIC, "StopNotify"): self._stop_notify,
            (DESCRIPTOR, "ReadValue"): self._read_value,
            (DESCRIPTOR, "WriteValue"): self._write_value,
        }

    async def _managed_objects(self, _message: Message) -> Answer:
        return "a{oa{sa{sv}}}", [dict(self._tree.managed)]

    async def _get_all(self, message: Message) -> Answer:
        return "a{sv}", [self._tree.properties(_path(message), message.body[0])]

    async def _get(self, message: Message) -> Answer:
        interface, name = message.body
        value = self._tree.properties(_path(message), interface).get(name)
        if value is None:
            raise BluezError(f"{_ERROR}.InvalidArgs", f"No such property '{name}'")
        return "v", [value]

    async def _set(self, message: Message) -> Answer:
        interface, name, value = message.body
        if (interface, name) == (ADAPTER, "Powered"):
            if not value.value:
                await self._adapter.remove_temporary()
            await self._adapter.power(value.value)
        else:
            self._tree.change(_path(message), interface, **{name: value})
        return None

    async def _register_agent(self, message: Message) -> Answer:
        path, capability = message.body
        self._agents.register(_client(message), path, capability)
        return None

    async def _request_default_agent(self, message: Message) -> Answer:
        self._agents.make_default(_client(message), message.body[0])
        return None

    async def _unregister_agent(self, message: Message) -> Answer:
        self._agents.unregister(_client(message), message.body[0])
        return None

    async def _set_discovery_filter(self, message: Message) -> Answer:
        uuids: Variant | None = message.body[0].get("UUIDs")
        self._adapter.set_filter(_client(message), uuids.value if uuids is not None else [])
        return None

    async def _start_discovery(self, message: Message) -> Answer:
        await self._adapter.start_discovery(_client(message))
        return None

    async def _stop_discovery(self, message: Message) -> Answer:
        await self._adapter.stop_discovery(_client(message))
        return None

    async def _remove_device(self, message: Message) -> Answer:
        await self._adapter.remove_device(message.body[0])
        return None

    async def _connect(self, message: Message) -> Answer:
        self._adapter.require_power()
        await self._adapter.device(_path(message)).connect()
        return None

    async def _disconnect(self, message: Message) -> Answer:
        await self._adapter.device(_path(message)).disconnect()
        return None

    async def _pair(self, message: Message) -> Answer:
        self._adapter.require_power()
        await self._adapter.device(_path(message)).pair(with_agent=self._agents.any_for(_client(message)))
        return None

    async def _read_value(self, message: Message) -> Answer:
        path = _path(message)
        device = self._adapter.device(path)
        return "ay", [await device.att(lambda: device.gatt.read(path))]

    async def _write_value(self, message: Message) -> Answer:
        path, (value, options) = _path(message), message.body
        device = self._adapter.device(path)
        kind = options.get("type", Variant("s", "request")).value
        with_response = kind != "command" or message.interface == DESCRIPTOR
        await device.att(lambda: device.gatt.write(path, bytes(value), with_response=with_response))
        return None

    async def _start_notify(self, message: Message) -> Answer:
        path, client = _path(message), _client(message)
        device = self._adapter.device(path)
        await device.att(lambda: device.gatt.start_notify(path, client))
        return None

    async def _stop_notify(self, message: Message) -> Answer:
        path, client = _path(message), _client(message)
        device = self._adapter.device(path)
        await device.att(lambda: device.gatt.stop_notify(path, client))
        return None


def _path(message: Message) -> str:
    return message.path or "/"


def _client(message: Message) -> str:
    return message.sender or ""


def as_bluez(code: int) -> BluezError:
    """An ATT error as bluetoothd tells it (src/gatt-client.c, create_gatt_dbus_error)."""
    match code:
        case ErrorCode.READ_NOT_PERMITTED:
            return BluezError("NotPermitted", "Read not permitted")
        case ErrorCode.WRITE_NOT_PERMITTED:
            return BluezError("NotPermitted", "Write not permitted")
        case (
            ErrorCode.INSUFFICIENT_AUTHENTICATION
            | ErrorCode.INSUFFICIENT_ENCRYPTION
            | ErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE
        ):
            return BluezError("NotPermitted", "Not paired")
        case ErrorCode.REQUEST_NOT_SUPPORTED:
            return BluezError("NotSupported", "Operation is not supported")
        case ErrorCode.INVALID_OFFSET:
            return BluezError("InvalidArguments", "Invalid offset")
        case ErrorCode.INSUFFICIENT_AUTHORIZATION:
            return BluezError("NotAuthorized", "Operation Not Authorized")
        case ErrorCode.INVALID_ATTRIBUTE_LENGTH:
            return BluezError("InvalidArguments", "Invalid Length")
        case _:
            unknown = " (Unknown error code)" if code >= 0x80 else ""
            return BluezError("Failed", f"Operation failed with ATT error: 0x{code:02x}{unknown}")
