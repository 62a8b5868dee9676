"""What holds for each codec of a characteristic: the published vectors, any bytes at all, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Event, Measurement, Notice, Rejected, Sample
from drivers.models import DeviceModel, Quirks
from gateway.inspect import UsageError, decoded, event_line
from gateway.normalize import normalize
from gateway.payload import Origin, encode
from gateway.reading import ClockQuality, Device, Mode, Times

COMMAND = Path(sys.executable).with_name("vitals-gateway")
VECTORS = Path(__file__).parents[1] / "vectors" / "ble"
DRIVERS = [driver for driver in registry.ble_names() if not registry.is_only_heard(driver)]
CODECS = [(driver, uuid) for driver in DRIVERS for uuid in registry.characteristics(driver, Quirks())]

KINDS = {
    "systolic": "systolic",
    "diastolic": "diastolic",
    "map": "mean_arterial_pressure",
    "pulse_bpm": "pulse_rate",
    "temperature": "body_temperature",
}
UNITS = {"mmHg": "mm[Hg]", "kPa": "kPa", "C": "Cel", "F": "[degF]"}
STATUS_FLAGS = {
    "body_movement": "body_movement",
    "cuff_too_loose": "cuff_loose",
    "irregular_pulse": "irregular_pulse",
    "improper_position": "position_improper",
    "pulse_range": "pulse_out_of_range",
}
UNNAMED_STATUS = {None: set(), 0: set(), 0x0144: {"irregular_pulse"}}  # vectors that give the status as a number alone
SITES = ("axillary", "body", "ear", "finger", "gastrointestinal", "oral", "rectal", "toe", "tympanic")

VITALS = {"2A35", "2A1C", "2A37", "2A5E", "2A5F", "2A9C", "2A9D"}  # no other characteristic carries one
NO_VITALS = {"pulse_amplitude_index"}  # what a sample may say beside its vitals
OF_ANY_LENGTH = {"0x2A37"}  # as many RR intervals as there were beats

Vector = dict[str, Any]


def rows(driver: str) -> list[Vector]:
    lines = (VECTORS / f"{driver}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_float=Decimal) for line in lines]


def vectors(driver: str, uuid: str) -> list[Any]:
    return [
        pytest.param(row, id=row["hex"])
        for row in rows(driver)
        if row["characteristic"] == f"0x{uuid}" and not row.get("expect_reject")
    ]


def decode(uuid: str, value: bytes | str) -> Event:
    driver = next(driver for driver, known in CODECS if known == uuid)
    return registry.characteristics(driver, Quirks())[uuid](bytes.fromhex(value) if isinstance(value, str) else value)


def sample_of(uuid: str, value: bytes | str) -> Sample:
    event = decode(uuid, value)
    assert isinstance(event, Sample)
    return event


def numbers(sample: Sample) -> dict[str, str]:
    return {m.kind: f"{m.value:f} {m.unit}" for m in sample.measurements}


# What the vectors say.


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_vector_is_of_a_known_characteristic_and_has_a_source(driver: str) -> None:
    for row in rows(driver):
        assert row["characteristic"].removeprefix("0x") in registry.characteristics(driver, Quirks())
        assert row["source"]


@pytest.mark.parametrize(
    ("driver", "vector"),
    [pytest.param(d, row, id=row["hex"]) for d in DRIVERS for row in rows(d) if row.get("expect_reject")],
)
def test_what_must_be_rejected_is(driver: str, vector: Vector) -> None:
    value = bytes.fromhex(vector["hex"])
    assert decode(vector["characteristic"].removeprefix("0x"), value) == Rejected("length", value)


@pytest.mark.parametrize("vector", vectors("ble_blood_pressure", "2A35"))
def test_a_blood_pressure_is_what_its_vector_says(vector: Vector) -> None:
    value, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    event = decode("2A35", value)
    if "profile" in expected:  # a layout of its own under a SIG characteristic
        assert event == Rejected("length", value)
        return
    if expected["systolic"] == expected["diastolic"] == "NaN":
        assert isinstance(event, Notice)
        assert event.code == "measurement_failed"
        return
    assert isinstance(event, Sample)
    assert_measured(event, expected)
    named = expected.get("status_flags")
    flags = UNNAMED_STATUS[expected.get("status")] if named is None else {STATUS_FLAGS[name] for name in named}
    assert set(event.flags) == flags
    assert event.device_user == (str(expected["user_id"]) if "user_id" in expected else None)


@pytest.mark.parametrize("vector", vectors("ble_thermometer", "2A1C"))
def test_a_temperature_is_what_its_vector_says(vector: Vector) -> None:
    event, expected = sample_of("2A1C", vector["hex"]), vector["expected"]
    assert_measured(event, expected)
    assert event.site == (SITES[expected["temperature_type"] - 1] if "temperature_type" in expected else None)
    assert (event.flags, event.device_user) == ((), None)


@pytest.mark.parametrize("vector", vectors("ble_blood_pressure", "2A36"))
def test_the_pressure_in_the_cuff_is_no_vital(vector: Vector) -> None:
    event = decode("2A36", vector["hex"])
    assert isinstance(event, Notice)
    assert event.code == "measuring"


@pytest.mark.parametrize("vector", vectors("ble_blood_pressure", "2A49"))
def test_the_features_are_told_by_name(vector: Vector) -> None:
    event = decode("2A49", vector["hex"])
    assert isinstance(event, Notice)
    assert event.code == "feature"
    assert event.detail.split() == [name for name, has in vector["expected"].items() if has]


@pytest.mark.parametrize("vector", vectors("ble_thermometer", "2A1D"))
def test_the_type_is_told_as_a_site(vector: Vector) -> None:
    event = decode("2A1D", vector["hex"])
    assert isinstance(event, Notice)
    assert (event.code, event.detail) == ("temperature_type", SITES[vector["expected"]["temperature_type"] - 1])


def assert_measured(sample: Sample, expected: Vector) -> None:
    unit = UNITS[expected["unit"]]
    said = {KINDS[name]: number for name, number in expected.items() if name in KINDS and number not in (None, "NaN")}
    assert {m.kind: (m.value, m.unit) for m in sample.measurements} == {
        kind: (number, "/min" if kind == "pulse_rate" else unit) for kind, number in said.items()
    }
    assert len(sample.measurements) == len(said)
    stamp = expected.get("timestamp", "0000")
    assert sample.device_time == (None if stamp.startswith("0000") else datetime.fromisoformat(stamp))


# What the vectors do not show.


def test_the_digits_are_the_devices() -> None:
    sample = sample_of("2A35", "de88f420f3ff07e4070113163700bcf2014401")
    assert numbers(sample) == {"systolic": "116.0 mm[Hg]", "diastolic": "80.0 mm[Hg]", "pulse_rate": "70.0 /min"}
    assert numbers(sample_of("2A1C", "01da0300ff")) == {"body_temperature": "98.6 [degF]"}


@pytest.mark.parametrize("special", ["ff07", "0008", "0108"])
def test_one_pressure_of_two_stands_alone(special: str) -> None:
    assert numbers(sample_of("2A35", f"00{special}4d006400")) == {
        "diastolic": "77 mm[Hg]",
        "mean_arterial_pressure": "100 mm[Hg]",
    }
    assert numbers(sample_of("2A35", f"008600{special}{special}")) == {"systolic": "134 mm[Hg]"}


@pytest.mark.parametrize(("special", "code"), [("fe07", "over_range"), ("0208", "under_range")])
def test_out_of_range_is_a_notice(special: str, code: str) -> None:
    temperature = {"fe07": "feff7f00", "0208": "02008000"}[special]
    for uuid, value in (
        ("2A35", f"00{special}4d006400"),
        ("2A35", f"008600{special}6400"),
        ("2A1C", f"00{temperature}"),
    ):
        event = decode(uuid, value)
        assert isinstance(event, Notice)
        assert event.code == code
    # beside a good pressure a mean pressure and a pulse out of range are left out
    assert list(numbers(sample_of("2A35", f"0486004d00{special}{special}"))) == ["systolic", "diastolic"]


def test_a_failed_measurement_tells_what_the_cuff_says_of_it() -> None:
    event = decode("2A35", "14ff07ff07640048000300")  # a mean pressure and a pulse make no blood pressure
    assert isinstance(event, Notice)
    assert (event.code, event.detail) == ("measurement_failed", "the cuff could not measure, body_movement, cuff_loose")


@pytest.mark.parametrize("special", ["ffff7f00", "00008000", "01008000"])
def test_a_temperature_that_is_no_number_is_a_failed_measurement(special: str) -> None:
    event = decode("2A1C", f"00{special}")
    assert isinstance(event, Notice)
    assert event.code == "measurement_failed"


@pytest.mark.parametrize(("slot", "user"), [("00", "0"), ("aa", "170"), ("fe", "254"), ("ff", None)])
def test_the_slot_of_the_memory_is_told_but_for_the_unknown_one(slot: str, user: str | None) -> None:
    assert sample_of("2A35", f"0886004d006400{slot}").device_user == user


@pytest.mark.parametrize(
    ("status", "flags"),
    [
        ("0100", ("body_movement",)),
        ("0200", ("cuff_loose",)),
        ("0400", ("irregular_pulse",)),
        ("0800", ("pulse_out_of_range",)),
        ("1000", ("pulse_out_of_range",)),
        ("1800", ()),  # reserved
        ("2000", ("position_improper",)),
        ("c0ff", ()),  # reserved
    ],
)
def test_each_status_bit_has_its_flag(status: str, flags: tuple[str, ...]) -> None:
    assert sample_of("2A35", f"1086004d006400{status}").flags == flags


@pytest.mark.parametrize("kind", range(256))
def test_a_site_is_one_of_nine_or_not_said(kind: int) -> None:
    site = SITES[kind - 1] if 1 <= kind <= 9 else None
    assert sample_of("2A1C", bytes.fromhex("046c0100ff") + bytes([kind])).site == site
    assert decode("2A1D", bytes([kind])) == Notice("temperature_type", site or "", bytes([kind]))


@pytest.mark.parametrize("uuid", ["2A1C", "2A1E"])
def test_reserved_bits_of_a_temperature_mean_nothing(uuid: str) -> None:
    plain, reserved = decode(uuid, "006c0100ff"), decode(uuid, "f86c0100ff")
    assert type(plain) is type(reserved)
    if isinstance(plain, Sample):
        assert isinstance(reserved, Sample)
        assert plain.measurements == reserved.measurements


def test_a_temperature_that_still_rises_is_no_vital() -> None:
    event = decode("2A1E", "006c0100ff")
    assert isinstance(event, Notice)
    assert event.code == "measuring"
    assert "36" not in event.detail


@pytest.mark.parametrize(
    ("uuid", "head"),
    [("2A35", "0286004d006400"), ("2A36", "0286004d006400"), ("2A1C", "026c0100ff"), ("2A1E", "026c0100ff")],
)
@pytest.mark.parametrize("stamp", ["e9070d01000000", "e9070101180000", "e907021e000000"])
def test_a_stamp_that_is_no_date_refuses_the_value(uuid: str, head: str, stamp: str) -> None:
    value = bytes.fromhex(head + stamp)
    assert decode(uuid, value) == Rejected("invalid_date_time", value)


@pytest.mark.parametrize(
    ("uuid", "vector"),
    [
        pytest.param(row["characteristic"].removeprefix("0x"), row, id=f"{row['characteristic']}-{row['hex']}")
        for driver in DRIVERS
        for row in rows(driver)
        if not row.get("expect_reject") and "profile" not in row["expected"] and "trailing" not in row.get("note", "")
        if row["characteristic"] not in OF_ANY_LENGTH
    ],
)
def test_a_byte_more_or_less_is_refused(uuid: str, vector: Vector) -> None:
    value = bytes.fromhex(vector["hex"])
    for wrong in (*(value[:length] for length in range(len(value))), value + b"\x00", value + value):
        assert decode(uuid, wrong) == Rejected("length", wrong)


# What holds for any bytes.


SPECIAL_SFLOATS = st.sampled_from([b"\xff\x07", b"\x00\x08", b"\xfe\x07", b"\x02\x08", b"\x01\x08"])
SPECIAL_FLOATS = st.sampled_from(
    [b"\xff\xff\x7f\0", b"\0\0\x80\0", b"\xfe\xff\x7f\0", b"\x02\0\x80\0", b"\x01\0\x80\0"]
)
STAMPS = st.tuples(
    st.sampled_from([b"\xea\x07", b"\0\0"]), st.integers(0, 13), st.integers(0, 31), st.just(b"\x0b\x14\x39")
).map(lambda parts: parts[0] + bytes(parts[1:3]) + parts[3])
LENGTHS = {"2A35": ((2, 7), (4, 2), (8, 1), (16, 2)), "2A1C": ((2, 7), (4, 1))}


@st.composite
def values(draw: st.DrawFn, uuid: str, body: st.SearchStrategy[bytes]) -> bytes:
    """Flags, `body`, and every field that the flags promise."""
    flags = draw(st.integers(0, 255))
    fields = [STAMPS if n == 7 else st.binary(min_size=n, max_size=n) for bit, n in LENGTHS[uuid] if flags & bit]
    return bytes([flags]) + draw(body) + b"".join(draw(field) for field in fields)


def of_length(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


ANY_VALUE = st.binary(max_size=40) | values("2A35", of_length(6)) | values("2A1C", of_length(4)) | st.binary(max_size=3)


@pytest.mark.parametrize(("driver", "uuid"), CODECS)
@given(value=ANY_VALUE)
def test_any_value_is_one_event_with_its_bytes(driver: str, uuid: str, value: bytes) -> None:
    event = registry.characteristics(driver, Quirks())[uuid](value)
    assert isinstance(event, Sample | Notice | Rejected)
    assert event.raw == value
    json.loads(event_line(event))
    if isinstance(event, Sample):
        assert uuid in VITALS
        assert event.measurements
        assert all(m.value.is_finite() for m in event.measurements)
        assert len({m.kind for m in event.measurements}) == len(event.measurements)
        assert event.device_time is None or event.device_time.tzinfo is None
        assert event.at is None
        assert set(event.modifiers) <= NO_VITALS or uuid == "2A9C"


@given(values("2A35", st.tuples(SPECIAL_SFLOATS, SPECIAL_SFLOATS, of_length(2)).map(b"".join)))
def test_no_sample_without_a_pressure(value: bytes) -> None:
    assert not isinstance(decode("2A35", value), Sample)


@given(values("2A1C", SPECIAL_FLOATS))
def test_no_sample_without_a_temperature(value: bytes) -> None:
    assert not isinstance(decode("2A1C", value), Sample)


@given(values("2A35", st.tuples(of_length(4), SPECIAL_SFLOATS).map(b"".join)))
def test_a_mean_pressure_that_is_no_number_is_left_out(value: bytes) -> None:
    event = decode("2A35", value)
    if isinstance(event, Sample):
        assert "mean_arterial_pressure" not in {m.kind for m in event.measurements}


# The registry, the command line, and the site's way to the chart.


def test_serial_and_ble_drivers_are_asked_for_apart() -> None:
    apart = (registry.serial_names(), registry.ble_names(), registry.vendor_names())
    assert registry.names() == tuple(sorted(name for names in apart for name in names))
    assert len(set(registry.names())) == len(registry.names())
    assert {"ble_blood_pressure", "ble_thermometer"} <= {*registry.ble_names()}
    for ask in (
        lambda: registry.codec("ble_thermometer", Quirks()),
        lambda: registry.characteristics("mt_sics", Quirks()),
    ):
        with pytest.raises(KeyError):
            ask()


@pytest.mark.parametrize(("driver", "uuid"), CODECS)
@pytest.mark.parametrize("spelt", [str.upper, str.lower])
def test_decode_asks_the_codec_of_the_characteristic(driver: str, uuid: str, spelt: Any) -> None:
    for row in rows(driver):
        value = bytes.fromhex(row["hex"])
        events = decoded(value, model=None, driver=driver, characteristic=spelt(uuid))
        assert events == [registry.characteristics(driver, Quirks())[uuid](value)]


@pytest.mark.parametrize("attribute", [None, "", "2A9D", "2A35 ", "0x2A35", "00002a35-0000-1000-8000-00805f9b34fb"])
def test_decode_lists_the_characteristics_that_a_driver_knows(attribute: str | None) -> None:
    with pytest.raises(UsageError, match="2A35, 2A36, 2A49"):
        decoded(b"", model=None, driver="ble_blood_pressure", characteristic=attribute)


@pytest.mark.parametrize(
    ("characteristic", "hexadecimal", "status"),
    [
        (["--characteristic", "2a1c"], "06b00e00fedc070c050b321b04", 0),
        (["--characteristic", "2A1E"], "06b00e00fedc070c050b321b04", 3),
        (["--characteristic", "2A1C"], "06b00e00fedc070c050b321b", 3),
        (["--characteristic", "2A35"], "00720072007200", 64),
        ([], "006c0100ff", 64),
    ],
)
def test_the_command(characteristic: list[str], hexadecimal: str, status: int) -> None:
    done = subprocess.run(
        [COMMAND, "decode", "--driver", "ble_thermometer", *characteristic, "--hex", hexadecimal],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status
    if status == 64:
        assert "2A1C, 2A1D, 2A1E" in done.stderr
        assert done.stdout == ""
        return
    (line,) = done.stdout.splitlines()
    assert line == event_line(decode(characteristic[1].upper(), hexadecimal))
    if status == 0:
        assert json.loads(line) == {
            "event": "sample",
            "measurements": [{"kind": "body_temperature", "value": "37.60", "unit": "Cel"}],
            "flags": [],
            "device_time": "2012-12-05T11:50:27",
            "device_user": None,
            "modifiers": {},
            "site": "finger",
        }


@pytest.mark.parametrize(("kind", "modifiers"), [(6, {"site": {"value": "oral", "source": "device"}}), (0, {})])
def test_a_site_goes_out_as_a_modifier(kind: int, modifiers: dict[str, Any]) -> None:
    model = DeviceModel("A&D", "UT-201BLE", "thermometer", "ble", "ble_thermometer", ("capture",), ("a test",))
    at = datetime(2026, 11, 22, 13, 5, 10, tzinfo=UTC)
    sample = sample_of("2A1C", bytes.fromhex("046c0100ff") + bytes([kind]))
    assert sample.measurements == (Measurement("body_temperature", Decimal("36.4"), "Cel"),)
    reading = normalize(
        sample,
        model=model,
        device=Device("thermometer", "and-ut-201ble", "A&D"),
        mode=Mode.TEST,
        times=Times(at, at, "gateway", 1.0, ClockQuality.SYNCED),
        reading_id=UUID(int=1),
    )
    payload = json.loads(encode(reading, Origin("northside", "exam-3", "0.1.0", UUID(int=2)), 1))
    assert payload["modifiers"] == modifiers
