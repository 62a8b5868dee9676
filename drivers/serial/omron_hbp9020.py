"""Omron HBP-9020, a monitor that an arm is put into: one line for each measurement (mode 5, F3).

    bp,99999999999999999999,2023/04/27,15:06,140,098,077,068,3      CR LF, or CR alone
    word, ID, date, time, systolic, mean, diastolic, pulse, and a digit
The two public drivers contradict each other. One does not read the digit and quotes the line above, in which it is 3
beside good numbers; the other calls it an error code and shows 0. So it decides nothing, and one that is not 0 is
flagged `undocumented_field`. They also differ in the line's end: CR LF is read at once, CR alone when nothing follows
for a while. An ID that is all nines, all zeros or blank is none: the nines stood in the capture. There is no check.

Source: a public C# modality driver, line in its comment; a public C# kiosk's class HBP9020, packet table and simulated
line. Nothing is sent.
"""

from __future__ import annotations

import re
from datetime import datetime

from drivers.contract import Codec, Driver, Event, Rejected, Sample
from drivers.framing import TerminatedFrames
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.pressures import measurements
from drivers.records import Records

LONGEST_FRAME = 60
LIMIT = 256

_RECORD = re.compile(
    rb"bp,(?P<id>[ -+\--~]{20}),(?P<time>[0-9]{4}/[0-9]{2}/[0-9]{2},[0-9]{2}:[0-9]{2}),(?P<systolic>[0-9]{3}),"
    rb"(?P<mean>[0-9]{3}),(?P<diastolic>[0-9]{3}),(?P<pulse>[0-9]{3}),(?P<last>[0-9])\r\n?"
)


class _Lines:
    """Reads lines that end in CR LF, or in CR alone; after one with CR LF a last one without its LF was cut off."""

    limit = LIMIT

    def __init__(self) -> None:
        self._frames = TerminatedFrames(b"\r\n", limit=LIMIT, keep=2 * LONGEST_FRAME)
        self._has_lf = False

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; see Codec."""
        events: list[Event] = []
        for piece, complete in self._frames.feed(data):
            self._has_lf = self._has_lf or complete
            events += _piece(piece, rest="malformed" if complete else "noise")
        return events

    def flush(self) -> list[Event]:
        """Give up half a line; one that ended in CR is whole where none had an LF. See Codec."""
        has_lf, self._has_lf = self._has_lf, False
        rest = self._frames.flush()
        if has_lf:
            return [Rejected("truncated", rest)] if rest else []
        return _piece(rest, rest="truncated")


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return _Lines()


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Records(Listening(codec(model.quirks)))


def _piece(piece: bytes, *, rest: str) -> list[Event]:
    """Answer the events of the lines in a piece; what is before one is noise, what is after the last is `rest`."""
    events: list[Event] = []
    at = 0
    for found in _RECORD.finditer(piece):
        if found.start() > at:
            events.append(Rejected("noise", piece[at : found.start()]))
        events.append(_decode(found))
        at = found.end()
    if at < len(piece):
        events.append(Rejected(rest, piece[at:]))
    return events


def _decode(found: re.Match[bytes]) -> Event:
    frame = found[0]
    try:
        device_time = _time(found["time"])
    except ValueError:
        return Rejected("invalid_timestamp", frame)
    told = measurements(found)
    if told is None:
        return Rejected("bad_number", frame)
    user = found["id"].strip(b" ").decode("ascii")
    return Sample(
        told,
        () if found["last"] == b"0" else ("undocumented_field",),
        device_time=device_time,
        device_user=user if user.strip("0") and user.strip("9") else None,
        raw=frame,
    )


def _time(text: bytes) -> datetime:
    """Answer what the monitor's clock showed. Raises ValueError."""
    year, month, day, hour, minute = map(int, re.split(rb"[/,:]", text))
    return datetime(year, month, day, hour, minute)  # noqa: DTZ001 - a device's clock has no zone
