"""Pulse Oximeter Profile, service 1822: spot checks (2A5E), the stream (2A5F), what it can tell (2A60).

Little-endian; a field in brackets is there if its flag is set, in this order:

    2A5E  flags 8 | SpO2, pulse: SFLOAT each | [date time 7 bytes] [measurement 16] [sensor 24] [amplitude SFLOAT]
          flags: bit 0 date time, 1 measurement status, 2 sensor status, 3 pulse amplitude, 4 the clock was never set
    2A5F  flags 8 | SpO2, pulse | [fast: SpO2, pulse] [slow: SpO2, pulse] [measurement] [sensor] [amplitude]
          flags: bit 0 fast, 1 slow, 2 measurement status, 3 sensor status, 4 pulse amplitude

1. The length that the flags promise is the length that came. Reserved bits mean nothing.
2. Status first: sensor off, search, calibration, demonstration, test and early estimates are no measurement, however
   good the numbers beside them. While it measures an oximeter sends a saturation that is no number, or zero.
3. Doubts are flags: a signal that is poor in some way is `low_signal`, as with the serial oximeters. An equipment
   malfunction is flagged beside its numbers: the gateway holds them.
4. A spot check from the device's storage is `stored`. In the stream it is no finger: a `trend`.
5. The stamp of a clock that was never set is no time.
6. The fast and the slow pair are other averages of the same, and are not read. The pulse amplitude index is no vital.

Source: Bluetooth SIG, Pulse Oximeter Service 1.0.1, sections 3.1 to 3.3, and GATT Specification Supplement. The bits
alike in NXP's plx_interface.h and StanfordSpezi/SpeziBluetooth PLXContinuousMeasurement.swift. No number while it
measures: XCSoar/XCSoar#2972. A clock that was never set, 2017-01-01: stackoverflow.com/questions/71264072.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from drivers.ble import date_time
from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Rejected, Sample
from drivers.ieee11073 import SFLOAT_BYTES, Special, decode_sfloat
from drivers.models import Quirks

_PAIR = 2 * SFLOAT_BYTES
_SPOT_CHECK = (("stamp", date_time.LENGTH), ("measurement", 2), ("sensor", 3), ("amplitude", SFLOAT_BYTES))
_CONTINUOUS = (("fast", _PAIR), ("slow", _PAIR), *_SPOT_CHECK[1:])
_CLOCK_NOT_SET = 1 << 4  # of 2A5E

# What is no measurement, the most telling first.
_SENSOR_NOTICES = {
    15: ("sensor_disconnected", "no sensor is plugged in"),
    14: ("defective_sensor", "the sensor does not work"),
    12: ("unrecognized_sensor", "it does not know this sensor"),
    11: ("sensor_off", "the sensor is on no finger"),
    13: ("sensor_off", "the sensor is not where it should be"),
    10: ("interference", "something disturbs the signal"),
    7: ("loss_of_pulse", "it sees no pulse"),
    3: ("inadequate_signal", "the signal is too weak to measure"),
    9: ("pulse_search", "it still looks for the pulse"),
    0: ("out_of_track", "its display has not been renewed for a while: numbers beside that are held ones"),
}
_MEASUREMENT_NOTICES = {
    10: ("demonstration", "it shows numbers for demonstration, of nobody"),
    11: ("demonstration", "it shows numbers for a test, of nobody"),
    15: ("invalid_measurement", "it calls its measurement invalid"),
    13: ("no_data", "it has no measurement"),
    12: ("calibrating", "it calibrates itself"),
    6: ("measuring", "an early estimate"),
}
_MEASUREMENT_FLAGS = {
    5: ("ongoing",),
    7: ("validated",),
    8: ("fully_qualified",),
    9: ("stored",),
    14: ("questionable_measurement",),
}
_SENSOR_FLAGS = {
    1: ("equipment_malfunction",),
    2: ("signal_irregular", "low_signal"),
    4: ("poor_signal", "low_signal"),
    5: ("low_perfusion", "low_signal"),
    6: ("erratic_signal", "low_signal"),
    8: ("questionable_pulse", "low_signal"),
}

_FEATURES = (
    "measurement_status",
    "sensor_status",
    "storage",
    "timestamp",
    "fast",
    "slow",
    "pulse_amplitude_index",
    "multiple_bonds",
)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The fields of a value; None for the time that it does not have, 0 for a status."""

    saturation: Decimal | Special
    pulse: Decimal | Special
    device_time: datetime | None
    measurement: int
    sensor: int
    amplitude: Decimal | Special


def decode_spot_check(value: bytes) -> Event:
    """2A5E: answer the measurement as a Sample, or why there is none."""
    frame = _frame(value, _SPOT_CHECK)
    return frame if isinstance(frame, Rejected) else _event(frame, value)


def decode_continuous(value: bytes) -> Event:
    """2A5F: answer what the sensor shows in this second as a Sample, or why there is none."""
    frame = _frame(value, _CONTINUOUS)
    event = frame if isinstance(frame, Rejected) else _event(frame, value)
    if isinstance(event, Sample) and "stored" in event.flags:
        return Notice("trend", "what was measured earlier", value)
    return event


def decode_features(value: bytes) -> Event:
    """2A60: answer what the oximeter can tell; which bits of its two statuses it uses stays in the bytes."""
    bits = int.from_bytes(value[:2], "little")
    if len(value) != 2 + 2 * (bits & 1) + 3 * (bits >> 1 & 1):
        return Rejected("length", value)
    return Notice("feature", " ".join(name for bit, name in enumerate(_FEATURES) if bits >> bit & 1), value)


# What brings measurements; a model's row says which of the two, and what streams makes one reading a finger.
SERVICES = ("1822",)
RECORDS = ("2A5E", "2A5F")
STREAMS = ("2A5F",)

_CODECS: Mapping[str, CharacteristicCodec] = {
    "2A5E": decode_spot_check,
    "2A5F": decode_continuous,
    "2A60": decode_features,
}


def characteristics(_quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codec of each characteristic that this driver reads."""
    return _CODECS


def _frame(value: bytes, optional: tuple[tuple[str, int], ...]) -> _Frame | Rejected:
    bits = value[0] if value else 0
    field, end = {}, 1 + _PAIR
    for bit, (name, length) in enumerate(optional):
        if bits >> bit & 1:
            field[name] = value[end : end + length]
            end += length
    if len(value) != end:
        return Rejected("length", value)
    device_time = None
    if "stamp" in field and not bits & _CLOCK_NOT_SET:
        try:
            device_time = date_time.decode(field["stamp"])
        except ValueError:
            return Rejected("invalid_date_time", value)
    return _Frame(
        saturation=decode_sfloat(value[1:3]),
        pulse=decode_sfloat(value[3:5]),
        device_time=device_time,
        measurement=int.from_bytes(field.get("measurement", b""), "little"),
        sensor=int.from_bytes(field.get("sensor", b""), "little"),
        amplitude=decode_sfloat(field["amplitude"]) if "amplitude" in field else Special.NAN,
    )


def _event(frame: _Frame, value: bytes) -> Event:
    for status, notices in ((frame.sensor, _SENSOR_NOTICES), (frame.measurement, _MEASUREMENT_NOTICES)):
        for bit, notice in notices.items():
            if status >> bit & 1:
                return Notice(*notice, value)
    saturation, pulse, amplitude = frame.saturation, frame.pulse, frame.amplitude
    if isinstance(saturation, Special) or saturation == 0:
        return Notice("no_data", "it shows no saturation", value)
    if not 0 < saturation <= 100 or (isinstance(pulse, Decimal) and pulse < 0):
        return Rejected("bad_number", value)
    measurements = [Measurement("oxygen_saturation", saturation, "%")]
    if isinstance(pulse, Decimal) and pulse != 0:
        measurements.append(Measurement("pulse_rate", pulse, "/min"))
    modifiers = {}
    if isinstance(amplitude, Decimal):
        modifiers["pulse_amplitude_index"] = Measurement("pulse_amplitude_index", amplitude, "%")
    flags = [*_flags(frame.measurement, _MEASUREMENT_FLAGS), *_flags(frame.sensor, _SENSOR_FLAGS)]
    return Sample(
        tuple(measurements),
        tuple(dict.fromkeys(flags)),
        device_time=frame.device_time,
        modifiers=modifiers,
        raw=value,
    )


def _flags(status: int, names: Mapping[int, tuple[str, ...]]) -> list[str]:
    return [flag for bit, flags in names.items() if status >> bit & 1 for flag in flags]
