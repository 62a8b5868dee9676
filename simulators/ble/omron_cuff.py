"""Omron's cuffs for the home, HEM-7142T2, HEM-7144T2, HEM-7155T, HEM-7600T: a memory that is read by address.

Two builds. The newer has one characteristic each way and bonds; the older has four, 16 bytes of a frame on each, no
bond, and a key that some program has put into it. The newer is unlocked by a word that it says back, or not at all.

It lies as a memory does: every slot is told for ever, whoever it was; slots that were never written are FF; seconds
may be told as 60 to 63. What it does not know it answers with FF: nothing here is checked but the frame.

Sources: userx14/omblepy README.md (frames, commands), omblepy.py (characteristics, key), deviceSpecific/ and #55
(records, addresses), #57 (a capture of frames and of the settings); eigger/hass-omron#71 (records), #80 (the word).
Not known, and so chosen here: the length of the window; what nobody explains in a record is as in the captures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bumble import att
from bumble.core import UUID
from bumble.gatt import Service
from bumble.transport.common import Transport

from simulators.ble import profiles
from simulators.ble.faults import BleFault
from simulators.ble.peripheral import asked, told
from simulators.ble.vendor import VendorDevice

OLDER, NEWER = "ECBE3980-C9A2-11E1-B1BD-0002A5D5C51B", "0000FE4A-0000-1000-8000-00805F9B34FB"
_TELLS = (
    "49123040-AEE8-11E1-A74D-0002A5D5C51B",
    "4D0BF320-AEE8-11E1-A0D9-0002A5D5C51B",
    "5128CE60-AEE8-11E1-B84B-0002A5D5C51B",
    "560F1420-AEE8-11E1-8184-0002A5D5C51B",
)
_HEARS = (
    "DB5B55E0-AEE7-11E1-965E-0002A5D5C51B",
    "E0B8A060-AEE7-11E1-92F4-0002A5D5C51B",
    "0AE12B00-AEE8-11E1-A192-0002A5D5C51B",
    "10E1BA60-AEE8-11E1-89E5-0002A5D5C51B",
)
_UNLOCK = "B305B680-AEE7-11E1-A730-0002A5D5C51B"
KEY = bytes.fromhex("deadbeaf12341234deadbeaf12341234")
_MEMORY = 0x2000
_BEGIN, _READ, _END = "0000", "0100", "0f00"
_STARTS_AGAIN_AT = datetime(2010, 1, 1)  # noqa: DTZ001 - a device's clock knows no zone


@dataclass(frozen=True, slots=True)
class Build:
    """What tells one model from another: where what stands, and how it is reached."""

    swapped: bool
    record: int
    users: tuple[int, ...]
    slots: int
    index: int
    clock: int
    channels: int
    lock: str


BUILDS = {
    "HEM-7142T2": Build(False, 14, (0x02E8,), 14, 0x0260, 0x028C, 1, "word"),
    "HEM-7144T2": Build(False, 14, (0x02E8,), 30, 0x0260, 0x028C, 1, ""),
    "HEM-7155T": Build(False, 16, (0x0098, 0x0458), 60, 0x0010, 0x003C, 4, "key"),
    "HEM-7600T": Build(True, 14, (0x02AC,), 100, 0x0260, 0x0274, 4, "key"),
}


def framed(kind: str, address: bytes, data: bytes, *, result: int = 0) -> bytes:
    """A frame: its length, kind, address, count, data, result, and what makes all of it 0 by exclusive or."""
    body = bytes([len(data) + 8]) + bytes.fromhex(kind) + address + bytes([len(data)]) + data + bytes([result])
    check = 0
    for byte in body:
        check ^= byte
    return body + bytes([check])


class OmronCuff(VendorDevice):
    """One cuff with an empty memory; `model` is a name of BUILDS."""

    def __init__(self, model: str, radio: Transport, address: str, **options: Any) -> None:
        """`options`: those of VendorDevice that are not this model's own."""
        self.build = build = BUILDS[model]
        self._memory = bytearray(b"\xff" * _MEMORY)
        self._next = [0] * len(build.users)
        self._counter = 0
        self._unlocked = not build.lock
        self.reads = 0
        self._tells = [told(uuid) for uuid in _TELLS[: build.channels]]
        self._unlock = asked(_UNLOCK, self._hear_unlock, notifies=True)
        hears = [asked(uuid, self.hear if not n else _nothing) for n, uuid in enumerate(_HEARS[: build.channels])]
        super().__init__(
            radio,
            address,
            name="BLEsmart_SIM",
            services=(Service(UUID(NEWER if build.channels == 1 else OLDER), [*self._tells, *hears, self._unlock]),),
            advertised=profiles.BLOOD_PRESSURE,
            measurement=self._tells[0],
            bonds=build.channels == 1,
            **options,
        )
        self._note_index()

    async def measure(
        self,
        systolic: int,
        diastolic: int,
        pulse: int,
        *,
        irregular: bool = False,
        moved: bool = False,
        user: int = 0,
        taken: datetime | None = None,
        second: int | None = None,
    ) -> bytes:
        """Take a reading (mmHg, per minute), keep it and advertise; answer the record as its memory has it."""
        if self.faults.met(BleFault.CLOCK_2010):
            self.clock.set(_STARTS_AGAIN_AT)
        record = self.keep(
            systolic, diastolic, pulse, irregular=irregular, moved=moved, user=user, taken=taken, second=second
        )
        await self.advertise()
        return record

    def keep(
        self,
        systolic: int,
        diastolic: int,
        pulse: int,
        *,
        irregular: bool = False,
        moved: bool = False,
        user: int = 0,
        taken: datetime | None = None,
        second: int | None = None,
    ) -> bytes:
        """Write a record into the next slot; `second` is told in place of the true one."""
        at = taken or self.clock.now()
        self._counter += 1
        when = moved << 15 | irregular << 14 | at.month << 10 | at.day << 5 | at.hour
        how = 1 << 12 | at.minute << 6 | (at.second if second is None else second)
        said = bytes([systolic - 25, diastolic, pulse, at.year - 2000])
        said += when.to_bytes(2, "little") + how.to_bytes(2, "little") + b"\x80\x00"
        said += self._counter.to_bytes(2, "little")
        total = sum(said) % 256
        said += bytes([total, total ^ 0xFF])
        record = self._as_kept(said).ljust(self.build.record, b"\x00")
        slot = self._next[user]
        base = self.build.users[user] + slot * self.build.record
        self._memory[base : base + self.build.record] = record
        self._next[user] = (slot + 1) % self.build.slots
        self._note_index()
        return record

    async def advertise(self) -> None:
        """Offer what is kept; whoever comes must unlock it again."""
        self._unlocked = not self.build.lock
        await super().advertise()

    def hear(self, data: bytes) -> None:
        """Take a question and answer it; the frame's check must hold."""
        check = 0
        for byte in data:
            check ^= byte
        if check or len(data) < 8:
            return
        kind, address = data[1:3].hex(), data[3:5]
        if not self._unlocked:
            self._answer(framed("8f00", b"\0\0", b"", result=1))
        elif kind == _BEGIN:
            self._answer(framed("8000", b"\0\0", bytes.fromhex("00000094024400ffffffffffffffffff")))
        elif kind == _END:
            self._answer(framed("8f00", b"\0\0", b""))
        elif kind == _READ:
            self._read(int.from_bytes(address, "big"), data[5])
        else:
            self.journal.append(f"asked to {kind}")  # nobody may: 01c0 would write
            self._answer(framed("8f00", b"\0\0", b"", result=3))

    def _read(self, address: int, count: int) -> None:
        self.reads += 1
        self._note_clock()
        answer = framed("8100", address.to_bytes(2, "big"), bytes(self._memory[address : address + count]))
        of_a_record = address >= min(self.build.users)
        if of_a_record and self.faults.met(BleFault.HANG_UP):
            self.peripheral.run(self._hang_up_in(answer))
        elif of_a_record and self.faults.met(BleFault.WRONG_CHECK):
            self.journal.append("wrong check")
            self._answer(answer[:8] + bytes([answer[8] ^ 0x10]) + answer[9:])
        else:
            self._answer(answer)

    def _hear_unlock(self, data: bytes) -> None:
        answer = b"\x82\x0f"
        if self.faults.met(BleFault.NOT_PAIRED):
            self.journal.append("does not know the host")
        elif self.build.lock == "word" and data[:1] == b"\x11" and len(data) == 20:
            answer, self._unlocked = b"\x91\x00" + data[1:5], True
        elif self.build.lock == "key" and data == b"\x01" + KEY:
            answer, self._unlocked = b"\x81\x00", True
        elif data[:1] in (b"\x00", b"\x02"):
            self.journal.append("asked to take a key")
        else:
            raise att.ATT_Error(att.ErrorCode.WRITE_NOT_PERMITTED)
        self.peripheral.run(self.peripheral.notify(self._unlock, answer.ljust(20, b"\x00")))

    def _answer(self, frame: bytes) -> None:
        self.peripheral.run(self._tell(frame))

    async def _tell(self, frame: bytes) -> None:
        if len(self._tells) == 1:
            await self.peripheral.notify(self._tells[0], frame)
            return
        for channel, at in zip(self._tells, range(0, len(frame), 16), strict=False):
            await self.peripheral.notify(channel, frame[at : at + 16].ljust(16, b"\x00"))

    async def _hang_up_in(self, frame: bytes) -> None:
        """The older build has said half of it."""
        if len(self._tells) > 1:
            await self.peripheral.notify(self._tells[0], frame[:16])
        await self.peripheral.hang_up()

    def _note_index(self) -> None:
        for user, following in enumerate(self._next):
            word = (following or self.build.slots) if self._counter else 0
            at = self.build.index + 2 * user
            self._memory[at : at + 2] = self._as_kept(bytes([word, 0]))

    def _note_clock(self) -> None:
        now = self.clock.now()
        head = b"\xc8\xa8" + b"\x00" * (0 if self.build.swapped else 6)
        said = head + bytes([now.year - 2000, now.month, now.day, now.hour, now.minute, now.second])
        said += bytes([sum(said) % 256, 0x00])
        self._memory[self.build.clock : self.build.clock + len(said)] = self._as_kept(said)

    def _as_kept(self, said: bytes) -> bytes:
        """The older wrist and tube cuffs keep the two bytes of a word the other way round."""
        if not self.build.swapped:
            return said
        return b"".join(said[at : at + 2][::-1] for at in range(0, len(said), 2))


def _nothing(_data: bytes) -> None:
    """A frame longer than 16 bytes would go on here; no question is."""
