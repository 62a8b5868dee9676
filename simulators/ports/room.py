"""A room with Bluetooth that is not there: an air, and the system bus on which a gateway finds its adapter."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from simulators.ports.air import Air
from simulators.ports.bluez import Bluez
from simulators.ports.dbus_daemon import DbusDaemon


class Room:
    """`async with Room() as room`: devices go on `room.air`, `room.bluez` is told to fail.

    A gateway of another process is started with `environment`; one of this process needs the same in os.environ.
    RuntimeError if dbus-daemon is missing or does not start.
    """

    def __init__(self) -> None:
        self.air = Air()
        self._dbus = DbusDaemon()
        self._stack = AsyncExitStack()

    @property
    def environment(self) -> Mapping[str, str]:
        """What leads a gateway to this room's bus instead of the machine's."""
        return {"DBUS_SYSTEM_BUS_ADDRESS": self._dbus.address}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._dbus)
            self.bluez = await stack.enter_async_context(Bluez(self._dbus.address, self.air))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
