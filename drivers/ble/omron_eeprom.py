"""Omron's cuffs for the home: no profile of Bluetooth's, their memory (EEPROM) is read, slot by slot.

A record, its 16 bit words in the order that the model's row says (here the low byte first):

    systolic - 25 | diastolic | pulse | year - 2000 (low 6 bits) | when 16 | how 16 | 16 | counter 16 | sum 16
    when: bit 15 movement, 14 irregular pulse, 13-10 month, 9-5 day, 4-0 hour · how: bits 11-6 minute, 5-0 second

1. A slot that was never written is all FF or all 0, or has a first byte above E1: a notice.
2. Seconds up to 63 occur, and are taken for 59: the sample is flagged `seconds_clamped`. A minute 60 is no time.
3. In all published records of 14 bytes the last word holds the sum of the twelve bytes before it. No source says so: it
   is asked for where the row says `summed`. Nor is it known what bits 15 to 12 of `how` mean: one program calls bit 12
   a loose cuff, and it is set in every published record. They are not told.
4. The clock is read before the records, and never set: it is set by writing into the memory that its settings are in.
5. Every slot is read at every connection, the newest first; what was told before is dropped by whoever keeps it.

Sources: userx14/omblepy omblepy.py, sharedDriver.py, deviceSpecific/hem-7155t.py and hem-7600t.py, #2, #55;
eigger/hass-omron omron_ble/record_parsers.py, omron_driver.py, device_catalog.py (addresses), tests, #71.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from drivers.ble import omron_frames
from drivers.ble.omron_exchange import Heard, ask, read, unlock
from drivers.ble.session import Subscribe, VendorConversation
from drivers.checksums import sum8
from drivers.contract import ClockReading, Codec, Event, Measurement, Notice, Rejected, Sample
from drivers.models import DeviceModel, Eeprom, Quirks

# Of the newer and of the older cuffs (userx14/omblepy, eigger/hass-omron).
SERVICES = ("FE4A", "ecbe3980-c9a2-11e1-b1bd-0002a5d5c51b")

_HIGHEST = 0xE1
_LOWEST_SYSTOLIC, _FIRST_YEAR = 25, 2000
_LAST_SECOND = 59
_SUMMED = 12
_CLOCK_BYTES = {"little": 16, "big": 10}
_INDEX_BYTES = {"little": 16, "big": 8}
_RESOLUTION_S = 1.0
_EMPTY = ("empty_slot", "a place in its memory where no measurement is")


def codec(quirks: Quirks) -> Codec:
    """Answer a codec of records, one after the other as they stand in the memory."""
    return _Slots(quirks.eeprom)


class _Slots:
    """Cuts a memory into its slots."""

    def __init__(self, layout: Eeprom) -> None:
        self._layout = layout
        self._rest = b""
        self.limit = layout.record_bytes

    def feed(self, data: bytes) -> list[Event]:
        """Answer an event for each slot that `data` completes; see Codec."""
        data, size = self._rest + data, self._layout.record_bytes
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [decode_record(data[at : at + size], self._layout) for at in range(0, whole, size)]

    def flush(self) -> list[Event]:
        """Give up half a record; see Codec."""
        rest, self._rest = self._rest, b""
        return [Rejected("length", rest)] if rest else []


def decode_record(record: bytes, layout: Eeprom) -> Event:
    """Answer what a slot holds. `record` has the slot's length."""
    if len(record) != layout.record_bytes:
        return Rejected("length", record)
    said = _low_byte_first(record, layout)
    if said[0] > _HIGHEST or not any(said) or not any(said[1:8]):
        return Notice(*_EMPTY, record)
    if layout.summed and sum8(said[:_SUMMED]) != said[_SUMMED]:
        return Rejected("checksum", record)
    when, how = int.from_bytes(said[4:6], "little"), int.from_bytes(said[6:8], "little")
    day = (_FIRST_YEAR + (said[3] & 0x3F), when >> 10 & 0x0F, when >> 5 & 0x1F)
    second = how & 0x3F
    try:
        at = datetime(*day, when & 0x1F, how >> 6 & 0x3F, min(second, _LAST_SECOND))  # noqa: DTZ001 - it has no zone
    except ValueError:
        return Rejected("invalid_date_time", record)
    flags = {
        "body_movement": when & 1 << 15,
        "irregular_pulse": when & 1 << 14,
        "seconds_clamped": second > _LAST_SECOND,
    }
    return Sample(
        (
            Measurement("systolic", Decimal(said[0] + _LOWEST_SYSTOLIC), "mm[Hg]"),
            Measurement("diastolic", Decimal(said[1]), "mm[Hg]"),
            Measurement("pulse_rate", Decimal(said[2]), "/min"),
        ),
        tuple(flag for flag, told in flags.items() if told),
        device_time=at,
        raw=record,
    )


def decode_clock(block: bytes, layout: Eeprom) -> datetime | None:
    """Answer what the clock shows; None where its block is another one, fails its sum or holds no date.

    Little: 8 bytes, year - 2000, month, day, hour, minute, second, the sum of all before it, 0. Big: 2 bytes, then the
    same, in words.
    """
    if len(block) != _CLOCK_BYTES[layout.words]:
        return None
    said = _low_byte_first(block, layout)
    at = len(said) - 8
    year, month, day, hour, minute, second, total = said[at : at + 7]
    if total != sum8(said[: at + 6]) or second >= 1 << 6:
        return None
    try:
        return datetime(_FIRST_YEAR + year, month, day, hour, minute, min(second, _LAST_SECOND))  # noqa: DTZ001 - a device's clock has no zone
    except ValueError:
        return None


def _low_byte_first(words: bytes, layout: Eeprom) -> bytes:
    if layout.words == "little":
        return words
    return bytes(words[at ^ 1] for at in range(len(words)))


# ---- the conversation ------------------------------------------------------------------------------------------------


def conversation(model: DeviceModel, _has: Collection[str]) -> VendorConversation:
    """Unlock, read clock and records, end. Raises LinkError where the cuff does not let us in, or goes silent."""
    layout = model.quirks.eeprom
    for channel in omron_frames.RECEIVE[: layout.channels]:
        yield Subscribe(channel)
    yield from unlock(layout)
    yield from ask(omron_frames.BEGIN, layout)
    yield from _clock(layout)
    index = yield from read(layout.index, _INDEX_BYTES[layout.words], layout)
    for user, base in enumerate(layout.users):
        for slot in _newest_first(index, user, layout):
            yield from _record(base + slot * layout.record_bytes, user, layout)
    yield from ask(omron_frames.END, layout)


def _clock(layout: Eeprom) -> VendorConversation:
    heard = yield from read(layout.clock, _CLOCK_BYTES[layout.words], layout)
    shown = None if heard is None else decode_clock(heard.reply.data, layout)
    if heard is not None and shown is not None:
        half_way = (heard.at - heard.asked_at) / 2
        yield ClockReading(shown, heard.asked_at + half_way, _RESOLUTION_S + half_way)


def _record(address: int, user: int, layout: Eeprom) -> VendorConversation:
    heard = yield from read(address, layout.record_bytes, layout)
    if heard is None:
        return
    event = decode_record(heard.reply.data, layout)
    if isinstance(event, Sample):
        number = str(user + 1) if len(layout.users) > 1 else None
        event = replace(event, device_user=number, at=heard.at, characteristic=omron_frames.RECEIVE[0])
    yield event


def _newest_first(index: Heard | None, user: int, layout: Eeprom) -> Iterator[int]:
    """Answer the slots of a user, the last one written first; from the end where the index does not say which it is."""
    word = b"" if index is None else index.reply.data[2 * user : 2 * user + 2]
    next_one = int.from_bytes(word, layout.words) & 0xFF
    if next_one > layout.slots:
        next_one = 0
    return ((next_one - 1 - back) % layout.slots for back in range(layout.slots))
