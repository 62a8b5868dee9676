"""What devices have in common that ask for no bond: whoever connects may turn their measurement on.

1. It advertises from the moment somebody is at it, until a host connects or its window ends.
2. Who listens hears a frame a beat, for as long as there is something to say; then it hangs up.
3. Its serial number begins with SIM-: nothing simulated can look real, not on a real dongle either.

Sources: developer.polar.com/wiki, H6, H7, H10 and OH1 (advertises with contact, a frame a second, hangs up 20 to 30 s
after it is lost); Bluetooth SIG, Pulse Oximeter Profile 1.0.1. Not known of the oximeters, and so chosen here: that
they ask for no bond, their beat, and when they hang up.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection
from bumble.gatt import Characteristic, Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.faults import BleFault
from simulators.ble.gatt_device import GattDevice, battery, information
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, Peripheral

STAYS_BEATS = 15  # how long a person stays at it in `measure`


class OpenDevice(GattDevice, ABC):
    """A device that is listened to; a subclass says what it says. `maker`, `model`, `name`: as it tells and advertises.

    `inject` lets a fault happen once; `standing` faults happen every time.
    """

    maker: ClassVar[str]

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        model: str,
        name: str,
        service: int,
        measurement: Characteristic[bytes],
        beside: Sequence[Characteristic[bytes]] = (),
        battery_percent: int = 100,
        window_s: float = 120.0,
        beat_s: float = 1.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`address` is random static; its last digits end name and serial number. `radio` is given back at the end.

        `beside`: what its service has beside the measurement. `beat_s` is the time from one frame to the next.
        """
        super().__init__(address, standing)
        self._window_s = window_s
        self._beat_s = beat_s
        said = {
            profiles.MANUFACTURER_NAME: self.maker,
            profiles.MODEL_NUMBER: model,
            profiles.SERIAL_NUMBER: self.serial_number,
            profiles.FIRMWARE_REVISION: "SIM",
        }
        self.peripheral = Peripheral(
            radio,
            name=f"{name} {self.digits}",
            address=address,
            advertised=service,
            services=(
                Service(UUID.from_16_bits(service), [measurement, *beside]),
                information(said),
                battery(battery_percent),
            ),
            measurement=measurement,
            pairing_allowed=lambda _another_host_bonded: True,
            bonds=False,
            advertising_interval_ms=advertising_interval_ms,
        )
        self.peripheral.on_subscribed = self._speak

    @abstractmethod
    def next_frame(self) -> bytes | None:
        """What it says in this beat; None when it has no more to say and hangs up."""

    async def advertise(self) -> None:
        """Be found, unless a host is connected."""
        if self.peripheral.connection is not None:
            return
        if self.faults.met(BleFault.VANISH):
            await self.peripheral.advertise_once()
        else:
            await self.peripheral.advertise(self._window_s)

    async def _stay(self) -> None:
        await asyncio.sleep(STAYS_BEATS * self._beat_s)

    async def _speak(self, connection: Connection) -> None:
        self.journal.append("listened to")
        try:
            while (frame := self.next_frame()) is not None:
                await self.peripheral.indicate(connection, frame)
                if self.faults.met(BleFault.HANG_UP):  # with a finger in it: found again at once
                    await self.peripheral.hang_up()
                    await self.advertise()
                    return
                await asyncio.sleep(self._beat_s)
        except (BaseBumbleError, TimeoutError):
            self.journal.append("link lost")
        else:
            await self.peripheral.hang_up()
