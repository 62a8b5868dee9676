from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.serial.rice_lake import RiceLakeScale, reply, weight_line

Frames = Callable[[str], dict[str, bytes]]


def standing(model: str, kg: str, unit: str = "kg") -> RiceLakeScale:
    scale = RiceLakeScale(model)
    scale.set_value("body_weight", kg, unit)
    return scale


def test_the_manuals_prints_are_reproduced(frames: Frames) -> None:
    vectors = frames("rice_lake_print")
    assert weight_line(10.0, "lb", "Gross") == vectors["rl-print-gross"]
    assert weight_line(-10.0, "lb", "Net") == vectors["rl-print-net"]
    scale = standing("rice-lake-350-10-print", "215", "[lb_av]")
    scale.set_value("body_height", "73", "[in_i]")
    assert scale.advance(2.0) == vectors["rl-print-bmi"]


def test_the_chair_prints_the_patient_lines_of_its_manual() -> None:
    scale = standing("rice-lake-550-10-print", "60.1")
    assert scale.advance(2.0) == b"PATIENT WEIGHT 60.1 KG\r\n"
    scale.set_value("body_height", "170")
    scale.press("print")
    printed = b"PATIENT WEIGHT 60.1 KG\r\nPATIENT HEIGHT 170.0 CM\r\nPATIENT B M I   20.8\r\n"
    assert scale.advance(1.0) == printed


def test_the_manuals_replies_are_reproduced(frames: Frames) -> None:
    vectors = frames("rice_lake_esc")
    scale = standing("rice-lake-140-10-7-esc", "200.5")
    assert scale.advance(2.0) == b"", "it waits to be asked"
    assert scale.receive(vectors["rl-esc-poll"]) == vectors["rl-esc-manual-example"]
    scale = standing("rice-lake-140-10-7-esc", "2000", "[lb_av]")
    scale.advance(2.0)
    assert scale.receive(vectors["rl-esc-poll"]) == vectors["rl-esc-overload"]


def test_a_reply_tells_neither_motion_nor_which_end_of_the_range(frames: Frames) -> None:
    scale = standing("rice-lake-150-10-esc", "80")
    scale.advance(0.2)
    moving = scale.receive(b"\x1bR\x1bE")
    scale.advance(2.0)
    assert scale.receive(b"\x1bR\x1bE") == reply("0080.0", "kg") != moving
    scale.step_on(-20.0)
    scale.advance(2.0)
    assert scale.receive(b"\x1bR\x1bE") == frames("rice_lake_esc")["rl-esc-out-of-range-2"]


def test_a_request_may_come_in_pieces_and_the_tare_is_taken_off() -> None:
    scale = standing("rice-lake-140-10-7-esc", "80")
    scale.set_value("tare", "15.5")
    scale.set_value("body_height", "180")
    scale.advance(2.0)
    assert scale.receive(b"\x1bR") == scale.receive(b"\x1b") == b""
    assert scale.receive(b"E") == reply("0064.5", "kg", 180.0, 64.5 / 1.8**2)


def test_print_does_nothing_while_the_load_moves_or_is_out_of_range() -> None:
    scale = standing("rice-lake-350-10-print", "80")
    scale.press("print")
    assert scale.advance(0.5) == b""
    assert scale.advance(1.0) == weight_line(80.0, "kg", "Gross")
    scale.press("tare")
    scale.press("print")
    assert scale.advance(0.1) == weight_line(0.0, "kg", "Net")
    scale.press("zero")
    scale.press("unit")
    scale.step_on(900.0)
    assert scale.advance(5.0) == b""


def test_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="rice-lake-350-10-print"):
        RiceLakeScale("rice-lake-1")
    scale = RiceLakeScale("rice-lake-350-10-print")
    with pytest.raises(ValueError, match="print"):
        scale.press("hold")
    with pytest.raises(ValueError, match="body_height"):
        scale.set_value("body_height", "180", "m")
