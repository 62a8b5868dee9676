"""What scales with a radio that are not A&D's have in common: a memory, a slot that consent opens, their own clock.

1. A record is kept until it was sent to a host that listens. With users, it is silent until one of them has consented
   on this link and the weight is turned on after that: the measurements come last.
2. The first of a connection may be the last of the one before (`repeat_last`).
3. New batteries wipe users, bond and clock.
4. Its serial number begins with SIM-.

Sources: KristianP26/ble-scale-sync, src/scales/beurer-bf720.ts, renpho.ts, tests/scales; oliexdev/openScale,
StandardWeightProfileHandler.kt. Not known, and so chosen here: the length of the window, that it hangs up at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from bumble import att
from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.gatt_device import GattDevice, battery, information
from simulators.ble.peripheral import (
    ADVERTISING_INTERVAL_MS,
    Peripheral,
    indicated,
    notified,
    read_only,
    written,
)

CONSENT, RESPONSE, SUCCESS, NOT_SUPPORTED, NOT_AUTHORIZED = 0x02, 0x20, 0x01, 0x02, 0x05
_LISTENS_AFTER_S = 0.05  # a host turns on one characteristic after the other
_HANG_UP_AFTER_S = 0.02
_STARTS_AGAIN_AT = datetime(2010, 1, 1)  # noqa: DTZ001 - a device's clock knows no zone
_Property, _Allowed = Characteristic.Properties, Characteristic.Permissions


@dataclass(frozen=True, slots=True)
class ScaleModel:
    """What tells one model from another.

    `users`: slot and consent code; none: it asks for no consent. `clock`: the characteristic that shows it. `stays`: it
    does not hang up when it has sent all.
    """

    maker: str
    model: str
    name: str
    users: Mapping[int, int] = field(default_factory=dict)
    bonds: bool = True
    notifies: bool = False
    body: bool = True
    clock: int | None = profiles.CURRENT_TIME
    stays: bool = False


class Scale(GattDevice):
    """A scale that keeps and sends records; a subclass makes them. `memory`: characteristic and value, oldest first."""

    model: ClassVar[ScaleModel]

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        clock: DeviceClock | None = None,
        window_s: float = 30.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`address` is random static; its last digits end the serial number. `radio` is given back at the end."""
        super().__init__(address, standing)
        model = self.model
        self.clock = clock or DeviceClock()
        self.memory: list[tuple[int, bytes]] = []
        self.sent: list[tuple[int, bytes]] = []
        self.users = dict(model.users)
        self._window_s = window_s
        self._consented: Connection | None = None
        self._sending = asyncio.Lock()
        make = notified if model.notifies else indicated
        weight = make(profiles.WEIGHT_MEASUREMENT)
        self._body = indicated(profiles.BODY_COMPOSITION_MEASUREMENT)
        self._control = _control_point(self._on_request, encrypted=model.bonds)
        clocks = [] if model.clock is None else [self._clock(model.clock)]
        services = [
            Service(
                UUID.from_16_bits(profiles.WEIGHT_SCALE),
                [weight, read_only(profiles.WEIGHT_SCALE_FEATURE, bytes(4))],
            ),
            information(
                {
                    profiles.MANUFACTURER_NAME: model.maker,
                    profiles.MODEL_NUMBER: model.model,
                    profiles.SERIAL_NUMBER: self.serial_number,
                }
            ),
            battery(80),
        ]
        if model.body:
            services.append(Service(UUID.from_16_bits(profiles.BODY_COMPOSITION), [self._body]))
        if model.users:
            services.append(Service(UUID.from_16_bits(profiles.USER_DATA), [self._control]))
        if clocks:
            services.append(Service(UUID.from_16_bits(profiles.CURRENT_TIME_SERVICE), clocks))
        self.peripheral = Peripheral(
            radio,
            name=model.name,
            address=address,
            advertised=profiles.WEIGHT_SCALE,
            services=services,
            measurement=weight,
            pairing_allowed=lambda _another: not self.faults.met(BleFault.REFUSE_PAIRING),
            bonds=model.bonds,
            advertising_interval_ms=advertising_interval_ms,
        )
        self.peripheral.on_subscribed = self._listens

    def new_batteries(self) -> None:
        """What a change of batteries does: no user, no bond, and a clock that starts again."""
        self.users.clear()
        self.peripheral.forget_bond()
        self.clock.set(_STARTS_AGAIN_AT)

    def now(self) -> datetime:
        """The time with which a record is stamped that is taken now."""
        if self.faults.met(BleFault.CLOCK_2010):
            self.clock.set(_STARTS_AGAIN_AT)
        return self.clock.now().replace(microsecond=0)

    async def keep_and_advertise(self, *records: tuple[int, bytes]) -> None:
        """Keep more records, and offer all that is kept."""
        self.memory.extend(records)
        await self.advertise()

    async def advertise(self) -> None:
        """Offer what is kept; on a link that stays it is sent at once."""
        if self.faults.met(BleFault.LOSE_BOND):
            self.peripheral.forget_bond()
        connection = self.peripheral.connection
        if self.model.stays and connection is not None:
            self.peripheral.run(self._send(connection))
        elif self.faults.met(BleFault.VANISH):
            await self.peripheral.advertise_once()
        else:
            await self.peripheral.advertise(self._window_s)

    async def _listens(self, connection: Connection) -> None:
        if self.model.users and self._consented is not connection:
            self.journal.append("turned on before consent: silent")
            return
        await asyncio.sleep(_LISTENS_AFTER_S)
        await self._send(connection)

    async def _send(self, connection: Connection) -> None:
        async with self._sending:
            await self._send_kept(connection)

    async def _send_kept(self, connection: Connection) -> None:
        hang_up = self.faults.met(BleFault.HANG_UP)
        half = (len(self.memory) + 1) // 2
        try:
            if self.sent and self.faults.met(BleFault.REPEAT_LAST):
                await self._send_one(connection, self.sent[-1])
            while self.memory:
                if hang_up and len(self.memory) == half:
                    await self.peripheral.hang_up()
                    return
                await self._send_one(connection, self.memory[0])
                self.sent.append(self.memory.pop(0))
        except (BaseBumbleError, TimeoutError):
            self.journal.append("link lost in transfer")
        else:
            if not self.model.stays:
                await asyncio.sleep(_HANG_UP_AFTER_S)
                await self.peripheral.hang_up()

    async def _send_one(self, connection: Connection, record: tuple[int, bytes]) -> None:
        uuid, value = record
        if uuid == profiles.WEIGHT_MEASUREMENT:
            await self.peripheral.indicate(connection, value)
        else:
            await self.peripheral.indicate_aside(self._body, value)

    def _on_request(self, connection: Connection, data: bytes) -> None:
        result = NOT_SUPPORTED
        if data[:1] == bytes([CONSENT]) and len(data) == 4:
            knows = self.users.get(data[1]) == int.from_bytes(data[2:], "little")
            result = SUCCESS if knows else NOT_AUTHORIZED
            self._consented = connection if knows else None
            self.journal.append("consented" if knows else "consent refused")
        answer = bytes([RESPONSE, *data[:1], result])
        self.peripheral.run(self.peripheral.indicate_aside(self._control, answer))

    def _clock(self, uuid: int) -> Characteristic[bytes]:
        shows = profiles.date_time if uuid == profiles.DATE_TIME else profiles.current_time
        return written(UUID.from_16_bits(uuid), self._write_clock, lambda: shows(self.clock.now()))

    def _write_clock(self, data: bytes) -> None:
        if self.faults.met(BleFault.CLOCK_WRITE_ERROR):
            raise att.ATT_Error(att.ErrorCode.UNLIKELY_ERROR)
        try:
            self.clock.set(profiles.read_date_time(data[:7]))
        except ValueError as error:
            raise att.ATT_Error(att.ErrorCode.INVALID_ATTRIBUTE_LENGTH) from error
        self.journal.append("clock set")


def _control_point(write: object, *, encrypted: bool) -> Characteristic[bytes]:
    value: CharacteristicValue[bytes] = CharacteristicValue(write=write)  # type: ignore[arg-type]  # bumble knows writers that answer later, too
    allowed = _Allowed.WRITEABLE | (_Allowed.WRITE_REQUIRES_ENCRYPTION if encrypted else _Allowed(0))
    uuid = UUID.from_16_bits(profiles.USER_CONTROL_POINT)
    return Characteristic(uuid, _Property.WRITE | _Property.INDICATE, allowed, value)
