"""What A&D's UA-651BLE and UT-201BLE have in common.

1. A record is made when it is measured, stamped with the device's own clock, and kept until a host has confirmed it.
   Only what is kept is sent: oldest first, in indications, as soon as the host has turned them on.
2. The device advertises for a window after a measurement, and hangs up by itself when it has sent all.
3. Date Time (2A08) stands in the measurement's service, to read and to write; there is no Current Time Service.
4. The bond comes first: turning on indications, writing the clock and the vendor's commands need an encrypted link.
5. Its serial number begins with SIM-: nothing simulated can look real, not on a real dongle either.

Sources: andengineering/AndroidSampleCode#1 and #2; obniz parts, ua651ble; blessed-bluez#26; HEADS-project/ThingML-BLE,
AND_Medical_UA651BLE.md (captures). Not known, and so chosen here: the length of the window, whether reading the clock
needs a bond (here not), what `02 00 E1` does with records that were sent before (here nothing).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from bumble import att
from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection
from bumble.gatt import Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.gatt_device import GattDevice, battery, information
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, Peripheral, indicated, read_only, written

VENDOR_SERVICE = "233BF000-5A34-1B6D-975C-000D5690ABE4"
VENDOR_COMMAND = "233BF001-5A34-1B6D-975C-000D5690ABE4"
SEND_ALL = bytes.fromhex("0200e1")
DISCONNECT = bytes.fromhex("020103")
FLOOD = 30
_APPLICATION_ERROR = 0x80
_HANG_UP_AFTER_S = 0.02  # the last confirmation and the host's own answers pass before the link ends
_STARTS_AGAIN_AT = datetime(2010, 1, 1)  # noqa: DTZ001 - a device's clock knows no zone


@dataclass(frozen=True, slots=True)
class AndModel:
    """What tells one model from another: `name` is the advertised name, without the digits at its end."""

    model: str
    name: str
    service: int
    measurement: int
    features: Mapping[int, bytes] = field(default_factory=dict)


class AndDevice(GattDevice, ABC):
    """A device that measures, keeps and sends records; a subclass makes them.

    `memory`: records not confirmed yet, oldest first. `sent`: those that a host has confirmed.
    """

    model: ClassVar[AndModel]

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        clock: DeviceClock | None = None,
        battery_percent: int = 100,
        window_s: float = 30.0,
        pace_s: float = 0.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`address` is random static; its last digits end name and serial number. `radio` is given back at the end.

        `pace_s` is the time from one record to the next: a radio's connection interval, where it matters.
        """
        super().__init__(address, standing)
        self.clock = clock or DeviceClock()
        self.memory: list[bytes] = []
        self.sent: list[bytes] = []
        self._window_s = window_s
        self._pace_s = pace_s
        self._in_pairing_mode = False
        model = self.model
        measurement = indicated(model.measurement)
        features = [read_only(uuid, value) for uuid, value in model.features.items()]
        date_time = written(
            UUID.from_16_bits(profiles.DATE_TIME), self._write_clock, lambda: profiles.date_time(self.clock.now())
        )
        self.peripheral = Peripheral(
            radio,
            name=f"{model.name}_{self.digits}",
            address=address,
            advertised=model.service,
            services=(
                Service(UUID.from_16_bits(model.service), [measurement, *features, date_time]),
                Service(UUID(VENDOR_SERVICE), [written(UUID(VENDOR_COMMAND), self._command)]),
                information(
                    {
                        profiles.MANUFACTURER_NAME: "A&D Medical",
                        profiles.MODEL_NUMBER: model.model,
                        profiles.SERIAL_NUMBER: self.serial_number,
                        profiles.FIRMWARE_REVISION: "SIM",
                    }
                ),
                battery(battery_percent),
            ),
            measurement=measurement,
            pairing_allowed=self._pairing_allowed,
            advertising_interval_ms=advertising_interval_ms,
        )
        self.peripheral.on_subscribed = self._send_kept

    async def keep_and_advertise(self, record: bytes) -> bytes:
        """Keep one more record and advertise for the window; answer the record."""
        self.memory.append(record)
        await self.advertise()
        return record

    async def advertise(self) -> None:
        """Offer what is kept, as when its memory key is pressed."""
        if self.faults.met(BleFault.LOSE_BOND):
            self.peripheral.forget_bond()
        if self.faults.met(BleFault.VANISH):
            await self.peripheral.advertise_once()
        else:
            await self.peripheral.advertise(self._window_s)

    async def pairing_mode(self) -> None:
        """Show "Pr" and advertise: the next host that pairs replaces the one remembered."""
        self._in_pairing_mode = True
        await self.peripheral.advertise(self._window_s)

    @abstractmethod
    def failed_record(self, taken: datetime) -> bytes:
        """The record of a measurement that failed: every number is NaN."""

    async def fail(self) -> bytes:
        """A measurement that does not succeed: kept and sent as any other."""
        return await self.keep_and_advertise(self.failed_record(self.taken_now()))

    def taken_now(self) -> datetime:
        """The time with which a record is stamped that is taken now, after what the clock and the memory suffer."""
        if self.faults.met(BleFault.CLOCK_2010):
            self.clock.set(_STARTS_AGAIN_AT)
        now = self.clock.now().replace(microsecond=0)
        if self.faults.met(BleFault.NAN_FLOOD):
            self.memory.extend(self.failed_record(now - timedelta(minutes=n)) for n in range(FLOOD, 0, -1))
        return now

    async def _send_kept(self, connection: Connection) -> None:
        hang_up = self.faults.met(BleFault.HANG_UP)
        left_when_hanging_up = (len(self.memory) + 1) // 2
        try:
            if self.sent and self.faults.met(BleFault.REPEAT_LAST):
                await self.peripheral.indicate(connection, self.sent[-1])
            while self.memory:
                if hang_up and len(self.memory) == left_when_hanging_up:
                    await self.peripheral.indicate_unheeded(connection, self.memory[0])
                    await self.peripheral.hang_up()
                    return
                await self.peripheral.indicate(connection, self.memory[0])
                self.sent.append(self.memory.pop(0))
                self.journal.append("confirmed")
                await asyncio.sleep(self._pace_s)
        except (BaseBumbleError, TimeoutError):
            self.journal.append("link lost in transfer")
        else:
            await self._hang_up_shortly()

    async def _hang_up_shortly(self) -> None:
        await asyncio.sleep(_HANG_UP_AFTER_S)
        await self.peripheral.hang_up()

    def _write_clock(self, data: bytes) -> None:
        if self.faults.met(BleFault.CLOCK_WRITE_ERROR):
            raise att.ATT_Error(_APPLICATION_ERROR)
        try:
            self.clock.set(profiles.read_date_time(data))
        except ValueError as error:
            if len(data) != 7:
                raise att.ATT_Error(att.ErrorCode.INVALID_ATTRIBUTE_LENGTH) from error
            raise att.ATT_Error(_APPLICATION_ERROR) from error
        self.journal.append("clock set")

    def _command(self, data: bytes) -> None:
        if data == DISCONNECT:
            self.peripheral.run(self._hang_up_shortly())
        elif data != SEND_ALL:
            raise att.ATT_Error(_APPLICATION_ERROR)

    def _pairing_allowed(self, another_host_bonded: bool) -> bool:
        if self.faults.met(BleFault.REFUSE_PAIRING):
            return False
        allowed = self._in_pairing_mode or not another_host_bonded
        self._in_pairing_mode = False
        return allowed
