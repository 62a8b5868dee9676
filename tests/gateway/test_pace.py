"""When the publisher connects again: quickly, politely, and not at full speed against a second gateway."""

from __future__ import annotations

import random

import pytest

from gateway import pace
from gateway.broker import SESSION_TAKEN_OVER, Ended
from gateway.pace import LOOK_CAP_S, LOOK_FIRST_S, QUIET_S, RETRY_CAP_LATER_S, RETRY_CAP_S, RIVAL_CAP_S, Pace

TAKEN_OVER = Ended(SESSION_TAKEN_OVER, "a:1883: another client has our id.")
LOST = Ended(0x80, "the connection to a:1883 is lost")


@pytest.fixture(autouse=True)
def _longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is always the longest."""
    monkeypatch.setattr(random, "uniform", lambda _shortest, longest: longest)


def test_an_outage_is_tried_quickly_and_then_slowly() -> None:
    waits = [Pace("a.b").failed() for _ in range(3)]
    assert waits == [0.5, 0.5, 0.5]
    tries = Pace("a.b")
    waits = [tries.failed() for _ in range(40)]
    assert waits[:4] == [0.5, 1.0, 2.0, 2.0]
    assert (waits[28], waits[29], waits[39]) == (RETRY_CAP_S, RETRY_CAP_LATER_S, RETRY_CAP_LATER_S)


def test_two_of_one_name_do_not_fight_at_full_speed_and_it_is_said() -> None:
    tries = Pace("northside.exam-3")
    told = [tries.ended(TAKEN_OVER, lasted_s, explained=False) for lasted_s in (1.0, 30.0, 30.0, 70.0, 70.0)]
    assert [wait for wait, _ in told] == [10.0, 20.0, 40.0, RIVAL_CAP_S, RIVAL_CAP_S]
    assert tries.rival == "another gateway uses the name northside.exam-3 (it took over 5 times)"
    tries.steady()
    assert not tries.rival
    assert tries.ended(TAKEN_OVER, QUIET_S, explained=False)[0] == 10.0


def test_where_the_broker_says_nothing_it_is_guessed_at_the_third_time() -> None:
    tries = Pace("northside.exam-3")
    told = [tries.ended(LOST, 1.0, explained=False) for _ in range(6)]
    assert [wait for wait, _ in told] == [0.5, 1.0, 5.0, 10.0, RETRY_CAP_LATER_S, RETRY_CAP_LATER_S]
    guess = "soon after it let us in, and again: does another gateway use the name northside.exam-3?"
    assert [guess in ended.reason for _, ended in told] == [False, False, True, True, True, True]
    assert tries.ended(LOST, pace.STEADY_S, explained=False) == (pace.RETRY_FIRST_S, LOST)
    assert tries.ended(LOST, 1.0, explained=False)[1] is LOST


def test_where_there_is_another_reason_nothing_is_guessed() -> None:
    tries = Pace("northside.exam-3")
    assert {tries.ended(LOST, 1.0, explained=True)[1] for _ in range(20)} == {LOST}
    shut_down = Ended(0x8B, "a:1883 hung up: Server shutting down")
    assert {tries.ended(shut_down, 1.0, explained=False)[1] for _ in range(20)} == {shut_down}
    assert tries.rival is None


def test_a_first_broker_that_does_not_keep_us_is_looked_for_less_often() -> None:
    tries = Pace("a.b")
    looks = [tries.look_s]
    for _ in range(6):
        tries.returned()
        looks.append(tries.look_s)
        tries.ended(LOST, 1.0, explained=False)
    assert looks == [30.0, 60.0, 120.0, 240.0, 480.0, LOOK_CAP_S, LOOK_CAP_S]
    tries.ended(LOST, QUIET_S, explained=False)
    assert tries.look_s == LOOK_FIRST_S
