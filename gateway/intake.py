"""Sample -> kept reading, for one device: place it in time, normalize, find out whether it is a repeat, validate.

Identity is the record, never the value. A record that its device stamped, by a clock that can be believed, has an id
that follows from device, characteristic and bytes: sent twice, it is one reading. Any other reading has an id by
chance; a record among them that came before names the earlier one, and is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from uuid import UUID, uuid4, uuid5

import simplejson

from drivers.contract import Identity, Measurement, Sample
from gateway import payload, settings
from gateway.clock import Clock
from gateway.fence import Evidence, place
from gateway.normalize import normalize
from gateway.payload import Origin
from gateway.ranges import Ranges
from gateway.reading import ClockQuality, Device, Disposition, Mode, Reading, Times
from gateway.rows import Captured, Draft
from gateway.validate import Rules, validate
from gateway.vocabulary import UNITS, to_canonical

# The name space of records' ids. It never changes: a consumer knows a record by its id for ever.
RECORDS = UUID("6f1d3c0e-4b1a-5c57-9b0e-3a6b8f2d7e41")


@dataclass(frozen=True, slots=True)
class Taken:
    """A reading, where its device keeps records the name of the one behind it, and whether it is of now."""

    reading: Reading
    record: UUID | None
    is_live: bool


@dataclass(frozen=True, slots=True)
class _Last:
    """The last measurement of one kind, and the reading in which it went out."""

    measurement: Measurement
    reading_id: UUID


class Intake:
    """Makes readings of one device's samples. `new_id` answers the id of a reading that has no record behind it."""

    def __init__(
        self,
        device: settings.Device,
        origin: Origin,
        ranges: Ranges,
        clock: Clock,
        zone: tzinfo = UTC,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        """`zone`: what the clocks of devices show."""
        self._clock = clock
        self._new_id = new_id
        self._last: dict[str, _Last] = {}
        self.change(device, origin, ranges, zone)

    def change(self, device: settings.Device, origin: Origin, ranges: Ranges, zone: tzinfo) -> None:
        """Make readings by these from now on; what was measured last is remembered, for a repeat may still come."""
        self._model = device.model
        self._device = Device(device.id, device.model_name, device.model.maker, hardware=device.address)
        self._rules = Rules(ranges, device.model, device.unit, device.stored == "publish")
        self._origin = origin
        self._zone = zone

    def remember(self, kept: bytes) -> UUID:
        """Take note of a reading that was kept before this start, by its bytes, the oldest first; answer its id."""
        members = simplejson.loads(kept, use_decimal=True)
        for vital in members["vitals"]:
            measured = vital["measured"]
            if measured is not None:
                measurement = Measurement(vital["kind"], Decimal(measured["value"]), measured["unit"])
                self._last[vital["kind"]] = _Last(measurement, UUID(members["id"]))
        return UUID(members["id"])

    def reading(self, sample: Sample, mode: Mode) -> Reading:
        """Answer the validated reading. Raises UnknownUnit, which is the driver's fault."""
        sample, repeated = self._resolve_doubt(sample)
        at = self._clock.now().monotonic if sample.at is None else sample.at
        received_at = self._clock.utc_at(at)
        quality = self._clock.quality
        # A device without a clock is live when it speaks; how much earlier it measured, its settling rule bounds.
        uncertainty_s = self._model.settling.silence_s
        times = Times(
            received_at,
            received_at,
            "gateway",
            uncertainty_s,
            quality,
            device_time=sample.device_time,
            instant=self._clock.since_boot(at),
        )
        reading = normalize(
            sample, model=self._model, device=self._device, mode=mode, times=times, reading_id=self._new_id()
        )
        if repeated is not None:
            reading = replace(reading, possible_repeat_of=repeated)
        reading = validate(reading, self._rules)
        for measurement in sample.measurements:
            self._last[measurement.kind] = _Last(measurement, reading.id)
        return reading

    def record(self, sample: Sample, mode: Mode, evidence: Evidence, identity: Identity, at: float) -> Taken:
        """Answer the validated reading of what a device with a clock keeps; `at` is the monotonic instant of arrival.

        Raises UnknownUnit, which is the driver's fault.
        """
        placed = place(
            sample.device_time,
            self._clock.utc_at(at),
            at,
            evidence,
            live_window_s=self._model.live_window_s,
            zone=self._zone,
            quality=self._clock.quality,
        )
        times, record = replace(placed.times, instant=self._clock.since_boot(at)), None
        if self._model.memory == "none":  # it says what it measures now
            times = replace(times, taken_at=times.received_at, source="gateway", uncertainty_s=0.0)
        elif sample.device_time is not None:
            record = uuid5(RECORDS, f"{self._device.hardware} {sample.characteristic} {sample.raw.hex()}")
        if placed.stored:
            sample = replace(sample, flags=(*sample.flags, "stored"))
        reading = normalize(
            sample,
            model=self._model,
            device=replace(self._device, serial=identity.serial, firmware=identity.firmware),
            mode=mode,
            times=times,
            reading_id=record if record is not None and placed.believed else self._new_id(),
        )
        return Taken(validate(reading, self._rules), record, placed.believed and not placed.stored)

    def heard(self, sample: Sample, mode: Mode, at: float, *, is_live: bool) -> Taken:
        """Answer the validated reading of what a device says to everybody; `at` is the monotonic instant of arrival.

        What is not live has a time that nobody knows. Its record is known by stamp and load: its bytes change with what
        is said beside them. Raises UnknownUnit, which is the driver's fault.
        """
        received_at, load, record = self._clock.utc_at(at), sample.measurements[0], None
        if sample.device_time is not None:
            said = f"{sample.characteristic} {sample.device_time.isoformat()} {load.value} {load.unit}"
            record = uuid5(RECORDS, f"{self._device.hardware} {said}")
        times = Times(
            received_at if is_live else None,
            received_at,
            "gateway",
            self._model.live_window_s if is_live else None,
            self._clock.quality,
            device_time=sample.device_time,
            instant=self._clock.since_boot(at),
        )
        reading_id = record if record is not None and not is_live else self._new_id()
        reading = normalize(
            sample, model=self._model, device=self._device, mode=mode, times=times, reading_id=reading_id
        )
        return Taken(validate(reading, self._rules), record, is_live)

    def hold(self, reading: Reading, flag: str) -> Reading:
        """Answer the reading with a flag that holds it."""
        return validate(replace(reading, flags=(*reading.flags, flag)), self._rules)

    def draft(self, reading: Reading, record: UUID | None = None, characteristic: str | None = None) -> Draft:
        """Answer what the outbox keeps of a reading, and of the record behind it."""

        def encode(stream: UUID, sequence: int) -> bytes:
            return payload.encode(reading, _in_stream(self._origin, stream), sequence)

        def as_repeat_of(earlier: UUID) -> Draft:
            repeat = validate(replace(reading, possible_repeat_of=earlier), self._rules)
            return self.draft(repeat, characteristic=characteristic)

        times, captured = reading.times, None
        if times.quality is not ClockQuality.SYNCED and times.instant is not None:
            captured = Captured(self._clock.boot, times.instant, times.quality)
        topic = payload.topic(reading, self._origin)
        return Draft(
            reading.id,
            reading.revision,
            reading.device.id,
            topic,
            encode,
            reading.raw,
            record,
            None if record is None or self._model.memory == "kept" else as_repeat_of,
            captured,
            _why_held(reading),
            characteristic,
        )

    def _resolve_doubt(self, sample: Sample) -> tuple[Sample, UUID | None]:
        """Answer which reading a doubtful sample repeats; one that equals no earlier reading is not doubtful."""
        if "possible_repeat" not in sample.flags:
            return sample, None
        load = sample.measurements[0]
        last = self._last.get(load.kind)
        if last is not None and _could_be_the_same(load, last.measurement):
            return sample, last.reading_id
        return replace(sample, flags=tuple(flag for flag in sample.flags if flag != "possible_repeat")), None


@lru_cache(maxsize=8)  # the same one with every reading
def _in_stream(origin: Origin, stream: UUID) -> Origin:
    return replace(origin, stream=stream)


def _why_held(reading: Reading) -> str | None:
    if reading.disposition is Disposition.USABLE:
        return None
    return next(iter(reading.reasons), "no_reason_given")


def _could_be_the_same(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements may be one load: equal, or in two units as near as the two displays can tell."""
    if one.unit == other.unit:
        return one.value == other.value
    difference = to_canonical(one.value, one.unit) - to_canonical(other.value, other.unit)
    return abs(difference) <= _last_digit(one) + _last_digit(other)


def _last_digit(measurement: Measurement) -> Fraction:
    return Fraction(10) ** int(measurement.value.as_tuple().exponent) * UNITS[measurement.unit].factor
