"""Cuffs that say their result once, and the module that is asked: the vectors reproduced, each lie shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from simulators.serial import and_ua767, omron_hbp9020, omron_hbp9030, suntech, terumo
from simulators.serial.cuff import Cuff

Frames = Callable[[str], dict[str, bytes]]


def measured(cuff: Cuff, **settings: str) -> bytes:
    for kind, value in settings.items():
        cuff.set_value(kind, value)
    cuff.attach()
    assert cuff.advance(29.0) == b""
    return cuff.advance(2.0)


def test_the_vectors_are_reproduced(frames: Frames) -> None:
    at = datetime(2026, 7, 11, 9, 5)  # noqa: DTZ001
    hbp9030 = frames("omron_hbp9030")
    ident = "12345678901234567890"
    assert omron_hbp9030.line(at, ident, 0, (120, 80, 72), 0) == hbp9030["hbp9030-ok"]
    assert omron_hbp9030.line(at, ident, 0, (120, 80, 72), 1) == hbp9030["hbp9030-motion"]
    assert omron_hbp9030.line(at, ident, 7, (120, 80, 72), 0) == hbp9030["hbp9030-error-blank"]
    captured = omron_hbp9020.line(datetime(2023, 4, 27, 15, 6), "9" * 20, (140, 98, 77, 68), "3")  # noqa: DTZ001
    assert captured == frames("omron_hbp9020")["hbp9020-capture"]
    records = frames("terumo")
    assert terumo.record("R1,000000000,260429,103800,119,090,076,083,0000,0000,00000,000") == records["terumo-2"]
    assert terumo.record("R1,000000000,210427,153000,128,097,082,084,0000,0000,00000,000") == records["terumo-1"]
    assert and_ua767.result(0x80, 152, 76, 73, 96) == frames("and_ua767")["ua767-sample"]
    replies = frames("suntech")
    assert suntech.pressure(258) == replies["suntech-cuff"]
    assert suntech.result((120, 80, 72, 93)) == replies["suntech-bp"]
    assert suntech.result((0, 0, 0, 0), 1) == replies["suntech-weak"]
    said = suntech.result((115, 74, 85, 88), beats=30, state=1, test="0000000000003107")
    assert said == replies["suntech-test-result"]


@pytest.mark.parametrize(
    "make", [and_ua767.and_ua767, omron_hbp9020.omron_hbp9020, omron_hbp9030.omron_hbp9030, terumo.terumo]
)
def test_a_cuff_says_its_result_once_and_none_after_stop(make: Callable[[], Cuff]) -> None:
    cuff = make()
    assert measured(cuff)
    assert cuff.advance(100.0) == b""
    cuff.attach()
    cuff.press("stop")
    assert cuff.advance(100.0) == b""
    assert cuff.receive(b"\x02CPC05;") == b""


def test_nothing_simulated_looks_real() -> None:
    assert b"SIM-000001" in measured(omron_hbp9030.omron_hbp9030())
    assert b"SIM-000001" in measured(omron_hbp9020.omron_hbp9020())
    assert b"SIM-00001," in measured(terumo.terumo())


def test_the_hbp9030_has_blanks_for_no_id_counts_movements_and_has_blanks_after_an_error() -> None:
    cuff = omron_hbp9030.omron_hbp9030()
    assert b"," + b" " * 20 + b",0,120,080,072,2\r\n" in measured(cuff, id="none", movements="2")
    cuff.attach()
    cuff.advance(3.0)
    cuff.detach()
    assert cuff.advance(1.0).endswith(b",7,   ,   ,   ,2\r\n")


def test_the_hbp9020_has_nines_for_no_id_a_digit_and_another_end() -> None:
    said = measured(omron_hbp9020.omron_hbp9020(), id="none", last="3", end="cr")
    assert said.startswith(b"bp,99999999999999999999,2026/01/05,08:00,120,093,080,072,")
    assert said.endswith(b",3\r")


def test_the_terumo_has_another_clock_and_fields_that_say_something() -> None:
    said = measured(terumo.terumo(), clock="2004-02-29T23:59:00", rest="0000,0000,09877,000")
    assert b",040229,235930,120,093,080,072,0000,0000,09877,000\x03" in said


def test_what_a_cuff_says_of_a_failure_where_nobody_knows_is_nothing() -> None:
    for cuff in (terumo.terumo(), omron_hbp9020.omron_hbp9020()):
        cuff.attach()
        cuff.advance(3.0)
        cuff.detach()
        assert cuff.advance(60.0) == b""


def test_a_failed_result_of_the_ua767_has_another_status() -> None:
    cuff = and_ua767.and_ua767()
    cuff.attach()
    cuff.advance(3.0)
    cuff.detach()
    assert cuff.advance(1.0) == b"8200000000"


@pytest.mark.parametrize(
    ("make", "kind", "value"),
    [
        (omron_hbp9030.omron_hbp9030, "id", "a,b"),
        (omron_hbp9030.omron_hbp9030, "movements", "12"),
        (omron_hbp9020.omron_hbp9020, "end", "lf"),
        (omron_hbp9020.omron_hbp9020, "id", "1" * 21),
        (terumo.terumo, "id", "SIM-000001"),
        (terumo.terumo, "rest", "0,0,0,0"),
    ],
)
def test_what_its_line_has_no_room_for_cannot_be_set(make: Callable[[], Cuff], kind: str, value: str) -> None:
    cuff = make()
    with pytest.raises(ValueError, match=r"ID|movements|end|rest"):
        cuff.set_value(kind, value)
    assert measured(cuff)


PRESSURE, RESULT = b"\x3a\x79\x05\x00\x48", b"\x3a\x79\x03\x00\x4a"


def test_the_module_answers_the_last_result_while_the_next_is_measured_and_a_little_after() -> None:
    module = suntech.SuntechModule()
    assert module.receive(RESULT) == suntech.result((0, 0, 0, 0))
    module.attach()
    module.advance(28.0)
    first = module.receive(RESULT)
    assert first[2:4] == b"\x78\x00"
    module.set_value("systolic", "150")
    module.attach()
    module.advance(20.0)
    assert int.from_bytes(module.receive(PRESSURE)[2:4], "little") > 30
    assert module.receive(RESULT) == first
    module.advance(6.0)
    assert module.receive(PRESSURE) == suntech.pressure(2), "a gauge a little off zero"
    assert module.receive(RESULT) == first
    module.advance(3.0)
    assert module.receive(RESULT)[2:4] == b"\x96\x00"
    module.advance(6000.0)
    assert module.receive(RESULT)[2:4] == b"\x96\x00", "for ever"


def test_a_cuff_that_is_taken_off_is_an_error_with_zeros() -> None:
    module = suntech.SuntechModule()
    module.attach()
    module.advance(5.0)
    module.detach()
    module.advance(4.0)
    assert module.receive(RESULT) == suntech.result((0, 0, 0, 0), 1)


def test_a_command_that_inflates_or_is_garbled_is_not_answered() -> None:
    module = suntech.SuntechModule()
    assert module.receive(b"\x3a\x20\xa6\x3a\x79\x05\x00\x49") == b""
    module.advance(30.0)
    assert module.receive(b"\xff" + PRESSURE[:2]) + module.receive(PRESSURE[2:]) == suntech.pressure(2)
