"""Xiaomi's scales: a weight in the advertisement, for everybody, and nothing to connect to.

    181D, 10 bytes: control, weight, stamp            181B, 13 bytes: unit, control, stamp, impedance, weight

What they do, and this does too:

1. It is silent until somebody stands on it. The first frames have no load; then the weight wavers, not stable; then it
   stands, stable; one that measures impedance says that some beats later, in the same frame. Off the scale it says the
   last weight on for a while, with the bit that the load is gone.
2. `linger`: it says it on again, much later, though nobody was on it (custom-components/ble_monitor#366: a weight from
   before at each start of who listens).
3. Its clock was never set, unless told otherwise: 1970, and on from when the batteries went in.
4. A weight is in kg, pounds or catty (jin, half a kilogram), as was set at it.
5. It carries a marker in the same packet as the weight, where the true ones carry their maker's data (0x0157) and their
   address: nothing simulated can look real, not on a real dongle either.

Sources: custom-components/ble_monitor#292 (frames in their order), #366, #1094 (impedance); theengs/decoder
tests/BLE/test_ble.cpp (bits); KristianP26/ble-scale-sync#143 (says on for 15 to 25 s), #353 (pounds). Chosen here: how
long it wavers, and by how much.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Literal, Self

from bumble import hci
from bumble.core import AdvertisingData
from bumble.device import AdvertisingType, Device, DeviceConfiguration
from bumble.transport.common import Transport

from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS

WEIGHT_SCALE, BODY_COMPOSITION = 0x181D, 0x181B
RISES_BEATS, STANDS_BEATS, TAIL_BEATS, IMPEDANCE_AFTER = 4, 8, 40, 4

Unit = Literal["kg", "lb", "catty"]

_MARKER = struct.pack("<H", 0xFFFF) + b"SIM"
_LE_ONLY_GENERAL = 0x06
_POUND = Decimal("0.45359237")
_PER_UNIT = {"kg": (Decimal(1), 200), "lb": (_POUND, 100), "catty": (Decimal("0.5"), 100)}
_STEP = {"kg": 10, "lb": 10, "catty": 10}  # the display's, in counts: 0.05 kg, 0.1 lb, 0.1 catty
_WAVERS = (Decimal("0.31"), Decimal("0.83"), Decimal("1.02"), Decimal("0.99"))
_BATTERIES_IN = datetime(1970, 1, 1, 0, 0, 0)  # noqa: DTZ001 - a device's clock has no zone
OVERLOAD = 0xFFF0


def counts(kg: Decimal, unit: Unit) -> int:
    """The weight as it is sent, rounded to what the display shows."""
    size, per_unit = _PER_UNIT[unit]
    return round(kg / size * per_unit / _STEP[unit]) * _STEP[unit]


def first(
    count: int, at: datetime, *, unit: Unit = "kg", stable: bool, removed: bool = False, thing: bool = False
) -> bytes:
    """Service data 181D, of the first generation and of the Smart Scale 2."""
    control = 0x02 | (unit == "lb") << 0 | (unit == "catty") << 4 | stable << 5 | thing << 6 | removed << 7
    return struct.pack("<BH", control, count) + _stamp(at)


def second(
    count: int,
    at: datetime,
    *,
    unit: Unit = "kg",
    stable: bool,
    removed: bool = False,
    thing: bool = False,
    impedance: int | None = None,
) -> bytes:
    """Service data 181B, of the scales that measure impedance (Ohm; None: not yet)."""
    kind = 0x02 | (unit == "lb") << 0 | thing << 2
    control = 0x04 | (impedance is not None) << 1 | stable << 5 | (unit == "catty") << 6 | removed << 7
    return struct.pack("<BB", kind, control) + _stamp(at) + struct.pack("<HH", impedance or 0, count)


class MiScale:
    """The scale; `generation` 1 says 181D, 2 says 181B. Beats follow one another by `beat_s`."""

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        generation: Literal[1, 2] = 1,
        unit: Unit = "kg",
        clock: DeviceClock | None = None,
        beat_s: float = 0.5,
        standing: Iterable[BleFault] = (),  # noqa: ARG002 - it has none: nobody connects
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`address` is random static. `radio` is given back at the end. `clock` None: never set."""
        self.address = address
        self.unit: Unit = unit
        self.name = "MI_SCALE" if generation == 1 else "MIBFS"
        self._generation = generation
        self._radio = radio
        self._beat_s = beat_s
        self._clock = clock
        self._on = asyncio.get_running_loop().time()
        self._last: tuple[int, datetime, bool, int | None] | None = None
        self._device = Device.from_config_with_hci(
            DeviceConfiguration(
                name=self.name,
                address=hci.Address(address, hci.Address.RANDOM_DEVICE_ADDRESS),
                advertising_interval_min=advertising_interval_ms,
                advertising_interval_max=advertising_interval_ms,
            ),
            radio.source,
            radio.sink,
        )

    async def __aenter__(self) -> Self:
        await self._device.power_on()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._device.power_off()
        await self._radio.close()

    async def measure(self, kg: Decimal, *, impedance: int | None = None, thing: bool = False) -> None:
        """Somebody steps on it, waits for the weight, and leaves."""
        await self.rise(kg, thing=thing)
        await self.stand(kg, impedance=impedance, thing=thing)
        await self.leave()

    async def rise(self, kg: Decimal, *, thing: bool = False) -> None:
        """A load comes on: nothing at first, then a weight that wavers."""
        await self._say(0, stable=False)
        for part in _WAVERS[:RISES_BEATS]:
            await self._say(counts(kg * part, self.unit), stable=False, thing=thing)

    async def stand(self, kg: Decimal, *, impedance: int | None = None, thing: bool = False) -> None:
        """The weight stands; one that can says the impedance some beats later."""
        at, count = self._now(), counts(kg, self.unit)
        for beat in range(STANDS_BEATS):
            known = impedance if self._generation == 2 and beat >= IMPEDANCE_AFTER else None
            self._last = (count, at, thing, known)
            await self._say(count, stable=True, thing=thing, impedance=known, at=at)

    async def leave(self) -> None:
        """The load is off: the last weight is said on, and then nothing."""
        await self.linger(TAIL_BEATS)

    async def linger(self, beats: int) -> None:
        """Say the last weight on, or once more; nothing if there is none."""
        if self._last is not None:
            count, at, thing, impedance = self._last
            for _ in range(beats):
                await self._say(count, stable=True, removed=True, thing=thing, impedance=impedance, at=at)
        await self.fall_silent()

    async def step_off_early(self, kg: Decimal) -> None:
        """Somebody is gone before the weight stands."""
        await self.rise(kg)
        await self._say(counts(kg, self.unit), stable=False, removed=True)
        await self.fall_silent()

    async def fall_silent(self) -> None:
        """Say nothing more."""
        await self._device.stop_advertising()

    def _now(self) -> datetime:
        if self._clock is not None:
            return self._clock.now().replace(microsecond=0)
        return _BATTERIES_IN + timedelta(seconds=int(asyncio.get_running_loop().time() - self._on))

    async def _say(
        self,
        count: int,
        *,
        stable: bool,
        removed: bool = False,
        thing: bool = False,
        impedance: int | None = None,
        at: datetime | None = None,
    ) -> None:
        when = at or self._now()
        if self._generation == 1:
            data = first(count, when, unit=self.unit, stable=stable, removed=removed, thing=thing)
            service = WEIGHT_SCALE
        else:
            data = second(count, when, unit=self.unit, stable=stable, removed=removed, thing=thing, impedance=impedance)
            service = BODY_COMPOSITION
        await self._device.start_advertising(
            AdvertisingType.UNDIRECTED_SCANNABLE, advertising_data=_packet(service, data)
        )
        await asyncio.sleep(self._beat_s)


def _packet(service: int, data: bytes) -> bytes:
    """One advertisement: 28 of the 31 bytes there are, or all of them."""
    uuid = struct.pack("<H", service)
    return bytes(
        AdvertisingData(
            [
                (AdvertisingData.FLAGS, bytes([_LE_ONLY_GENERAL])),
                (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, uuid),
                (AdvertisingData.MANUFACTURER_SPECIFIC_DATA, _MARKER),
                (AdvertisingData.SERVICE_DATA_16_BIT_UUID, uuid + data),
            ]
        )
    )


def _stamp(at: datetime) -> bytes:
    return struct.pack("<HBBBBB", at.year, at.month, at.day, at.hour, at.minute, at.second)
