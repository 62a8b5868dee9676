from __future__ import annotations

from itertools import islice, pairwise

import pytest

from simulators import catalogue
from simulators.faults import Faults
from simulators.serial.device import Scale
from simulators.serial.health_o_meter import HealthOMeterScale
from simulators.story import Act, clinic, parse, perform, setting

STORY = """\
# a morning
0.5 step_on 83.7
2   set id=12345    # keyed in

6   step_off
7   press unit
9   fault unplug
12  fault replug
"""


def scale() -> HealthOMeterScale:
    return HealthOMeterScale("health-o-meter-500kl")


def test_a_story_is_read() -> None:
    assert parse(STORY, "morning.txt", scale()) == [
        Act(0.5, "step_on", "83.7"),
        Act(2.0, "set", "id=12345"),
        Act(6.0, "step_off"),
        Act(7.0, "press", "unit"),
        Act(9.0, "fault", "unplug"),
        Act(12.0, "fault", "replug"),
    ]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("soon step_on 80", "the time must be a number, not 'soon'"),
        ("inf step_on 80", "the time must be a number"),
        ("-1 step_on 80", "below 0"),
        ("0.1 step_off", "time goes back"),
        ("3", "unknown action '' (step_on"),
        ("3 jump", "unknown action 'jump' (step_on"),
        ("3 step_on", "step_on takes one argument"),
        ("3 step_off now", "step_off takes no argument"),
        ("3 step_on heavy", "must be a number"),
        ("3 step_on 1e9", "at most 1000 kg"),
        ("3 press any", "no key 'any' (unit, recall"),
        ("3 set weight", "not KIND=VALUE"),
        ("3 set systolic=120", "cannot be set to systolic=120"),
        ("3 fault explode", "unknown fault 'explode' (drop"),
    ],
)
def test_a_mistake_is_told_with_its_line(bad: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^day\.txt:3: ") as caught:
        parse(f"0.5 step_on 80\n\n{bad}\n", "day.txt", scale())
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("body_weight=83.7", ("body_weight", "83.7", "")),
        ("body_weight=184.5[lb_av]", ("body_weight", "184.5", "[lb_av]")),
        ("body_height=178cm", ("body_height", "178", "cm")),
        ("bmi=24.1kg/m2", ("bmi", "24.1", "kg/m2")),
        ("unit=lb", ("unit", "lb", "")),
        ("id=0000000000", ("id", "0000000000", "")),
        ("id=12kg", ("id", "12kg", "")),
    ],
)
def test_a_setting_is_kind_value_and_unit(text: str, expected: tuple[str, str, str]) -> None:
    assert setting(text) == expected


SCALES = [model for model in catalogue.models() if isinstance(catalogue.make(model), Scale)]


@pytest.mark.parametrize("model", SCALES)
def test_a_clinics_day_goes_on_and_weighs_people_on_every_scale(model: str) -> None:
    device, faults = catalogue.make(model, seed=7), Faults()
    acts = list(islice(clinic(7, device), 20))
    assert acts == list(islice(clinic(7, device), 20))
    assert acts != list(islice(clinic(8, device), 20))
    assert [act.action for act in acts] == ["step_on", "step_off"] * 10
    assert all(earlier.at_s < later.at_s for earlier, later in pairwise(acts))
    for act in acts:
        perform(act, device, faults)


@pytest.mark.parametrize("model", ["and-standard-scale", "mt-sics-scale", "health-o-meter-500kl"])
def test_each_weight_of_the_day_is_on_the_wire(model: str) -> None:
    device, faults = catalogue.make(model, seed=7), Faults()
    said, now_s = b"", 0.0
    acts = list(islice(clinic(7, device), 20))
    for act in acts:
        said += device.advance(act.at_s - now_s) + device.receive(b"S\r\n")
        now_s = act.at_s
        perform(act, device, faults)
    for act in acts[::2]:
        assert act.argument.encode() in said, "in kg"


def test_a_day_at_a_cuff_sets_its_vitals_attaches_and_detaches() -> None:
    device = catalogue.make("and-tm-2655p")
    acts = list(islice(clinic(7, device), 10))
    assert [act.action for act in acts] == ["set", "set", "set", "attach", "detach"] * 2
    assert all(earlier.at_s <= later.at_s for earlier, later in pairwise(acts))


@pytest.mark.parametrize(("model", "line"), [("and-tm-2655p", "step_on 80"), ("mt-sics-scale", "attach")])
def test_what_a_device_is_not_made_for_is_told(model: str, line: str) -> None:
    with pytest.raises(ValueError, match=r"morning:1: this device is"):
        parse(f"1 {line}", "morning", catalogue.make(model))


def test_an_unknown_model_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="health-o-meter-500kl"):
        catalogue.make("healthometer-500kl")
