"""Beurer's BF family (BF720, BF788, BF105, BF500, BF950): weight, body composition, users with a consent code.

A weight carries time, user, BMI and height; a body composition (flags 0x0398) neither time nor user. Without the app,
which writes the user's data back, each body composition is a placeholder: all zero but the basal metabolism.

Source: KristianP26/ble-scale-sync, tests/scales/beurer-bf720.test.ts, #168, #229. Not known, and so chosen here: the
order of weight and body composition, that its clock can be read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from simulators.ble import profiles
from simulators.ble.scale import Scale, ScaleModel

USER, CODE = 1, 2520
HISTORY = 35
_STEP = Decimal("0.005")
_HEIGHT_MM = 1920
_BASAL, _MUSCLE, _SOFT_LEAN, _WATER, _IMPEDANCE = 3, 4, 7, 8, 9


class BeurerBf(Scale):
    """The scale."""

    model = ScaleModel("Beurer", "BF720", "BF720", users={USER: CODE})

    async def measure(
        self,
        weight: Decimal,
        *,
        body_fat: Decimal | None = None,
        taken: datetime | None = None,
        height_mm: int = _HEIGHT_MM,
    ) -> None:
        """Weigh the user (kg), keep it and advertise. Without `body_fat` (%) the composition is a placeholder."""
        await self.keep_and_advertise(*self.records(weight, taken or self.now(), body_fat, height_mm))

    def remember_history(self, weight: Decimal) -> None:
        """Put 35 older weights of the user into the memory, each with its placeholder."""
        now = self.now()
        for days in range(HISTORY, 0, -1):
            self.memory.extend(self.records(weight, now - timedelta(days=days), None, _HEIGHT_MM))

    def records(
        self, weight: Decimal, taken: datetime, body_fat: Decimal | None, height_mm: int
    ) -> tuple[tuple[int, bytes], ...]:
        """The weight and the body composition of one weighing."""
        meters = Decimal(height_mm) / 1000
        bmi = int((weight / meters / meters * 10).to_integral_value())
        said = profiles.weight_measurement(weight, step=_STEP, taken=taken, user=USER, bmi_and_height=(bmi, height_mm))
        return (
            (profiles.WEIGHT_MEASUREMENT, said),
            (profiles.BODY_COMPOSITION_MEASUREMENT, composition(body_fat)),
        )


def composition(body_fat: Decimal | None) -> bytes:
    """A body composition of this family; None: a placeholder."""
    if body_fat is None:
        empty = ((_MUSCLE, 0), (_SOFT_LEAN, 0), (_WATER, 0), (_IMPEDANCE, 0))
        return profiles.body_composition_measurement(0, (_BASAL, 9110), *empty)
    real = ((_BASAL, 9110), (_MUSCLE, 393), (_SOFT_LEAN, 16960), (_WATER, 12282), (_IMPEDANCE, 3925))
    return profiles.body_composition_measurement(int(body_fat * 10), *real)
