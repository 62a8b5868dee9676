"""Chairs and baby scales of Health o meter: odd packets, and what the lies of its simulators come to."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model
from simulators.serial.health_o_meter_binary import BabyScale, ChairScale


def decoded(frame: bytes) -> list[Event]:
    codec = registry.codec("health_o_meter_binary", Quirks())
    return codec.feed(frame) + codec.flush()


@pytest.mark.parametrize(
    ("frame", "value", "unit"),
    [
        (b"\x02\x82\xd7\xe4083.7\r", "83.7", "kg"),
        (b"\x02\x80\xd7\xe4011.005\r", "11.005", "[lb_av]"),
        (b"\x01\x80\xd7\xe4011.005\r", "11.005", "[lb_av]"),
    ],
)
def test_it_is_a_weight(frame: bytes, value: str, unit: str) -> None:
    [event] = decoded(frame)
    assert isinstance(event, Sample)
    [measured] = event.measurements
    assert (format(measured.value, "f"), measured.unit, event.flags) == (value, unit, ("stability_not_on_wire",))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x02\x81\xd7\xe4083.7\r", "unknown_units"),
        (b"\x02\x02\xd7\xe4004.990\r", "unknown_units"),
        (b"\x01\x82\xd7\xe4083.7\r", "bad_frame"),  # only a baby scale begins with 01
        (b"\x02\x82\xd7\xe483.7\r", "bad_frame"),
        (b"\x02\x82\xd7\xe4 83.7\r", "bad_frame"),
        (b"\x02\x82\xd7\xe4-83.7\r", "bad_frame"),
        (b"\x02\x82\xd7\xe4083.70\r", "bad_frame"),
        (b"\x02\x82\x57\x64083.7\r", "bad_frame"),  # a line of seven bits
        (b"\x03\x82\xd7\xe4083.7\r", "bad_frame"),
    ],
)
def test_it_is_refused(frame: bytes, reason: str) -> None:
    assert decoded(frame) == [Rejected(reason, frame)]


@pytest.mark.parametrize("frame", [b"\x02\x80\xd7\xe4000.0\r", b"\x01\x82\xd7\xe4000.000\r"])
def test_zero_is_an_empty_scale(frame: bytes) -> None:
    [event] = decoded(frame)
    assert isinstance(event, Notice)
    assert event.code == "zero_weight"


def told(model: str, scale: ChairScale | BabyScale, acts: dict[int, tuple[str, str]], seconds: int) -> list[Sample]:
    """What the driver of this model tells while `acts` happen at the scale, second by second."""
    driver = registry.driver(load_model(model))
    events = list(driver.tick(0.0).events)
    for second in range(seconds):
        kind, argument = acts.get(second, ("", ""))
        if kind == "on":
            scale.step_on(float(argument))
        elif kind == "off":
            scale.step_off()
        elif kind:
            getattr(scale, kind)(*argument.split("="))
        for part in range(4):
            now = second + 0.25 * (part + 1)
            said = scale.advance(0.25)
            events += (driver.feed(said, now) if said else driver.tick(now)).events
    assert not [event for event in events if isinstance(event, Rejected)]
    return [event for event in events if isinstance(event, Sample)]


def values(samples: list[Sample]) -> list[str]:
    return [format(sample.measurements[0].value, "f") for sample in samples]


def test_a_weight_that_stays_after_its_owner_left_is_told_once() -> None:
    chair = ChairScale()
    chair.set_value("nurse", "no")
    acts = {5: ("on", "83.7"), 12: ("off", ""), 40: ("on", "60"), 50: ("press", "reweigh")}
    samples = told("health-o-meter-2595kl", chair, acts, 60)
    assert values(samples) == ["83.7", "60.0"]
    assert [sample.flags for sample in samples] == [("stability_not_on_wire",)] * 2


def test_who_gets_the_last_patients_weight_is_held_with_all_others() -> None:
    """Nothing in the packet tells: the row says that the scale may send what was measured earlier."""
    acts = {5: ("on", "83.7"), 12: ("off", ""), 20: ("on", "84.2")}
    samples = told("health-o-meter-2595kl-before-4215", ChairScale(early=True), acts, 30)
    assert values(samples) == ["83.7", "83.7"]
    assert load_model("health-o-meter-2595kl-before-4215").memory == "unfenced"


def test_a_weight_that_units_sends_once_more_is_stored() -> None:
    acts = {5: ("on", "83.7"), 12: ("off", ""), 20: ("press", "unit")}
    first, again = told("health-o-meter-2595kl-before-4215", ChairScale(early=True), acts, 30)
    assert "stored" not in first.flags
    assert {"stored", "single_packet"} <= set(again.flags)


def test_a_baby_is_one_reading_though_each_weight_comes_twice_and_some_while_it_moves() -> None:
    acts = {5: ("on", "4.99"), 15: ("off", ""), 20: ("on", "4.99"), 30: ("off", "")}
    samples = told("health-o-meter-522kl", BabyScale(), acts, 35)
    assert values(samples) == ["4.990", "4.990"]
    assert [sample.flags for sample in samples] == [("stability_not_on_wire",)] * 2


def test_a_unit_that_changes_while_the_baby_lies_there_is_no_second_reading() -> None:
    first, other = told("health-o-meter-553kl", BabyScale(holds=True), {5: ("on", "4.99"), 12: ("press", "unit")}, 20)
    assert (first.measurements[0].unit, other.measurements[0].unit) == ("kg", "[lb_av]")
    assert "possible_repeat" in other.flags
