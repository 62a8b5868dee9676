"""A module that has neither time nor counter: which result is new."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample, Step
from drivers.models import Quirks
from gateway.catalogue import load_model


def reply(data: bytes) -> bytes:
    said = bytes([0x3E, len(data) + 3]) + data
    return said + bytes([-sum(said) % 256])


def result(
    systolic: int = 120, diastolic: int = 80, pulse: int = 72, mean: int = 93, error: int = 0, between: bytes = b""
) -> bytes:
    numbers = systolic.to_bytes(2, "little") + diastolic.to_bytes(2, "little")
    after = pulse.to_bytes(2, "little") + mean.to_bytes(2, "little")
    return reply(numbers + between.ljust(10, b"\x00") + after + bytes([error, 0, 0]))


EMPTY, PUMPED = reply(b"\x02\x00"), reply(b"\x96\x00")
NOTHING = result(0, 0, 0, 0)


class Room:
    """A module on its line: it says what was put here, once for each request."""

    def __init__(self) -> None:
        self.driver = registry.driver(load_model("suntech-advantage-oem"))
        self.now = 0.0
        self.said: list[Event] = []
        self._write = self.driver.tick(0.0).write

    def round(self, cuff: bytes, last: bytes, rounds: int = 1) -> list[str]:
        """Answer so many rounds of both requests; tell what came of them but `standby` and `measuring`."""
        before = len(self.said)
        for _ in range(rounds):
            for _ in range(2):
                answer = {b"\x3a\x79\x05\x00\x48": cuff, b"\x3a\x79\x03\x00\x4a": last}[self._write]
                step = self.driver.feed(answer, self.now) if answer else self._wait()
                self.said += step.events
                self._write = step.write
                if not self._write:
                    assert step.deadline is not None
                    self.now = step.deadline
                    step = self.driver.tick(self.now)
                    self.said += step.events
                    self._write = step.write
        return [words(event) for event in self.said[before:] if words(event) not in ("standby", "measuring")]

    def _wait(self) -> Step:
        self.now += 1.0
        return self.driver.tick(self.now)


def words(event: Event) -> str:
    if isinstance(event, Sample):
        return " ".join([str(event.measurements[0].value), *event.flags])
    return event.code if isinstance(event, Notice) else event.reason


def decoded(frame: bytes) -> Event:
    codec = registry.codec("suntech", Quirks())
    (event,) = codec.feed(frame) + codec.flush()
    return event


def test_what_is_there_at_the_first_poll_is_stored_and_told_once() -> None:
    room = Room()
    assert room.round(EMPTY, result(), 5) == ["120 stored possible_repeat", *["repeat"] * 4]


def test_after_none_at_all_the_first_one_is_new() -> None:
    room = Room()
    assert room.round(EMPTY, NOTHING, 2) == ["none_yet"] * 2
    room.round(PUMPED, NOTHING, 3)
    assert room.round(EMPTY, result(), 7) == [*["old_record"] * 4, "120", "repeat", "repeat"]


def test_the_result_before_is_not_told_while_the_cuff_is_at_work_nor_just_after() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    assert room.round(PUMPED, result(), 20) == ["old_record"] * 20
    assert room.round(EMPTY, result(), 3) == ["old_record"] * 3
    assert room.round(EMPTY, result(130), 5) == ["old_record", "130", *["repeat"] * 3]


def test_what_comes_up_while_the_cuff_is_at_work_waits_until_it_is_empty() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    assert room.round(PUMPED, result(130), 5) == ["old_record"] * 5
    assert room.round(EMPTY, result(128), 9)[4:6] == ["128", "repeat"]


def test_another_result_is_new_though_nobody_saw_the_cuff_at_work() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    assert room.round(EMPTY, result(130), 2) == ["130", "repeat"]


def test_equal_numbers_after_the_cuff_was_at_work_are_told_once_and_marked() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    room.round(PUMPED, result(), 20)
    assert room.round(EMPTY, result(), 20) == [*["old_record"] * 4, "120 possible_repeat", *["repeat"] * 15]


def test_equal_numbers_without_work_are_the_same_whatever_else_changes() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    assert room.round(EMPTY, result(between=b"\x1e\x01"), 5) == ["repeat"] * 5


def test_a_module_that_did_not_answer_may_have_measured() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    assert "no_answer" in room.round(b"", b"", 15)
    told = room.round(EMPTY, result(), 20)
    assert told.count("120 possible_repeat") == 1
    assert room.round(EMPTY, result(130), 1) == ["130"]


def test_what_comes_up_after_minutes_without_an_answer_is_stored() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    room.round(b"", b"", 100)
    assert room.round(EMPTY, result(130), 20).count("130 stored possible_repeat") == 1


def test_the_same_systolic_with_another_diastolic_is_a_whole_reading() -> None:
    room = Room()
    room.round(EMPTY, result(), 2)
    room.round(EMPTY, result(diastolic=70))
    last = room.said[-1]
    assert isinstance(last, Sample)
    assert [int(m.value) for m in last.measurements] == [120, 70, 93, 72]
    assert last.flags == ()


def test_a_failure_is_told_once_and_again_after_the_next_attempt() -> None:
    room = Room()
    room.round(EMPTY, NOTHING)
    weak = result(0, 0, 0, 0, error=1)
    for _ in range(2):
        room.round(PUMPED, weak, 2)
        assert room.round(EMPTY, weak, 20).count("weak_signal") == 1


def test_a_failure_from_before_us_is_not_told() -> None:
    assert Room().round(EMPTY, result(0, 0, 0, 0, error=2), 3) == ["old_record", "repeat", "repeat"]


def test_an_answer_that_comes_at_each_poll_is_told_once() -> None:
    assert Room().round(reply(b"S"), reply(b"S"), 3) == ["asleep", *["repeat"] * 5]


def test_busy_is_work_also_where_the_pressure_cannot_be_asked_for() -> None:
    room = Room()
    room.round(reply(b"N"), result(), 2)
    room.round(reply(b"N"), reply(b"B"), 2)
    assert room.round(reply(b"N"), result(), 20).count("120 possible_repeat") == 1
    room.round(reply(b"N"), reply(b"B"), 2)
    assert room.round(reply(b"N"), result(130), 20).count("130") == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (reply(b"O"), "acknowledged"),
        (reply(b"K"), "acknowledged"),
        (reply(b"A"), "aborted"),
        (reply(b"B"), "busy"),
        (reply(b"E"), "device_error"),
        (reply(b"N"), "not_understood"),
        (reply(b"D"), "not_understood"),
        (reply(b"S"), "asleep"),
        (reply(b"T"), "timeout"),
        (reply(b"\xfb\xff"), "standby"),
        (reply(b"\x1e\x00"), "standby"),
        (reply(b"\x1f\x00"), "measuring"),
        (result(error=1), "weak_signal"),
        (result(error=2), "artefact"),
        (result(error=3), "out_of_range"),
        (result(error=4), "timeout"),
        (result(error=5), "measurement_failed"),
        (result(error=255), "measurement_failed"),
        (NOTHING, "none_yet"),
    ],
)
def test_it_is_a_notice_whatever_the_numbers(frame: bytes, code: str) -> None:
    event = decoded(frame)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, frame)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (reply(b"X"), "unknown_reply"),
        (result(systolic=0), "bad_number"),
        (result(diastolic=0), "bad_number"),
        (result(systolic=1000), "bad_number"),
        (result(mean=0xFFFF), "bad_number"),
        (result(pulse=328), "bad_number"),
        (result()[:-1] + b"\x00", "checksum"),
    ],
)
def test_it_is_refused(frame: bytes, reason: str) -> None:
    assert decoded(frame) == Rejected(reason, frame)


def test_a_reply_of_another_length_is_noise() -> None:
    assert decoded(reply(b"\x00" * 30)).raw == reply(b"\x00" * 30)
    assert isinstance(decoded(reply(b"\x00" * 30)), Rejected)


def test_a_pulse_or_mean_of_zero_is_absent() -> None:
    event = decoded(result(pulse=0, mean=0))
    assert isinstance(event, Sample)
    assert [m.kind for m in event.measurements] == ["systolic", "diastolic"]
