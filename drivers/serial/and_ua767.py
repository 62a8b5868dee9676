"""A&D UA-767PC, a cuff with a serial port: a result is ten hexadecimal characters, with nothing before or behind them.

    80 4C 4C 49 60      status, systolic less diastolic, diastolic, pulse, mean pressure
80 is a measurement, 81, 82 and 83 are none. There is no start, end or check, so ten characters are a result only where
their numbers agree: the mean lies between diastolic and systolic. In 804C4C|804C4C4960, half a result and a whole one,
the first ten say a mean that is the diastolic, and are passed over. Where only the mean is missing, the next result's
first characters may stand for it; half a result that nothing follows is given up after two seconds.
A session has packets of its own: ACK 01 "70PC" 06, NAK 01 "70PC" 15. The host opens it (STX "CPC05" ";") and closes it;
whether a result comes without one is not known.

Source: a public JavaScript module UA767, which does not know the last two characters; the Seneca wiki's page of the
UA-767PBT, which calls them the mean. No source gives the baud rate. Nothing is sent.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import NO_FRAME, ScannedCodec, Span
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks

LONGEST_FRAME = 10

_BEGINS_RESULT = re.compile(rb"8(?:[0-3][0-9A-F]{0,8})?")
_PACKETS = {
    b"\x0170PC\x06": ("acknowledged", "a command was taken"),
    b"\x0170PC\x15": ("refused", "a command was refused"),
}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return ScannedCodec(_scan, _decode, longest=LONGEST_FRAME)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model. A result has no time: each that comes is one."""
    return Listening(codec(model.quirks))


def _scan(buffer: bytes | bytearray, at: int) -> Span | None:
    head = bytes(buffer[at : at + LONGEST_FRAME])
    if _BEGINS_RESULT.fullmatch(head):
        return Span(LONGEST_FRAME) if len(head) == LONGEST_FRAME else None
    for packet in _PACKETS:
        if head.startswith(packet):
            return Span(len(packet))
        if packet.startswith(head):
            return None
    return NO_FRAME


def _decode(frame: bytes) -> Event:
    if frame in _PACKETS:
        return Notice(*_PACKETS[frame], frame)
    status, difference, diastolic, pulse, mean = bytes.fromhex(frame.decode("ascii"))
    if status != 0x80:
        return Notice("measurement_failed", "the cuff could not measure: see its display", frame)
    if not diastolic or not diastolic < mean < diastolic + difference:
        return Rejected("contradiction", frame)
    measurements = [
        Measurement("systolic", Decimal(diastolic + difference), "mm[Hg]"),
        Measurement("diastolic", Decimal(diastolic), "mm[Hg]"),
        Measurement("mean_arterial_pressure", Decimal(mean), "mm[Hg]"),
    ]
    if pulse:
        measurements.append(Measurement("pulse_rate", Decimal(pulse), "/min"))
    return Sample(tuple(measurements), raw=frame)
