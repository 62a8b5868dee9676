"""What goes with every profile, the advertised temperature, and Beurer's records: by their vectors and around them."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.ble import current_time
from drivers.ble.companions import CODECS
from drivers.contract import Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model, model_names
from gateway.inspect import UsageError, decoded, event_line

VECTORS = Path(__file__).parents[1] / "vectors" / "ble"
BEURER = Quirks(pressure_record="beurer")
REASONS = {
    ("0x2A2B", "e9070101003c00010000"): "invalid_date_time",
    ("0x2A2B", "e9070101180000010000"): "invalid_date_time",
    ("0x2A2B", "e9070d01000000010000"): "invalid_date_time",
    ("0x2A08", "e20704110f33"): "length",
    ("0x2A19", "6400"): "length",
    ("0x2A52", "0103010200"): "unknown_filter",
    ("0x2A52", "060101"): "unknown_operator",
    ("0x2A52", "0500030201"): "length",
}
TOLD = {
    "4246313035": "BF105",
    "8103": "blood pressure, arm",
    "100018000000c800": "interval 20 ms to 30 ms, latency 0, timeout 2000 ms",
    "5000a0000000e803": "interval 100 ms to 200 ms, latency 0, timeout 10000 ms",
    "e9070101000000010000": "2025-01-01 00:00:00",
    "ea07050c12352b021101": "2026-05-12 18:53:43.066; changed: by hand",
    "e9070c1f173b3b07ff06": "2025-12-31 23:59:59.996; changed: external reference, time zone",
    "00000000121a20": "date not known, 18:26:32",
    "e40701020a1530": "2020-01-02 10:21:48",
    "dd07081a090a14": "2013-08-26 09:10:20",
    "0f": "15 %",
    "64": "100 %",
    "06000101": "report stored records: success",
    "06000102": "report stored records: op not supported",
    "06000103": "report stored records: invalid operator",
    "06000105": "report stored records: invalid operand",
    "06000106": "report stored records: no records found",
    "0600010a": "report stored records: result 10",
    "06000204": "delete stored records: operator not supported",
    "06000208": "delete stored records: procedure not completed",
    "06000209": "delete stored records: operand not supported",
    "06000307": "abort: abort unsuccessful",
    "06000c02": "op 12: op not supported",
    "050001": "1 records",
    "05000201": "258 records",
    "0500ffff": "65535 records",
    "050004030201": "16909060 records",
    "1100ffff": "the latest sequence number is 65535",
    "0101": "asked to report stored records: all",
    "010304ffff": "asked to report stored records: from a sequence number on",
    "0401": "asked to report the number of stored records: all",
    "040304ffff": "asked to report the number of stored records: from a sequence number on",
}


def rows(name: str) -> list[dict[str, Any]]:
    lines = (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_float=Decimal) for line in lines]


def decode(uuid: str, value: str) -> Event:
    return CODECS[uuid](bytes.fromhex(value))


@pytest.mark.parametrize("driver", registry.ble_names())
@pytest.mark.parametrize("vector", [pytest.param(row, id=row["hex"]) for row in rows("companions")])
def test_each_driver_decodes_what_goes_with_it(driver: str, vector: dict[str, Any]) -> None:
    uuid, value = vector["characteristic"], bytes.fromhex(vector["hex"])
    (event,) = decoded(value, model=None, driver=driver, characteristic=uuid.removeprefix("0x"))
    if vector.get("expect_reject"):
        assert event == Rejected(REASONS[uuid, vector["hex"]], value)
        return
    assert isinstance(event, Notice)
    assert (event.detail, event.raw) == (TOLD[vector["hex"]], value)
    assert vector["source"]


@pytest.mark.parametrize("driver", [name for name in registry.ble_names() if not registry.is_only_heard(name)])
def test_a_drivers_own_characteristics_come_first(driver: str) -> None:
    uuids = list(registry.characteristics(driver, Quirks()))
    assert uuids[0] not in CODECS
    assert set(CODECS) <= set(uuids)


@pytest.mark.parametrize(
    ("uuid", "value", "reason"),
    [
        ("2A2B", "e9070100000000010000", None),  # a day that is not known
        ("2A2B", "e90701010000001a00f0", None),  # a day of the week and reasons that are reserved
        ("2A2B", "e907010120", "length"),
        ("2A2B", "e907010100000001000000", "length"),
        ("2A2B", "e9070120000000010000", "invalid_date_time"),  # day 32
        ("2A2B", "e9070101003b3c010000", "invalid_date_time"),  # second 60
        ("2A2B", "01000101000000010000", "invalid_date_time"),  # year 1
        ("2A08", "e9070d01000000", "invalid_date_time"),
        ("2A08", "e9070101180000", "invalid_date_time"),
        ("2A19", "65", "above_100_percent"),
        ("2A19", "ff", "above_100_percent"),
        ("2A19", "", "length"),
        ("2A19", "00", None),
        ("2A01", "81", "length"),
        ("2A01", "ffff", None),
        ("2A04", "ffffffff0000ffff", None),
        ("2A04", "100018000000c8", "length"),
        ("2A52", "", "length"),
        ("2A52", "06", "length"),
        ("2A52", "0000", "unknown_operation"),
        ("2A52", "0800", "unknown_operation"),
        ("2A52", "060001", "length"),
        ("2A52", "0600010100", "length"),
        ("2A52", "0500", "length"),
        ("2A52", "1100ff", "length"),
        ("2A52", "0501ffff", "unknown_operator"),
        ("2A52", "0300", None),
        ("2A52", "0301", "unknown_operator"),
        ("2A52", "030000", "length"),
        ("2A52", "1000", None),
        ("2A52", "0404040100ffff", "unknown_operator"),  # a range: Omron has none
        ("2A52", "0103", "length"),
        ("2A52", "0600ffff", None),
    ],
)
def test_what_the_vectors_do_not_show(uuid: str, value: str, reason: str | None) -> None:
    event = decode(uuid, value)
    assert (event.reason if isinstance(event, Rejected) else None) == reason


@pytest.mark.parametrize("uuid", ["2A00", "2A24", "2A25", "2A26", "2A27", "2A28", "2A29"])
@pytest.mark.parametrize(
    ("value", "words"), [(b"", ""), (b"\x00" * 4, ""), (b"BM 85\x00\x00", "BM 85"), (b"AB  ", "AB")]
)
def test_a_text_may_be_empty_or_padded(uuid: str, value: bytes, words: str) -> None:
    event = CODECS[uuid](value)
    assert isinstance(event, Notice)
    assert event.detail == words


@pytest.mark.parametrize("uuid", sorted(CODECS))
@given(value=st.binary(max_size=24))
def test_any_value_is_one_event_with_its_bytes_and_no_vital(uuid: str, value: bytes) -> None:
    event = CODECS[uuid](value)
    assert isinstance(event, Notice | Rejected)
    assert event.raw == value
    json.loads(event_line(event))


@given(st.datetimes(min_value=datetime(1582, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_a_current_time_that_is_written_is_read_to_its_256th(at: datetime) -> None:
    value = current_time.encode(at)
    shown = current_time.decode(value)
    assert shown is not None
    assert 0 <= (at - shown).total_seconds() < 1 / 256 + 1e-6
    assert value[7] == at.isoweekday()


# ---- advertised ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [pytest.param(row, id=row["hex"]) for row in rows("advertised_temperature")])
def test_what_a_thermometer_advertises(vector: dict[str, Any]) -> None:
    service = vector["characteristic"].rpartition("0x")[2]
    value, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    (event,) = decoded(value, model=None, driver="ble_thermometer", advertisement=service)
    if service == "1809":
        assert isinstance(event, Sample)
        assert event.measurements == (Measurement("body_temperature", expected["temperature"], "Cel"),)
        assert event.device_time is None
    else:
        assert event == Notice("battery", f"{expected['battery_pct']} %", value)


@pytest.mark.parametrize(
    ("value", "what"),
    [("470800", "length"), ("470800fe00", "length"), ("ffff7f00", "measurement_failed"), ("feff7f00", "over_range")],
)
def test_what_is_advertised_and_is_no_temperature(value: str, what: str) -> None:
    (event,) = decoded(bytes.fromhex(value), model=None, driver="ble_thermometer", advertisement="1809")
    assert (event.reason if isinstance(event, Rejected) else event.code if isinstance(event, Notice) else "") == what


def test_who_reads_no_advertisement_says_so() -> None:
    for driver in ("mt_sics", "ble_blood_pressure"):
        with pytest.raises(UsageError, match="reads no advertisements"):
            decoded(b"", model=None, driver=driver, advertisement="1809")
    with pytest.raises(UsageError, match="1809, 180F"):
        decoded(b"", model=None, driver="ble_thermometer", advertisement="181D")


# ---- Beurer ----------------------------------------------------------------------------------------------------------

CAPTURED = [row for row in rows("ble_blood_pressure") if row["expected"].get("profile") == "beurer-bm85-quirk"]
OF_BEURER = [name for name in model_names() if load_model(name).quirks.pressure_record == "beurer"]


@pytest.mark.parametrize("model", OF_BEURER)
@pytest.mark.parametrize("vector", [pytest.param(row, id=row["hex"]) for row in CAPTURED])
def test_a_beurer_record_is_what_its_owner_saw(model: str, vector: dict[str, Any]) -> None:
    value, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    (event,) = decoded(value, model=model, driver=None, characteristic="2A35")
    assert isinstance(event, Sample)
    assert {m.kind: m.value for m in event.measurements} == {
        "systolic": expected["systolic"],
        "diastolic": expected["diastolic"],
        "pulse_rate": expected["pulse_bpm"],
    }
    assert event.device_time == datetime.fromisoformat(expected["timestamp"])
    assert event.device_user == str(expected["user_id"])
    assert event.flags == (("irregular_pulse",) if expected["status"] == 4 else ())


def test_the_models_whose_records_differ_have_rows() -> None:
    assert OF_BEURER == ["beurer-bm48", "beurer-bm59", "beurer-bm85", "beurer-elite900"]


@pytest.mark.parametrize(
    "value",
    [
        "167c0056006100e807060f11111b33000800",  # as the standard has it: a byte too few
        "56770046000000ea07080b143900005701004000",
        "fe" + "00" * 19,
        "",
    ],
)
def test_a_beurer_record_has_its_length(value: str) -> None:
    codec = registry.characteristics("ble_blood_pressure", BEURER)["2A35"]
    assert codec(bytes.fromhex(value)) == Rejected("length", bytes.fromhex(value))


@pytest.mark.parametrize("quirks", [Quirks(), BEURER])
def test_a_vendors_frame_on_2a35_is_refused(quirks: Quirks) -> None:
    value = bytes.fromhex("fe" + "78005000" * 4 + "010203")  # 20 bytes: pauldemarco/flutter_blue#687
    assert registry.characteristics("ble_blood_pressure", quirks)["2A35"](value) == Rejected("length", value)
