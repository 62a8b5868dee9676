"""Pulse Oximeter Service: its records (2A5E, 2A5F), and a finger that comes and goes.

Source: Bluetooth SIG, Pulse Oximeter Service 1.0.1, sections 3.1 and 3.2. That there is no number while it measures:
XCSoar/XCSoar#2972. Chosen here: which of the "no number" values that is, for how long, how the first numbers rise, and
that the last ones stay a while beside "unconnected to user".
"""

from __future__ import annotations

import struct
from datetime import datetime
from decimal import Decimal
from enum import IntFlag

from simulators.ble.profiles import date_time, sfloat

SEARCHES_BEATS, HOLDS_BEATS, LEAVES_AFTER_BEATS = 3, 2, 8
_RISE = (-4, -2)  # the first saturations after a finger went in, beside the true one
_RESERVED = bytes.fromhex("0108")


class MeasurementStatus(IntFlag):
    """Measurement Status, 16 bits."""

    ONGOING = 1 << 5
    EARLY_ESTIMATE = 1 << 6
    FULLY_QUALIFIED = 1 << 8
    FROM_STORAGE = 1 << 9
    DEMONSTRATION = 1 << 10
    QUESTIONABLE = 1 << 14


class SensorStatus(IntFlag):
    """Device and Sensor Status, 24 bits."""

    NOTHING = 0
    EQUIPMENT_MALFUNCTION = 1 << 1
    LOW_PERFUSION = 1 << 5
    SIGNAL_ANALYSIS_ONGOING = 1 << 9
    UNCONNECTED_TO_USER = 1 << 11


Pair = tuple[Decimal, Decimal]


def spot_check(
    numbers: Pair | None,
    *,
    taken: datetime | None = None,
    clock_set: bool = True,
    measurement: MeasurementStatus | None = None,
    sensor: SensorStatus | None = None,
    amplitude: Decimal | None = None,
) -> bytes:
    """PLX Spot-check Measurement, 2A5E: saturation and pulse, None for no number; the rest only where it is given."""
    flags = (
        (taken is not None) << 0
        | (measurement is not None) << 1
        | (sensor is not None) << 2
        | (amplitude is not None) << 3
        | (not clock_set) << 4
    )
    stamp = date_time(taken) if taken is not None else b""
    return bytes([flags]) + _pair(numbers) + stamp + _status(measurement, sensor, amplitude)


def continuous(
    numbers: Pair | None,
    *,
    fast: Pair | None = None,
    slow: Pair | None = None,
    measurement: MeasurementStatus | None = None,
    sensor: SensorStatus | None = None,
    amplitude: Decimal | None = None,
) -> bytes:
    """PLX Continuous Measurement, 2A5F, in the same way."""
    flags = (
        (fast is not None) << 0
        | (slow is not None) << 1
        | (measurement is not None) << 2
        | (sensor is not None) << 3
        | (amplitude is not None) << 4
    )
    others = b"".join(_pair(pair) for pair in (fast, slow) if pair is not None)
    return bytes([flags]) + _pair(numbers) + others + _status(measurement, sensor, amplitude)


class Finger:
    """What an oximeter sees, beat by beat: `beat` answers numbers and sensor status, None when it switches off.

    No number for a while after a finger went in, then numbers that rise; the last ones stay a while after it went out.
    """

    def __init__(self) -> None:
        self._numbers: tuple[int, int] | None = None
        self._weak = self._is_in = False
        self._beats = 0

    def put_in(self, saturation: int, pulse: int, *, weak: bool = False) -> None:
        """A finger goes in: %, per minute; `weak`: with low perfusion."""
        self._numbers, self._weak, self._beats, self._is_in = (saturation, pulse), weak, 0, True

    def take_out(self) -> None:
        """The finger goes out."""
        self._beats, self._is_in = 0, False

    def beat(self) -> tuple[Pair | None, SensorStatus] | None:
        """One beat passes."""
        count, self._beats = self._beats, self._beats + 1
        if self._numbers is not None and self._is_in:
            if count < SEARCHES_BEATS:
                return None, SensorStatus.SIGNAL_ANALYSIS_ONGOING
            saturation, pulse = self._numbers
            rise = (*_RISE, 0)[min(count - SEARCHES_BEATS, len(_RISE))]
            status = SensorStatus.LOW_PERFUSION if self._weak else SensorStatus.NOTHING
            return (Decimal(saturation + rise), Decimal(pulse)), status
        if count >= LEAVES_AFTER_BEATS:
            return None
        if self._numbers is not None and count < HOLDS_BEATS:
            saturation, pulse = self._numbers
            return (Decimal(saturation), Decimal(pulse)), SensorStatus.UNCONNECTED_TO_USER
        return None, SensorStatus.UNCONNECTED_TO_USER


def _pair(numbers: Pair | None) -> bytes:
    return 2 * _RESERVED if numbers is None else sfloat(numbers[0]) + sfloat(numbers[1])


def _status(measurement: MeasurementStatus | None, sensor: SensorStatus | None, amplitude: Decimal | None) -> bytes:
    return b"".join(
        (
            struct.pack("<H", measurement) if measurement is not None else b"",
            int(sensor).to_bytes(3, "little") if sensor is not None else b"",
            sfloat(amplitude) if amplitude is not None else b"",
        )
    )
