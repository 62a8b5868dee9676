"""Masimo MightySat, as far as anybody has said: the standard spot check, when the measurement is over.

Source: weliem/blessed-android#81. All else is chosen here: that it keeps what it could not send, that it stamps its
records, by a clock that nobody can read or set, and the stamp's flag "never set".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.open_device import OpenDevice
from simulators.ble.oximetry import MeasurementStatus, spot_check
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, indicated, read_only

_FEATURES = bytes.fromhex("0d002003")  # measurement status, storage, time stamp; ongoing, fully qualified, from storage


class MightySat(OpenDevice):
    """The oximeter. `memory`: spot checks that nobody has had, oldest first."""

    maker = "Masimo"

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        clock: DeviceClock | None = None,
        clock_set: bool = True,
        beat_s: float = 0.05,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """`clock_set`: what its records say of the clock. See OpenDevice."""
        super().__init__(
            radio,
            address,
            model="MightySat",
            name="MightySat",
            service=profiles.PULSE_OXIMETER,
            measurement=indicated(profiles.PLX_SPOT_CHECK),
            beside=[read_only(profiles.PLX_FEATURES, _FEATURES)],
            beat_s=beat_s,
            standing=standing,
            advertising_interval_ms=advertising_interval_ms,
        )
        self.clock = clock or DeviceClock()
        self.memory: list[bytes] = []
        self._clock_set = clock_set

    async def measure(
        self, saturation: int, pulse: int, *, taken: datetime | None = None, stored: bool = False
    ) -> bytes:
        """Take a spot check (%, per minute), keep it and advertise; answer the record. `stored`: it says so."""
        status = MeasurementStatus.FULLY_QUALIFIED
        if stored:
            status |= MeasurementStatus.FROM_STORAGE
        if self.faults.met(BleFault.DEMONSTRATION):
            status |= MeasurementStatus.DEMONSTRATION
        record = spot_check(
            (Decimal(saturation), Decimal(pulse)),
            taken=taken or self.clock.now().replace(microsecond=0),
            clock_set=self._clock_set,
            measurement=status,
        )
        self.memory.append(record)
        await self.advertise()
        return record

    def next_frame(self) -> bytes | None:
        """The oldest record that nobody has had."""
        return self.memory.pop(0) if self.memory else None
