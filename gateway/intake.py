"""Sample -> kept reading, for one device: normalize, find out whether it is a repeat, validate, hand to the outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from uuid import UUID, uuid4

import simplejson

from drivers.contract import Measurement, Sample
from gateway import payload, settings
from gateway.clock import Clock
from gateway.normalize import normalize
from gateway.payload import Origin
from gateway.ranges import Ranges
from gateway.reading import Device, Mode, Reading, Times
from gateway.store import Draft
from gateway.validate import Rules, validate
from gateway.vocabulary import UNITS, to_canonical


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
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._model = device.model
        self._device = Device(device.id, device.model_name, device.model.maker, hardware=device.address)
        self._rules = Rules(ranges, device.model, device.unit, device.stored == "publish")
        self._origin = origin
        self._clock = clock
        self._new_id = new_id
        self._last: dict[str, _Last] = {}

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
        quality = self._clock.quality
        received_at = self._clock.now().utc if sample.at is None else self._clock.utc_at(sample.at)
        # A device without a clock is live when it speaks; how much earlier it measured, its settling rule bounds.
        times = Times(received_at, received_at, "gateway", self._model.settling.silence_s, quality)
        reading = normalize(
            sample, model=self._model, device=self._device, mode=mode, times=times, reading_id=self._new_id()
        )
        if repeated is not None:
            reading = replace(reading, possible_repeat_of=repeated)
        reading = validate(reading, self._rules)
        for measurement in sample.measurements:
            self._last[measurement.kind] = _Last(measurement, reading.id)
        return reading

    def draft(self, reading: Reading) -> Draft:
        """Answer what the outbox keeps of a reading."""

        def encode(sequence: int) -> bytes:
            return payload.encode(reading, self._origin, sequence)

        topic = payload.topic(reading, self._origin)
        return Draft(reading.id, reading.revision, reading.device.id, topic, encode, reading.raw)

    def _resolve_doubt(self, sample: Sample) -> tuple[Sample, UUID | None]:
        """Answer which reading a doubtful sample repeats; one that equals no earlier reading is not doubtful."""
        if "possible_repeat" not in sample.flags:
            return sample, None
        load = sample.measurements[0]
        last = self._last.get(load.kind)
        if last is not None and _could_be_the_same(load, last.measurement):
            return sample, last.reading_id
        return replace(sample, flags=tuple(flag for flag in sample.flags if flag != "possible_repeat")), None


def _could_be_the_same(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements may be one load: equal, or in two units as near as the two displays can tell."""
    if one.unit == other.unit:
        return one.value == other.value
    difference = to_canonical(one.value, one.unit) - to_canonical(other.value, other.unit)
    return abs(difference) <= _last_digit(one) + _last_digit(other)


def _last_digit(measurement: Measurement) -> Fraction:
    return Fraction(10) ** int(measurement.value.as_tuple().exponent) * UNITS[measurement.unit].factor
