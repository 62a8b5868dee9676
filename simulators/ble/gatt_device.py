"""What all simulated devices with a GATT server have in common: batteries, an address, a journal, faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from bumble.core import UUID
from bumble.gatt import Service

from simulators.ble import profiles
from simulators.ble.faults import BleFault, BleFaults
from simulators.ble.peripheral import Peripheral, read_only


class GattDevice:
    """A device that is there while it is entered. A subclass makes its `peripheral`.

    `standing` faults happen every time, others by `inject`.
    """

    peripheral: Peripheral

    def __init__(self, address: str, standing: Iterable[BleFault]) -> None:
        """`address` ends in the digits that end its serial number, too: that begins with SIM-."""
        self.digits = address.replace(":", "")[-6:]
        self.serial_number = f"SIM-{self.digits}"
        self.faults = BleFaults(standing)

    @property
    def address(self) -> str:
        """Its random static address."""
        return self.peripheral.address

    @property
    def journal(self) -> list[str]:
        """What happened to it, in words, oldest first; never a value."""
        return self.peripheral.journal

    async def __aenter__(self) -> Self:
        await self.peripheral.power_on()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.peripheral.power_off()

    def inject(self, fault: BleFault) -> None:
        """Let `fault` happen once, at the next occasion for it."""
        self.faults.inject(fault)


def information(said: Mapping[int, str]) -> Service:
    """Device Information that says this, by characteristic."""
    return Service(
        UUID.from_16_bits(profiles.DEVICE_INFORMATION),
        [read_only(uuid, text.encode()) for uuid, text in said.items()],
    )


def battery(percent: int) -> Service:
    """The Battery Service."""
    level = read_only(profiles.BATTERY_LEVEL, bytes([percent]))
    return Service(UUID.from_16_bits(profiles.BATTERY), [level])
