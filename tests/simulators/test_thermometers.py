"""SureTemp and TaiDoc: the vectors reproduced, each lie shown."""

from __future__ import annotations

import struct
from collections.abc import Callable

from simulators.serial import suretemp, taidoc
from simulators.serial.suretemp import SureTempModule
from simulators.serial.taidoc import TaidocMeter

Frames = Callable[[str], dict[str, bytes]]
ASK = bytes.fromhex("030210941c0100003a")
ASK_TIME, ASK_VALUE = bytes.fromhex("512500000000a319"), bytes.fromhex("512600000000a31a")


def test_the_suretemp_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("suretemp")
    probe = 307.370789
    short = suretemp.short_record((0.0, probe), 0x4E, (0, 0, 2))
    assert suretemp.message(0x941C, 2, short) == vectors["suretemp-rec19"]
    rest = bytes.fromhex("ef9e5246") + struct.pack("<f", 296.604401) + bytes.fromhex("51123d46bd01")
    long = suretemp.long_record((0.0, probe), (0x4E, 0x23), (0, 0, 2), rest)
    assert suretemp.message(0x941C, 2, long) == vectors["suretemp-rec33"]
    assert suretemp.message(0x941C, 1) == vectors["suretemp-cmd-record"] == ASK
    module = SureTempModule()
    assert module.receive(vectors["suretemp-setmethod"]) == vectors["suretemp-setmethod-ack"]
    assert module.receive(suretemp.message(0x3503, 1, b"\x01")) == vectors["suretemp-lock-ack"]


def test_the_taidoc_vectors_are_reproduced(frames: Frames) -> None:
    vectors = frames("taidoc")
    assert taidoc.frame(0x25, bytes(4), 0xA3) == vectors["taidoc-cmd-25"] == ASK_TIME
    assert taidoc.frame(0x26, bytes(4), 0xA3) == vectors["taidoc-cmd-26"] == ASK_VALUE
    for model, vitals, name in (
        ("D40", {"systolic": "104", "diastolic": "79", "pulse_rate": "97"}, "taidoc-bp"),
        ("IR42", {"body_temperature": "37"}, "taidoc-ir42-a"),
    ):
        meter = TaidocMeter(model)
        for kind, number in vitals.items():
            meter.set_value(kind, number)
        meter.attach()
        meter.advance(31.0)
        assert meter.receive(ASK_VALUE) == vectors[name]


def test_the_probe_has_a_temperature_before_the_patient_has() -> None:
    module = SureTempModule()
    states, finals, probes = [], [], []
    module.attach()
    for _ in range(10):
        module.advance(1.0)
        final, probe = struct.unpack_from("<ff", module.receive(ASK), 8)
        states.append(module.receive(ASK)[8 + 14])
        finals.append(round(final, 2))
        probes.append(probe)
    assert states == [3] * 7 + [6] * 3
    assert finals == [0.0] * 7 + [310.15] * 3
    assert 306.0 < probes[6] < 310.0
    module.detach()
    assert module.receive(ASK)[8 + 14] == 0


def test_the_module_in_other_modes() -> None:
    module = SureTempModule()
    module.attach()
    for key, offset, number in (("long", 6, 33), ("monitor", 8 + 14, 12), ("fail", 8 + 14, 20)):
        module.press(key)
        module.advance(20.0)
        assert module.receive(ASK)[offset] == number
    module.press("fail")
    module.press("monitor")
    for kelvin, state in (("45", 8), ("25", 10)):
        module.set_value("body_temperature", kelvin)
        assert module.receive(ASK)[8 + 14] == state
    module.set_value("site", "rectal")
    assert module.receive(ASK)[8 + 13] == 1
    assert module.receive(suretemp.message(0x2900, 1))[5] == 3
    assert module.receive(ASK[:-1] + b"\x00") == b""
    assert module.receive(b"\x03\x02\x10\x00\x00\x00\xff\xff" + ASK)[3:5] == b"\x94\x1c"
    assert module.receive(ASK[:4]) + module.receive(ASK[4:]) != b""


def test_a_memory_tells_its_newest_record_for_ever_and_an_older_one_when_that_is_deleted() -> None:
    meter = TaidocMeter("IR42")
    assert meter.receive(ASK_TIME)[2:6] == b"\xff\xff\xff\xff"
    meter.attach()
    meter.advance(3.0)
    first = meter.receive(ASK_TIME + ASK_VALUE)
    meter.advance(600.0)
    assert meter.receive(ASK_TIME + ASK_VALUE) == first
    meter.set_value("mode", "object")
    meter.set_value("unit", "F")
    meter.attach()
    meter.advance(3.0)
    second = meter.receive(ASK_TIME + ASK_VALUE)
    assert second[5] & 0xA0 == 0xA0
    assert int.from_bytes(second[10:12], "little") == 986
    assert meter.receive(taidoc.frame(0x2B, bytes(4), 0xA3))[2] == 2
    meter.press("delete")
    assert meter.receive(ASK_TIME + ASK_VALUE) == first


def test_a_d40_keeps_glucose_averages_and_a_doubtful_byte() -> None:
    meter = TaidocMeter("D40")
    meter.press("average")
    meter.set_value("irregular", "yes")
    meter.set_value("mean", "93")
    meter.set_value("clock", "2031-07-09T05:04:00")
    meter.attach()
    meter.advance(31.0)
    said = meter.receive(ASK_TIME + ASK_VALUE)
    assert (said[4], said[5], said[11]) == (0xC4, 0x85, 93)
    meter.press("glucose")
    assert meter.receive(ASK_TIME)[4] & 0x80 == 0
    assert meter.receive(b"\x51\x26\x00" + ASK_VALUE) == meter.receive(ASK_VALUE) != b""
