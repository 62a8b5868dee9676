"""Adam MUW-300L: which lines make a print, whose ID it is, and PRINT pressed again when the patient has left."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model
from simulators.serial.adam_print import AdamStation

DOCTOR, PATIENT = b"Doctor Id: 00001\r\n", b"Patient Id: 0000000123\r\n"
WEIGHT, HEIGHT, BMI = b"Weight: 80.00 kg\r\n", b"Height: 183 cm\r\n", b"BMI: 23.9\r\n"


def decoded(*lines: bytes) -> list[Event]:
    codec = registry.codec("adam_print", Quirks())
    return codec.feed(b"".join(lines)) + codec.flush()


def said(*lines: bytes) -> list[tuple[str, str]]:
    (event,) = decoded(*lines)
    assert isinstance(event, Sample)
    assert event.raw == b"".join(lines)
    return [(str(m.value), m.unit) for m in event.measurements]


def test_lines_may_be_switched_off_but_for_weight_and_bmi() -> None:
    assert said(WEIGHT, BMI) == [("80.00", "kg"), ("23.9", "kg/m2")]
    assert said(PATIENT, WEIGHT, HEIGHT, BMI)[1:] == [("183", "cm"), ("23.9", "kg/m2")]
    assert decoded(PATIENT, WEIGHT, HEIGHT) == [Rejected("truncated", PATIENT + WEIGHT + HEIGHT)]
    assert decoded(PATIENT, BMI) == [Rejected("missing_weight", PATIENT + BMI)]


def test_pounds_and_inches_and_what_was_not_measured() -> None:
    lines = (b"Weight: 176.4 lbs\r\n", b"Height: 72.0 in\r\n")
    assert said(*lines, BMI) == [("176.4", "[lb_av]"), ("72.0", "[in_i]"), ("23.9", "kg/m2")]
    assert said(WEIGHT, b"Height: 0 cm\r\n", b"BMI: 0.0\r\n") == [("80.00", "kg")]


@pytest.mark.parametrize(
    ("line", "user"),
    [
        (b"Patient Id: 0000000123\r\n", "0000000123"),
        (b"Patient Id: 0000000000\r\n", None),
        (b"Patient Id: \r\n", None),
        (b"Patient Id:           \r\n", None),
    ],
)
def test_an_id_is_what_was_keyed_in(line: bytes, user: str | None) -> None:
    (event,) = decoded(DOCTOR, line, WEIGHT, BMI)
    assert isinstance(event, Sample)
    assert event.device_user == user


@pytest.mark.parametrize(
    ("line", "code"), [(b"Weight: 0.00 kg\r\n", "zero_weight"), (b"Weight: -1.50 kg\r\n", "negative_weight")]
)
def test_it_is_a_notice(line: bytes, code: str) -> None:
    (event,) = decoded(line, BMI)
    assert isinstance(event, Notice)
    assert event.code == code


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((b"Weight: 12 st\r\n", BMI), "unknown_units"),
        ((b"Weight: 176 lboz\r\n", BMI), "unknown_units"),
        ((WEIGHT, b"Height: 6 ft\r\n", BMI), "unknown_units"),
    ],
)
def test_it_is_refused(lines: tuple[bytes, ...], reason: str) -> None:
    assert decoded(*lines) == [Rejected(reason, b"".join(lines))]


@pytest.mark.parametrize("line", [b"Weight: 80,00 kg\r\n", b"Weight: 80.00kg\r\n", b"Weight: 176 lb 5 oz\r\n"])
def test_a_line_that_is_not_known_ends_the_print(line: bytes) -> None:
    events = decoded(PATIENT, line, HEIGHT, BMI)
    assert events == [
        Rejected("truncated", PATIENT),
        Rejected("unknown_line", line),
        Rejected("missing_weight", HEIGHT + BMI),
    ]


def test_a_print_that_was_cut_off_gives_nothing_to_the_next() -> None:
    given_up, event = decoded(PATIENT, WEIGHT, b"Patient Id: 0000000777\r\n", b"Weight: 63.50 kg\r\n", BMI)
    assert given_up == Rejected("truncated", PATIENT + WEIGHT)
    assert isinstance(event, Sample)
    assert (event.device_user, str(event.measurements[0].value)) == ("0000000777", "63.50")


def test_noise_within_a_print_gives_up_what_stood_before_it() -> None:
    given_up, noise, event = decoded(PATIENT, b"?" + WEIGHT, BMI)
    assert (given_up, noise) == (Rejected("truncated", PATIENT), Rejected("noise", b"?"))
    assert isinstance(event, Sample)
    assert event.device_user is None, "whose it is went with the noise"


def test_print_pressed_again_is_a_possible_repeat_and_another_patient_is_none() -> None:
    station, driver, now = AdamStation(), registry.driver(load_model("adam-muw-300l")), 0.0
    station.set_value("print", "key")
    told: list[tuple[str, bool]] = []

    def wait(seconds: int) -> None:
        nonlocal now
        for _ in range(10 * seconds):
            now += 0.1
            events = driver.feed(station.advance(0.1), now).events
            told.extend(
                (str(e.measurements[0].value), "possible_repeat" in e.flags) for e in events if isinstance(e, Sample)
            )

    for kg, presses in ((70.0, 1), (80.0, 2), (63.5, 1)):
        station.step_on(kg)
        wait(3)
        station.step_off()
        wait(3)
        for _ in range(presses):
            station.press("print")
            wait(30)
        station.press("clear")
    # The first since the port was opened is compared with what the gateway kept before.
    assert told == [("70.00", True), ("80.00", False), ("80.00", True), ("63.50", False)]
