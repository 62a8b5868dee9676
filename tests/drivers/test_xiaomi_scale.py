"""Xiaomi's broadcasts: the published vectors, what they do not show, and any bytes at all."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.inspect import UsageError, decoded, event_line

COMMAND = Path(sys.executable).with_name("vitals-gateway")
FILE = Path(__file__).parents[1] / "vectors" / "ble" / "xiaomi_scale.jsonl"
ROWS: list[dict[str, Any]] = [
    json.loads(line, parse_float=Decimal) for line in FILE.read_text(encoding="utf-8").splitlines()
]
VECTORS = [pytest.param(row, id=row["hex"]) for row in ROWS]
UNITS = {"kg": "kg", "lb": "[lb_av]"}
CODECS = registry.advertisements("xiaomi_scale", Quirks())


def decode(service: str, value: bytes | str) -> Event:
    return CODECS[service](bytes.fromhex(value) if isinstance(value, str) else value)


def sample_of(service: str, value: str) -> Sample:
    event = decode(service, value)
    assert isinstance(event, Sample)
    return event


def service_of(row: dict[str, Any]) -> str:
    return str(row["characteristic"]).removeprefix("advertisement service data 0x")


# What the vectors say.


@pytest.mark.parametrize("row", VECTORS)
def test_a_weight_is_what_its_vector_says(row: dict[str, Any]) -> None:
    sample, expected = sample_of(service_of(row), row["hex"]), row["expected"]
    assert sample.measurements == (Measurement("body_weight", expected["weight"], UNITS[expected["unit"]]),)
    assert sample.device_time == datetime.fromisoformat(expected["timestamp"])
    assert ("stable" in sample.flags) is expected.get("stabilised", True)
    assert ("removed" in sample.flags) is expected.get("removed", False)
    assert ("object" in sample.flags) is (expected.get("weighing_mode") == "object")
    impedance = expected.get("impedance_ohm")
    said = {} if impedance is None else {"impedance": Measurement("impedance", Decimal(impedance), "Ohm")}
    assert sample.modifiers == said
    assert row["source"]


@pytest.mark.parametrize("row", VECTORS)
def test_a_byte_more_or_less_is_refused(row: dict[str, Any]) -> None:
    value = bytes.fromhex(row["hex"])
    for wrong in (*(value[:length] for length in range(len(value))), value + b"\x00", value + value):
        assert decode(service_of(row), wrong) == Rejected("length", wrong)


# What they do not show. Sources: those of the driver.


@pytest.mark.parametrize(
    ("service", "value", "code"),
    [
        ("181D", "00000000000000000000", "zero"),  # custom-components/ble_monitor#292
        ("181D", "020000b20701010a1a0a", "zero"),
        ("181D", "021644b20701010a1a0a", "unstable"),
        ("181D", "026c02b207010c171e2d", "unstable"),  # 1technophile/OpenMQTTGateway#760
        ("181D", "825000b207010c171a33", "unsettled"),
        ("181B", "0204b2070103131a130000ac49", "unstable"),  # custom-components/ble_monitor#1094
        ("181B", "0224b2070103131a1300000000", "zero"),
        ("181B", "0224b2070103131a130000f0ff", "overload"),
        ("181D", "22f0ffb20701010a1a0a", "overload"),
        ("181D", "321644b20701010a1a0a", "unit_not_supported"),
        ("181B", "0264b2070103131a150000604a", "unit_not_supported"),
        ("181B", "1224b2070103131a150000604a", "unit_not_supported"),
        ("181D", "121644b20701010a1a0a", "unstable"),  # status first, also of what could not be read
        ("181D", "021644b2070d010a1a0a", "unstable"),
    ],
)
def test_what_is_no_weight_is_told_without_one(service: str, value: str, code: str) -> None:
    event = decode(service, value)
    assert isinstance(event, Notice)
    assert event.code == code
    assert not any(character.isdigit() for character in event.detail)


@pytest.mark.parametrize(
    ("service", "value", "reason"),
    [
        ("181D", "331644b20701010a1a0a", "unknown_unit"),
        ("181B", "0364b2070103131a150000604a", "unknown_unit"),
        ("181B", "1324b2070103131a150000604a", "unknown_unit"),
        ("181D", "221644b2070d010a1a0a", "invalid_date_time"),
        ("181B", "0224b2070103181a150000604a", "invalid_date_time"),
    ],
)
def test_what_contradicts_itself_is_refused(service: str, value: str, reason: str) -> None:
    assert decode(service, value) == Rejected(reason, bytes.fromhex(value))


def test_pounds_that_were_seen_on_a_display() -> None:  # KristianP26/ble-scale-sync#353
    assert sample_of("181D", "238e4eea070818103913").measurements == (
        Measurement("body_weight", Decimal("201.10"), "[lb_av]"),
    )


def test_an_impedance_that_goes_with_its_bit_and_is_one() -> None:  # custom-components/ble_monitor#1094
    sample = sample_of("181B", "0226b2070103131a15e601604a")
    assert (sample.measurements[0].value, sample.modifiers["impedance"].value) == (Decimal("95.2"), Decimal(486))
    for field in ("0000", "fdff", "feff", "ffff"):
        assert sample_of("181B", f"0226b2070103131a15{field}604a").modifiers == {}
    assert sample_of("181B", "0224b2070103131a15e601604a").modifiers == {}


def test_a_clock_that_does_not_know_its_day_stamps_nothing() -> None:
    assert sample_of("181D", "22204400000000000000").device_time is None


# What holds for any bytes.


@pytest.mark.parametrize(("service", "length"), [("181D", 10), ("181B", 13)])
@given(data=st.data())
def test_any_frame_is_one_event_with_its_bytes(service: str, length: int, data: st.DataObject) -> None:
    value = data.draw(st.binary(max_size=16) | st.binary(min_size=length, max_size=length))
    event = decode(service, value)
    assert event.raw == value
    json.loads(event_line(event))
    if isinstance(event, Sample):
        (weight,) = event.measurements
        control, count = value[length == 13], int.from_bytes(value[1:3] if length == 10 else value[11:], "little")
        assert control & 0x20
        assert weight.value * {"kg": 200, "[lb_av]": 100}[weight.unit] == count
        assert count > 0
        assert event.device_time is None or event.device_time.tzinfo is None


# The command line.


@pytest.mark.parametrize("row", VECTORS)
@pytest.mark.parametrize("spelt", [str.upper, str.lower])
def test_decode_takes_an_advertisement(row: dict[str, Any], spelt: Any) -> None:
    value = bytes.fromhex(row["hex"])
    for model, driver in ((None, "xiaomi_scale"), ("xiaomi-mi-scale", None)):
        events = decoded(value, model=model, driver=driver, advertisement=spelt(service_of(row)))
        assert events == [decode(service_of(row), value)]


def test_decode_answers_by_its_exit_status() -> None:
    frame = "223e30e607020e10293a"
    done = subprocess.run(
        [COMMAND, "decode", "--driver", "xiaomi_scale", "--advertisement", "181D", "--hex", frame],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["measurements"] == [{"kind": "body_weight", "value": "61.750", "unit": "kg"}]


def test_decode_says_which_service_data_it_reads() -> None:
    with pytest.raises(UsageError, match="181D, 181B"):
        decoded(b"", model=None, driver="xiaomi_scale", advertisement="1809")
