from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.serial.sma import SmaScale, frame

Frames = Callable[[str], dict[str, bytes]]


@pytest.fixture
def loaded() -> SmaScale:
    scale = SmaScale()
    scale.step_on(83.73)
    scale.advance(1.0)
    return scale


def test_the_vectors_are_reproduced(frames: Frames, loaded: SmaScale) -> None:
    vectors = frames("sma")
    assert loaded.receive(vectors["sma-poll"]) == vectors["sma-stable"]
    assert loaded.receive(vectors["sma-enq"]) == vectors["sma-stable"]
    assert frame("", "U", "G", -3.2, "lb") == vectors["sma-under"]
    assert frame("", "Z", "G", 0.0, "kg") == vectors["sma-zero-centre"]
    assert frame("W01,", " ", "N", 184.6, "lb") == vectors["sma-758c"]


def test_it_says_nothing_unasked_but_when_set_to(loaded: SmaScale) -> None:
    assert loaded.advance(10.0) == b""
    loaded.set_value("mode", "continuous")
    assert loaded.advance(1.0) == b"\n 1G       184.6lb \r" * 10


def test_a_command_may_come_in_pieces_and_r_repeats(loaded: SmaScale) -> None:
    assert loaded.receive(b"\n") == loaded.receive(b"W") == b""
    said = loaded.receive(b"\r")
    loaded.step_off()
    assert loaded.receive(b"\nR\r") == said


def test_over_range_looks_like_a_weight(loaded: SmaScale) -> None:
    loaded.step_on(400.0)
    loaded.advance(1.0)
    assert loaded.receive(b"\x05") == b"\nO1G       881.8lb \r"


def test_tare_zero_error_unit_and_motion(loaded: SmaScale) -> None:
    loaded.press("tare")
    assert loaded.receive(b"\x05")[1:4] == b"Z1N"
    loaded.press("zero")
    loaded.press("unit")
    assert loaded.receive(b"\x05") == b"\n 1G        83.7kg \r"
    loaded.step_on(20.0)
    assert loaded.receive(b"\x05")[4:5] == b"M"
    loaded.set_value("zero_error", "yes")
    assert loaded.receive(b"\x05")[6:16] == b"-" * 10


def test_what_it_does_not_have_is_refused(loaded: SmaScale) -> None:
    with pytest.raises(ValueError, match="unit, tare, zero"):
        loaded.press("print")
    with pytest.raises(ValueError, match="zero_error"):
        loaded.set_value("mode", "loud")
