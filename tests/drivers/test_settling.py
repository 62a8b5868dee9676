"""One reading for one weighing, with the models' own rows: what a clinic wants, then what is done. No real time passes.

A story is (instant, bytes) in order. Instants are eighths of a second, so that a deadline is met exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Driver, Event, Notice, Rejected, Sample
from drivers.models import DeviceModel
from gateway.catalogue import load_model

PRINTING = load_model("and-standard-scale")  # one frame settles, `unstable` is a doubt
LOCKED = load_model("health-o-meter-500kl")  # two equal frames settle, one alone is a recall
RECALLING = load_model("health-o-meter-1100kl-l")
UNLOCKED = load_model("health-o-meter-597kl-3.1.12")  # three settle, fewer are a load on its way
POLLED = load_model("mt-sics-scale")

Story = Iterable[tuple[float, bytes]]
LONG_BEFORE = -1000.0


def kg(weight: str, header: str = "ST") -> bytes:
    """A&D: 9 characters with the sign."""
    return f"{header},+{weight:0>8} kg\r\n".encode()


def lb(weight: str) -> bytes:
    return f"ST,+{weight:0>8} lb\r\n".encode()


def packet(
    weight: str, height: str = "0.0", bmi: str = "0.0", *, tare: str = "0.0", user: str = "0000000000", unit: str = "m"
) -> bytes:
    return f"\x1bR\x1bI{user}\x1bW{weight}\x1bH{height}\x1bB{bmi}\x1bT{tare}\x1bN{unit}\x1bE".encode()


UNSTABLE, EMPTY, OVER, NOISE = kg("41.00", "US"), kg("0.00"), kg("99999.99", "OL"), b"#\r\n"


def play(
    model: DeviceModel, story: Story, *, open_at: float = LONG_BEFORE, until: float | None = 1000.0, ticks: bool = True
) -> list[Event]:
    """Answer all events: the port is opened, deadlines are met (late, if not `ticks`), at `until` the port is gone."""
    driver = registry.driver(model)
    step = driver.tick(open_at)
    events = list(step.events)
    for now, data in story:
        if ticks:
            events += _tick_until(driver, step.deadline, now)
        elif step.deadline is not None and step.deadline <= now:
            events += driver.tick(now).events
        step = driver.feed(data, now)
        events += step.events
    if until is not None:
        events += _tick_until(driver, step.deadline, until)
        events += driver.close(until).events
    return events


def _tick_until(driver: Driver, deadline: float | None, now: float) -> list[Event]:
    events: list[Event] = []
    while deadline is not None and deadline <= now:
        step = driver.tick(deadline)
        events += step.events
        assert step.deadline is None or step.deadline > deadline, "a deadline that does not move is a busy loop"
        deadline = step.deadline
    return events


def readings(events: Iterable[Event]) -> list[tuple[str, ...]]:
    """Each reading as its numbers, then its marks; flags of the frame itself are another test's matter."""
    marks = ("possible_repeat", "stored", "single_packet")
    return [
        (*(format(m.value, "f") for m in event.measurements), *(flag for flag in event.flags if flag in marks))
        for event in events
        if isinstance(event, Sample)
    ]


def codes(events: Iterable[Event]) -> Counter[str]:
    return Counter(event.code for event in events if isinstance(event, Notice))


def every(pause: float, *frames: bytes, start: float = 0.0) -> list[tuple[float, bytes]]:
    return [(start + number * pause, frame) for number, frame in enumerate(frames)]


# Law 1: one reading for one weighing, told at once, then quiet.


def test_a_key_pressed_once_is_one_reading_at_once() -> None:
    events = play(PRINTING, [(0.0, kg("82.35"))], until=None)
    assert readings(events) == [("82.35",)]


def test_two_equal_packets_are_told_on_the_second() -> None:
    events = play(LOCKED, every(1.0, packet("82.3"), packet("82.3")), until=None)
    assert readings(events) == [("82.3",)]
    assert [event.at for event in events if isinstance(event, Sample)] == [1.0]


def test_a_scale_that_does_not_say_stable_must_say_it_three_times() -> None:
    frames = (packet("82.3"), packet("82.3"), packet("82.3"))
    assert readings(play(UNLOCKED, every(1.0, *frames[:2]), until=None)) == []
    assert readings(play(UNLOCKED, every(1.0, *frames), until=None)) == [("82.3",)]


@pytest.mark.parametrize(
    ("model", "frame", "pause"),
    [
        (PRINTING, kg("82.35"), 0.125),
        (LOCKED, packet("82.3"), 1.0),
        (UNLOCKED, packet("82.3"), 1.0),
        (POLLED, b"S S     82.35 kg\r\n", 0.5),
    ],
    ids=["printing", "locked", "unlocked", "polled"],
)
def test_fifty_equal_frames_are_one_reading(model: DeviceModel, frame: bytes, pause: float) -> None:
    events = play(model, every(pause, *[frame] * 50), open_at=-10.0, until=None)
    assert len(readings(events)) == 1
    assert codes(events) - Counter(no_answer=2) == Counter(
        repeat=50 - model.settling.frames, settling=model.settling.frames - 1
    )


def test_the_way_up_is_no_reading() -> None:
    events = play(UNLOCKED, every(1.0, *(packet(w) for w in ("12.0", "40.5", "40.5", "82.3", "82.3", "82.3"))))
    assert readings(events) == [("82.3",)]
    assert codes(events) == Counter(unsettled=3, settling=2)


# Law 2: after a break equal values are two readings.


@pytest.mark.parametrize(
    ("model", "frame"), [(PRINTING, kg("82.35")), (LOCKED, packet("82.3"))], ids=["printing", "locked"]
)
def test_two_patients_of_one_weight_with_silence_between(model: DeviceModel, frame: bytes) -> None:
    silence = model.settling.silence_s
    first = every(1.0, frame, frame)
    second = every(1.0, frame, frame, start=1.0 + silence)
    assert len(readings(play(model, first + second))) == 2
    assert not any("possible_repeat" in reading for reading in readings(play(model, first + second)))
    sooner = every(1.0, frame, frame, start=1.0 + silence - 0.125)
    assert len(readings(play(model, first + sooner))) == 1


@pytest.mark.parametrize("between", [EMPTY, OVER], ids=["empty", "overload"])
def test_two_patients_of_one_weight_with_an_empty_scale_between(between: bytes) -> None:
    story = every(0.125, kg("82.35"), UNSTABLE, between, UNSTABLE, kg("82.35"))
    assert readings(play(PRINTING, story)) == [("82.35",), ("82.35",)]


def test_an_empty_scale_of_the_other_protocol_is_a_break_too() -> None:
    story = every(1.0, *[packet("82.3")] * 3, packet("0.0"), *[packet("82.3")] * 3)
    assert readings(play(UNLOCKED, story)) == [("82.3",), ("82.3",)]


# Law 3: without a break, another weight is another reading, and what is new beside the same weight is told alone.


def test_the_parent_then_the_parent_with_the_child() -> None:
    story = every(0.125, kg("70.10"), kg("70.10"), UNSTABLE, kg("82.35"), kg("82.35"))
    assert readings(play(PRINTING, story)) == [("70.10",), ("82.35",)]
    packets = every(1.0, *[packet("70.1")] * 3, *[packet("82.3")] * 3)
    assert readings(play(LOCKED, packets)) == [("70.1",), ("82.3",)]


def test_a_height_keyed_in_while_the_weight_goes_on_is_told_alone() -> None:
    story = every(1.0, *[packet("82.3")] * 3, *[packet("82.3", "180.0", "25.4")] * 3)
    assert readings(play(LOCKED, story)) == [("82.3",), ("180.0", "25.4")]


def test_a_height_that_is_corrected_is_told_and_the_weight_is_not() -> None:
    low, high = packet("82.3", "18.0", "254.0"), packet("82.3", "180.0", "25.4")
    story = every(1.0, low, low, high, high, packet("82.3"), packet("82.3"), high, high)
    assert readings(play(LOCKED, story)) == [("82.3", "18.0", "254.0"), ("180.0", "25.4")]


def test_the_wheelchair_is_beside_the_weight_and_told_once() -> None:
    events = play(LOCKED, every(1.0, *[packet("82.3", tare="15.5")] * 5))
    (sample,) = [event for event in events if isinstance(event, Sample)]
    assert [m.kind for m in sample.measurements] == ["body_weight"]
    assert [(name, format(m.value, "f"), m.unit) for name, m in sample.modifiers.items()] == [("tare", "15.5", "kg")]


def test_another_tare_is_another_weighing() -> None:
    story = every(1.0, *[packet("82.3")] * 2, *[packet("82.3", tare="15.5")] * 2)
    events = play(LOCKED, story)
    assert readings(events) == [("82.3",), ("82.3",)]
    tares = [dict(event.modifiers) for event in events if isinstance(event, Sample)]
    assert [format(tare["tare"].value, "f") for tare in tares] == ["0.0", "15.5"]


@pytest.mark.parametrize("odd", [packet("82.3", tare="15.5"), packet("82.3", user="1234567890")], ids=["tare", "id"])
def test_one_packet_that_differs_beside_the_weight_settles_nothing(odd: bytes) -> None:
    usual = packet("82.3")
    events = play(LOCKED, every(1.0, usual, usual, odd, usual, usual))
    assert readings(events) == [("82.3",)]
    assert codes(events)["unsettled"] == 1


def test_an_id_keyed_in_later_may_be_another_patient() -> None:
    story = every(1.0, *[packet("82.3")] * 2, *[packet("82.3", user="1234567890")] * 2)
    events = play(LOCKED, story)
    assert readings(events) == [("82.3",), ("82.3", "possible_repeat")]
    assert [event.device_user for event in events if isinstance(event, Sample)] == [None, "1234567890"]


# Law 4: where it cannot be told whether there was a break, the value is told once more, marked.


def test_equal_weights_with_only_movement_between_are_marked() -> None:
    story = every(0.125, kg("82.35"), UNSTABLE, kg("82.35"), kg("82.35"))
    assert readings(play(PRINTING, story)) == [("82.35",), ("82.35", "possible_repeat")]


def test_a_polled_scale_that_was_busy_between_is_in_doubt() -> None:
    weight, busy = b"S S     82.35 kg\r\n", b"S I\r\n"
    story = every(0.5, weight, weight, busy, weight, weight)
    assert readings(play(POLLED, story)) == [("82.35",), ("82.35", "possible_repeat")]


def test_different_weights_with_only_movement_between_are_not() -> None:
    story = every(0.125, kg("82.35"), UNSTABLE, kg("82.40"), kg("82.40"))
    assert readings(play(PRINTING, story)) == [("82.35",), ("82.40",)]


def test_the_movement_before_a_weighing_is_no_doubt() -> None:
    assert readings(play(PRINTING, every(0.125, UNSTABLE, UNSTABLE, kg("82.35")))) == [("82.35",)]
    assert readings(play(PRINTING, every(0.125, EMPTY, UNSTABLE, kg("82.35")), open_at=0.0)) == [("82.35",)]


def test_who_joins_in_the_middle_of_a_stream_cannot_know() -> None:
    story = every(0.125, *[kg("82.35")] * 5, EMPTY, *[kg("70.10")] * 5, start=1.0)
    assert readings(play(PRINTING, story, open_at=0.0)) == [("82.35", "possible_repeat"), ("70.10",)]


def test_who_heard_silence_first_did_not_join_in_the_middle() -> None:
    silence = PRINTING.settling.silence_s
    assert readings(play(PRINTING, [(silence, kg("82.35"))], open_at=0.0)) == [("82.35",)]
    assert readings(play(PRINTING, [(silence - 0.125, kg("82.35"))], open_at=0.0)) == [("82.35", "possible_repeat")]


def test_a_unit_that_changes_while_the_load_stays_is_marked() -> None:
    story = every(0.125, kg("82.35"), kg("82.35"), lb("181.55"), lb("181.55"), kg("82.35"))
    assert readings(play(PRINTING, story)) == [
        ("82.35",),
        ("181.55", "possible_repeat"),
        ("82.35", "possible_repeat"),
    ]


def test_a_unit_that_changes_between_two_weighings_is_not() -> None:
    story = every(0.125, kg("82.35"), EMPTY, lb("181.55"))
    assert readings(play(PRINTING, story)) == [("82.35",), ("181.55",)]


WEIGHED = every(1.0, packet("82.3"), packet("82.3"))
WITH_HEIGHT = (packet("82.3", "180.0", "25.4"),) * 2


def test_the_same_weight_with_a_height_after_silence_is_marked() -> None:
    story = WEIGHED + every(1.0, *WITH_HEIGHT, start=60.0)
    assert readings(play(LOCKED, story)) == [("82.3",), ("82.3", "180.0", "25.4", "possible_repeat")]


@pytest.mark.parametrize("noise", [b"\x1bE", b"\x1bR\x1bI00", b"?" * 600], ids=["damaged", "half", "flood"])
def test_noise_while_the_height_is_keyed_in_does_not_hide_the_repeat(noise: bytes) -> None:
    story = [*WEIGHED, (30.0, noise), *every(1.0, *WITH_HEIGHT, start=60.0)]
    assert readings(play(LOCKED, story)) == [("82.3",), ("82.3", "180.0", "25.4", "possible_repeat")]


@pytest.mark.parametrize("height", ["180.0", "0.0"])
def test_another_weight_after_silence_is_not(height: str) -> None:
    story = WEIGHED + every(1.0, *[packet("64.0", height)] * 2, start=60.0)
    assert readings(play(LOCKED, story))[1] == (("64.0", height) if float(height) else ("64.0",))


@pytest.mark.parametrize("emptied_at", [2.0, 30.0])
def test_the_same_weight_with_a_height_after_an_empty_scale_is_not(emptied_at: float) -> None:
    story = [*WEIGHED, (emptied_at, packet("0.0")), *every(1.0, *WITH_HEIGHT, start=emptied_at + 1.0)]
    assert readings(play(LOCKED, story)) == [("82.3",), ("82.3", "180.0", "25.4")]


def test_frames_with_movement_between_are_not_in_a_row() -> None:
    row = replace(PRINTING, settling=replace(PRINTING.settling, frames=2))
    assert readings(play(row, every(0.125, kg("82.35"), UNSTABLE, kg("82.35"), UNSTABLE))) == []
    assert readings(play(row, every(0.125, kg("82.35"), UNSTABLE, kg("82.35"), kg("82.35")))) == [("82.35",)]


# What is too little when a break comes.


def test_a_recalled_weight_is_told_as_stored() -> None:
    story = [*every(1.0, packet("82.3"), packet("82.3")), (60.0, packet("64.0"))]
    events = play(RECALLING, story)
    assert readings(events) == [("82.3",), ("64.0", "stored", "single_packet")]
    assert [event.at for event in events if isinstance(event, Sample)] == [1.0, 60.0]


def test_a_recalled_weight_waits_for_its_silence_and_not_longer() -> None:
    driver = registry.driver(RECALLING)
    driver.tick(LONG_BEFORE)
    driver.tick(LONG_BEFORE + 10.0)
    step = driver.feed(packet("64.0"), 10.0)
    seen = list(step.events)
    silent_at = 10.0 + RECALLING.settling.silence_s
    seen += driver.tick(silent_at - 0.125).events
    assert seen == []
    assert readings(driver.tick(silent_at).events) == [("64.0", "stored", "single_packet")]


def test_a_recalled_weight_before_a_weighing_is_a_notice() -> None:
    story = every(1.0, packet("64.0"), packet("82.3"), packet("82.3"))
    events = play(RECALLING, story)
    assert readings(events) == [("82.3",)]
    assert codes(events) == Counter(unsettled=1, settling=1)


def test_each_packet_of_a_recall_is_accounted_for() -> None:
    row = replace(RECALLING, settling=replace(RECALLING.settling, frames=3))
    events = play(row, every(1.0, packet("64.0"), packet("64.0")))
    assert readings(events) == [("64.0", "stored", "single_packet")]
    assert codes(events) == Counter(settling=1)


def test_a_load_on_its_way_is_a_notice() -> None:
    events = play(UNLOCKED, every(1.0, packet("64.0"), packet("64.0")))
    assert readings(events) == []
    assert codes(events) == Counter(unsettled=2)


def test_a_port_that_is_gone_is_a_break() -> None:
    for model, told in ((RECALLING, [("64.0", "stored", "single_packet")]), (UNLOCKED, [])):
        driver = registry.driver(model)
        driver.tick(LONG_BEFORE)
        driver.tick(LONG_BEFORE + 10.0)
        assert driver.feed(packet("64.0"), 0.0).events == ()
        step = driver.close(0.125)
        assert readings(step.events) == told
        assert len(step.events) == 1
        assert (step.write, step.deadline) == (b"", None)


# Deadlines and late ticks.


def test_nobody_is_woken_for_a_silence_that_is_known() -> None:
    driver = registry.driver(LOCKED)
    assert driver.tick(0.0).deadline == LOCKED.settling.silence_s
    assert driver.tick(2.5).deadline is None
    driver.feed(packet("82.3"), 10.0)
    assert driver.tick(12.0).deadline == 12.5
    assert driver.tick(12.5).deadline is None


def test_what_is_asked_goes_through() -> None:
    assert registry.driver(POLLED).tick(0.0).write == b"S\r\n"


PIECES: dict[str, list[bytes]] = {
    "and-standard-scale": [
        *[kg("82.35"), kg("82.35") * 3, kg("70.10"), lb("181.55"), UNSTABLE, EMPTY, OVER, NOISE],
        *[kg("82.35")[:9], kg("82.35")[9:], kg("82.35") + EMPTY + kg("82.35")],
    ],
}
for _model in ("health-o-meter-500kl", "health-o-meter-1100kl-l", "health-o-meter-597kl-3.1.12"):
    PIECES[_model] = [
        *[packet("82.3"), packet("82.3") * 2, packet("70.1"), packet("82.3", "180.0", "25.4"), packet("0.0")],
        *[packet("82.3", tare="15.5"), packet("82.3", user="1234567890"), packet("181.4", unit="c"), b"\x1bE"],
        *[packet("82.3")[:20], packet("82.3")[20:], b"?" * 600, packet("82.3") * 6],
    ]

each_model = pytest.mark.parametrize("model", sorted(PIECES))


def stories(model: str) -> st.SearchStrategy[list[tuple[float, bytes]]]:
    pauses = st.sampled_from([0.0, 0.125, 1.0, 1.875, 2.0, 2.375, 2.5, 2.625, 60.0])
    beats = st.lists(st.tuples(pauses, st.sampled_from(PIECES[model])), max_size=30)

    def at_instants(beats: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        now, story = 0.0, []
        for pause, data in beats:
            now += pause
            story.append((now, data))
        return story

    return beats.map(at_instants)


@each_model
@given(data=st.data())
def test_one_event_in_one_event_out(model: str, data: st.DataObject) -> None:
    row, story = load_model(model), data.draw(stories(model))
    codec = registry.codec(row.driver, row.quirks)
    told = play(row, story)
    # Where half a frame is given up depends on time: the bare codec is fed what was between the silences.
    frames: list[Event] = []
    before = 0.0
    for now, piece in story:
        frames += codec.flush() if now - before >= 2.0 else []
        frames += codec.feed(piece)
        before = now
    frames += codec.flush()
    assert len(told) == len(frames)
    assert [event for event in told if isinstance(event, Rejected)] == [e for e in frames if isinstance(e, Rejected)]
    of_settling = ("settling", "repeat", "unsettled")
    assert codes(told) - Counter({code: len(told) for code in of_settling}) == codes(frames)
    samples = [event for event in frames if isinstance(event, Sample)]
    assert sum(codes(told)[code] for code in of_settling) + len(readings(told)) == len(samples)


@each_model
@given(data=st.data())
def test_what_is_told_was_said(model: str, data: st.DataObject) -> None:
    row, story = load_model(model), data.draw(stories(model))
    for event in play(row, story, open_at=0.0):
        if isinstance(event, Sample):
            (said,) = registry.codec(row.driver, row.quirks).feed(event.raw)
            assert isinstance(said, Sample)
            assert set(event.measurements) <= set(said.measurements)
            assert event.measurements
            assert (event.modifiers, event.device_user) == (said.modifiers, said.device_user)
            assert set(event.flags) - set(said.flags) <= {"possible_repeat", "stored", "single_packet"}


@each_model
@given(data=st.data())
def test_no_weight_that_settled_is_lost(model: str, data: st.DataObject) -> None:
    """Each run of equal frames, long enough and after another weight or an empty scale, is told."""
    row = load_model(model)
    make = kg if row.driver == "and_scale" else packet
    loads = data.draw(st.lists(st.sampled_from(["0.0", "64.0", "82.3", "70.1"]), max_size=8))
    story = every(1.0, *[frame for load in loads for frame in [make(load)] * row.settling.frames])
    weighed = [load for number, load in enumerate(loads) if load != "0.0" and [load] != loads[number - 1 : number]]
    told = [measurements[0] for measurements in readings(play(row, story))]
    assert told == weighed


@each_model
@given(data=st.data())
def test_ticks_that_come_late_change_nothing(model: str, data: st.DataObject) -> None:
    row, story = load_model(model), data.draw(stories(model))
    open_at = data.draw(st.sampled_from([0.0, LONG_BEFORE]))
    punctual = play(row, story, open_at=open_at)
    late = play(row, story, open_at=open_at, ticks=False)
    assert [e for e in late if isinstance(e, Sample)] == [e for e in punctual if isinstance(e, Sample)]
    assert codes(late) == codes(punctual)
    assert [e for e in late if isinstance(e, Rejected)] == [e for e in punctual if isinstance(e, Rejected)]


def test_a_weighing_that_goes_on_while_we_stand_still_is_not_a_second_one() -> None:
    """Stopped, swapped out, waiting for a disk: the bytes lay in the port, and no tick said that nothing came."""
    driver = registry.driver(load_model("health-o-meter-500kl"))
    driver.tick(0.0)
    driver.tick(10.0)
    assert len(readings([*driver.feed(packet("83.7"), 11.0).events, *driver.feed(packet("83.7"), 12.0).events])) == 1
    woken = driver.feed(packet("83.7") * 3, 16.0).events
    assert readings(woken) == [("83.7", "possible_repeat")], "told with its doubt, for the gateway to hold"
    assert readings(driver.feed(packet("83.7"), 17.0).events) == []
