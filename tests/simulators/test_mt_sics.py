from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.serial.mt_sics import MtSicsScale

Frames = Callable[[str], dict[str, bytes]]


@pytest.fixture
def loaded() -> MtSicsScale:
    scale = MtSicsScale()
    scale.step_on(100.0)
    scale.advance(1.0)
    return scale


def test_the_vectors_are_reproduced_but_for_the_width_of_the_number(frames: Frames, loaded: MtSicsScale) -> None:
    vectors = frames("mt_sics")
    assert loaded.receive(vectors["sics-poll"]) == b"S S     100.00 kg\r\n"
    assert vectors["sics-stable-kg"].split()[:2] == [b"S", b"S"]
    assert loaded.receive(b"SX\r\n") == vectors["sics-es"]
    loaded.step_on(400.0)
    loaded.advance(1.0)
    assert loaded.receive(b"SI\r\n") == vectors["sics-err-plus"]
    loaded.step_on(-5.0)
    loaded.advance(1.0)
    assert loaded.receive(b"S\r\n") == vectors["sics-err-minus"]


def test_it_says_nothing_unasked(loaded: MtSicsScale) -> None:
    assert loaded.advance(10.0) == b""


def test_si_answers_at_once_also_while_it_moves(loaded: MtSicsScale) -> None:
    loaded.step_on(50.0)
    loaded.advance(0.5)
    assert loaded.receive(b"SI\r\n").startswith(b"S D ")
    loaded.advance(0.5)
    assert loaded.receive(b"SI\r\n") == b"S S      50.00 kg\r\n"


def test_s_waits_until_the_weight_is_stable(loaded: MtSicsScale) -> None:
    loaded.step_on(50.0)
    assert loaded.receive(b"S\r\n") == b""
    assert loaded.advance(0.9) == b""
    assert loaded.advance(5.0) == b"S S      50.00 kg\r\n"


def test_s_gives_up_when_the_weight_never_settles(loaded: MtSicsScale) -> None:
    assert loaded.receive(b"SI\r\n").startswith(b"S S")
    loaded.step_on(50.0)
    assert loaded.receive(b"S\r\n") == b""
    said = b""
    for kg in range(50, 60):
        loaded.step_on(float(kg))
        said += loaded.advance(0.5)
    assert said == b"S I\r\n"


def test_sir_repeats_until_another_command(loaded: MtSicsScale) -> None:
    assert loaded.receive(b"SIR\r\n").startswith(b"S S")
    assert loaded.advance(1.0) == b"S S     100.00 kg\r\n" * 10
    loaded.receive(b"SI\r\n")
    assert loaded.advance(1.0) == b""


def test_a_command_may_come_in_pieces_and_several_at_once(loaded: MtSicsScale) -> None:
    assert loaded.receive(b"S") == b""
    assert loaded.receive(b"I\r") == b""
    assert loaded.receive(b"\n") == b"S S     100.00 kg\r\n"
    assert loaded.receive(b"SI\r\nno\r\nS\r\n") == b"S S     100.00 kg\r\nES\r\nS S     100.00 kg\r\n"


def test_a_line_without_end_is_given_up(loaded: MtSicsScale) -> None:
    assert loaded.receive(b"S" * 1000) == b"ES\r\n"
    assert loaded.receive(b"SI\r\n") == b"S S     100.00 kg\r\n"


def test_units(loaded: MtSicsScale) -> None:
    seen = []
    for _ in range(4):
        seen.append(loaded.receive(b"SI\r\n"))
        loaded.press("unit")
    assert seen == [
        b"S S     100.00 kg\r\n",
        b"S S     220.46 lb\r\n",
        b"S S   100000.0 g\r\n",
        b"S S     100.00 kg\r\n",
    ]


def test_what_it_does_not_have_is_refused(loaded: MtSicsScale) -> None:
    with pytest.raises(ValueError, match="unit, tare, zero"):
        loaded.press("print")
    with pytest.raises(ValueError, match="body_weight, unit"):
        loaded.set_value("mode", "stream")
