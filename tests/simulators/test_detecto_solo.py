from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from simulators.serial.detecto_solo import DetectoSolo, record

Frames = Callable[[str], dict[str, bytes]]


def test_the_manuals_example_is_reproduced(frames: Frames) -> None:
    at = datetime(2015, 8, 7, 12, 0)  # noqa: DTZ001
    assert record(at, 21.5, 160.02, 132.3, "lb") == frames("detecto_csv")["detecto-solo-sample"]


def test_print_is_pressed_once_for_who_stands_there() -> None:
    scale = DetectoSolo()
    scale.step_on(83.7)
    assert scale.advance(0.9) == b""
    said = scale.advance(10.0)
    assert said == b"08:00,01/05/26,0.0,0'00.0\",184.5lb\r"
    scale.step_off()
    assert scale.advance(10.0) == b""


def test_print_again_says_the_same_again_and_so_does_the_host(frames: Frames) -> None:
    scale = DetectoSolo()
    scale.set_value("body_weight", "68.0", "kg")
    scale.set_value("body_height", "175")
    scale.set_value("clock", "2026-03-04T09:05")
    said = scale.advance(2.0)
    assert said == b"09:05,03/04/26,22.2,175.0cm,68.0kg\r"
    scale.press("print")
    assert scale.advance(0.1) == said
    request = frames("detecto_csv")["detecto-solo-poll"]
    assert scale.receive(request[:1]) == b""
    assert scale.receive(request[1:]) == said


def test_what_it_does_not_have_is_refused() -> None:
    scale = DetectoSolo()
    scale.press("unit")
    scale.set_value("unit", "lb")
    with pytest.raises(ValueError, match="unit, print"):
        scale.press("tare")
    with pytest.raises(ValueError, match="clock"):
        scale.set_value("tare", "1")
