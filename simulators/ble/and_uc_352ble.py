"""A&D UC-352BLE, a scale: Weight Scale Service with Date Time in it, and otherwise as A&D's cuff.

Source: HEADS-project/ThingML-BLE, Documentation/AND_Medical_UC352BLE.md (services). Not known, and so chosen here:
whether a record carries the time. The one published weight of an A&D scale (pounds, 013016) carries none: `stamped`.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from simulators.ble import profiles
from simulators.ble.and_device import AndDevice, AndModel

_KG, _LB = Decimal("0.005"), Decimal("0.01")
_FEATURES = bytes.fromhex("01000000")  # time; chosen, too


class AndUc352ble(AndDevice):
    """The scale."""

    model = AndModel(
        model="UC-352BLE",
        name="A&D_UC-352BLE",
        service=profiles.WEIGHT_SCALE,
        measurement=profiles.WEIGHT_MEASUREMENT,
        features={profiles.WEIGHT_SCALE_FEATURE: _FEATURES},
    )

    async def measure(
        self, weight: Decimal, *, pounds: bool = False, stamped: bool = True, taken: datetime | None = None
    ) -> bytes:
        """Weigh somebody (kg unless `pounds`), keep it and advertise; answer the record."""
        when = taken or self.taken_now()
        record = profiles.weight_measurement(
            weight, step=_LB if pounds else _KG, pounds=pounds, taken=when if stamped else None
        )
        return await self.keep_and_advertise(record)

    def failed_record(self, taken: datetime) -> bytes:
        """The record of a weighing that failed."""
        return profiles.weight_measurement(None, step=_KG, taken=taken)
