"""Polar H7 and H10, heart rate straps: a rate a second while they are worn, with the intervals between the beats.

An H7 tells whether it has contact with the skin; an H10 does not (polarofficial/polar-ble-sdk#470). Both advertise with
contact and hang up 20 to 30 s after it was lost (developer.polar.com/wiki, H6, H7, H10 and OH1). The frames: e-learn.cn
1013198 (H7), stackoverflow.com/questions/50477232 (H10). Chosen here: that the last rate stays beside "no contact" for
a while and is zero then, and how the first rates after putting it on jump.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Literal

from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.faults import BleFault
from simulators.ble.open_device import OpenDevice
from simulators.ble.peripheral import ADVERTISING_INTERVAL_MS, notified, read_only

BODY_SENSOR_LOCATION, _CHEST = 0x2A38, b"\x01"
HOLDS_BEATS, HANGS_UP_AFTER_BEATS = 3, 25
_FIRST_RATES = (45, -30, 15)  # off the true one, while the electrodes are dry
_LOWEST = 15  # what a strap counts at all
_TELLS, _HAS_CONTACT = 0b100, 0b010


def heart_rate(rate: int, *, contact: bool | None = None, energy: int | None = None, rr: Sequence[int] = ()) -> bytes:
    """Heart Rate Measurement, 2A37: per minute; kJ; RR intervals in 1/1024 s. `contact` None: it cannot tell."""
    wide = rate > 0xFF
    flags = wide << 0 | (energy is not None) << 3 | bool(rr) << 4
    if contact is not None:
        flags |= _TELLS | (_HAS_CONTACT if contact else 0)
    return b"".join(
        (
            struct.pack("<BH" if wide else "<BB", flags, rate),
            struct.pack("<H", energy) if energy is not None else b"",
            struct.pack(f"<{len(rr)}H", *rr),
        )
    )


class PolarStrap(OpenDevice):
    """The strap."""

    maker = "Polar Electro Oy"

    def __init__(
        self,
        radio: Transport,
        address: str,
        *,
        model: Literal["H7", "H10"] = "H10",
        beat_s: float = 1.0,
        standing: Iterable[BleFault] = (),
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
    ) -> None:
        """See OpenDevice."""
        super().__init__(
            radio,
            address,
            model=model,
            name=f"Polar {model}",
            service=profiles.HEART_RATE,
            measurement=notified(profiles.HEART_RATE_MEASUREMENT),
            beside=[read_only(BODY_SENSOR_LOCATION, _CHEST)],
            beat_s=beat_s,
            standing=standing,
            advertising_interval_ms=advertising_interval_ms,
        )
        self._tells_contact = model == "H7"
        self._rate = self._beats = 0
        self._worn = False

    async def attach(self, rate: int) -> None:
        """Somebody puts it on: per minute."""
        self._rate, self._beats, self._worn = rate, 0, True
        await self.advertise()

    async def detach(self) -> None:
        """It is taken off."""
        self._beats, self._worn = 0, False

    async def measure(self, rate: int) -> None:
        """It is worn for a while."""
        await self.attach(rate)
        await self._stay()
        await self.detach()

    def next_frame(self) -> bytes | None:
        """The rate of this beat, with one interval; none where no heart was heard."""
        count, self._beats = self._beats, self._beats + 1
        contact = self._worn if self._tells_contact else None
        if self._worn:
            off = _FIRST_RATES[count] if count < len(_FIRST_RATES) else count % 3 - 1
            rate = max(_LOWEST, self._rate + off)
            return heart_rate(rate, contact=contact, rr=[60 * 1024 // rate])
        if count >= HANGS_UP_AFTER_BEATS:
            return None
        return heart_rate(self._rate if count < HOLDS_BEATS else 0, contact=contact)
