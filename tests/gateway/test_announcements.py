"""States and events on their way: what tests/integration/test_states.py cannot bring about at will."""

from __future__ import annotations

from gateway.announcements import Announcements
from gateway.broker import SUCCESS, Message

TOPIC = "vitals/v1/northside/exam-3/device/gone"


def test_a_state_cleared_again_before_the_first_answer_is_cleared_once() -> None:
    cleared: list[str] = []
    announcements = Announcements()
    announcements.clear_state(TOPIC, cleared.append)
    first = announcements.take()
    assert first == Message(TOPIC, b"")
    announcements.clear_state(TOPIC, cleared.append)
    announcements.settle(first, SUCCESS)
    assert (cleared, announcements.take()) == ([TOPIC], None)


def test_a_state_told_anew_after_it_was_to_be_cleared_stays() -> None:
    cleared: list[str] = []
    announcements = Announcements()
    announcements.clear_state(TOPIC, cleared.append)
    empty = announcements.take()
    assert empty is not None
    announcements.set_state(TOPIC, b"{}")
    announcements.settle(empty, SUCCESS)
    assert (cleared, announcements.take()) == ([], Message(TOPIC, b"{}"))


def test_states_go_before_events_and_of_a_state_the_newest_alone() -> None:
    announcements = Announcements()
    announcements.add_event("event", b"1")
    announcements.set_state(TOPIC, b"old")
    announcements.set_state(TOPIC, b"new")
    sent = [announcements.take() for _ in range(3)]
    assert sent == [Message(TOPIC, b"new"), Message("event", b"1", retain=False), None]
    announcements.start_over()
    assert announcements.take() == Message(TOPIC, b"new")
