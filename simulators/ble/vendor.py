"""What devices have in common that keep all they measured, and answer questions of a vendor's own about it.

1. Nothing is said unasked, and nothing is forgotten: who asks for a record gets it, however often.
2. It advertises for a window after a measurement, and does not hang up by itself.
3. Its name and its serial number say that it is simulated, as does the marker service.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from bumble.gatt import Characteristic, Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.gatt_device import GattDevice, information
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, Peripheral


class VendorDevice(GattDevice, ABC):
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
        super().__init__(address, standing)
        self.clock = clock or DeviceClock()
        self._window_s = window_s
        self.peripheral = Peripheral(
            radio,
            name=name,
            address=address,
            advertised=advertised,
            services=(*services, information({profiles.SERIAL_NUMBER: self.serial_number})),
            measurement=measurement,
            pairing_allowed=lambda _another: not self.faults.met(BleFault.REFUSE_PAIRING),
            bonds=bonds,
            advertising_interval_ms=advertising_interval_ms,
        )

    async def advertise(self) -> None:
        """Offer what is kept, as after a measurement."""
        if self.faults.met(BleFault.VANISH):
            await self.peripheral.advertise_once()
        else:
            await self.peripheral.advertise(self._window_s)

    @abstractmethod
    def hear(self, data: bytes) -> None:
        """Take what the host writes."""
