"""Indicators and the Adam scales: vectors reproduced, each lie shown, the bytes the same however the time is cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators import catalogue
from simulators.serial import adam_print, nci, ohaus, st_gs, toledo_continuous
from simulators.serial.indicator import Indicator
from simulators.serial.toledo_continuous import CARDINAL_SHORT, OHAUS, USUAL, Status, ToledoIndicator

Frames = Callable[[str], dict[str, bytes]]
INDICATORS = [model for model in catalogue.models() if isinstance(catalogue.make(model), Indicator)]


def made(model: str) -> Indicator:
    device = catalogue.make(model, 3)
    assert isinstance(device, Indicator)
    return device


def test_the_st_gs_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("st_gs")
    assert st_gs.frame("ST", "GS", 81.9, "kg") == vectors["stgs-stable"]
    assert st_gs.frame("US", "GS", 81.9, "kg") == vectors["stgs-motion"]
    assert st_gs.frame("OL", "GS", 400.0, "kg") == vectors["stgs-overload"]


def test_the_toledo_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("toledo_continuous")
    assert toledo_continuous.frame(USUAL, 82.7, 0.0, "kg", Status()) == vectors["toledo-kg"]
    assert toledo_continuous.frame(USUAL, 82.7, 0.0, "kg", Status())[:-1] == vectors["toledo-badsum"][:-1]
    assert toledo_continuous.frame(USUAL, -1.2, 0.0, "kg", Status()) == vectors["toledo-negative"]
    assert toledo_continuous.frame(USUAL, 300.5, 0.0, "kg", Status(out_of_range=True)) == vectors["toledo-overload"]


def test_the_nci_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("nci")
    assert nci.answer("_" * 6, "kg", nci.status(beyond=-1)) == vectors["adam-under"]
    assert nci.answer("^" * 6, "kg", nci.status(beyond=1)) == vectors["adam-over"]
    assert nci.answer(nci.shown_as(79.6), "kg", nci.status(moves=True)) == vectors["adam-motion"]
    assert nci.answer(nci.shown_as(80.0), "kg", nci.status(hold=True)) == vectors["adam-hold"]


def test_the_adam_print_vector_is_reproduced(frames: Frames) -> None:
    reading = adam_print.Recorded(80.0, 183.0, "123", "1")
    assert adam_print.printed(reading, frozenset(adam_print.LINES)) == frames("adam_print")["adam-muw-print"]


def test_the_ohaus_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("ohaus")
    assert ohaus.frame("0.00", "g") == vectors["ohaus-f1-1"]
    assert ohaus.frame("12.73", "g", moves=True) == vectors["ohaus-f1-2"]
    assert ohaus.frame("0.4500", "oz") == vectors["ohaus-f1-4"]
    assert ohaus.frame("3", "PCS") == vectors["ohaus-f1-6"]
    assert ohaus.frame("0.211", "kg", moves=True, long=False) == vectors["ohaus-f2-2"]


@pytest.mark.parametrize("model", INDICATORS)
def test_the_bytes_are_the_same_however_the_time_is_cut(model: str) -> None:
    def day(step_s: float) -> bytes:
        device, said = made(model), b""
        for kg in (83.7, 0.0, 12.5):
            device.step_on(kg)
            said += b"".join(device.advance(step_s) for _ in range(round(6.0 / step_s)))
            said += device.receive(b"W\r")
        return said

    assert day(0.25) == day(3.0) != b""


@pytest.mark.parametrize("model", INDICATORS)
def test_what_an_indicator_does_not_have_is_refused(model: str) -> None:
    device = made(model)
    with pytest.raises(ValueError, match="key"):
        device.press("dance")
    for kind, value in (("mood", "good"), ("body_height", "-1"), *((name, "?") for name in device.switches)):
        with pytest.raises(ValueError, match="cannot be set"):
            device.set_value(kind, value)
    with pytest.raises(ValueError, match="not one of this scale's"):
        device.set_value("body_weight", "12", "[st_av]")


def test_a_toledo_weight_out_of_range_or_before_its_zero_looks_like_one() -> None:
    indicator = ToledoIndicator(OHAUS)
    indicator.step_on(400.0)
    indicator.advance(2.0)
    assert indicator.advance(0.1)[1:10] == b"\x2b\x34\x20  4000"
    indicator.step_on(-5.0)
    indicator.advance(2.0)
    assert indicator.advance(0.1)[1:10] == b"\x2b\x36\x20    50"
    indicator.step_on(80.0)
    indicator.set_value("zero", "lost")
    indicator.advance(2.0)
    assert indicator.advance(0.1)[1:10] == b"\x2b\x70\x20   800"


def test_a_toledo_tare_stands_beside_the_net_weight_but_in_the_short_form() -> None:
    for layout, rest in ((USUAL, b"000817000020\r"), (CARDINAL_SHORT, b"000817\r")):
        indicator = ToledoIndicator(layout)
        indicator.step_on(2.0)
        indicator.advance(2.0)
        indicator.press("tare")
        indicator.step_on(83.7)
        indicator.advance(2.0)
        assert indicator.advance(0.1)[2:-1] == b"\x31\x20" + rest


def test_a_number_that_adam_holds_stays_when_its_owner_has_left() -> None:
    scale = nci.NciScale()
    scale.press("hold")
    scale.step_on(80.0)
    scale.advance(3.0)
    held = scale.receive(b"W\r")
    scale.step_off()
    scale.advance(3.0)
    assert scale.receive(b"W") + scale.receive(b"\r") == held == b"\n  080.00kg\r\n0p2\r\x03"
    assert scale.receive(b"S\r") == b"\n0p2\r\x03"
    scale.press("hold")
    assert scale.receive(b"W\r") == b"\n  000.00kg\r\n2p1\r\x03"
    scale.set_value("zero_error", "yes")
    assert scale.receive(b"W\rX\r") == b"\n------kg\r\n2p1\r\x03\n?\r\x03"
    assert scale.advance(10.0) == b"", "it says nothing unasked"


def test_what_adam_printed_is_printed_again_until_clear() -> None:
    station = adam_print.AdamStation()
    station.set_value("print", "key")
    station.set_value("doctor", "off")
    station.set_value("id", "42")
    station.step_on(80.0)
    assert station.advance(3.0) == b""
    station.step_off()
    station.advance(3.0)
    station.press("print")
    said = station.advance(0.1)
    assert said == b"Patient Id: 0000000042\r\nWeight: 80.00 kg\r\nHeight: 170 cm\r\nBMI: 27.7\r\n"
    station.press("print")
    assert station.advance(0.1) == said
    station.press("clear")
    station.press("print")
    assert station.advance(0.1) == b""


def test_ohaus_counts_and_weighs_under_water() -> None:
    scale = ohaus.OhausScale(long=False)
    scale.step_on(12.0)
    scale.advance(2.0)
    scale.set_value("mode", "count")
    assert scale.advance(0.1) == b"         12 PCS  \r\n"
    scale.set_value("mode", "density")
    assert scale.advance(0.1) == b"      12.000 kg   WET WT\r\n"
