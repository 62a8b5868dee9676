from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from simulators.serial.health_o_meter import ROWS, HealthOMeterScale

Frames = Callable[[str], dict[str, bytes]]
PACKET = re.compile(rb"(?:\x1b|6)R.*?\x1bE")


def packets(data: bytes) -> list[bytes]:
    found = PACKET.findall(data)
    assert b"".join(found) == data, "something was sent that is no packet"
    return found


def field(packet: bytes, letter: str) -> str:
    found = re.search(rb"\x1b" + letter.encode() + rb"([^\x1b]*)", packet)
    assert found is not None
    return found[1].decode()


def weights(data: bytes) -> list[str]:
    return [field(packet, "W") for packet in packets(data)]


def sample_scale(model: str, unit: str) -> HealthOMeterScale:
    """The manual's sample patient: ID 1234567890, 184.5, 84.0, BMI 24.1."""
    scale = HealthOMeterScale(model)
    scale.set_value("id", "1234567890")
    scale.set_value("body_weight", "184.5", unit)
    scale.set_value("body_height", "84.0", "[in_i]" if unit == "[lb_av]" else "cm")
    scale.set_value("bmi", "24.1", "kg/m2")
    return scale


@pytest.mark.parametrize(
    ("vector", "model", "unit"),
    [
        ("hom-500kl-sample", "health-o-meter-500kl", "[lb_av]"),
        ("hom-E-sample", "health-o-meter-1100kl-e", "[lb_av]"),
        ("hom-498kl-sample", "health-o-meter-498kl", "[lb_av]"),
    ],
)
def test_the_manuals_samples_are_reproduced(frames: Frames, vector: str, model: str, unit: str) -> None:
    assert packets(sample_scale(model, unit).advance(3.0))[0] == frames("health_o_meter")[vector]


def test_the_baby_scales_sample_is_reproduced(frames: Frames) -> None:
    scale = HealthOMeterScale("health-o-meter-2210kl-am")
    scale.enter_id("1234567890")
    scale.set_value("body_weight", "35.5", "[lb_av]")
    assert packets(scale.advance(3.0))[0] == frames("health_o_meter")["hom-2210klam-sample"]


def test_a_packet_without_id_height_and_bmi_is_reproduced(frames: Frames) -> None:
    scale = HealthOMeterScale("health-o-meter-1100kl-l")
    scale.press("clear")
    scale.set_value("body_weight", "123.4", "[lb_av]")
    assert packets(scale.advance(3.0))[0] == frames("health_o_meter")["hom-nobmi-imperial"]


def test_an_l_serial_number_continues_its_stream_with_6r(frames: Frames) -> None:
    vectors = frames("health_o_meter")
    scale = sample_scale("health-o-meter-1100kl-l", "kg")
    first, *rest = packets(scale.advance(4.0))
    assert first.startswith(b"\x1bR")
    assert rest == [vectors["hom-L-continued"]] * 3
    # What a host hears that opens the port in mid-packet is a part of what this scale sends.
    assert first.endswith(vectors["hom-tail-no-start"])
    assert vectors["hom-glued-fragment"].endswith(first)
    scale.step_off()
    scale.advance(3.0)
    scale.step_on(70.0)
    assert packets(scale.advance(3.0))[0].startswith(b"\x1bR"), "a new stream begins with ESC R"


@pytest.mark.parametrize("model", ROWS)
def test_what_is_simulated_says_so_unless_told_otherwise(model: str) -> None:
    scale = HealthOMeterScale(model)
    scale.step_on(80.0)
    assert {field(packet, "I") for packet in packets(scale.advance(4.0))} == {"SIM-000001"}
    scale.set_value("id", "0000000000")
    assert field(packets(scale.advance(1.0))[-1], "I") == "0000000000"
    scale.enter_id("42")
    assert field(packets(scale.advance(1.0))[-1], "I") == "0000000042"


@pytest.mark.parametrize("model", ROWS)
@pytest.mark.parametrize("pieces_ms", [1, 20, 333, 1700])
def test_the_same_acts_give_the_same_bytes_however_time_is_cut(model: str, pieces_ms: int) -> None:
    def play(step_ms: int, seed: int) -> bytes:
        scale = HealthOMeterScale(model, seed)
        out = b""
        for act, duration_ms in [(81.3, 3400), (64.0, 3400), (0.0, 3400)]:
            scale.step_on(act)
            for start in range(0, duration_ms, step_ms):
                out += scale.advance(min(step_ms, duration_ms - start) / 1000)
        return out

    assert play(pieces_ms, seed=5) == play(3400, seed=5)
    if ROWS[model].always:
        assert play(3400, seed=5) != play(3400, seed=6), "what is sent while it sways follows the seed"


@pytest.mark.parametrize("model", [model for model, row in ROWS.items() if not row.always])
def test_nothing_is_sent_before_the_lock_nor_when_empty(model: str) -> None:
    scale = HealthOMeterScale(model)
    assert scale.advance(5.0) == b""
    scale.step_on(80.0)
    assert scale.advance(0.99) == b""
    assert {float(weight) for weight in weights(scale.advance(2.0))} == {80.0}
    scale.step_off()
    assert (scale.advance(5.0) == b"") == (model != "health-o-meter-2210kl-am")


@pytest.mark.parametrize("model", ["health-o-meter-597kl-3.1.12", "health-o-meter-600kl-3.2.02"])
def test_some_firmware_streams_also_unlocked_and_empty(model: str) -> None:
    scale = HealthOMeterScale(model)
    assert set(weights(scale.advance(2.0))) == {"0.0"}
    scale.advance(0.75)
    scale.step_on(80.0)
    unlocked = weights(scale.advance(0.5))
    assert unlocked
    assert "80.0" not in unlocked


def test_the_600kl_is_faster_and_sends_its_bmi_after_send() -> None:
    scale = HealthOMeterScale("health-o-meter-600kl")
    scale.enter_height(180.0)
    scale.step_on(81.0)
    scale.advance(2.0)
    second = packets(scale.advance(1.0))
    assert len(second) == 4
    assert {field(packet, "B") for packet in second} == {"0.0"}
    scale.press("send")
    assert {field(packet, "B") for packet in packets(scale.advance(1.0))} == {"25.0"}


def test_the_600kl_with_old_firmware_invents_a_height() -> None:
    scale = HealthOMeterScale("health-o-meter-600kl-3.2.02")
    scale.step_on(81.0)
    assert float(field(packets(scale.advance(2.0))[-1], "H")) > 250.0


@pytest.mark.parametrize("model", ["health-o-meter-600kl-3.2.02", "health-o-meter-1100kl-l"])
def test_a_tipped_scale_weighs_nobody_until_zero(model: str) -> None:
    scale = HealthOMeterScale(model)
    scale.tip(23.5)
    assert weights(scale.advance(2.0))[-1] == "23.5"
    scale.press("zero")
    assert set(weights(scale.advance(2.0))) <= {"0.0"}


def test_a_sound_model_does_not_mind_being_tipped() -> None:
    scale = HealthOMeterScale("health-o-meter-500kl")
    scale.tip(23.5)
    assert scale.advance(2.0) == b""


def test_an_l_sends_the_previous_weight_once_more_on_recall_and_unit() -> None:
    scale = HealthOMeterScale("health-o-meter-1100kl-l")
    scale.press("recall")
    assert scale.advance(2.0) == b"", "there is nothing to recall yet"
    scale.step_on(80.0)
    scale.advance(3.0)
    scale.step_off()
    scale.advance(60.0)
    scale.press("recall")
    assert weights(scale.advance(5.0)) == ["80.0"]
    scale.press("unit")
    again = packets(scale.advance(5.0))
    assert [(field(packet, "W"), field(packet, "N")) for packet in again] == [("176.4", "c")]


def test_an_e_recalls_nothing() -> None:
    scale = HealthOMeterScale("health-o-meter-1100kl-e")
    scale.step_on(80.0)
    scale.advance(3.0)
    scale.step_off()
    scale.advance(3.0)
    scale.press("recall")
    assert scale.advance(3.0) == b""


def test_the_2210_goes_on_with_the_old_weight_for_30_seconds() -> None:
    scale = HealthOMeterScale("health-o-meter-2210kl-am")
    scale.step_on(12.25)
    scale.advance(3.0)
    scale.step_off()
    assert weights(scale.advance(29.0)) == ["12.250"] * 29
    assert scale.advance(1.0) == b""
    assert scale.advance(30.0) == b""


def test_the_500_keeps_the_old_unit_until_the_next_weighing() -> None:
    scale = HealthOMeterScale("health-o-meter-500kl")
    scale.step_on(80.0)
    scale.advance(2.0)
    scale.press("unit")
    assert {field(packet, "N") for packet in packets(scale.advance(3.0))} == {"m"}
    scale.step_off()
    scale.advance(2.0)
    scale.step_on(80.0)
    assert [(field(p, "W"), field(p, "N")) for p in packets(scale.advance(2.0))] == [("176.4", "c")] * 2


def test_the_597_changes_its_unit_in_mid_stream() -> None:
    scale = HealthOMeterScale("health-o-meter-597kl")
    scale.step_on(80.0)
    before = packets(scale.advance(3.0))
    scale.press("unit")
    after = packets(scale.advance(2.0))
    assert {field(packet, "N") for packet in before} == {"m"}
    assert [(field(p, "W"), field(p, "N")) for p in after] == [("176.4", "c")] * 2


def test_the_498_is_silent_during_hold() -> None:
    scale = HealthOMeterScale("health-o-meter-498kl")
    scale.step_on(80.0)
    scale.advance(3.0)
    scale.press("hold")
    assert scale.advance(3.0) == b""
    scale.press("hold")
    assert weights(scale.advance(1.0)) == ["80.00"]


def test_tare_is_taken_off_and_told() -> None:
    scale = HealthOMeterScale("health-o-meter-500kl")
    scale.set_value("tare", "2.5", "kg")
    scale.step_on(80.0)
    sent = packets(scale.advance(3.0))[-1]
    assert (field(sent, "W"), field(sent, "T")) == ("77.5", "2.5")


def test_the_unit_of_a_weight_is_the_units_of_the_display() -> None:
    scale = HealthOMeterScale("health-o-meter-500kl")
    scale.set_value("body_weight", "184.5", "[lb_av]")
    sent = packets(scale.advance(2.0))[-1]
    assert (field(sent, "W"), field(sent, "N")) == ("184.5", "c")


@pytest.mark.parametrize(
    ("kind", "value", "unit"),
    [
        ("id", "12345678901", ""),
        ("id", "a\x1bE", ""),
        ("unit", "stone", ""),
        ("body_weight", "nan", "kg"),
        ("body_weight", "80", "oz"),
        ("body_height", "6", "[ft_i]"),
        ("systolic", "120", "mm[Hg]"),
    ],
)
def test_what_the_scale_cannot_be_set_to_is_refused(kind: str, value: str, unit: str) -> None:
    with pytest.raises(ValueError, match=r"\(|must be|has 1 to"):
        HealthOMeterScale("health-o-meter-500kl").set_value(kind, value, unit)


def test_unknown_keys_and_models_are_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="recall"):
        HealthOMeterScale("health-o-meter-500kl").press("any")
    with pytest.raises(ValueError, match="health-o-meter-500kl"):
        HealthOMeterScale("health-o-meter-501kl")
