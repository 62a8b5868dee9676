"""What is heard over and over: one reading a weighing, and of now only what was heard to become."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from drivers.broadcasts import Broadcasts, Heard
from drivers.contract import Event, Measurement, Notice, Rejected, Sample

WINDOW_S = 10.0
STAMP = datetime.fromisoformat("1970-01-01T10:26:17")
RISING, EMPTY, EARLY = Notice("unstable"), Notice("zero"), Notice("unsettled")


def weight(
    kg: str = "80.0",
    *,
    off: bool = False,
    thing: bool = False,
    stamp: datetime | None = STAMP,
    impedance: int | None = None,
) -> Sample:
    flags = ("stable", *(("removed",) if off else ()), *(("object",) if thing else ()))
    modifiers = {} if impedance is None else {"impedance": Measurement("impedance", Decimal(impedance), "Ohm")}
    return Sample((Measurement("body_weight", Decimal(kg), "kg"),), flags, device_time=stamp, modifiers=modifiers)


def told(events: Iterable[Event], gap_s: float = 0.5) -> list[str]:
    """What comes of frames that follow one another: `80.0 live`, `80.0 held`, or the code of a notice."""
    broadcasts = Broadcasts(WINDOW_S)
    return [word(broadcasts.take(event, number * gap_s)) for number, event in enumerate(events)]


def word(heard: Heard) -> str:
    if isinstance(heard.event, Sample):
        return f"{heard.event.measurements[0].value} {'live' if heard.is_live else 'held'}"
    return heard.event.code if isinstance(heard.event, Notice) else heard.event.reason


def readings(events: Iterable[Event], gap_s: float = 0.5) -> list[str]:
    return [said for said in told(events, gap_s) if said.endswith(("live", "held"))]


def test_a_weighing_that_was_heard_to_become_is_one_reading_of_now() -> None:
    frames: list[Event] = [
        EMPTY,
        RISING,
        RISING,
        weight(),
        weight(),
        weight(impedance=503),
        weight(off=True),
        weight(off=True),
    ]
    assert told(frames) == ["zero", "unstable", "unstable", "80.0 live", *["repeat"] * 4]


def test_an_empty_scale_is_as_good_a_beginning() -> None:
    assert told([EMPTY, weight()]) == ["zero", "80.0 live"]


def test_a_stamp_that_runs_on_in_one_weighing_makes_no_second_one() -> None:
    later = [weight(stamp=STAMP + timedelta(seconds=s), off=s > 3) for s in range(8)]
    assert readings([RISING, *later]) == ["80.0 live"]


def test_what_was_not_heard_to_become_is_told_once_and_not_of_now() -> None:
    assert told([weight(), weight()]) == ["80.0 held", "repeat"]
    assert told([weight(off=True), weight(off=True)]) == ["80.0 held", "repeat"]
    heard = Broadcasts(WINDOW_S).take(weight(off=True), 0.0)
    assert isinstance(heard.event, Sample)
    assert "stored" in heard.event.flags


def test_a_load_that_is_off_is_never_of_now_also_where_its_rise_was_heard() -> None:
    assert readings([RISING, weight(off=True)]) == ["80.0 held"]


def test_a_rise_is_forgotten_after_a_silence_and_by_what_ends_it() -> None:
    assert readings([RISING, weight()], gap_s=WINDOW_S) == ["80.0 live"]
    assert readings([RISING, weight()], gap_s=WINDOW_S + 0.1) == ["80.0 held"]
    assert readings([RISING, EARLY, weight()]) == ["80.0 held"]
    assert readings([RISING, Notice("overload"), weight()]) == ["80.0 held"]


def test_the_same_weight_again_is_another_reading_if_it_rose_again() -> None:
    once: list[Event] = [RISING, weight(), weight(off=True)]
    later = STAMP + timedelta(seconds=30)
    assert readings([*once, RISING, weight(stamp=later), weight(stamp=later, off=True)]) == ["80.0 live"] * 2
    assert readings([*once, RISING, weight(), weight(off=True)]) == ["80.0 live"] * 2  # a clock that stands still
    assert readings([RISING, weight(), RISING, weight()]) == ["80.0 live"] * 2  # that the load went off was not heard


def test_two_persons_one_after_the_other() -> None:
    second = [weight("61.75", stamp=STAMP + timedelta(minutes=1))] * 3
    assert readings([RISING, weight(), weight(off=True), EMPTY, RISING, *second]) == ["80.0 live", "61.75 live"]


def test_another_weight_that_did_not_rise_is_not_of_now() -> None:
    assert readings([RISING, weight(), weight("83.2")]) == ["80.0 live", "83.2 held"]
    assert readings([RISING, weight(), weight(thing=True)]) == ["80.0 live", "80.0 held"]


def test_the_next_person_of_the_same_weight_whose_rise_was_not_heard_is_not_lost() -> None:
    later = weight(stamp=STAMP + timedelta(minutes=5))
    assert readings([RISING, weight(), weight(off=True), later]) == ["80.0 live", "80.0 held"]
    broadcasts = Broadcasts(WINDOW_S)
    for frame, at in ((RISING, 0.0), (weight(), 1.0), (weight(), 2.0)):
        broadcasts.take(frame, at)
    assert word(broadcasts.take(later, 300.0)) == "80.0 held"


def test_what_is_said_again_hours_later_is_a_repeat() -> None:
    broadcasts = Broadcasts(WINDOW_S)
    frames = ((RISING, 0.0), (weight(), 1.0), (weight(off=True), 2.0), (weight(off=True), 9000.0), (weight(), 20000.0))
    assert [word(broadcasts.take(frame, at)) for frame, at in frames] == ["unstable", "80.0 live", *["repeat"] * 3]


def test_somebody_who_left_early_lets_the_old_weight_be_old() -> None:
    assert told([RISING, weight(), weight(off=True), RISING, EARLY, weight(off=True)])[-2:] == ["unsettled", "repeat"]


FRAMES = st.sampled_from(
    [RISING, EMPTY, EARLY, Rejected("length", b""), Notice("overload")]
    + [weight(kg, off=off, stamp=stamp) for kg in ("80.0", "61.75") for off in (True, False) for stamp in (STAMP, None)]
)


@given(st.lists(st.tuples(FRAMES, st.sampled_from([0.5, 5.0, 30.0]))))
def test_one_event_in_one_out_and_of_now_only_what_rose(said: list[tuple[Event, float]]) -> None:
    broadcasts, at, rising_at = Broadcasts(WINDOW_S), 0.0, None
    for event, gap_s in said:
        at += gap_s
        heard = broadcasts.take(event, at)
        if not isinstance(event, Sample):
            assert heard == Heard(event)
        if heard.is_live:
            assert isinstance(event, Sample)
            assert "removed" not in event.flags
            assert rising_at is not None
            assert at - rising_at <= WINDOW_S
        if not isinstance(event, Rejected):
            rising_at = at if event in (RISING, EMPTY) else None
