"""Detecto Icon, also in the 7550 (6880: "Apex-C"): a professional scale. Weight, BMI and height; no time, no user.

Bit 4 of the flags says that the weight is below zero; the weight is 0 then. 2A9E is not implemented.

Source: Detecto 7550 manual 0065-0647-OM Rev E, p. 56. Not known, and so chosen here: that it sends once when the weight
has settled, what a count is worth in kg (here 0.01, of the manual's 655.35 kg at most), that the link stays, no bond.
"""

from __future__ import annotations

from decimal import Decimal

from simulators.ble import profiles
from simulators.ble.scale import Scale, ScaleModel

_LB, _KG = Decimal("0.01"), Decimal("0.01")
_BELOW_ZERO = 0x10


class DetectoIcon(Scale):
    """The scale."""

    model = ScaleModel("Detecto", "Icon", "Icon", bonds=False, body=False, clock=None, stays=True)

    async def measure(
        self, weight: Decimal, *, pounds: bool = True, bmi_and_height: tuple[int, int] | None = None
    ) -> None:
        """Weigh somebody and send it: BMI and height in counts of 0.1 kg/m2, 0.1 inch. Below zero, it is 0."""
        said = profiles.weight_measurement(
            max(weight, Decimal()),
            step=_LB if pounds else _KG,
            pounds=pounds,
            bmi_and_height=bmi_and_height,
            reserved=_BELOW_ZERO if weight < 0 else 0,
        )
        await self.keep_and_advertise((profiles.WEIGHT_MEASUREMENT, said))
