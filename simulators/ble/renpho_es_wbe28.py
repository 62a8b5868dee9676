"""RENPHO ES-WBE28: silent until consent 02 AA 0F 27; one count is 0.05 kg; a body composition that no flag explains.

Flags 0x4E in a weight: time, user 170, BMI and height (both zero), and a reserved bit. The measurements are to be
turned on last. Source: KristianP26/ble-scale-sync, src/scales/renpho.ts and tests/scales/renpho.test.ts (captures).
Not known, and so chosen here: that its clock can be read.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from simulators.ble import profiles
from simulators.ble.scale import Scale, ScaleModel

USER, CODE = 0xAA, 9999
COMPOSITION = bytes.fromhex("0c02f901f70144000dec00a500290091020600")  # as it was captured
_STEP = Decimal("0.05")
_RESERVED = 0x40


class RenphoEsWbe28(Scale):
    """The scale."""

    model = ScaleModel("RENPHO", "ES-WBE28", "Renpho-Scale", users={USER: CODE}, bonds=False, notifies=True)

    async def measure(self, weight: Decimal, *, taken: datetime | None = None) -> None:
        """Weigh somebody (kg), keep it and advertise."""
        said = weight_record(weight, taken or self.now())
        await self.keep_and_advertise(
            (profiles.WEIGHT_MEASUREMENT, said), (profiles.BODY_COMPOSITION_MEASUREMENT, COMPOSITION)
        )


def weight_record(weight: Decimal, taken: datetime) -> bytes:
    """A weight of this scale."""
    return profiles.weight_measurement(
        weight, step=_STEP, taken=taken, user=USER, bmi_and_height=(0, 0), reserved=_RESERVED
    )
