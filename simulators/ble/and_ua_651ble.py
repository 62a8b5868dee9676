"""A&D UA-651BLE, an upper arm blood pressure cuff.

Flags 0x16 in every record: mmHg, with time, pulse and status; a failed measurement is a record whose numbers are all
NaN. Source: HEADS-project/ThingML-BLE, Documentation/AND_Medical_UA651BLE.md (captures).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from simulators.ble import profiles
from simulators.ble.and_device import AndDevice, AndModel
from simulators.ble.profiles import BloodPressureStatus

# Body movement, cuff fit, irregular pulse. Not captured, and so chosen here.
_FEATURES = bytes.fromhex("0700")


class AndUa651ble(AndDevice):
    """The cuff."""

    model = AndModel(
        model="UA-651BLE",
        name="A&D_UA-651BLE",
        service=profiles.BLOOD_PRESSURE,
        measurement=profiles.BLOOD_PRESSURE_MEASUREMENT,
        features={profiles.BLOOD_PRESSURE_FEATURE: _FEATURES},
    )

    async def measure(
        self,
        systolic: int,
        diastolic: int,
        pulse: int,
        *,
        mean: int | None = None,
        status: BloodPressureStatus = BloodPressureStatus.NOTHING,
        taken: datetime | None = None,
    ) -> bytes:
        """Take a reading (mmHg, per minute), keep it and advertise; answer the record.

        `mean` is estimated if it is not given, `taken` is now by the cuff's clock.
        """
        when = taken or self.taken_now()
        estimated = diastolic + round((systolic - diastolic) / 3) if mean is None else mean
        numbers = (Decimal(systolic), Decimal(diastolic), Decimal(estimated))
        record = profiles.blood_pressure_measurement(*numbers, taken=when, pulse=Decimal(pulse), status=status)
        return await self.keep_and_advertise(record)

    def failed_record(self, taken: datetime) -> bytes:
        """The record of a measurement that failed."""
        return profiles.blood_pressure_measurement(None, None, None, taken=taken, status=BloodPressureStatus.NOTHING)
