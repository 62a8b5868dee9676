"""A cuff or thermometer of the Bluetooth SIG's profiles; sig_models.py tells one maker's from another's.

1. A record is made when it is measured, stamped with the device's own clock, and sent once the host has turned
   indications on: what was not confirmed, or (`sends_all`) the whole memory, at each connection. Then it hangs up.
2. A clock is Current Time (2A2B), Date Time (2A08) or cannot be asked. One that is told (Omron) is notified when the
   host turns that on, and each second; it takes a setting after the first notification alone, and only if that moves
   it by more than 10 minutes: otherwise ATT error 0x80.
3. Omron's lose their bond when the host turns indications off; they say in their advertisement whether they want to be
   paired and whether their clock was set.
4. `rest_s`: asked and subscribed to without a rest between (Beurer's BM), it stays silent.
5. Its serial number begins with SIM-.

Sources: weliem/blessed-android, BluetoothHandler and README; StanfordSpezi/SpeziDevices, OmronReverseEngineering and
OmronManufacturerData; derdilla/blood-pressure-monitor-fl, ble_read_cubit.dart, docs/bluetooth.md, PR #735, #737;
stackoverflow.com/questions/77654060 (FORA). Not known, and so chosen here: whether Beurer's, FORA's, GRX's, Soehnle's
and Sanitas's can be asked for their clock (`clock` may say otherwise), who wants a bond, the names' digits, which
Omron knows how many users (here one), that the window for a setting ends with the second notification.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from bumble import att
from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.gatt_device import GattDevice
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, Peripheral, indicated
from simulators.ble.profiles import BloodPressureStatus
from simulators.ble.sig_models import ClockKind, SigModel

FLOOD = 30

_OMRON_COMPANY = 0x020E
_OMRON_EACH_USER, _TIME_NOT_SET, _PAIRING_MODE, _STANDARD_SERVICES = 0x01, 1 << 2, 1 << 3, 1 << 5
_TELLS_EVERY_S, _MUST_BE_OFF_BY = 1.0, timedelta(minutes=10)
_APPLICATION_ERROR = 0x80
_HANG_UP_AFTER_S = 0.02
_STARTS_AGAIN_AT = datetime(2010, 1, 1)  # noqa: DTZ001 - a device's clock knows no zone
_RESERVED_FLAGS = 0xC0
_Allowed, _Property = att.Attribute.Permissions, Characteristic.Properties


class SigDevice(GattDevice):
    """A device that measures, keeps and sends records. `memory`: oldest first; `sent`: what hosts have confirmed."""

    def __init__(
        self,
        radio: Transport,
        address: str,
        model: SigModel,
        *,
        clock: DeviceClock | None = None,
        clock_kind: ClockKind | None = None,
        clock_known: bool = True,
        window_s: float = 30.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`address` is random static. `clock_kind`: how its clock can be asked, if not as its model's.

        `clock_known=False`: its clock shows year, month and day 0 until it is set.
        """
        super().__init__(address, standing)
        self.clock = clock or DeviceClock()
        self.clock_known = clock_known
        self.memory: list[bytes] = []
        self.sent: list[bytes] = []
        self._model = model
        self._kind = clock_kind or model.clock
        self._window_s = window_s
        self._in_pairing_mode = False
        self._asked_at = 0.0
        self._told = 0  # notifications of its clock on this connection
        self.is_thermometer = model.service == profiles.HEALTH_THERMOMETER
        measurement = indicated(
            profiles.TEMPERATURE_MEASUREMENT if self.is_thermometer else profiles.BLOOD_PRESSURE_MEASUREMENT
        )
        self.peripheral = Peripheral(
            radio,
            name=f"{model.name}_{self.digits[-4:]}",
            address=address,
            advertised=model.service,
            services=(
                Service(UUID.from_16_bits(model.service), [measurement, *self._clock(profiles.DATE_TIME, "date_time")]),
                *self._current_time_service(),
                Service(
                    UUID.from_16_bits(profiles.DEVICE_INFORMATION),
                    [
                        self._said(profiles.MANUFACTURER_NAME, model.maker.encode()),
                        self._said(profiles.MODEL_NUMBER, model.model.encode() + bytes(2)),
                        self._said(profiles.SERIAL_NUMBER, self.serial_number.encode()),
                        self._said(profiles.FIRMWARE_REVISION, b""),
                    ],
                ),
                Service(UUID.from_16_bits(profiles.BATTERY), [self._said(profiles.BATTERY_LEVEL, b"\x5a")]),
            ),
            measurement=measurement,
            pairing_allowed=self._pairing_allowed,
            bonds=model.bonds,
            manufacturer_data=self._manufacturer_data() if model.omron else b"",
            advertising_interval_ms=advertising_interval_ms,
        )
        self.peripheral.on_subscribed = self._send
        self.peripheral.on_unsubscribed = self._unsubscribed

    async def pressure(
        self, systolic: int, diastolic: int, pulse: int, *, taken: datetime | None = None, irregular: bool = False
    ) -> bytes:
        """Take a pressure (mmHg, per minute), keep it and advertise; answer the record."""
        when = self._taken(taken)
        status = BloodPressureStatus.IRREGULAR_PULSE if irregular else BloodPressureStatus.NOTHING
        if self._model.beurer:
            return await self._keep(
                profiles.beurer_record(systolic, diastolic, pulse, taken=when, user=1, status=status), 7
            )
        numbers = (Decimal(systolic), Decimal(diastolic), None)
        made = profiles.blood_pressure_measurement(*numbers, taken=when, pulse=Decimal(pulse), user=1, status=status)
        return await self._keep(made, 7)

    async def temperature(self, celsius: Decimal, *, taken: datetime | None = None) -> bytes:
        """Take a temperature (°C, the digits as given), keep it and advertise; answer the record."""
        made = profiles.temperature_measurement(celsius, taken=self._taken(taken), site=self._model.site)
        return await self._keep(made, 5)

    async def advertise(self) -> None:
        """Offer what is kept, as when its Bluetooth key is pressed."""
        if self.faults.met(BleFault.LOSE_BOND):
            self.peripheral.forget_bond()
        if self.faults.met(BleFault.VANISH):
            await self.peripheral.advertise_once()
        else:
            await self.peripheral.advertise(self._window_s)

    async def pairing_mode(self) -> None:
        """Advertise for a new host: the next one that pairs replaces the one remembered."""
        self._in_pairing_mode = True
        await self.peripheral.advertise(self._window_s)

    # ---- records -------------------------------------------------------------------------------------------------

    def _taken(self, taken: datetime | None) -> datetime:
        if self.faults.met(BleFault.CLOCK_2010):
            self.clock.set(_STARTS_AGAIN_AT)
        now = taken or self.clock.now().replace(microsecond=0)
        return now.replace(second=0) if self._model.maker == "FORA" else now

    async def _keep(self, record: bytes, stamp_at: int) -> bytes:
        if self.faults.met(BleFault.RESERVED_BITS):
            record = bytes([record[0] | _RESERVED_FLAGS]) + record[1:]
        if self.faults.met(BleFault.NAN_FLOOD) and not self.is_thermometer:
            now = self.clock.now().replace(microsecond=0)
            for n in range(FLOOD, 0, -1):
                self.memory.append(
                    profiles.blood_pressure_measurement(None, None, None, taken=now - timedelta(minutes=n))
                )
        if not self.clock_known:
            record = record[:stamp_at] + bytes(4) + record[stamp_at + 4 :]  # year, month, day
        self.memory.append(record)
        await self.advertise()
        return record

    async def _send(self, connection: Connection) -> None:
        if asyncio.get_running_loop().time() - self._asked_at < self._model.rest_s:
            self.journal.append("silent")
            return
        records = list(self.memory)
        if self.sent and self.faults.met(BleFault.REPEAT_LAST):
            records.insert(0, self.sent[-1])
        hang_up = len(records) // 2 if self.faults.met(BleFault.HANG_UP) else None
        try:
            for index, record in enumerate(records):
                if index == hang_up:
                    break
                await self.peripheral.indicate(connection, record)
                self.sent.append(record)
                if not self._model.sends_all and record in self.memory:
                    self.memory.remove(record)
                self.journal.append("confirmed")
        except (BaseBumbleError, TimeoutError):
            self.journal.append("link lost in transfer")
            return
        await asyncio.sleep(_HANG_UP_AFTER_S)
        await self.peripheral.hang_up()

    # ---- its clock -----------------------------------------------------------------------------------------------

    def _current_time_service(self) -> list[Service]:
        clock = self._clock(profiles.CURRENT_TIME, "current_time")
        return [Service(UUID.from_16_bits(profiles.CURRENT_TIME_SERVICE), clock)] if clock else []

    def _clock(self, uuid: int, kind: ClockKind) -> list[Characteristic[bytes]]:
        if self._kind != kind:
            return []
        encryption = _Allowed.WRITE_REQUIRES_ENCRYPTION if self._model.bonds else _Allowed(0)
        value: CharacteristicValue[bytes] = CharacteristicValue(
            read=lambda _connection: self._shows(), write=lambda _connection, data: self._write_clock(bytes(data))
        )
        tells = _Property.NOTIFY if kind == "current_time" else _Property(0)
        clock: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(uuid),
            _Property.READ | _Property.WRITE | tells,
            _Allowed.READABLE | _Allowed.WRITEABLE | encryption,
            value,
        )
        if tells:
            clock.on(clock.EVENT_SUBSCRIPTION, lambda connection, on, _: self._tell_if(on, connection, clock))
        return [clock]

    def _shows(self) -> bytes:
        self._asked_at = asyncio.get_running_loop().time()
        now = self.clock.now() if self.clock_known else None
        return (profiles.current_time if self._kind == "current_time" else profiles.date_time)(now)

    def _tell_if(self, on: bool, connection: Connection, clock: Characteristic[bytes]) -> None:
        if on:
            self._told = 0
            self.peripheral.run(self._tell(connection, clock))

    async def _tell(self, connection: Connection, clock: Characteristic[bytes]) -> None:
        while self.peripheral.connection is connection:
            self._told += 1
            await self.peripheral.notify(clock, self._shows())
            await asyncio.sleep(_TELLS_EVERY_S)

    def _write_clock(self, data: bytes) -> None:
        if self.faults.met(BleFault.CLOCK_WRITE_ERROR):
            raise att.ATT_Error(_APPLICATION_ERROR)
        try:
            read = profiles.read_current_time if self._kind == "current_time" else profiles.read_date_time
            shown = read(data)
        except ValueError as error:
            raise att.ATT_Error(_APPLICATION_ERROR) from error
        off = abs(shown - self.clock.now()) > _MUST_BE_OFF_BY or not self.clock_known
        if self._model.omron and not (self._told == 1 and off):
            self.journal.append("clock refused")
            raise att.ATT_Error(_APPLICATION_ERROR)
        self.clock.set(shown)
        self.clock_known = True
        self.journal.append("clock set")

    # ---- the rest ------------------------------------------------------------------------------------------------

    def _said(self, uuid: int, value: bytes) -> Characteristic[bytes]:
        def say(_connection: Connection) -> bytes:
            self._asked_at = asyncio.get_running_loop().time()
            return value

        return Characteristic(UUID.from_16_bits(uuid), _Property.READ, _Allowed.READABLE, CharacteristicValue(read=say))

    def _unsubscribed(self) -> None:
        self.journal.append("unsubscribed")
        if self._model.omron:
            self.peripheral.forget_bond()

    def _manufacturer_data(self) -> bytes:
        """As it stands when the batteries are put in: in pairing mode, nothing kept."""
        flags = _STANDARD_SERVICES | _PAIRING_MODE | (0 if self.clock_known else _TIME_NOT_SET)
        return struct.pack("<HBBHB", _OMRON_COMPANY, _OMRON_EACH_USER, flags, 0, 0)

    def _pairing_allowed(self, another_host_bonded: bool) -> bool:
        if self.faults.met(BleFault.REFUSE_PAIRING):
            return False
        allowed = self._in_pairing_mode or not another_host_bonded
        self._in_pairing_mode = False
        return allowed
