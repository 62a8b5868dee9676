"""A balance that speaks only when asked: what it is asked, when, and what silence means. The clock is an argument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers import models, registry
from drivers.contract import Notice, Rejected, Sample, Step
from drivers.listening import GAP_S, Listening
from drivers.models import Quirks
from drivers.polling import Polling
from gateway.catalogue import load_model

ASK = b"S\r\n"
WEIGHT = b"S S     82.35 kg\r\n"
BUSY = b"S I\r\n"
NOISE = b"what?\r\n"
PLAN = models.Polling(interval_s=0.5, answer_s=5.0)


def fresh() -> Polling:
    return Polling(Listening(registry.codec("mt_sics", Quirks())), ASK, PLAN)


def codes(step: Step) -> list[str]:
    return [event.code for event in step.events if isinstance(event, Notice)]


def test_it_is_asked_as_soon_as_the_port_is_open() -> None:
    step = fresh().tick(100.0)
    assert (step.write, step.events, step.deadline) == (ASK, (), 105.0)


def test_after_an_answer_it_is_asked_again_when_the_interval_is_over_and_not_before() -> None:
    driver = fresh()
    driver.tick(100.0)
    step = driver.feed(WEIGHT, 100.25)
    assert (step.write, step.deadline) == (b"", 100.5)
    assert isinstance(step.events[0], Sample)
    assert driver.tick(100.375).write == b""
    assert driver.tick(100.5).write == ASK


def test_a_slow_answer_is_waited_for() -> None:
    driver = fresh()
    driver.tick(100.0)
    assert driver.tick(104.0).write == b"", "a load that does not come to rest keeps a balance from answering"
    step = driver.feed(WEIGHT, 104.5)
    assert step.write == ASK, "the interval was over long ago"
    assert step.deadline == 104.5 + GAP_S


def test_no_answer_is_told_at_the_deadline_and_it_is_asked_again() -> None:
    driver = fresh()
    driver.tick(100.0)
    assert driver.tick(104.875) == Step(deadline=105.0)
    step = driver.tick(105.0)
    assert codes(step) == ["no_answer"]
    assert (step.write, step.deadline) == (ASK, 110.0)


def test_a_device_that_is_off_is_told_once_each_time_it_is_asked() -> None:
    driver, told, asked = fresh(), 0, 0
    step = driver.tick(0.0)
    for _ in range(10):
        asked += step.write.count(ASK)
        assert step.deadline is not None
        step = driver.tick(step.deadline)
        told += codes(step).count("no_answer")
    assert told == asked == 10


def test_a_device_that_did_not_answer_is_asked_again_at_once_whatever_the_interval() -> None:
    plan = models.Polling(interval_s=60.0, answer_s=5.0)
    driver = Polling(Listening(registry.codec("mt_sics", Quirks())), ASK, plan)
    driver.tick(0.0)
    step = driver.tick(5.0)
    assert (codes(step), step.write) == (["no_answer"], ASK)


def test_a_device_that_comes_back_is_read_on() -> None:
    driver = fresh()
    driver.tick(0.0)
    driver.tick(5.0)
    step = driver.feed(WEIGHT, 5.125)
    assert [type(event) for event in step.events] == [Sample]
    assert driver.tick(5.5).write == ASK


def test_a_notice_is_an_answer() -> None:
    driver = fresh()
    driver.tick(0.0)
    assert codes(driver.feed(BUSY, 0.25)) == ["busy"]
    assert driver.tick(0.5).write == ASK


def test_noise_is_no_answer() -> None:
    driver = fresh()
    driver.tick(0.0)
    step = driver.feed(NOISE, 0.25)
    assert [type(event) for event in step.events] == [Rejected]
    assert driver.tick(0.5).write == b""
    assert codes(driver.tick(5.0)) == ["no_answer"]


def test_half_an_answer_is_no_answer_and_its_own_deadline_comes_first() -> None:
    driver = fresh()
    driver.tick(0.0)
    step = driver.feed(WEIGHT[:6], 1.0)
    assert step.deadline == 1.0 + GAP_S
    step = driver.tick(1.0 + GAP_S)
    assert step.events == (Rejected("truncated", WEIGHT[:6]),)
    assert (step.write, step.deadline) == (b"", 5.0)


def test_a_closed_port_is_asked_nothing() -> None:
    driver = fresh()
    driver.tick(0.0)
    driver.feed(WEIGHT[:6], 1.0)
    assert driver.close(99.0) == Step((Rejected("truncated", WEIGHT[:6]),))


def test_the_driver_of_the_model_asks_through_all_its_wrappers() -> None:
    row = load_model("mt-sics-scale")
    driver = registry.driver(row)
    assert driver.tick(0.0).write == ASK
    driver.feed(WEIGHT, 0.125)
    assert driver.tick(row.polling.interval_s).write == ASK


@given(
    st.lists(
        st.tuples(
            st.integers(0, 64).map(lambda eighths: eighths / 8),
            st.sampled_from([None, WEIGHT, BUSY, NOISE, WEIGHT[:7], WEIGHT[7:], WEIGHT * 3]),
        ),
        max_size=40,
    )
)
def test_one_question_at_a_time_and_never_too_soon(story: list[tuple[float, bytes | None]]) -> None:
    driver, now = fresh(), 0.0
    asked_at: float | None = None
    settled = True  # nobody owes an answer
    for pause, data in [(0.0, None), *story]:
        now += pause
        step = driver.tick(now) if data is None else driver.feed(data, now)
        answers = [event for event in step.events if not isinstance(event, Rejected)]
        settled = settled or bool(answers)
        if step.write:
            assert step.write == ASK
            assert settled, "the device was asked again while it owed an answer"
            assert asked_at is None or now >= asked_at + PLAN.interval_s
            asked_at, settled = now, False
        assert asked_at is not None
        if not settled:
            assert now < asked_at + PLAN.answer_s, "an answer that does not come is told"
        assert step.deadline is not None, "who is asked is never forgotten"
        assert step.deadline > now
        assert step.deadline <= asked_at + PLAN.answer_s


# Several requests: a round.

ROUND = (b"A", b"B", b"C")


def in_turn() -> Polling:
    return Polling(Listening(registry.codec("mt_sics", Quirks())), ROUND, models.Polling(interval_s=10.0, answer_s=1.0))


def test_each_request_waits_for_the_answer_to_the_one_before() -> None:
    driver = in_turn()
    assert driver.tick(100.0).write == b"A"
    assert driver.feed(BUSY, 100.25).write == b"B"
    assert driver.feed(BUSY, 100.5).write == b"C"
    step = driver.feed(BUSY, 100.75)
    assert step.write == b""
    assert driver.tick(109.875).write == b""
    assert driver.tick(110.0).write == b"A"


def test_a_request_that_is_not_answered_is_passed_over_in_silence_while_others_are() -> None:
    driver = in_turn()
    driver.tick(100.0)
    step = driver.tick(101.0)
    assert (step.write, codes(step)) == (b"B", [])
    assert driver.feed(BUSY, 101.25).write == b"C"
    assert codes(driver.tick(102.25)) == []


def test_a_round_in_which_nothing_was_answered_is_told_once_and_begun_anew() -> None:
    driver = in_turn()
    driver.tick(100.0)
    assert driver.tick(101.0).write == b"B"
    assert driver.tick(102.0).write == b"C"
    step = driver.tick(103.0)
    assert (step.write, codes(step)) == (b"A", ["no_answer"])
