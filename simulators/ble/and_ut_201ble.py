"""A&D UT-201BLE, a thermometer: Health Thermometer Service, and otherwise as A&D's cuff.

Not known, and so chosen here: that a record carries time and no temperature type, and its digits (0.1 °C).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from simulators.ble import profiles
from simulators.ble.and_device import AndDevice, AndModel


class AndUt201ble(AndDevice):
    """The thermometer."""

    model = AndModel(
        model="UT-201BLE",
        name="A&D_UT201BLE",
        service=profiles.HEALTH_THERMOMETER,
        measurement=profiles.TEMPERATURE_MEASUREMENT,
    )

    async def measure(self, temperature: Decimal, *, fahrenheit: bool = False, taken: datetime | None = None) -> bytes:
        """Take a reading (°C unless `fahrenheit`), keep it and advertise; answer the record.

        The digits are sent as they are given; `taken` is now by the thermometer's clock.
        """
        when = taken or self.taken_now()
        return await self.keep_and_advertise(
            profiles.temperature_measurement(temperature, fahrenheit=fahrenheit, taken=when)
        )

    def failed_record(self, taken: datetime) -> bytes:
        """The record of a measurement that failed."""
        return profiles.temperature_measurement(None, taken=taken)
