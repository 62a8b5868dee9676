"""Omron's home cuffs: records as published, frames, and a conversation with a memory that answers or lies."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import registry
from drivers.ble import omron_frames
from drivers.ble.omron_eeprom import decode_clock, decode_record
from drivers.ble.omron_frames import RECEIVE, TRANSMIT, UNLOCK, Reply, check, decode, read
from drivers.ble.session import Act, Answer, Bond, Found, Hear, Read, Subscribe, Write
from drivers.contract import ClockReading, Event, Notice, Rejected, Sample
from drivers.errors import LinkError, LinkFault
from drivers.models import Eeprom, Quirks
from gateway.catalogue import load_model
from gateway.inspect import UsageError, decoded, event_line

VECTORS = Path(__file__).parents[1] / "vectors" / "ble" / "omron_eeprom.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
MODELS = ("omron-hem-7142t2", "omron-hem-7144t2", "omron-hem-7155t", "omron-hem-7600t")
LITTLE, BIG = Eeprom(summed=True), Eeprom(words="big", summed=True)
GOOD = bytes.fromhex("735d471a68190e1380000c005fa0")


def of(*characteristics: str) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if row["characteristic"] in characteristics]
    assert rows
    return pytest.mark.parametrize("vector", [pytest.param(row, id=row["hex"]) for row in rows])


def layout(vector: dict[str, Any]) -> Eeprom:
    return BIG if "bit-packed" in vector["characteristic"] or "big" in vector["characteristic"] else LITTLE


def summed(record: bytes) -> bytes:
    """The record with the sum that belongs to it."""
    total = sum(record[:12]) % 256
    return record[:12] + bytes([total, total ^ 0xFF])


# ---- records ---------------------------------------------------------------------------------------------------------


@of("EEPROM record", "EEPROM record (HEM-7600T bit-packed)")
def test_a_record_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    record, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    event = decode_record(record, layout(vector))
    assert event.raw == record
    if expected.get("empty"):
        assert isinstance(event, Notice)
        assert event.code == "empty_slot"
        return
    assert isinstance(event, Sample)
    assert {m.kind: (int(m.value), m.unit) for m in event.measurements} == {
        "systolic": (expected["systolic"], "mm[Hg]"),
        "diastolic": (expected["diastolic"], "mm[Hg]"),
        "pulse_rate": (expected["pulse_bpm"], "/min"),
    }
    at = datetime.fromisoformat(expected["timestamp"])
    assert event.device_time is not None
    if "hour and minute" in vector.get("note", ""):
        assert event.device_time.replace(second=0) == at
    else:
        assert event.device_time == at
    assert event.flags == (("irregular_pulse",) if expected.get("irregular_pulse") else ())


@of("EEPROM time block", "EEPROM time block (big-endian)")
def test_a_clock_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    block = bytes.fromhex(vector["hex"])
    assert decode_clock(block, layout(vector)) == datetime.fromisoformat(vector["expected"]["timestamp"])
    for at in range(len(block)):
        other = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
        unread = len(block) - 2 + (0 if layout(vector) is BIG else 1)  # filling, in either order
        assert (decode_clock(other, layout(vector)) is None) == (at != unread)
    assert decode_clock(block[:-1], layout(vector)) is None


@pytest.mark.parametrize("second", [59, 60, 63])
def test_seconds_beyond_59_are_59_and_said(second: int) -> None:
    record = GOOD[:6] + bytes([GOOD[6] & 0xC0 | second]) + GOOD[7:]
    event = decode_record(record, Eeprom())
    assert isinstance(event, Sample)
    assert event.device_time == datetime(2026, 6, 11, 8, 12, 59)  # noqa: DTZ001
    assert event.flags == (() if second == 59 else ("seconds_clamped",))


@pytest.mark.parametrize(
    ("bits", "flags"),
    [
        (0x0000, ()),
        (0x8000, ("body_movement",)),
        (0x4000, ("irregular_pulse",)),
        (0xC000, ("body_movement", "irregular_pulse")),
    ],
)
def test_movement_and_irregular_pulse(bits: int, flags: tuple[str, ...]) -> None:
    record = bytearray(GOOD)
    record[5] = record[5] & 0x3F | bits >> 8
    for words in (bytes(record), summed(bytes(record))):
        event = decode_record(words, Eeprom())
        assert isinstance(event, Sample)
        assert event.flags == flags


def test_what_stands_in_the_bits_that_nobody_explains_is_not_told() -> None:
    record = bytearray(GOOD)
    record[7] |= 0xF0
    record[3] |= 0xC0
    event, plain = decode_record(bytes(record), Eeprom()), decode_record(GOOD, Eeprom())
    assert isinstance(event, Sample)
    assert replace(event, raw=GOOD) == plain


@pytest.mark.parametrize(
    ("at", "words"),
    [(4, "6834"), (4, "0818"), (4, "7f18"), (4, "c80b"), (6, "0e1f")],
    ids=["month 13", "day 0", "hour 31", "February 30", "minute 60"],
)
def test_what_is_no_time_refuses_the_record(at: int, words: str) -> None:
    record = GOOD[:at] + bytes.fromhex(words) + GOOD[at + 2 :]
    assert decode_record(record, Eeprom()) == Rejected("invalid_date_time", record)


def test_a_slot_that_was_begun_and_holds_nothing_is_empty() -> None:
    begun = bytes([0x50, *bytes(7), *GOOD[8:]])
    assert decode_record(begun, LITTLE) == Notice("empty_slot", "a place in its memory where no measurement is", begun)


def test_the_sum_is_asked_for_where_the_row_says_so() -> None:
    wrong = bytes([GOOD[0] ^ 1]) + GOOD[1:]
    assert decode_record(wrong, LITTLE) == Rejected("checksum", wrong)
    assert isinstance(decode_record(wrong, Eeprom()), Sample)
    assert isinstance(decode_record(summed(wrong), LITTLE), Sample)


def test_the_two_orders_hold_the_same() -> None:
    swapped = bytes(GOOD[at ^ 1] for at in range(len(GOOD)))
    one, other = decode_record(GOOD, LITTLE), decode_record(swapped, BIG)
    assert isinstance(one, Sample)
    assert isinstance(other, Sample)
    assert replace(other, raw=GOOD) == one


# ---- the codec, and the command line ---------------------------------------------------------------------------------


@given(st.binary(max_size=80), st.lists(st.integers(0, 80)), st.sampled_from(MODELS))
def test_however_bytes_are_cut_the_events_are_the_same(data: bytes, cuts: list[int], model: str) -> None:
    quirks = load_model(model).quirks
    whole, pieces = registry.codec("omron_eeprom", quirks), registry.codec("omron_eeprom", quirks)
    events = whole.feed(data) + whole.flush()
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    cut = [event for a, b in pairwise(edges) for event in pieces.feed(data[a:b])]
    assert cut + pieces.flush() == events
    assert b"".join(event.raw for event in events) == data
    for event in events:
        json.loads(event_line(event))
        if isinstance(event, Sample):
            assert len(event.measurements) == 3
            assert event.device_time is not None


def test_decode_needs_no_characteristic_and_takes_several_records() -> None:
    events = decoded(GOOD * 2 + b"\xff" * 14 + GOOD[:5], model=None, driver="omron_eeprom")
    assert [type(event) for event in events] == [Sample, Sample, Notice, Rejected]
    big = bytes.fromhex("5b781a4819d71b42000014006996")
    assert isinstance(decoded(big, model="omron-hem-7600t", driver=None)[0], Sample)
    assert not isinstance(decoded(big, model="omron-hem-7142t2", driver=None)[0], Sample)
    with pytest.raises(UsageError, match="no characteristic"):
        decoded(GOOD, model=None, driver="omron_eeprom", characteristic="2A35")


# ---- frames ----------------------------------------------------------------------------------------------------------


@of("read command frame", "start command frame", "end command frame")
def test_a_question_is_the_published_one(vector: dict[str, Any]) -> None:
    frame, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    asked = {"begin": omron_frames.BEGIN, "end": omron_frames.END}
    request = asked.get(expected.get("command")) or read(expected["address"], expected["read_len"])
    assert request.frame == frame
    assert check(frame) == 0


@of("response frame")
def test_a_reply_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    heard, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    reply = decode(heard)
    if vector.get("expect_reject"):
        assert reply == Rejected(expected["error"], heard)
        return
    assert isinstance(reply, Reply)
    assert (f"{reply.kind:04x}", reply.address, reply.result) == tuple(
        expected[k] for k in ("kind", "address", "result")
    )
    assert "length" not in expected or len(reply.data) == expected["length"]
    length = heard[0]
    for bit in range(8 * length):
        flipped = bytearray(heard)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(decode(bytes(flipped)), Rejected)
    for short in range(length):
        assert isinstance(decode(heard[:short]), Rejected)


@given(st.binary(max_size=80))
def test_any_frame_is_a_reply_or_refused(heard: bytes) -> None:
    reply = decode(heard)
    assert isinstance(reply, Reply) or reply == Rejected(reply.reason, heard)


# ---- the conversation ------------------------------------------------------------------------------------------------


@dataclass
class Memory:
    """A cuff as the frames' sources describe it; `spoil` is handed each answer, and answers what is said."""

    layout: Eeprom
    spoil: Callable[[bytes], list[bytes]] = lambda frame: [frame]
    unlocked: bytes | None = None
    cells: bytearray = field(default_factory=lambda: bytearray(b"\xff" * 0x2000))
    queues: dict[str, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    written: list[tuple[str, bytes]] = field(default_factory=list)
    now: float = 100.0

    def put(self, address: int, data: bytes) -> None:
        self.cells[address : address + len(data)] = data

    def perform(self, act: Act) -> Answer:
        began, self.now = self.now, self.now + 0.5
        if isinstance(act, Hear):
            queue = self.queues[act.characteristic]
            return Answer(began, self.now, queue.popleft()) if queue else Answer(began, self.now, refused=True)
        if isinstance(act, Write):
            self.written.append((act.characteristic, act.value))
            self._hear(act.characteristic, act.value)
        return Answer(began, self.now)

    def _hear(self, characteristic: str, value: bytes) -> None:
        if characteristic == UNLOCK:
            answer = self.unlocked
            if answer is None:
                answer = b"\x91\x00" + value[1:5] if value[0] == 0x11 else b"\x81\x00"
            if answer:
                self.queues[UNLOCK].append(answer)
            return
        kind, address, count = value[1:3], int.from_bytes(value[3:5], "big"), value[5]
        data = bytes(self.cells[address : address + count]) if kind == b"\x01\x00" else b""
        body = bytes([8 + len(data), kind[0] | 0x80, kind[1]]) + value[3:5] + bytes([len(data)]) + data + b"\0"
        for frame in self.spoil(body + bytes([check(body)])):
            self.say(frame)

    def say(self, frame: bytes) -> None:
        if self.layout.channels == 1:
            self.queues[RECEIVE[0]].append(frame)
            return
        for channel, at in zip(RECEIVE, range(0, len(frame), 16), strict=False):
            self.queues[channel].append(frame[at : at + 16].ljust(16, b"\0"))


def talk(model: str, memory: Memory, limit: int = 5000) -> list[Act | Found | Event]:
    """Have the conversation of this model; raises what it raises."""
    said: list[Act | Found | Event] = []
    conversation = registry.conversation(load_model(model), frozenset())
    answer: Answer | None = None
    while True:
        assert len(said) < limit, "it does not end"
        try:
            one = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration:
            return said
        said.append(one)
        is_act = isinstance(one, Bond | Read | Write | Subscribe | Hear)
        answer = memory.perform(one) if is_act else None  # type: ignore[arg-type]


def told(said: list[Act | Found | Event]) -> list[Event]:
    return [one for one in said if isinstance(one, Sample | Notice | Rejected)]


def filled(model: str, records: dict[tuple[int, int], bytes], following: int = 0) -> Memory:
    """A memory with these records, by user and slot; its clock stands at 2026-07-15 17:59:19."""
    at = load_model(model).quirks.eeprom
    memory = Memory(at)
    clock = bytes.fromhex("c6a40100000000001a070f113b13fa00")
    if at.words == "big":
        clock = bytes.fromhex("08c8071a110f133b") + bytes([0, sum(bytes.fromhex("08c8071a110f133b")) % 256])
    memory.put(at.clock, clock)
    memory.put(at.index, bytes([following, 0] if at.words == "little" else [0, following]) * 2)
    for (user, slot), record in records.items():
        memory.put(at.users[user] + slot * at.record_bytes, record)
    return memory


def as_model(model: str, record: bytes) -> bytes:
    at = load_model(model).quirks.eeprom
    return bytes(record[n ^ (at.words == "big")] for n in range(14)).ljust(at.record_bytes, b"\0")


@pytest.mark.parametrize("model", MODELS)
def test_the_clock_is_told_first_then_every_slot_the_newest_first(model: str) -> None:
    older = summed(bytes([GOOD[0] - 3]) + GOOD[1:])
    memory = filled(model, {(0, 1): as_model(model, older), (0, 2): as_model(model, GOOD)}, following=3)
    said = talk(model, memory)
    at = load_model(model).quirks.eeprom
    (clock,) = [one for one in said if isinstance(one, ClockReading)]
    assert clock.shown == datetime(2026, 7, 15, 17, 59, 19)  # noqa: DTZ001
    assert clock.uncertainty_s >= 1.0
    events = told(said)
    assert said.index(clock) < said.index(events[0])
    assert len(events) == at.slots * len(at.users)
    samples = [event for event in events if isinstance(event, Sample)]
    assert [int(s.measurements[0].value) for s in samples] == [140, 137]
    assert all(isinstance(event, Sample) or event.code == "empty_slot" for event in events)  # type: ignore[union-attr]
    assert {s.device_user for s in samples} == ({"1"} if len(at.users) > 1 else {None})
    assert all(s.at is not None and s.characteristic == RECEIVE[0] for s in samples)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_written_unlocks_or_reads(model: str) -> None:
    memory = filled(model, {})
    talk(model, memory)
    unlocks = [value for characteristic, value in memory.written if characteristic == UNLOCK]
    assert [value[:1] for value in unlocks] == {"token": [b"\x11"], "key": [b"\x01"], "none": []}[
        load_model(model).quirks.eeprom.unlock
    ]
    asked = [value for characteristic, value in memory.written if characteristic != UNLOCK]
    assert {characteristic for characteristic, _ in memory.written} <= {TRANSMIT, UNLOCK}
    assert {value[1:3] for value in asked} == {b"\0\0", b"\x01\0", b"\x0f\0"}
    assert (asked[0], asked[-1]) == (omron_frames.BEGIN.frame, omron_frames.END.frame)


@pytest.mark.parametrize("following", [0, 200, 255])
def test_an_index_that_says_nothing_leaves_no_slot_out(following: int) -> None:
    model = "omron-hem-7142t2"
    memory = filled(model, {(0, slot): summed(bytes([slot]) + GOOD[1:]) for slot in range(14)}, following=following)
    systolic = [
        int(event.measurements[0].value) - 25 for event in told(talk(model, memory)) if isinstance(event, Sample)
    ]
    assert systolic == list(range(13, -1, -1))


@pytest.mark.parametrize("model", MODELS)
def test_a_clock_that_fails_its_sum_is_not_told_and_the_records_are(model: str) -> None:
    memory = filled(model, {(0, 0): as_model(model, GOOD)}, following=1)
    at = load_model(model).quirks.eeprom.clock
    memory.cells[at + 1] ^= 1
    said = talk(model, memory)
    assert not [one for one in said if isinstance(one, ClockReading)]
    assert [event for event in told(said) if isinstance(event, Sample)]


@pytest.mark.parametrize("model", ["omron-hem-7142t2", "omron-hem-7155t"])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (bytes.fromhex("820f"), LinkFault.PAIRING_REFUSED),
        (bytes.fromhex("8101"), LinkFault.PAIRING_REFUSED),
        (bytes.fromhex("910000000000"), LinkFault.PAIRING_REFUSED),
        (b"", LinkFault.NO_ANSWER),
    ],
)
def test_who_is_not_let_in_is_told(model: str, answer: bytes, fault: LinkFault) -> None:
    memory = filled(model, {})
    memory.unlocked = answer
    with pytest.raises(LinkError) as refused:
        talk(model, memory)
    assert refused.value.fault is fault
    assert fault is not LinkFault.PAIRING_REFUSED or "Bluetooth button" in str(refused.value)
    assert all(characteristic == UNLOCK for characteristic, _ in memory.written)


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_that_is_hurt_is_refused_and_asked_for_again(model: str) -> None:
    memory = filled(model, {(0, 0): as_model(model, GOOD)}, following=1)
    hurt = [0]

    def spoil(frame: bytes) -> list[bytes]:
        if len(frame) in (22, 24) and hurt[0] < 2:
            hurt[0] += 1
            return [frame[:8] + bytes([frame[8] ^ 4]) + frame[9:]]
        return [frame]

    memory.spoil = spoil
    events = told(talk(model, memory))
    assert [event.reason for event in events if isinstance(event, Rejected)] == ["checksum", "checksum"]
    assert len([event for event in events if isinstance(event, Sample)]) == 1


def test_a_slot_that_cannot_be_had_is_left_and_the_others_are_read() -> None:
    model = "omron-hem-7142t2"
    memory = filled(model, {(0, 0): GOOD, (0, 1): GOOD}, following=2)
    address = (0x02E8 + 14).to_bytes(2, "big")
    memory.spoil = lambda frame: [frame[:-1] + bytes([frame[-1] ^ (1 if frame[3:5] == address else 0)])]
    events = told(talk(model, memory))
    assert [event.reason for event in events if isinstance(event, Rejected)] == ["checksum"] * 3
    assert len([event for event in events if isinstance(event, Sample)]) == 1


def test_a_good_answer_of_another_length_is_refused_and_not_passed_over() -> None:
    model = "omron-hem-7142t2"
    memory = filled(model, {(0, 0): GOOD, (0, 1): GOOD}, following=2)
    address = (0x02E8 + 14).to_bytes(2, "big")

    def shorten(frame: bytes) -> list[bytes]:
        if frame[3:5] != address:
            return [frame]
        body = bytes([8 + 6]) + frame[1:5] + bytes([6]) + frame[6:12] + b"\0"
        return [body + bytes([check(body)])]

    memory.spoil = shorten
    events = told(talk(model, memory))
    assert [event for event in events if isinstance(event, Rejected)] == [Rejected("length", GOOD[:6])]
    assert len([event for event in events if isinstance(event, Sample)]) == 1


@pytest.mark.parametrize("model", ["omron-hem-7142t2", "omron-hem-7155t"])
def test_an_answer_said_twice_is_not_taken_for_the_next_one(model: str) -> None:
    memory = filled(model, {(0, slot): as_model(model, summed(bytes([slot]) + GOOD[1:])) for slot in range(14)}, 14)
    memory.spoil = lambda frame: [frame, frame]
    events = told(talk(model, memory))
    samples = [int(event.measurements[0].value) - 25 for event in events if isinstance(event, Sample)]
    assert samples == list(range(13, -1, -1))
    assert {event.reason for event in events if isinstance(event, Rejected)} == {"unasked"}


def test_half_a_frame_never_becomes_part_of_the_next() -> None:
    """The first of two parts is lost: what is left of it must not shift all that follows."""
    model = "omron-hem-7155t"
    memory = filled(model, {(0, slot): as_model(model, GOOD) for slot in range(10)}, following=10)
    lost = [False]

    def spoil(frame: bytes) -> list[bytes]:
        if len(frame) == 24 and not lost[0]:
            lost[0] = True
            memory.queues[RECEIVE[1]].append(frame[16:].ljust(16, b"\0"))
            return []
        return [frame]

    memory.spoil = spoil
    events = told(talk(model, memory))
    assert len([event for event in events if isinstance(event, Sample)]) == 10
    assert [event.reason for event in events if isinstance(event, Rejected)] == ["unasked"]


def test_silence_and_refusal_end_it() -> None:
    memory = filled("omron-hem-7142t2", {})
    memory.spoil = lambda _frame: []
    with pytest.raises(LinkError) as silent:
        talk("omron-hem-7142t2", memory)
    assert silent.value.fault is LinkFault.NO_ANSWER
    not_possible = bytes([8, 0x8F, 0, 0, 0, 0, 3])
    memory.spoil = lambda _frame: [not_possible + bytes([check(not_possible)])]
    with pytest.raises(LinkError) as refused:
        talk("omron-hem-7142t2", memory)
    assert refused.value.fault is LinkFault.DEVICE_REFUSED
    assert "03" in str(refused.value)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["omron-hem-7142t2", "omron-hem-7600t"]))
def test_whatever_is_said_it_ends_and_writes_nothing_else(data: st.DataObject, model: str) -> None:
    memory = filled(model, {(0, 0): as_model(model, GOOD)}, following=1)

    def spoil(frame: bytes) -> list[bytes]:
        return data.draw(st.sampled_from([[frame]] * 6 + [[], [frame[:5]], [frame, frame], [b""], [frame[::-1]]]))

    memory.spoil = spoil
    try:
        events = told(talk(model, memory, 100_000))
    except LinkError:
        events = []
    good = [event for event in events if isinstance(event, Sample)]
    assert all(event.raw == as_model(model, GOOD) for event in good)
    assert len(good) <= 1
    assert {value[1:3] for characteristic, value in memory.written if characteristic == TRANSMIT} <= {
        b"\0\0",
        b"\x01\0",
        b"\x0f\0",
    }


def test_a_row_without_a_memory_reads_nothing() -> None:
    assert Quirks().eeprom.users == ()
    assert all(load_model(model).quirks.eeprom.users for model in MODELS)
    assert all(load_model(model).memory == "kept" for model in MODELS)
