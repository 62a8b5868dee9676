"""When a frame came, and when half a frame is given up. The clock is an argument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Event, Rejected, Sample, Step
from drivers.listening import GAP_S, Listening
from drivers.models import Quirks

FRAME = b"ST,+00082.35 kg\r\n"
HALF, REST = FRAME[:9], FRAME[9:]
SOON = GAP_S - 0.25


def fresh() -> Listening:
    return Listening(registry.codec("and_scale", Quirks()))


def test_a_sample_has_the_instant_of_its_last_byte() -> None:
    driver = fresh()
    assert driver.feed(HALF, 10.0).events == ()
    (sample,) = driver.feed(REST, 10.5).events
    assert isinstance(sample, Sample)
    assert sample.at == 10.5
    assert sample.raw == FRAME


def test_half_a_frame_waits_until_the_deadline_and_not_longer() -> None:
    driver = fresh()
    step = driver.feed(HALF, 10.0)
    assert step.deadline == 10.0 + GAP_S
    assert driver.tick(10.0 + SOON) == Step(deadline=10.0 + GAP_S)
    assert driver.tick(10.0 + GAP_S) == Step((Rejected("truncated", HALF),))


def test_each_byte_puts_the_deadline_off() -> None:
    driver = fresh()
    for number in range(len(FRAME) - 1):
        step = driver.feed(FRAME[number : number + 1], number * SOON)
        assert step == Step(deadline=number * SOON + GAP_S)
    (sample,) = driver.feed(FRAME[-1:], (len(FRAME) - 1) * SOON).events
    assert isinstance(sample, Sample)


def test_two_halves_with_a_pause_between_are_no_frame() -> None:
    other = b"ST,+00070.10 kg\r\n"
    driver = fresh()
    driver.feed(HALF, 10.0)
    events = driver.feed(other[9:], 10.0 + GAP_S).events  # nobody ticked meanwhile
    assert events == (Rejected("truncated", HALF), Rejected("bad_frame", other[9:]))


def test_what_comes_after_a_pause_is_read_for_itself() -> None:
    driver = fresh()
    driver.feed(HALF, 10.0)
    events = driver.feed(FRAME, 60.0).events
    assert events[0] == Rejected("truncated", HALF)
    assert isinstance(events[1], Sample)


def test_nothing_is_given_up_twice() -> None:
    driver = fresh()
    driver.feed(HALF, 10.0)
    driver.tick(12.0)
    assert driver.tick(99.0) == Step()
    assert driver.close(99.0) == Step()


def test_closing_gives_up_half_a_frame_at_once() -> None:
    driver = fresh()
    driver.feed(HALF, 10.0)
    assert driver.close(10.0) == Step((Rejected("truncated", HALF),))


def test_before_anything_came_there_is_nothing_to_wait_for() -> None:
    assert fresh().tick(5.0) == Step()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 24).map(lambda eighths: eighths / 8),
            st.sampled_from([FRAME, HALF, REST, FRAME + HALF, REST + FRAME, b"\r\n", b"?"]),
        ),
        max_size=20,
    )
)
def test_ticks_that_come_late_change_nothing(story: list[tuple[float, bytes]]) -> None:
    punctual, late = fresh(), fresh()
    heard: list[Event] = []
    heard_late: list[Event] = []
    now = 0.0
    deadline = punctual.tick(now).deadline
    for pause, data in story:
        now += pause
        if deadline is not None and deadline <= now:
            heard += punctual.tick(deadline).events
        step = punctual.feed(data, now)
        heard += step.events
        deadline = step.deadline
        heard_late += late.feed(data, now).events
    heard += punctual.close(now).events
    heard_late += late.close(now).events
    assert heard == heard_late
