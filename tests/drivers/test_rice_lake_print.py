"""What Rice Lake's PRINT key sends: lines that belong together, and lines that do not.

The print of the 550-10 (technical manual p. 19) is here and not in the vectors: its first line alone is a print too.
"""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model

GROSS, TARE, NET = b"GROSS WEIGHT 230.5 LB\r\n", b"TARE WEIGHT 15.5 LB\r\n", b"NET WEIGHT 215.0 LB\r\n"
HEIGHT, BMI = b"PATIENT HEIGHT 6-01.0 FT\r\n", b"PATIENT BMI 28.4\r\n"
PATIENT = b"PATIENT WEIGHT 215.0 LB\r\n"


def decoded(stream: bytes) -> list[Event]:
    codec = registry.codec("rice_lake_print", Quirks())
    return codec.feed(stream) + codec.flush()


def told(event: Event) -> str:
    if isinstance(event, Sample):
        return " ".join(f"{m.value:f}{m.unit}" for m in event.measurements)
    return event.code if isinstance(event, Notice) else event.reason


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"    180.4 lb Gross \r\n", ["180.4[lb_av]"]),
        (b"     82.35 kg Net   \r\n", ["noise", "82.35kg"]),  # ten characters: a blank stands before the nine
        (b"    82.35 kg Net   \r\n", ["82.35kg"]),
        (b"    82.35 KG  NET\r\n", ["82.35kg"]),
        (b"      0.0 kg Gross \r\n", ["zero_weight"]),
        (b"    -10.0 lb Gross \r\n", ["negative_weight"]),  # the misprint of older manuals
        (b"     10.0 st Gross \r\n", ["unknown_units"]),
        (b"     1 .0 lb Gross \r\n", ["bad_number"]),
        (b"       10 lb Gross \r\n", ["bad_number"]),
        (b"     10.0 lb Tare  \r\n", ["bad_frame"]),
        (b"10.0 lb Gross \r\n", ["bad_frame"]),
        (b"     10.0 lb Gross \n", ["truncated"]),
        (PATIENT, ["215.0[lb_av]"]),
        (PATIENT * 2, ["215.0[lb_av]"] * 2),
        (
            b"PATIENT WEIGHT 132.4 LB \r\nPATIENT HEIGHT 5-07.5 FT \r\nPATIENT B M I   20.4    \r\n",
            ["132.4[lb_av] 67.5[in_i] 20.4kg/m2"],
        ),
        (
            b"PATIENT WEIGHT 60.1 KG \r\nPATIENT HEIGHT 170.0 CM \r\nPATIENT BMI 20.8\r\n",
            ["60.1kg 170.0cm 20.8kg/m2"],
        ),
        (PATIENT + HEIGHT + BMI, ["215.0[lb_av] 73.0[in_i] 28.4kg/m2"]),
        (PATIENT + HEIGHT, ["truncated"]),
        (PATIENT + BMI, ["215.0[lb_av]", "bad_frame"]),
        (GROSS + TARE + NET + HEIGHT + BMI, ["215.0[lb_av] 73.0[in_i] 28.4kg/m2"]),
        (GROSS + TARE + NET + HEIGHT.replace(b"6-01.0", b"0-00.0") + BMI, ["215.0[lb_av] 28.4kg/m2"]),
        (GROSS + NET + HEIGHT + BMI, ["truncated", "bad_frame", "bad_frame", "bad_frame"]),
        (GROSS + TARE + GROSS + TARE + NET + HEIGHT + BMI, ["truncated", "215.0[lb_av] 73.0[in_i] 28.4kg/m2"]),
        (GROSS + b"x" + TARE + NET, ["truncated", "noise", "bad_frame", "bad_frame"]),
        (GROSS + TARE + NET + b"     10.0 lb Gross \r\n", ["truncated", "10.0[lb_av]"]),
        (GROSS + TARE + NET.replace(b"LB", b"KG") + HEIGHT + BMI, ["contradiction"]),
        (GROSS + TARE + NET.replace(b"215.0", b"251.0") + HEIGHT + BMI, ["contradiction"]),
        (PATIENT + HEIGHT.replace(b"6-01.0", b"6-13.0") + BMI, ["bad_number"]),
        (PATIENT + HEIGHT.replace(b"FT", b"CM") + BMI, ["bad_number"]),
        (PATIENT + HEIGHT + BMI.replace(b"28.4", b"28.4 LB"), ["bad_number"]),
        (PATIENT.replace(b"215.0", b"-60.1"), ["negative_weight"]),
        (PATIENT.replace(b" LB", b""), ["unknown_units"]),
        (PATIENT.replace(b"215.0", b"2-15.0"), ["bad_number"]),
    ],
)
def test_what_a_print_says(stream: bytes, said: list[str]) -> None:
    events = decoded(stream)
    assert [told(event) for event in events] == said
    assert b"".join(event.raw for event in events) == stream


def test_a_tare_is_taken_off_and_told() -> None:
    [sample] = decoded(GROSS + TARE + NET + HEIGHT + BMI)
    assert isinstance(sample, Sample)
    assert sample.flags == ("net", "stable_by_protocol")
    assert format(sample.modifiers["tare"].value, "f") == "15.5"


def test_a_weight_alone_is_told_when_no_second_line_comes() -> None:
    driver = registry.driver(load_model("rice-lake-550-10-print"))
    driver.tick(0.0)
    driver.tick(5.0)
    step = driver.feed(PATIENT, 10.0)
    assert step.events == ()
    assert step.deadline == 11.0
    [sample] = driver.tick(11.0).events
    assert isinstance(sample, Sample)
    assert driver.tick(12.0).events == (), "a break: what comes next is another weighing"
    assert driver.feed(PATIENT, 20.0).events == ()
    [again] = driver.close(21.0).events
    assert isinstance(again, Sample), "printed again, long after: it is not lost with the port"
