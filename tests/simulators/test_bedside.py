"""Cuffs, oximeters and monitors: the vectors reproduced, each lie shown, the bytes the same however the time is cut."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from simulators import catalogue
from simulators.serial.and_tm import AndTm, frame, record
from simulators.serial.bedside import Vitals
from simulators.serial.device import Bedside, Scale
from simulators.serial.dinamap import DinamapMonitor, message
from simulators.serial.nellcor import NellcorOximeter, header, line

Frames = Callable[[str], dict[str, bytes]]
BEDSIDE = [model for model in catalogue.models() if isinstance(catalogue.make(model), Bedside)]


def test_the_tm_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("and_tm")
    fields = ["TM2655", "1910291429", "RB", "M", "E00", "S102", "M 87", "D 62", "P 83", "I17", "L139"]
    assert frame(fields) == vectors["tm2655-capture-1"]
    wrong = vectors["tm2657-badsum"]
    more = ["p173", "i 0", "m0", "r0", "t 35", "cN", "l  ", "d", "h     ", "s     ", "w      ", "f      ", "e      "]
    made = record(datetime(2024, 11, 12, 10, 14), 0, (227, 97, 76), 78, [*more, "b     "])  # noqa: DTZ001
    assert made.replace(b"L257", b"L232")[:-1] == wrong[:-1], "but for the check byte, which is wrong there"


def test_the_dinamap_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("dinamap")
    for name, text in (
        ("ge-nibp-st4", "NA4100012000000000"),
        ("ge-spo2-ok", "OA1098712"),
        ("ge-hr-none", "RA2-99"),
        ("ge-temp-lost", "TC30A9999900000"),
        ("ge-cmd-nibp", "NA"),
        ("ge-cmd-temp", "TC"),
    ):
        assert message(text) == vectors[name]


def test_the_nellcor_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("nellcor")
    at = datetime(2017, 12, 29, 7, 18, 43)  # noqa: DTZ001
    assert line(at, 99, 66, 12, "").split() == vectors["nellcor-ok"].split()
    assert line(at, 99, 66, 12, "")[:45] == vectors["nellcor-ok"][:45]
    assert line(at.replace(minute=21, second=13), 96, 63, None, "PS")[:46] == vectors["nellcor-search-stale"][:46]
    assert len(header("N-560").splitlines()) == 3
    assert len(header("NPB-290").splitlines()) == 2


def test_the_cuff_says_its_result_once_and_print_says_it_again() -> None:
    cuff = AndTm()
    cuff.attach()
    assert cuff.advance(29.0) == b""
    said = cuff.advance(2.0)
    assert said.count(b"\x16\x16\x01") == 1
    assert cuff.advance(100.0) == b""
    cuff.press("print")
    assert cuff.advance(1.0) == said


def test_an_arm_that_is_taken_out_is_an_error() -> None:
    cuff = AndTm()
    cuff.attach()
    cuff.advance(3.0)
    cuff.detach()
    assert b"E07" in cuff.advance(1.0)


def test_the_oximeter_holds_numbers_beside_ps_and_shows_zeros() -> None:
    oximeter = NellcorOximeter("NPB-290")
    oximeter.attach()
    first = oximeter.advance(4.0)
    assert first.count(b" 0       0     ---    PS") == 2
    later = oximeter.advance(30.0).splitlines()
    assert int(later[2].split()[3]) > int(later[-1].split()[3]) == 72, "too high at first"
    oximeter.detach()
    held = oximeter.advance(4.0).splitlines()
    assert all(b"97      72     ---    PS" in one for one in held)
    assert b"SO" in oximeter.advance(8.0)
    oximeter.set_value("sensor", "no")
    assert b"SD" in oximeter.advance(2.0)
    oximeter.press("trend")
    assert b"TREND" in oximeter.advance(2.0)


def test_the_monitor_repeats_its_last_result_with_a_growing_age() -> None:
    monitor = DinamapMonitor()
    monitor.press("start")
    monitor.advance(26.0)
    first = monitor.receive(b" NA!2\r")
    monitor.advance(6000.0)
    second = monitor.receive(b" NA!2\r")
    assert (first[3:6], first[10:-3]) == (second[3:6], second[10:-3])
    assert (first[6:10], second[6:10]) == (b"0001", b"5400")


def test_the_temperature_is_in_fahrenheit_whatever_is_displayed() -> None:
    monitor = DinamapMonitor()
    monitor.attach()
    monitor.press("unit")
    monitor.advance(10.0)
    assert monitor.receive(b" TC!:\r")[11:16] == b"09860"


def test_a_garbled_command_is_not_answered() -> None:
    assert DinamapMonitor().receive(b" NA!3\r\r NC0!E\r") == b""


@pytest.mark.parametrize("model", BEDSIDE)
def test_the_bytes_are_the_same_however_the_time_is_cut(model: str) -> None:
    def day(step_s: float) -> bytes:
        device = catalogue.make(model, 3)
        assert isinstance(device, Bedside)
        device.attach()
        said = b"".join(device.advance(step_s) for _ in range(round(60.0 / step_s)))
        device.detach()
        return said + b"".join(device.advance(step_s) for _ in range(round(12.0 / step_s)))

    assert day(0.25) == day(12.0)


@pytest.mark.parametrize("model", BEDSIDE)
def test_what_a_bedside_device_does_not_have_is_refused(model: str) -> None:
    device = catalogue.make(model)
    assert isinstance(device, Bedside)
    assert not isinstance(device, Scale)
    for kind in device.kinds:
        device.set_value(kind, "60")
    with pytest.raises(ValueError, match=r"systolic|oxygen_saturation|body_temperature"):
        device.set_value("mood", "good")
    with pytest.raises(ValueError, match="key"):
        device.press("dance")


def test_vitals_are_set_in_their_units() -> None:
    vitals = Vitals(("systolic", "diastolic", "mean_arterial_pressure", "body_temperature"))
    vitals.set("systolic", "150", "mm[Hg]")
    vitals.set("diastolic", "90", "")
    vitals.set("body_temperature", "98.6", "[degF]")
    assert (vitals["mean_arterial_pressure"], round(vitals["body_temperature"], 6)) == (110.0, 37.0)
    with pytest.raises(ValueError, match="Hg"):
        vitals.set("systolic", "20", "kPa")
