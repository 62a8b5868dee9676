"""Nonin Avant 4000 and 9600, 7500FO, 8500, 9847: an oximeter that writes a line a second, CR LF at its end, 9600 8N1.

    SPO2=098 HR=072            %SpO2 and pulse; `---`: none
    SPO2=097 HR=073 F          F: fast averaging
    SPO2=097 HR=073*           an asterisk: someone marked an event
    08:15:09 SPO2=097 HR=073   9847, 8600: the time of day; the 9847 puts a B behind where it counted a breath
There is no checksum and no status: dashes are all that tells of a finger that is out. The Avant 9600 and 7500FO send
two stop bits, 8500 and 9847 a ninth bit that is always mark: 8N1 reads all of them.

Source: Nonin BT4000 manual p. 29 and 35; Avant 9600 p. 5-3; 8500 p. 15; 9847 p. 37. Nothing is sent. The header at
power on is printed nowhere: it is refused.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.spot_check import SpotCheck

LONGEST_LINE = 48
LIMIT = 256

_LINE = re.compile(
    rb"(?:[0-2][0-9]:[0-5][0-9]:[0-5][0-9] )?SPO2=(?P<saturation>[0-9]{3}|---) HR=(?P<pulse>[0-9]{3}|---)"
    rb"(?P<fast> F)?(?P<mark> ?\*)?(?: ?B)? ?\r\n\Z"
)


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=LONGEST_LINE, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return SpotCheck(Listening(codec(model.quirks)), model.spot_check)


def _piece(piece: bytes) -> list[Event]:
    """Answer a line's event. Noise may stand before it, never within it: the line has the piece's end."""
    found = _LINE.search(piece)
    if found is None:
        return [Rejected("bad_frame", piece)]
    event = _decode(found)
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    saturation, pulse = _number(found["saturation"]), _number(found["pulse"])
    if not saturation:
        return Notice("no_data", "it shows no saturation", found[0])
    if saturation > 100:
        return Rejected("bad_number", found[0])
    measurements = [Measurement("oxygen_saturation", saturation, "%")]
    if pulse:
        measurements.append(Measurement("pulse_rate", pulse, "/min"))
    flags = [flag for name, flag in (("fast", "fast_averaging"), ("mark", "event_mark")) if found[name]]
    return Sample(tuple(measurements), tuple(flags), raw=found[0])


def _number(text: bytes) -> Decimal | None:
    return Decimal(text.decode("ascii")) if text.isdigit() else None
