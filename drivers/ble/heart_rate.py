"""Heart Rate Profile, service 180D: what a chest strap or a band counts once a second (2A37).

Little-endian; a field in brackets is there if its flag is set, in this order:

    flags 8 | rate 8 or 16 | [energy 16, kJ] [RR intervals, 16 each, one or more, in 1/1024 s]
    flags: bit 0 the rate has 16 bits, 1 contact with the skin, 2 bit 1 means something, 3 energy, 4 RR intervals

1. The length that the flags promise is the length that came; RR intervals are whole, and at least one.
2. Status first: where a strap says that it has no contact, the rate beside it is nobody's. It is flagged `no_contact`,
   and SpotChecks makes a break of it, never a reading. A rate of zero is none.
3. A strap that cannot tell contact (bit 2 clear) is believed: its model's row says so, and what to do.
4. Energy and RR intervals are no vitals.

`heart_rate` is the electrical one. An optical band counts pulses on this same characteristic and does not say so: no
model of that kind has a row.

Source: Bluetooth SIG, Heart Rate Service 1.0, section 3.1, and GATT Specification Supplement. The least number of RR
intervals: NordicSemiconductor/Android-BLE-Common-Library HeartRateMeasurementDataCallbackTest.java. A rate without
contact: polarofficial/polar-ble-sdk#83; random ones of an optical band that was taken off: #131.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks
from drivers.spot_check import NO_CONTACT

_SIXTEEN_BITS, _CONTACT, _TELLS_CONTACT, _ENERGY, _INTERVALS = (1 << bit for bit in range(5))


def decode_measurement(value: bytes) -> Event:
    """2A37: answer the rate as a Sample, or why there is none."""
    bits = value[0] if value else 0
    rate_end = 3 if bits & _SIXTEEN_BITS else 2
    intervals = len(value) - rate_end - (2 if bits & _ENERGY else 0)
    if intervals != 0 and not bits & _INTERVALS:
        return Rejected("length", value)
    if bits & _INTERVALS and (intervals < 2 or intervals % 2):
        return Rejected("length", value)
    rate = int.from_bytes(value[1:rate_end], "little")
    off = bits & _TELLS_CONTACT and not bits & _CONTACT
    if rate == 0:
        if off:
            return Notice("sensor_off", "it has no contact with the skin", value)
        return Notice("no_data", "it counts no heartbeat", value)
    flags = (NO_CONTACT,) if off else ()
    return Sample((Measurement("heart_rate", Decimal(rate), "/min"),), flags, raw=value)


# What a session subscribes to; it streams, and makes one reading for each time that it is worn.
SERVICES = ("180D",)
RECORDS = ("2A37",)
STREAMS = RECORDS

_CODECS: Mapping[str, CharacteristicCodec] = {"2A37": decode_measurement}


def characteristics(_quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codec of the characteristic that this driver reads."""
    return _CODECS
