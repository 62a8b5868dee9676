from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.serial.health_o_meter_binary import BabyScale, ChairScale, packet

Frames = Callable[[str], dict[str, bytes]]


def weights(data: bytes) -> list[bytes]:
    return [piece[4:] for piece in data.split(b"\r")[:-1]]


def test_the_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("health_o_meter_binary")
    chair, baby = ChairScale(), BabyScale(soh=True)
    chair.set_value("body_weight", "123.4", "[lb_av]")
    baby.set_value("body_weight", "4.99")
    chair.advance(1.0)
    baby.advance(1.0)
    assert chair.advance(1.0) == vectors["hom-2595kl-lb"]
    assert baby.advance(1.0) == vectors["hom-baby-soh"] * 2
    assert packet(4.99, "kg", baby=True, start=1) == vectors["hom-baby-soh"]


def test_a_chair_says_nothing_while_it_is_empty_and_goes_on_after_its_patient_left() -> None:
    chair = ChairScale()
    chair.set_value("nurse", "no")
    assert chair.advance(10.0) == b""
    chair.step_on(83.7)
    assert weights(chair.advance(4.0)) == [b"083.7"] * 4
    chair.step_off()
    assert weights(chair.advance(60.0)) == [b"083.7"] * 60
    chair.step_on(60.0)
    assert weights(chair.advance(10.0)) == [b"083.7"] * 10, "the next patient gets the old weight"
    chair.press("reweigh")
    assert weights(chair.advance(1.0)) == [b"060.0"]


def test_a_nurse_presses_reweigh() -> None:
    chair = ChairScale()
    chair.step_on(83.7)
    chair.advance(4.0)
    chair.step_off()
    assert weights(chair.advance(10.0)) == [b"083.7"]


def test_an_early_chair_gives_the_last_weight_to_who_weighs_about_the_same() -> None:
    chair = ChairScale(early=True)
    assert weights(chair.advance(1.0)) == [b"000.0"] * 4
    chair.step_on(83.7)
    assert weights(chair.advance(0.75)) == []
    assert weights(chair.advance(1.25)) == [b"083.7"] * 5
    chair.step_off()
    assert weights(chair.advance(10.0)) == []
    chair.press("unit")
    assert chair.advance(1.0) == packet(184.5, "lb", baby=False), "one packet, converted"
    chair.press("unit")
    chair.step_on(84.2)
    assert set(weights(chair.advance(3.0))) == {b"083.7"}


@pytest.mark.parametrize("early", [False, True])
def test_an_arm_rest_leaves_a_false_weight_until_zero(early: bool) -> None:
    chair = ChairScale(early=early)
    chair.set_value("arm_rest", "12.3")
    assert set(weights(chair.advance(10.0))) == {b"012.3"}
    chair.press("zero")
    assert set(weights(chair.advance(10.0))) <= {b"000.0"}


def test_a_baby_scale_sends_what_moves_and_each_weight_twice() -> None:
    baby = BabyScale()
    assert weights(baby.advance(3.0)) == [b"000.000"] * 3
    baby.advance(0.5)
    baby.step_on(4.99)
    moving = weights(baby.advance(0.9))
    assert len(moving) == 2
    assert moving[0] == moving[1] != b"004.990"
    assert weights(baby.advance(2.0)) == [b"004.990"] * 4
    baby.press("hold")
    assert baby.advance(5.0) == b""


def test_a_553_holds_until_release_and_tares_with_zero() -> None:
    baby = BabyScale(holds=True)
    baby.set_value("nurse", "no")
    baby.step_on(4.99)
    baby.advance(3.0)
    baby.step_off()
    assert set(weights(baby.advance(30.0))) == {b"004.990"}
    baby.press("unit")
    assert set(weights(baby.advance(2.0))) == {b"011.001"}
    baby.press("hold")
    assert weights(baby.advance(2.0)) == [b"000.000"] * 2
    baby.step_on(4.99)
    baby.advance(3.0)
    baby.press("zero")
    assert weights(baby.advance(2.0)) == [b"000.000"] * 2
    baby.step_off()
    baby.advance(2.0)
    assert baby.advance(2.0) == b"", "less than nothing is not sent"


def test_what_they_do_not_have_is_refused() -> None:
    for scale in (ChairScale(), BabyScale()):
        with pytest.raises(ValueError, match="zero"):
            scale.press("recall")
        with pytest.raises(ValueError, match="body_weight"):
            scale.set_value("mood", "good")
        assert scale.receive(b"anything") == b""


@pytest.mark.parametrize("early", [False, True])
def test_the_bytes_are_the_same_however_the_time_is_cut(early: bool) -> None:
    def day(step_s: float) -> bytes:
        scales = (ChairScale(early=early, seed=3), BabyScale(holds=early, seed=3))
        said = b""
        for scale in scales:
            scale.step_on(70.0)
            said += b"".join(scale.advance(step_s) for _ in range(round(6.0 / step_s)))
            scale.step_off()
            said += b"".join(scale.advance(step_s) for _ in range(round(6.0 / step_s)))
        return said

    assert day(0.1) == day(6.0)
