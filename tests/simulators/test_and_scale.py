from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.serial.and_scale import FORMAT_2, STANDARD, AndScale, Layout, frame

Frames = Callable[[str], dict[str, bytes]]


def lines(data: bytes) -> list[str]:
    assert data == b"" or data.endswith(b"\r\n")
    return data.decode("ascii").split("\r\n")[:-1]


def test_the_manuals_weight_is_reproduced(frames: Frames) -> None:
    scale = AndScale()
    scale.set_value("body_weight", "1234.5", "g")
    scale.advance(1.0)
    assert scale.advance(0.1) == frames("and_scale")["and-st-g"]


def test_the_manuals_unstable_frame_is_reproduced(frames: Frames) -> None:
    assert frame(STANDARD, "US", 82.35, "kg") == frames("and_scale")["and-us"]


def test_the_manuals_overload_is_reproduced(frames: Frames) -> None:
    scale = AndScale()
    scale.set_value("unit", "g")
    scale.step_on(500.0)
    scale.advance(1.0)
    assert scale.advance(0.1) == frames("and_scale")["and-ol-plus"]


def test_the_manuals_counting_frames_are_reproduced(frames: Frames) -> None:
    scale = AndScale()
    scale.set_value("mode", "count")
    scale.set_value("pieces", "12345")
    assert scale.advance(0.1) == frames("and_scale")["and-qt"]
    scale.step_on(-5.0)
    scale.advance(1.0)
    assert scale.advance(0.1) == frames("and_scale")["and-ol-minus"]


def test_a_stream_says_zero_then_unstable_then_stable() -> None:
    scale = AndScale()
    assert lines(scale.advance(1.0)) == ["ST,+00000.00 kg"] * 10
    scale.step_on(83.7)
    moving = lines(scale.advance(0.95))
    assert len(moving) == 9
    assert {line[:3] for line in moving} == {"US,"}
    assert lines(scale.advance(1.0)) == ["ST,+00083.70 kg"] * 10


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (STANDARD, ["ST,+00083.70 kg", "ST,+00184.53 lb", "ST,+083700.0  g", "ST,+002952.4 oz", "ST,+00083.70 kg"]),
        (FORMAT_2, ["ST,+083.70kg", "ST,+184.53lb", "ST,+083700 g", "ST,+2952.4oz", "ST,+083.70kg"]),
    ],
)
def test_the_unit_key_goes_round(layout: Layout, expected: list[str]) -> None:
    scale = AndScale(layout)
    scale.step_on(83.7)
    scale.advance(1.0)
    seen = []
    for _ in expected:
        seen += lines(scale.advance(0.1))
        scale.press("unit")
    assert seen == expected


def test_format_2_has_its_own_overload() -> None:
    scale = AndScale(FORMAT_2)
    scale.step_on(500.0)
    scale.advance(1.0)
    assert lines(scale.advance(0.1)) == ["OL,+999.99kg"]


def test_print_mode_says_one_frame_when_it_has_settled() -> None:
    scale = AndScale()
    scale.set_value("mode", "print")
    assert scale.advance(5.0) == b""
    scale.step_on(83.7)
    assert lines(scale.advance(5.0)) == ["ST,+00083.70 kg"]
    scale.press("print")
    assert lines(scale.advance(0.01)) == ["ST,+00083.70 kg"]
    scale.step_off()
    assert scale.advance(5.0) == b""


def test_tare_shows_a_negative_weight_when_emptied() -> None:
    scale = AndScale()
    scale.step_on(5.0)
    scale.advance(1.0)
    scale.press("tare")
    assert lines(scale.advance(0.1)) == ["ST,+00000.00 kg"]
    scale.step_off()
    scale.advance(1.0)
    assert lines(scale.advance(0.1)) == ["ST,-00005.00 kg"]


@pytest.mark.parametrize(("kind", "value"), [("mode", "sleep"), ("pieces", "-1"), ("unit", "stone"), ("id", "7")])
def test_what_it_cannot_be_set_to_is_refused(kind: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"\("):
        AndScale().set_value(kind, value)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="print"):
        AndScale().press("recall")
