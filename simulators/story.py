"""What happens at a device, and when: read from a file, or the ordinary day of a clinic.

A line of a story is `<seconds> <action> [argument]`; a `#` begins a comment, an empty line is nothing.

    0.5 step_on 83.7      someone of 83.7 kg steps on
    2   set id=12345      as --set KIND=VALUE
    6   step_off          (a cuff, thermometer or oximeter: attach, detach)
    7   press unit        a key of the device
    9   fault unplug      a name of simulators/faults.py
    12  fault replug

Seconds count from the start and do not go back.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from simulators.faults import Faults, fault_named
from simulators.patient import Patient, Vitals
from simulators.serial.device import Bedside, Scale, SerialDevice
from simulators.serial.load import number

_ACTIONS = {"step_on": 1, "step_off": 0, "attach": 0, "detach": 0, "press": 1, "set": 1, "fault": 1}
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)([A-Za-z\[%][A-Za-z0-9_\[\]/%]*)?")
_HEAVIEST_KG = 1000.0


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens, `at_s` seconds after the start."""

    at_s: float
    action: str
    argument: str = ""


def parse(text: str, name: str, rehearsal: SerialDevice) -> list[Act]:
    """Read a story and play it at once on `rehearsal`; ValueError gives `name`, the line and what is allowed."""
    acts: list[Act] = []
    faults = Faults()
    for line_number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            act = _act(words)
            if acts and act.at_s < acts[-1].at_s:
                raise ValueError(f"time goes back from {acts[-1].at_s:g} s to {act.at_s:g} s")
            perform(act, rehearsal, faults)
        except ValueError as error:
            raise ValueError(f"{name}:{line_number}: {error}") from None
        acts.append(act)
    return acts


def perform(act: Act, device: SerialDevice, faults: Faults) -> None:
    """Do it to the device or to its wire; ValueError if this device cannot do it."""
    match act.action:
        case "step_on":
            _scale(device).step_on(_load_kg(act.argument))
        case "step_off":
            _scale(device).step_off()
        case "attach":
            _bedside(device).attach()
        case "detach":
            _bedside(device).detach()
        case "press":
            device.press(act.argument)
        case "set":
            device.set_value(*setting(act.argument))
        case "fault":
            faults.inject(fault_named(act.argument))
        case _:
            raise ValueError(f"unknown action {act.action!r} ({', '.join(_ACTIONS)})")


def setting(text: str) -> tuple[str, str, str]:
    """Read `KIND=VALUE`, the value with a UCUM unit or without: kind, value, unit. ValueError if it is none."""
    kind, equals, value = text.partition("=")
    if not (kind and equals and value):
        raise ValueError(f"{text!r} is not KIND=VALUE, as in body_weight=83.7 or body_weight=184.5[lb_av]")
    quantity = _QUANTITY.fullmatch(value)
    # An ID may look like a number with a unit, and must keep its zeros.
    if quantity is None or kind == "id":
        return kind, value, ""
    return kind, quantity[1], quantity[2] or ""


def clinic(seed: int, device: SerialDevice | None = None) -> Iterator[Act]:
    """People come, step on, stay, step off, for ever; at a `device` that is no scale they are attached and detached."""
    chance = random.Random(seed)
    at_s = 1.0
    while True:
        patient = Patient(chance.randrange(1 << 32))
        if isinstance(device, Bedside):
            for kind, value in _of(patient.vitals):
                if kind in device.kinds:
                    yield Act(round(at_s, 2), "set", f"{kind}={value}")
            yield Act(round(at_s, 2), "attach")
            at_s += chance.uniform(40.0, 60.0)
            yield Act(round(at_s, 2), "detach")
            at_s += chance.uniform(15.0, 25.0)
            continue
        yield Act(round(at_s, 2), "step_on", f"{patient.weight_kg:.1f}")
        at_s += chance.uniform(6.0, 9.0)
        yield Act(round(at_s, 2), "step_off")
        at_s += chance.uniform(5.0, 10.0)


def _of(vitals: Vitals) -> list[tuple[str, str]]:
    """A patient's vitals as a bedside device shows them, by the contract's kinds."""
    return [
        ("systolic", f"{vitals.systolic:.0f}"),
        ("diastolic", f"{vitals.diastolic:.0f}"),
        ("pulse_rate", f"{vitals.pulse:.0f}"),
        ("oxygen_saturation", f"{vitals.spo2:.0f}"),
        ("body_temperature", f"{vitals.temperature_c:.1f}"),
        ("body_weight", f"{vitals.weight_kg:.1f}"),
        ("body_height", f"{vitals.height_cm:.1f}"),
    ]


def _scale(device: SerialDevice) -> Scale:
    if not isinstance(device, Scale):
        raise ValueError("this device is no scale: nobody steps on it (attach, detach)")  # noqa: TRY004 - a story's mistake
    return device


def _bedside(device: SerialDevice) -> Bedside:
    if not isinstance(device, Bedside):
        raise ValueError("this device is a scale: it is not attached (step_on, step_off)")  # noqa: TRY004 - as above
    return device


def _act(words: list[str]) -> Act:
    at_s = number(words[0], "the time")
    if at_s < 0:
        raise ValueError("the time must not be below 0")
    if len(words) < 2 or words[1] not in _ACTIONS:
        raise ValueError(f"unknown action {' '.join(words[1:2])!r} ({', '.join(_ACTIONS)})")
    wanted = _ACTIONS[words[1]]
    if len(words) - 2 != wanted:
        raise ValueError(f"{words[1]} takes {'one argument' if wanted else 'no argument'}")
    return Act(at_s, words[1], words[2] if wanted else "")


def _load_kg(text: str) -> float:
    kg = number(text, "a load in kg")
    if not -_HEAVIEST_KG <= kg <= _HEAVIEST_KG:
        raise ValueError(f"a load is at most {_HEAVIEST_KG:g} kg, not {kg:g}")
    return kg
