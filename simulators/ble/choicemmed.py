"""A ChoiceMMed fingertip oximeter: streams while a finger is in it, and has a spot check ready when it goes out.

Its clock was never set: it starts at 2017-01-01 each time that it is switched on, and the spot check says so. Source:
stackoverflow.com/questions/71264072 (one record of each kind). Chosen here: when the spot check comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.open_device import OpenDevice
from simulators.ble.oximetry import Finger, MeasurementStatus, SensorStatus, continuous, spot_check
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, indicated, notified, read_only

_STARTS_AT = datetime(2017, 1, 1)  # noqa: DTZ001 - a device's clock knows no zone
_FEATURES = bytes.fromhex("0b00") + bytes.fromhex("2000") + bytes.fromhex("200800")  # both statuses, a time stamp


class ChoicemmedOximeter(OpenDevice):
    """The oximeter."""

    maker = "ChoiceMMed"

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        beat_s: float = 1.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """See OpenDevice."""
        self._spot_check = indicated(profiles.PLX_SPOT_CHECK)
        super().__init__(
            radio,
            address,
            model="SIM-PLX",
            name="ChoiceMMed",
            service=profiles.PULSE_OXIMETER,
            measurement=notified(profiles.PLX_CONTINUOUS),
            beside=[self._spot_check, read_only(profiles.PLX_FEATURES, _FEATURES)],
            beat_s=beat_s,
            standing=standing,
            advertising_interval_ms=advertising_interval_ms,
        )
        self._finger = Finger()
        self._clock = DeviceClock()
        self._record: bytes | None = None

    async def attach(self, saturation: int, pulse: int, *, weak: bool = False) -> None:
        """A finger goes in, and the oximeter switches itself on: %, per minute."""
        self._clock.set(_STARTS_AT)
        self._finger.put_in(saturation, pulse, weak=weak)
        await self.advertise()

    async def detach(self) -> None:
        """The finger goes out; the spot check goes to whoever asked for it."""
        self._finger.take_out()
        if self._record is not None:
            await self.peripheral.indicate_aside(self._spot_check, self._record)

    async def measure(self, saturation: int, pulse: int) -> None:
        """A finger is in it for a while."""
        await self.attach(saturation, pulse)
        await self._stay()
        await self.detach()

    def next_frame(self) -> bytes | None:
        """What it sees in this beat."""
        seen = self._finger.beat()
        if seen is None:
            return None
        numbers, sensor = seen
        measurement = MeasurementStatus.ONGOING
        if self.faults.met(BleFault.DEMONSTRATION):
            measurement |= MeasurementStatus.DEMONSTRATION
        if numbers is not None and not sensor & SensorStatus.UNCONNECTED_TO_USER:
            self._record = spot_check(
                numbers, taken=self._clock.now(), clock_set=False, measurement=measurement, sensor=sensor
            )
        return continuous(numbers, measurement=measurement, sensor=sensor)
