"""TaiDoc by Bluetooth: the cable's frames in a conversation with a meter that answers, lies or is silent."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import registry
from drivers.ble.session import Act, Answer, Bond, Found, Hear, Read, Subscribe, Write
from drivers.ble.taidoc import CHARACTERISTIC, CLOCK, COUNT, NEWEST, TIME, VALUE, decode_record, request
from drivers.contract import ClockReading, Event, Notice, Rejected, Sample
from drivers.errors import LinkError, LinkFault
from drivers.models import Quirks
from gateway.catalogue import load_model
from gateway.inspect import decoded, event_line, has_sample

VECTORS = Path(__file__).parents[1] / "vectors" / "ble" / "taidoc_ble.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
KINDS = {"systolic": "systolic", "diastolic": "diastolic", "pulse": "pulse_rate", "temperature": "body_temperature"}
D40, IR42 = "fora-d40-ble", "fora-ir42-ble"
READS = {CLOCK, COUNT, TIME, VALUE}
NOTHING = b"\xff\xff\xff\xff"


def of(direction: str) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if row["direction"] == direction]
    assert rows
    return pytest.mark.parametrize("vector", [pytest.param(row, id=row["hex"]) for row in rows])


def frame(command: int, data: bytes, end: int = 0xA5) -> bytes:
    body = bytes((0x51, command)) + data + bytes((end,))
    return body + bytes((sum(body) % 256,))


def minute(at: int, minute_bits: int = 0, hour_bits: int = 0) -> bytes:
    """2026-03-14 08:`at`."""
    return (26 << 9 | 3 << 5 | 14).to_bytes(2, "little") + bytes((at | minute_bits, 8 | hour_bits))


def pressure(systolic: int, at: int = 9) -> tuple[bytes, bytes]:
    return minute(at, 0x80), bytes((systolic, 0, 79, 60))


@of("device->host")
def test_a_value_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    events = decoded(bytes.fromhex(vector["hex"]), model=None, driver="taidoc_ble")
    assert has_sample(events)
    (sample,) = events
    assert isinstance(sample, Sample)
    expected = {KINDS[name]: value for name, value in vector["expected"].items() if name in KINDS}
    assert {m.kind: float(m.value) for m in sample.measurements} == expected


@of("host->device")
def test_a_question_is_the_published_one(vector: dict[str, Any]) -> None:
    said = bytes.fromhex(vector["hex"])
    assert request(said[1]) == said


def test_a_records_number_stands_low_byte_first() -> None:
    assert request(TIME, 0x0102)[2:6] == b"\x02\x01\0\0"
    with pytest.raises(OverflowError):
        request(TIME, 1 << 16)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_however_bytes_are_cut_the_events_are_the_same(data: bytes, cuts: list[int]) -> None:
    whole, pieces = registry.codec("taidoc_ble", Quirks()), registry.codec("taidoc_ble", Quirks())
    events = whole.feed(data) + whole.flush()
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    assert [e for a, b in pairwise(edges) for e in pieces.feed(data[a:b])] + pieces.flush() == events
    assert b"".join(event.raw for event in events) == data
    for event in events:
        json.loads(event_line(event))


def test_both_frames_are_the_record() -> None:
    one, other = (
        decode_record(frame(TIME, minute(at, 0x80)), frame(VALUE, pressure(120)[1]), "blood_pressure") for at in (1, 2)
    )
    assert isinstance(one, Sample)
    assert isinstance(other, Sample)
    assert one.measurements == other.measurements
    assert one.raw != other.raw
    assert (other.device_time, len(other.raw)) == (datetime(2026, 3, 14, 8, 2), 16)  # noqa: DTZ001


# ---- the conversation


@dataclass
class Meter:
    """A meter with these records, the newest first; `spoil` is handed each answer, and answers what is said."""

    records: list[tuple[bytes, bytes]]
    clock: bytes = field(default_factory=lambda: frame(CLOCK, minute(10)))
    spoil: Callable[[bytes], list[bytes]] = lambda said: [said]
    queue: deque[bytes] = field(default_factory=deque)
    asked: list[bytes] = field(default_factory=list)
    now: float = 100.0

    def perform(self, act: Act) -> Answer:
        began, self.now = self.now, self.now + 0.5
        if isinstance(act, Hear):
            return (
                Answer(began, self.now, self.queue.popleft()) if self.queue else Answer(began, self.now, refused=True)
            )
        if isinstance(act, Write):
            assert act.characteristic == CHARACTERISTIC
            self.asked.append(act.value)
            command, number = act.value[1], int.from_bytes(act.value[2:4], "little")
            if command == CLOCK:
                answer = self.clock
            elif command == COUNT:
                answer = frame(COUNT, len(self.records).to_bytes(4, "little"))
            else:
                halves = self.records[number] if number < len(self.records) else (NOTHING, NOTHING)
                answer = frame(command, halves[command - TIME])
            self.queue += self.spoil(answer) if answer else []
        return Answer(began, self.now)


def talk(meter: Meter, model: str = D40) -> list[Act | Found | Event]:
    said: list[Act | Found | Event] = []
    conversation = registry.conversation(load_model(model), frozenset())
    answer: Answer | None = None
    while True:
        assert len(said) < 20_000, "it does not end"
        try:
            one = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration:
            return said
        said.append(one)
        is_act = isinstance(one, Bond | Read | Write | Subscribe | Hear)
        answer = meter.perform(one) if is_act else None  # type: ignore[arg-type]


def samples(said: list[Act | Found | Event]) -> list[Sample]:
    return [one for one in said if isinstance(one, Sample)]


def reasons(said: list[Act | Found | Event]) -> list[str]:
    return [one.reason for one in said if isinstance(one, Rejected)]


def codes(said: list[Act | Found | Event]) -> list[str]:
    return [one.code for one in said if isinstance(one, Notice)]


def test_the_clock_comes_first_then_the_records_the_newest_first() -> None:
    meter = Meter([pressure(120, 9), pressure(110, 5)])
    said = talk(meter)
    (clock,) = [one for one in said if isinstance(one, ClockReading)]
    assert (clock.shown, clock.uncertainty_s > 60) == (datetime(2026, 3, 14, 8, 10), True)  # noqa: DTZ001
    assert [int(s.measurements[0].value) for s in samples(said)] == [120, 110]
    assert said.index(clock) < said.index(samples(said)[0])
    assert {asked[1] for asked in meter.asked} == READS
    assert {s.characteristic for s in samples(said)} == {CHARACTERISTIC}


@pytest.mark.parametrize("clock", [b"", frame(CLOCK, NOTHING), frame(CLOCK, bytes(4))])
def test_a_clock_that_says_nothing_is_not_told_and_the_records_are(clock: bytes) -> None:
    said = talk(Meter([pressure(120)], clock=clock))
    assert not [one for one in said if isinstance(one, ClockReading)]
    assert len(samples(said)) == 1


def test_no_more_than_the_newest_are_read() -> None:
    meter = Meter([pressure(100 + n) for n in range(NEWEST + 5)])
    said = talk(meter)
    assert len(samples(said)) == NEWEST
    assert codes(said) == ["old_record"]
    assert codes(talk(Meter([pressure(100)] * NEWEST))) == []


def test_a_measurement_that_comes_between_leaves_that_record_for_the_next_time() -> None:
    meter = Meter([pressure(120, 9)])

    def spoil(said: bytes) -> list[bytes]:
        if said[1] == TIME and len(meter.records) == 1:
            meter.records.insert(0, pressure(130, 10))
        return [said]

    meter.spoil = spoil
    said = talk(meter)
    assert samples(said) == []
    assert codes(said) == ["unsettled"]


def test_an_answer_that_is_hurt_is_refused_and_asked_for_again() -> None:
    hurt = [0]
    meter = Meter([pressure(120)])

    def spoil(said: bytes) -> list[bytes]:
        if said[1] == VALUE and hurt[0] < 2:
            hurt[0] += 1
            return [said[:-1] + bytes([said[-1] ^ 1])]
        return [said]

    meter.spoil = spoil
    said = talk(meter)
    assert reasons(said) == ["checksum", "checksum"]
    assert len(samples(said)) == 1
    meter.spoil = lambda said: [said[:-1] + bytes([said[-1] ^ (said[1] == VALUE)])]
    said = talk(meter)
    assert (reasons(said), samples(said)) == (["checksum"] * 3, [])


@pytest.mark.parametrize("cut", [1, 4, 7])
def test_an_answer_in_two_pieces_is_one(cut: int) -> None:
    meter = Meter([pressure(120), pressure(110)], spoil=lambda said: [said[:cut], said[cut:]])
    said = talk(meter)
    assert [int(s.measurements[0].value) for s in samples(said)] == [120, 110]
    assert reasons(said) == []


def test_an_answer_said_twice_never_gives_a_record_another_ones_time() -> None:
    records = [pressure(120 - n, 59 - n) for n in range(10)]
    said = talk(Meter(records, spoil=lambda said: [said, said]))
    assert all((s.raw[2:6], s.raw[10:14]) in records for s in samples(said))
    assert set(reasons(said)) == {"unasked"}


def test_silence_and_what_is_not_a_vital() -> None:
    with pytest.raises(LinkError) as silent:
        talk(Meter([pressure(120)], spoil=lambda _said: []))
    assert silent.value.fault is LinkFault.NO_ANSWER
    glucose = (minute(9), bytes((104, 0, 250, 0x97)))
    doubtful = (minute(9, 0x80), bytes((120, 97, 79, 60)))
    like_a_start = (minute(9, 0x80), bytes((120, 97, 0x51, 0x51)))
    said = talk(Meter([glucose, doubtful, like_a_start, pressure(120)]))
    assert (codes(said), reasons(said), len(samples(said))) == (["not_a_vital"], ["unresolved_mean"] * 2, 1)


def test_a_thermometers_temperature() -> None:
    said = talk(
        Meter([(minute(9, 0x40), bytes.fromhex("72010e01")), (minute(8, 0x40, 0x20), bytes.fromhex("0e010e01"))]), IR42
    )
    (sample,) = samples(said)
    assert (sample.site, format(sample.measurements[0].value, "f")) == ("forehead", "37.0")
    assert codes(said) == ["not_body_temperature"]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_is_said_it_ends_and_asks_nothing_else(data: st.DataObject) -> None:
    records = [pressure(120, 9), pressure(110, 5)]
    meter = Meter(records)

    def spoil(said: bytes) -> list[bytes]:
        other = st.sampled_from([[said]] * 6 + [[], [said[:3]], [said, said], [b""], [said[::-1]]])
        return data.draw(other | st.binary(max_size=20).map(lambda noise: [noise]))

    meter.spoil = spoil
    try:
        told = talk(meter)
    except LinkError:
        told = []
    assert all((s.raw[2:6], s.raw[10:14]) in records for s in samples(told))
    assert {asked[1] for asked in meter.asked} <= READS
