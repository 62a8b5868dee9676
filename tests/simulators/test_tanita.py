from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.serial.tanita import TanitaScale, message

Frames = Callable[[str], dict[str, bytes]]


@pytest.mark.parametrize(
    "vector", ["tanita-sc240", "tanita-sc330", "tanita-pw650", "tanita-mc780", "tanita-mc780-dressed"]
)
def test_the_published_messages_are_reproduced(frames: Frames, vector: str) -> None:
    published = frames("tanita")[vector].replace(b"}", b"")
    words = published.decode("ascii").removeprefix("{0,16,").partition(",CS,")[0].split(",")
    assert message(list(zip(words[::2], words[1::2], strict=True))) == published


def test_the_manuals_weighing_of_april_is_reproduced(frames: Frames) -> None:
    scale = TanitaScale("tanita-pw-650ma")
    scale.set_value("clock", "2020-04-30T20:02")
    scale.set_value("tare", "2.0")
    scale.step_on(60.1)
    assert scale.advance(0.9) == b""
    assert scale.advance(30.0) == frames("tanita")["tanita-pw650"], "once, net of the clothes, and then no more"
    scale.step_off()
    assert scale.advance(30.0) == b""


def test_an_id_is_sent_and_zeros_where_there_is_none() -> None:
    scale = TanitaScale("tanita-sc-330")
    scale.set_value("body_weight", "184.5", "[lb_av]")
    said = scale.advance(2.0)
    assert b',ID,"SIM-000001",' in said
    assert b",Wk,83.7," in said
    scale.set_value("id", "12345")
    scale.step_on(80.0)
    assert b',ID,"0000012345",' in scale.advance(2.0)
    scale.press("clear")
    scale.step_on(81.0)
    assert b',ID,"0000000000",' in scale.advance(2.0)


def test_a_character_that_means_nothing_follows() -> None:
    scale = TanitaScale("tanita-wb-3000")
    scale.step_on(80.0)
    said = scale.advance(1.0)
    assert said.startswith(b'{0,16,~0,1,~1,1,~2,1,MO,"WB-3000",Hm,170.0,Wk,80.0,MI,27.7,CS,')
    assert said.endswith(b"\r\n")
    assert scale.advance(0.1) == b"\xff"
    assert scale.advance(10.0) == b""


def test_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="tanita-sc-240"):
        TanitaScale("tanita-1")
    scale = TanitaScale("tanita-sc-240")
    with pytest.raises(ValueError, match="clear"):
        scale.press("tare")
    with pytest.raises(ValueError, match="body_height"):
        scale.set_value("id", "12345678901")
    assert scale.receive(b"M1\r\n") == b""
