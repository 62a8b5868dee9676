"""Health o meter Professional chair scale 2595KL and baby scales 522, 524, 553 (Pelstar), scale-initiated, 2400 8N1.

A packet: 02, unit, D7, E4, weight, CR. The baby scales may begin with 01 instead of 02.
    unit 80 lb, 82 kg · D7 E4 mean nothing · weight in ASCII with its zeros: `xxx.x` (chair), `xxx.xxx` (baby)
Whether the load is still does not stand in it, and there is no checksum: equal packets make a reading.

Source: Pelstar, "Communication Protocols" REV20230711, pages 14-17 (PDF in STocidlowski/ScaleReporter, reference/).
Nothing is ever sent to the scale.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

LONGEST_PACKET = 12
LIMIT = 256

_PACKET = re.compile(
    rb"(?:\x02(?P<unit>[\x00-\xff])\xd7\xe4(?P<weight>[0-9]{3}\.[0-9])"
    rb"|[\x01\x02](?P<unit2>[\x00-\xff])\xd7\xe4(?P<weight2>[0-9]{3}\.[0-9]{3}))\r\Z"
)
_UNITS = {b"\x80": "[lb_av]", b"\x82": "kg"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r", limit=LIMIT, keep=2 * LONGEST_PACKET, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks)), model.settling)


def _piece(piece: bytes) -> list[Event]:
    """Answer a piece's event. Noise may stand before a packet, never within it: the packet has the piece's end."""
    found = _PACKET.search(piece)
    if found is None:
        return [Rejected("bad_frame", piece)]
    event = _decode(found)
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    unit = _UNITS.get(found["unit"] or found["unit2"])
    if unit is None:
        return Rejected("unknown_units", found[0])
    weight = Decimal((found["weight"] or found["weight2"]).decode("ascii"))
    if not weight:
        return Notice("zero_weight", "the scale is empty, or shows the load as tared", found[0])
    return Sample((Measurement("body_weight", weight, unit),), ("stability_not_on_wire",), raw=found[0])
