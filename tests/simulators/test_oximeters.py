"""Masimo and Nonin: the vectors reproduced, each lie shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from simulators.serial import masimo, nonin_ascii, nonin_df2
from simulators.serial.masimo import MasimoOximeter
from simulators.serial.nonin_ascii import NoninOximeter
from simulators.serial.nonin_df2 import NoninXpod

Frames = Callable[[str], dict[str, bytes]]


def test_the_masimo_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("masimo_ascii1")
    at = datetime(2018, 2, 24, 4, 48, 53)  # noqa: DTZ001
    made = masimo.line(at, (97, 80, 4.96), 0, 0x800)
    assert made.replace(b"SN=0000000000", b"SN=0000145838") == vectors["masimo-rad8-real"]
    at = datetime(2008, 9, 21, 9, 56, 12)  # noqa: DTZ001
    assert masimo.trend(at, (97, 69, 4.69), 0x800, "SET") == vectors["masimo-trend-3"]
    assert masimo.trend(at.replace(second=8), (0, 0, 0.0), 0x820, "OffPat,SET") == vectors["masimo-trend-1"]


def test_the_nonin_vectors_are_reproduced(frames: Frames) -> None:
    lines, packets = frames("nonin_ascii"), frames("nonin_df2")
    assert nonin_ascii.line(98, 72) == lines["nonin-ok"]
    assert nonin_ascii.line(97, 73, fast=True) == lines["nonin-fast"]
    assert nonin_ascii.line(None, None) == lines["nonin-nodata"]
    at = dict.fromkeys((3, 9, 10, 11, 16, 17), 98) | dict.fromkeys((2, 15, 21, 23), 72) | {4: 30}
    assert nonin_df2.packet(at) == packets["nonin-df2-packet"]
    made = nonin_df2.packet(nonin_df2.places((127, 511), (127, 511), 0), 0x48)
    assert made == packets["nonin-df2-disconnected"]


@pytest.mark.parametrize("radical", [False, True])
def test_a_masimo_keeps_its_numbers_beside_sensor_off_and_says_zeros_beside_nothing(radical: bool) -> None:
    oximeter = MasimoOximeter(radical=radical)
    oximeter.attach()
    first = oximeter.advance(6.0).split()
    assert first.count(b"EXC=000808") == 4
    assert first.count(b"EXC=000800") == 2
    assert first.count(b"SPO2=000%") == 5
    oximeter.advance(20.0)
    oximeter.detach()
    held = oximeter.advance(3.0)
    assert held.count(b"SPO2=097% BPM=072") == held.count(b"EXC=000820") == 3
    assert b"SPO2=---%" in oximeter.advance(9.0)
    assert held.endswith(b"\n\r" if radical else b"\r\n")


def test_a_masimo_prints_a_trend_and_tells_of_its_signal() -> None:
    oximeter = MasimoOximeter()
    oximeter.press("trend")
    assert oximeter.advance(0.1).count(b" SpO2=") == 13
    oximeter.set_value("low_iq", "yes")
    oximeter.press("silence")
    oximeter.attach()
    assert b"ALARM=0020 EXC=000C00" in oximeter.advance(20.0)
    oximeter.set_value("sensor", "no")
    assert b"SPO2=---% BPM=--- PI=--.--%" in oximeter.advance(1.0)
    oximeter.set_value("clock", "1999-12-31T23:59:00")
    assert b"12/31/99" in oximeter.advance(1.0)


def test_a_nonin_shows_dashes_and_too_high_a_pulse_at_first() -> None:
    oximeter = NoninOximeter()
    oximeter.attach()
    said = oximeter.advance(30.0).splitlines()
    assert said[:3] == [b"SPO2=--- HR=---"] * 3
    assert said[4] > said[-1] == b"SPO2=097 HR=072"
    oximeter.set_value("fast", "yes")
    oximeter.press("mark")
    assert oximeter.advance(2.0) == b"SPO2=097 HR=072 F*\r\nSPO2=097 HR=072 F\r\n"
    oximeter.detach()
    assert oximeter.advance(1.0) == b"SPO2=--- HR=--- F\r\n"


def test_a_9847_says_the_time_of_day_and_a_breath() -> None:
    said = NoninOximeter(clock=True).advance(4.0).splitlines()
    assert (said[0], said[3]) == (b"08:00:01 SPO2=--- HR=---", b"08:00:04 SPO2=--- HR=---B")


def test_an_xpod_keeps_what_it_displays_beside_the_alarm() -> None:
    oximeter = NoninXpod()
    oximeter.attach()
    assert oximeter.advance(1.0)[1] & 0x10
    oximeter.advance(20.0)
    oximeter.detach()
    held = oximeter.advance(1.0)[-125:]
    assert (held[1] & 0x08, held[3 + 2 * 5], held[3 + 8 * 5]) == (0x08, 127, 97)
    later = oximeter.advance(12.0)[-125:]
    assert later[3 + 8 * 5] == 127
    oximeter.set_value("sensor", "no")
    assert oximeter.advance(0.5)[1] & 0x40


def test_a_weak_pulse_and_motion_stand_in_the_frames_of_a_pulse() -> None:
    oximeter = NoninXpod()
    oximeter.set_value("cold", "yes")
    oximeter.set_value("motion", "yes")
    oximeter.attach()
    statuses = oximeter.advance(10.0)[-125:][1::5]
    assert sum(status & 0x24 == 0x24 for status in statuses) == 12
