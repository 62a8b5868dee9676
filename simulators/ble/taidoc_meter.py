"""FORA D40b and IR42 by Bluetooth: the frames of their cable over one characteristic that is written and notified.

What it keeps and what it lies about is the cable's (simulators/serial/taidoc.py); here it answers by radio: also for
its clock (23), and for each record by its number.

Sources: markchuang56/iOS-Demo h2SyncLib Fora.m, ForaD40.m (questions, their order, the clock's bytes, newest first);
advmeds-service/advmeds-bluetooth-lib ForaD40bConnection.java. Not known, and so chosen here: its name, the length of
the window, that it does not hang up by itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bumble.core import UUID
from bumble.gatt import Service
from bumble.transport.common import Transport

from simulators.ble.faults import BleFault
from simulators.ble.peripheral import asked
from simulators.ble.vendor import VendorDevice
from simulators.serial.taidoc import frame, time

_SERVICE, _CHARACTERISTIC = "00001523-1212-EFDE-1523-785FEABCD123", "00001524-1212-EFDE-1523-785FEABCD123"
_CLOCK, _TIME, _VALUE, _COUNT = 0x23, 0x25, 0x26, 0x2B
_NOTHING = b"\xff\xff\xff\xff"
_ROOM = 270
_MODES = {"ear": 0, "forehead": 1, "rectal": 2, "axillary": 3, "object": 4, "room": 5, "child": 6}


class TaidocBleMeter(VendorDevice):
    """One meter with an empty memory: a D40 (pressure, glucose) or an IR42 (temperature)."""

    def __init__(self, model: str, radio: Transport, address: str, **options: Any) -> None:
        """`options`: those of VendorDevice that are not this model's own."""
        self.is_thermometer = model == "IR42"
        self.records: list[tuple[bytes, bytes]] = []
        self.questions: list[int] = []
        self._says = asked(_CHARACTERISTIC, self.hear, notifies=True)
        super().__init__(
            radio,
            address,
            name=f"FORA {model} SIM",
            services=(Service(UUID(_SERVICE), [self._says]),),
            advertised=None,
            measurement=self._says,
            bonds=False,
            **options,
        )

    async def measure(
        self,
        systolic: int,
        diastolic: int,
        pulse: int,
        *,
        irregular: bool = False,
        average: bool = False,
        mean: int = 0,
        taken: datetime | None = None,
    ) -> None:
        """Keep a pressure (mmHg, per minute) and advertise; `mean` is the byte that sources read in two ways."""
        when = time(taken or self.clock.now(), 0x80 | (0x40 if irregular else 0), 0x80 if average else 0)
        await self._keep(when, bytes([systolic, mean, diastolic, pulse]))

    async def measure_temperature(self, tenths: int, *, mode: str = "forehead", taken: datetime | None = None) -> None:
        """Keep a temperature (tenths of a degree Celsius) and advertise."""
        bits = _MODES[mode]
        when = time(taken or self.clock.now(), (bits & 3) << 6, (bits & 4) << 3)
        await self._keep(when, tenths.to_bytes(2, "little") + _ROOM.to_bytes(2, "little"))

    async def measure_glucose(self, taken: datetime | None = None) -> None:
        """Keep a glucose."""
        await self._keep(time(taken or self.clock.now(), 0, 0), bytes([104, 0, 250, 0x97]))

    async def _keep(self, when: bytes, value: bytes) -> None:
        self.records.insert(0, (when, value))
        await self.advertise()

    def hear(self, data: bytes) -> None:
        """Take a question and answer it; what is none is passed over."""
        if len(data) != 8 or data != frame(data[1], data[2:6], 0xA3):
            return
        command, number = data[1], int.from_bytes(data[2:4], "little")
        self.questions.append(command)
        if command == _CLOCK:
            answer = frame(command, time(self.clock.now(), 0, 0))
        elif command == _COUNT:
            answer = frame(command, len(self.records).to_bytes(4, "little"))
        elif command in (_TIME, _VALUE):
            halves = self.records[number] if number < len(self.records) else (_NOTHING, _NOTHING)
            answer = frame(command, halves[command - _TIME])
        else:
            self.journal.append(f"asked to {command:02x}")
            return
        if command == _VALUE and self.faults.met(BleFault.HANG_UP):
            self.peripheral.run(self.peripheral.hang_up())
            return
        if command == _VALUE and self.faults.met(BleFault.WRONG_CHECK):
            self.journal.append("wrong check")
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        self.peripheral.run(self.peripheral.notify(self._says, answer))
