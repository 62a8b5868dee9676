"""What devices have in common that keep all they measured, and answer questions of a vendor's own about it.

1. Nothing is said unasked, and nothing is forgotten: who asks for a record gets it, however often.
2. It advertises for a window after a measurement, and does not hang up by itself.
3. Its name and its serial number say that it is simulated, as does the marker service.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from bumble.core import UUID
from bumble.gatt import Characteristic, Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault, BleFaults
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, Peripheral, read_only


class VendorDevice(ABC):
    """A device with a memory; a subclass knows what stands in it, and the questions."""

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        name: str,
        services: Sequence[Service],
        advertised: int | None,
        measurement: Characteristic[bytes],
        bonds: bool,
        clock: DeviceClock | None = None,
        window_s: float = 30.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`address` is random static; its last digits end the serial number. `radio` is given back at the end."""
        self.clock = clock or DeviceClock()
        self.faults = BleFaults(standing)
        self._window_s = window_s
        serial_number = "SIM-" + address.replace(":", "")[-6:]
        information = Service(
            UUID.from_16_bits(profiles.DEVICE_INFORMATION),
            [read_only(profiles.SERIAL_NUMBER, serial_number.encode())],
        )
        self.peripheral = Peripheral(
            radio,
            name=name,
            address=address,
            advertised=advertised,
            services=(*services, information),
            measurement=measurement,
            pairing_allowed=lambda _another: not self.faults.met(BleFault.REFUSE_PAIRING),
            bonds=bonds,
            advertising_interval_ms=advertising_interval_ms,
        )

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

    async def advertise(self) -> None:
        """Offer what is kept, as after a measurement."""
        if self.faults.met(BleFault.VANISH):
            await self.peripheral.advertise_once()
        else:
            await self.peripheral.advertise(self._window_s)

    @abstractmethod
    def hear(self, data: bytes) -> None:
        """Take what the host writes."""
