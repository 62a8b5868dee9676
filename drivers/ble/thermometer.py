"""Health Thermometer Profile, service 1809: a temperature (2A1C), one still rising (2A1E), where it is taken (2A1D).

2A1C and 2A1E, little-endian; a field in brackets is there if its flag is set, in this order:

    flags 8 | temperature FLOAT | [date time 7 bytes] [type 8]       flags: bit 0 [degF] (else Cel), 1 date time, 2 type

1. The length that the flags promise is the length that came, or the value is refused; reserved bits mean nothing.
2. A temperature that is no number is a notice. One that still rises (2A1E) is never a vital.
3. The type says where on the body. 0 and what is reserved are seen in practice: the site is then not said, and the
   temperature stands.
4. Some advertise a temperature as service data 1809: a FLOAT alone, in degrees Celsius.

Sources: Bluetooth SIG, Health Thermometer Service 1.0 and GATT Specification Supplement (Temperature Type). What is
advertised, which no specification has: an owner's capture of a FreeTec PX-1737, devpeace.com thread 25713995.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivers.ble import companions, date_time
from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Rejected, Sample
from drivers.ieee11073 import FLOAT_BYTES, Special, decode_float
from drivers.models import Quirks

_FAHRENHEIT, _DATE_TIME, _TYPE = 1, 2, 4
_OPTIONAL = ((_DATE_TIME, date_time.LENGTH), (_TYPE, 1))
_TEMPERATURE = slice(1, 1 + FLOAT_BYTES)

# Temperature Type 1 to 9, in the words of clinics: armpit, body, ear, finger, gastro-intestinal tract, mouth, rectum,
# toe, tympanum.
_SITES = ("axillary", "body", "ear", "finger", "gastrointestinal", "oral", "rectal", "toe", "tympanic")
_SITE = dict(enumerate(_SITES, start=1))

_NO_NUMBER = {
    Special.POSITIVE_INFINITY: ("over_range", "the temperature is above what the thermometer can measure"),
    Special.NEGATIVE_INFINITY: ("under_range", "the temperature is below what the thermometer can measure"),
}
_FAILED = ("measurement_failed", "the thermometer could not measure")


def decode_measurement(value: bytes) -> Event:
    """2A1C: answer the temperature as a Sample with its site, or why there is none."""
    bits = value[0] if value else 0
    field, end = {}, _TEMPERATURE.stop
    for flag, length in _OPTIONAL:
        if bits & flag:
            field[flag] = value[end : end + length]
            end += length
    if len(value) != end:
        return Rejected("length", value)
    try:
        device_time = date_time.decode(field[_DATE_TIME]) if _DATE_TIME in field else None
    except ValueError:
        return Rejected("invalid_date_time", value)
    temperature = decode_float(value[_TEMPERATURE])
    if isinstance(temperature, Special):
        return _no_number(temperature, value)
    unit = "[degF]" if bits & _FAHRENHEIT else "Cel"
    return Sample(
        (Measurement("body_temperature", temperature, unit),),
        device_time=device_time,
        site=_SITE.get(field[_TYPE][0]) if _TYPE in field else None,
        raw=value,
    )


def decode_intermediate_temperature(value: bytes) -> Event:
    """2A1E, laid out as 2A1C: answer that the thermometer is at work; a temperature that rises is no vital."""
    event = decode_measurement(value)
    return event if isinstance(event, Rejected) else Notice("measuring", "the temperature still settles", value)


def decode_type(value: bytes) -> Event:
    """2A1D: answer where the thermometer measures; the site is the notice's detail, empty where it is not said."""
    if len(value) != 1:
        return Rejected("length", value)
    return Notice("temperature_type", _SITE.get(value[0], ""), value)


def decode_advertised(value: bytes) -> Event:
    """Service data 1809: answer the temperature as a Sample, or why there is none."""
    if len(value) != FLOAT_BYTES:
        return Rejected("length", value)
    temperature = decode_float(value)
    if isinstance(temperature, Special):
        return _no_number(temperature, value)
    return Sample((Measurement("body_temperature", temperature, "Cel"),), raw=value)


def _no_number(temperature: Special, value: bytes) -> Notice:
    return Notice(*_NO_NUMBER.get(temperature, _FAILED), value)


# What a session subscribes to.
SERVICES = ("1809",)
RECORDS = ("2A1C",)

_CODECS: Mapping[str, CharacteristicCodec] = {
    "2A1C": decode_measurement,
    "2A1D": decode_type,
    "2A1E": decode_intermediate_temperature,
}


def characteristics(_quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codec of each characteristic that this driver reads."""
    return _CODECS


def advertisements(_quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codec of each service's data that this driver reads in advertisements."""
    return {"1809": decode_advertised, "180F": companions.decode_battery}
