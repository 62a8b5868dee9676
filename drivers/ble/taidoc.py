"""TaiDoc and FORA by Bluetooth: the frames of their cable (drivers/serial/taidoc.py) over one characteristic.

1. Asked for are the clock (23), how many records there are (2B), and of each its time (25), its value (26) and its time
   again: what comes between must not get another one's time. None of these changes anything: 33 would set the clock,
   43 inflate the cuff, 50 switch it off, 52 erase its memory.
2. Record 0 is the newest one, of whichever user. Only the newest `NEWEST` are read at a connection: a memory of
   hundreds would take minutes. That there are more is a notice.
3. Clock and records count minutes. A record is of now as far as a minute can tell: see its row.
4. The clock is not set: the one program that does so sets it on a scale alone.
5. What the cable's codec refuses is refused here. The second byte of a pressure is the high byte of the systolic to
   who reads a D40, and the mean pressure to who reads a P30: where it is not 0, the record is refused.
6. A question that got no good answer is asked again, three times, after what is still there was thrown away. A late
   answer that is taken for another's shows in the two times, which then differ.

Not read: oximeters (TD-8255, answer 49, of which no source at hand says what it holds); TD-3140, which the host starts;
scales (71, frames of another length); P30 (law 5).

Sources: markchuang56/iOS-Demo h2SyncLib Fora.m, FORA_MTI/ForaD40.h and .m (order of the questions, newest first, the
clock's bytes); advmeds-service/advmeds-bluetooth-lib ForaD40bConnection.java (record 0 without a user).
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import dataclass, replace
from typing import TypeVar

from drivers.ble.session import Act, Answer, Found, Hear, Subscribe, VendorConversation, Write
from drivers.checksums import sum8
from drivers.contract import ClockReading, Codec, Event, Notice, Rejected, Sample
from drivers.errors import DeviceRefused, LinkFault, LinkTimeout
from drivers.models import DeviceModel, Quirks
from drivers.serial import taidoc

SERVICES = ("00001523-1212-efde-1523-785feabcd123",)
CHARACTERISTIC = "00001524-1212-efde-1523-785feabcd123"
CLOCK, TIME, VALUE, COUNT = 0x23, 0x25, 0x26, 0x2B
NEWEST = 20
ANSWER_S, TRIES = 3.0, 3

_RESOLUTION_S = 60.0
_STALE = 8
_UNSETTLED = Notice("unsettled", "the memory changed while a record was read: it is read again at the next connection")
_MORE = Notice("old_record", "there are more records in its memory than are read at once; they stay there")

_T = TypeVar("_T")
_Talk = Generator[Act | Found | Event, Answer, _T]


def codec(quirks: Quirks) -> Codec:
    """Answer the codec: that of the cable."""
    return taidoc.codec(quirks)


def request(command: int, record: int = 0) -> bytes:
    """Answer the frame that asks, for a record by its number. Raises OverflowError for what no frame can say."""
    body = bytes([0x51, command]) + record.to_bytes(2, "little") + b"\0\0\xa3"
    return body + bytes([sum8(body)])


def decode_record(time: bytes, value: bytes, kind: str) -> Event:
    """Answer what a record's two frames say; `kind` is the device's."""
    read = taidoc.codec_of(kind)
    read.feed(time)
    event = (read.feed(value) + read.flush())[-1]  # what is refused may be told at the end only
    return replace(event, raw=time + value)  # of its value alone, two records of different times would be one


@dataclass(frozen=True, slots=True)
class _Heard:
    """A frame of the meter, and when it was asked for and came (monotonic seconds)."""

    frame: bytes
    asked_at: float
    at: float


def conversation(model: DeviceModel, _has: Collection[str]) -> VendorConversation:
    """Read the clock and the newest records. Raises LinkError where it goes silent."""
    frames = taidoc.frames(_reply)
    yield Subscribe(CHARACTERISTIC)
    yield from _clock(frames)
    heard = yield from _ask(COUNT, 0, frames)
    count = 0 if heard is None else int.from_bytes(heard.frame[2:4], "little")
    for number in range(min(count, NEWEST)):
        yield from _record(number, frames, model.kind)
    if count > NEWEST:
        yield _MORE


def _clock(frames: Codec) -> VendorConversation:
    heard = yield from _ask(CLOCK, 0, frames, may_be_silent=True)
    if heard is None:
        return
    try:
        shown = taidoc.clock(heard.frame)
    except ValueError:
        return  # it was never set: its records cannot be placed, and the gateway says so with each
    half_way = (heard.at - heard.asked_at) / 2
    yield ClockReading(shown, heard.asked_at + half_way, _RESOLUTION_S + half_way)


def _record(number: int, frames: Codec, kind: str) -> VendorConversation:
    before = yield from _ask(TIME, number, frames)
    heard = yield from _ask(VALUE, number, frames)
    after = yield from _ask(TIME, number, frames)
    if before is None or heard is None or after is None:
        return  # what was refused was told
    if before.frame != after.frame:
        yield _UNSETTLED
        return
    event = decode_record(before.frame, heard.frame, kind)
    if isinstance(event, Sample):
        event = replace(event, at=heard.at, characteristic=CHARACTERISTIC)
    yield event


def _ask(command: int, record: int, frames: Codec, *, may_be_silent: bool = False) -> _Talk[_Heard | None]:
    """Answer the reply; None where each was refused. Raises LinkError: silence, or no question is taken."""
    for tries_left in reversed(range(TRIES)):
        asked = yield Write(CHARACTERISTIC, request(command, record))
        if asked.refused:
            raise DeviceRefused(LinkFault.DEVICE_REFUSED, "the meter takes no question")
        heard, silent = None, True
        for _ in range(_STALE):
            answer = yield Hear(CHARACTERISTIC, ANSWER_S)
            if answer.refused:
                break
            silent, refused = False, False
            for event in frames.feed(answer.value):
                if isinstance(event, Rejected):
                    refused = True
                    yield event
                elif event.raw[1] != command or heard is not None:
                    yield Rejected("unasked", event.raw)
                else:
                    heard = _Heard(event.raw, asked.began_at, answer.at)
            if heard is not None:
                return heard
            if refused:
                break
        yield from frames.flush()
        yield from _throw_away()
        if silent and not tries_left and not may_be_silent:
            raise LinkTimeout(LinkFault.NO_ANSWER, "no answer to: read its memory")
    return None


def _throw_away() -> VendorConversation:
    for _ in range(_STALE):
        left = yield Hear(CHARACTERISTIC, 0.0)
        if left.refused:
            return
        yield Rejected("unasked", left.value)


def _reply(frame: bytes) -> Event:
    if frame[6] != taidoc.FROM_DEVICE:
        return Rejected("unknown_reply", frame)
    return Notice("reply", "the meter answers", frame)
