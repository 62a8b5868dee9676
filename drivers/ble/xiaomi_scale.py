"""Xiaomi's scales, which say their weight to everybody around: service data of their advertisements. No connection.

Little-endian; the stamp is seven bytes, as in date_time.py:

    181D, 10 bytes   control 8 | weight 16 | stamp
                     control: bit 0 pounds, 4 catty, 5 stable, 6 object, 7 removed
    181B, 13 bytes   unit 8 | control 8 | stamp | impedance 16, Ohm | weight 16
                     unit: bit 0 pounds, 2 object, 4 catty; control: bit 1 impedance, 5 stable, 6 catty, 7 removed

    one count is 0.005 kg or 0.01 lb

1. Status first: a weight that is not stable is none, whatever number stands beside it.
2. The last weight is said on when the load is off (`removed`), and then again by a scale that nobody is on: whose it
   is, and of when, the frame does not tell. The gateway does (gateway/weighing.py).
3. `object`: the scale weighs a thing, or a small child held by somebody. Which of them, it does not say.
4. Catty (jin) has no UCUM code: such a weight is told as a notice, which says what to change. Bits of two units at
   once are refused.
5. The stamp is the scale's own clock, 1970 where no telephone has ever set it. Nothing can read that clock by itself.
6. The scale's 65520 is an overload, its impedances of 0, 65533 and 65534 are none.

Source: theengs/decoder src/devices/XMTZC04HM_json.h, XMTZC05HM_json.h and tests; wiecosystem/Bluetooth
doc/devices/huami.health.scale2.md and issue 7, custom-components/ble_monitor#1095 (catty); #292, #366, #1094 (the order
of frames); KristianP26/ble-scale-sync#353 (pounds seen on a display); arendst/Tasmota#25049 (law 6);
esphome/esphome#1368.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from drivers.ble import date_time
from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks

_LENGTH_1, _LENGTH_2 = 10, 13
_STABLE, _REMOVED = 0x20, 0x80  # of the control byte, in both
_POUNDS_1, _CATTY_1, _OBJECT_1 = 0x01, 0x10, 0x40
_POUNDS_2, _OBJECT_2, _CATTY_2 = 0x01, 0x04, 0x10  # of the unit byte
_IMPEDANCE, _CATTY_CONTROL_2 = 0x02, 0x40
_OVERLOAD = 0xFFF0
_NO_IMPEDANCE = frozenset({0, 0xFFFD, 0xFFFE, 0xFFFF})
_STEP = {"kg": Decimal("0.005"), "[lb_av]": Decimal("0.01")}


def decode_first(value: bytes) -> Event:
    """181D: answer the weight as a Sample, or why there is none."""
    if len(value) != _LENGTH_1:
        return Rejected("length", value)
    control = value[0]
    return _weighed(
        value,
        control,
        count=int.from_bytes(value[1:3], "little"),
        stamp=value[3:],
        pounds=bool(control & _POUNDS_1),
        catty=bool(control & _CATTY_1),
        is_object=bool(control & _OBJECT_1),
        impedance=0,
    )


def decode_second(value: bytes) -> Event:
    """181B: answer the weight as a Sample, with the impedance beside it, or why there is none."""
    if len(value) != _LENGTH_2:
        return Rejected("length", value)
    unit, control = value[0], value[1]
    return _weighed(
        value,
        control,
        count=int.from_bytes(value[11:], "little"),
        stamp=value[2:9],
        pounds=bool(unit & _POUNDS_2),
        catty=bool(unit & _CATTY_2 or control & _CATTY_CONTROL_2),
        is_object=bool(unit & _OBJECT_2),
        impedance=int.from_bytes(value[9:11], "little") if control & _IMPEDANCE else 0,
    )


def _weighed(
    value: bytes,
    control: int,
    *,
    count: int,
    stamp: bytes,
    pounds: bool,
    catty: bool,
    is_object: bool,
    impedance: int,
) -> Event:
    if not control & _STABLE:
        if control & _REMOVED:
            return Notice("unsettled", "the load was taken off before it settled", value)
        return Notice("unstable" if count else "zero", "", value)
    if count == 0:
        return Notice("zero", "", value)
    if count == _OVERLOAD:
        return Notice("overload", "more than it can weigh", value)
    if catty and pounds:
        return Rejected("unknown_unit", value)
    if catty:
        return Notice("unit_not_supported", "it is set to catty (jin): set it to kg or lb in its maker's app", value)
    try:
        shown = date_time.decode(stamp)
    except ValueError:
        return Rejected("invalid_date_time", value)
    return _sample(value, "[lb_av]" if pounds else "kg", count, shown, _flags(control, is_object=is_object), impedance)


def _sample(
    value: bytes, unit: str, count: int, shown: datetime | None, flags: tuple[str, ...], impedance: int
) -> Sample:
    has_impedance = impedance not in _NO_IMPEDANCE
    modifiers = {"impedance": Measurement("impedance", Decimal(impedance), "Ohm")} if has_impedance else {}
    weight = Measurement("body_weight", count * _STEP[unit], unit)
    return Sample((weight,), flags, device_time=shown, modifiers=modifiers, raw=value)


def _flags(control: int, *, is_object: bool) -> tuple[str, ...]:
    said = {"stable": True, "removed": bool(control & _REMOVED), "object": is_object}
    return tuple(flag for flag, is_set in said.items() if is_set)


# Nothing is connected, so nothing is subscribed to.
SERVICES = ("181D", "181B")
RECORDS: tuple[str, ...] = ()

_CODECS: Mapping[str, CharacteristicCodec] = {"181D": decode_first, "181B": decode_second}


def characteristics(_quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer no codec: it has no characteristic that this driver reads."""
    return {}


def advertisements(_quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer the codecs of the service data that this driver reads."""
    return _CODECS
