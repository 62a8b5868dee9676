"""An exam room's Bluetooth devices on an ordinary day: a cuff and a thermometer, and a neighbor's cuff in range."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import tzinfo
from decimal import Decimal
from types import TracebackType
from typing import Self

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.clock import DeviceClock
from simulators.patient import Patient
from simulators.ports.room import Room

CUFF_ADDRESS, THERMOMETER_ADDRESS, NEIGHBOR_ADDRESS = "C8:1E:8E:00:00:01", "C8:1E:8E:00:02:01", "C8:1E:8E:00:00:02"


class Devices:
    """The devices on an air of their own, their clocks in `zone`; a gateway finds them by `environment`.

    RuntimeError or OSError if the bus cannot be had.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._stack = AsyncExitStack()

    @property
    def environment(self) -> Mapping[str, str]:
        """What leads a gateway to their bus."""
        return self._room.environment

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._room = room = await stack.enter_async_context(Room())
            self.cuff = AndUa651ble(room.air.radio("cuff"), CUFF_ADDRESS, clock=DeviceClock(self._zone))
            self.thermometer = AndUt201ble(
                room.air.radio("thermometer"), THERMOMETER_ADDRESS, clock=DeviceClock(self._zone)
            )
            self.neighbor = AndUa651ble(room.air.radio("neighbor"), NEIGHBOR_ADDRESS)
            for device in (self.cuff, self.thermometer, self.neighbor):
                await stack.enter_async_context(device)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ordinary_day(self, seed: int) -> None:
        """People come and are measured, here and next door, until cancelled.

        What a device does is shielded: bumble may swallow the one cancellation that ends this (Python 3.11, wait_for).
        """
        chance = random.Random(seed)
        while True:
            await asyncio.sleep(2.0)
            vitals = Patient(chance.randrange(1 << 32)).vitals
            await asyncio.shield(
                self.cuff.measure(round(vitals.systolic), round(vitals.diastolic), round(vitals.pulse))
            )
            await asyncio.shield(self.neighbor.measure(118, 76, 64))
            await asyncio.sleep(2.0)
            await asyncio.shield(self.thermometer.measure(Decimal(f"{vitals.temperature_c:.1f}")))
            await asyncio.sleep(chance.uniform(6.0, 9.0))
