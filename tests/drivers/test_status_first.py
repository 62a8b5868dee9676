"""Frames that carry a plausible number and are no measurement, and frames that are odd and are one.

The frames follow the rules that the drivers' sources state; what has a published frame is in tests/vectors/.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks


def decoded(driver: str, frame: bytes, quirks: Quirks | None = None) -> Event:
    codec = registry.codec(driver, quirks or Quirks())
    (event,) = codec.feed(frame) + codec.flush()
    return event


def numbers(event: Event) -> list[tuple[str, str, str]]:
    assert isinstance(event, Sample)
    return [(m.kind, format(m.value, "f"), m.unit) for m in event.measurements]


@pytest.mark.parametrize(
    ("driver", "frame", "code"),
    [
        ("and_scale", b"ST,+00000.00 kg\r\n", "zero"),
        ("and_scale", b"ST,-00000.00 kg\r\n", "zero"),
        ("and_scale", b"ST,-00015.50 kg\r\n", "below_zero"),
        ("and_scale", b"ST,+00012345 PC\r\n", "not_a_weight"),
        ("and_scale", b"ST,+000082.3  %\r\n", "not_a_weight"),
        ("and_scale", b"US,+00000.00 kg\r\n", "unstable"),
        ("and_scale", b"OL,+9999999E+19\r\n", "overload"),
        ("and_scale", b"OL,-9999999E+19\r\n", "underload"),
        ("mt_sics", b"S S      0.00 kg\r\n", "zero"),
        ("mt_sics", b"S S    -15.50 kg\r\n", "below_zero"),
        ("mt_sics", b"S D      0.00 kg\r\n", "unstable"),
        ("mt_sics", b"S S Error 10b\r\n", "device_error"),
        ("mt_sics", b"S I\r\n", "busy"),
        ("mt_sics", b"S L\r\n", "parameter_error"),
        ("mt_sics", b"ET\r\n", "transmission_error"),
        ("mt_sics", b"EL\r\n", "logical_error"),
        ("health_o_meter", b"\x1bR\x1bI0000000000\x1bW0.0\x1bH0.0\x1bB0.0\x1bT0.0\x1bNm\x1bE", "zero"),
        ("sma", b"\nO1G       884.6lb \r", "overload"),
        ("sma", b"\nE1G  ----------lb \r", "zero_error"),
        ("sma", b"\nW01,e1N       184.6lb \r", "not_displayed"),
        ("sma", b"\n 1GM      184.6lb \r", "unstable"),
        ("sma", b"\n 1T        12.6lb \r", "not_a_weight"),
        ("sma", b"\n 1N       -12.6lb \r", "negative_weight"),
        ("sma", b"\n 1G         0.0lb\r", "zero_weight"),
        ("nellcor", b"29-Dec-17 07:18:43   ---      66      12        \r\n", "no_data"),
        ("nellcor", b"29-Dec-17 07:18:43    99      66      12    LP MO\r\n", "loss_of_pulse"),
        ("nellcor", b"29-Dec-17 07:18:43    99      66      12    SO AS\r\n", "sensor_off"),
    ],
)
def test_it_is_a_notice(driver: str, frame: bytes, code: str) -> None:
    event = decoded(driver, frame)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, frame)
    assert not any(character.isdigit() for character in event.detail), "a notice never tells a value"


@pytest.mark.parametrize(
    ("driver", "frame", "reason"),
    [
        ("and_scale", b"ST,+00082.35 st\r\n", "unknown_units"),
        ("and_scale", b"ST,+00082.35   \r\n", "unknown_units"),
        ("and_scale", b"ST,+000.8.35 kg\r\n", "bad_number"),
        ("and_scale", b"ST,+0000082. kg\r\n", "bad_number"),
        ("and_scale", b"ST,+0082.35 kg\r\n", "bad_frame"),
        ("and_scale", b"ST,GS,+00082.35kg\r\n", "bad_frame"),
        ("and_scale", b"HO,+00082.35 kg\r\n", "bad_frame"),
        ("mt_sics", b"S S     82.35 st\r\n", "unknown_units"),
        ("mt_sics", b"S A     82.35 kg\r\n", "unknown_reply"),
        ("mt_sics", b"S S     82.35\r\n", "unknown_reply"),
        ("mt_sics", b"S S     82,35 kg\r\n", "unknown_reply"),
        ("mt_sics", b"SI\r\n", "unknown_reply"),
        ("sma", b"\n 1G       184.6   \r", "no_unit"),
        ("sma", b"\n 1G       184.6st \r", "unknown_units"),
        ("sma", b"\n 1G       18 .6lb \r", "bad_number"),
        ("sma", b"\n 1G    ----------lb \r", "bad_frame"),
        ("sma", b"\n 1G  ----------lb \r", "bad_number"),
        ("sma", b"\nZ1G       184.6lb \r", "contradiction"),
        ("sma", b"\n 1X       184.6lb \r", "bad_frame"),
        ("sma", b" 184.60 lb G  \r", "bad_frame"),
        ("nellcor", b"29-Dec-17 07:18:43    99      66      12    XX\r\n", "unknown_status"),
        ("nellcor", b"31-Feb-17 07:18:43    99      66      12\r\n", "invalid_timestamp"),
        ("nellcor", b"29-Dez-17 07:18:43    99      66      12\r\n", "invalid_timestamp"),
        ("nellcor", b"29-Dec-17 07:18:43   199      66      12\r\n", "bad_number"),
        ("nellcor", b"29-Dec-17 07:18:43    99      6629-Dec-17\r\n", "bad_frame"),
        ("nellcor", b"29-Dec-17 07:18:43    99      66\r\n", "bad_frame"),
        ("dinamap", b" OA1098712\r", "unknown_reply"),
        ("dinamap", b" OA1098712#G\r", "checksum"),
        ("dinamap", b"OA1098712#F\r", "unknown_reply"),
        ("health_o_meter", b"\x1bR\x1bH180.0\x1bNm\x1bE", "missing_weight"),
        ("health_o_meter", b"\x1bR\x1bW82.3\x1bW82.3\x1bNm\x1bE", "duplicate_field"),
        ("health_o_meter", b"\x1bR\x1bW82.3\x1bX1\x1bNm\x1bE", "unknown_field"),
        ("health_o_meter", b"\x1bRW82.3\x1bNm\x1bE", "bad_field"),
        ("health_o_meter", b"\x1bR\x1bW82\x1bNm\x1bE", "bad_number"),
        ("health_o_meter", b"\x1bR\x1bW-82.3\x1bNm\x1bE", "bad_number"),
        ("health_o_meter", b"\x1bR\x1bW82.3\x1bH18?.0\x1bNm\x1bE", "bad_number"),
        ("health_o_meter", b"\x1bR\x1bI12345\x1bW82.3\x1bNm\x1bE", "bad_id"),
        ("health_o_meter", b"\x1bR\x1bI12345\x0067890\x1bW82.3\x1bNm\x1bE", "bad_id"),
    ],
)
def test_it_is_refused(driver: str, frame: bytes, reason: str) -> None:
    assert decoded(driver, frame) == Rejected(reason, frame)


@pytest.mark.parametrize(
    ("driver", "frame", "value", "unit"),
    [
        ("and_scale", b"ST,+002.40kg\r\n", "2.40", "kg"),
        ("and_scale", b"ST,+00181.55 lb\r\n", "181.55", "[lb_av]"),
        ("and_scale", b"ST,+00090.05 oz\r\n", "90.05", "[oz_av]"),
        ("mt_sics", b"S S    181.55 lb\r\n", "181.55", "[lb_av]"),
        ("sma", b"\n 1G       184.6lb\r", "184.6", "[lb_av]"),
        ("sma", b"\n 1G       184.6 kg\r", "184.6", "kg"),
        ("sma", b"\n 1g     184.625kg \r", "184.625", "kg"),
        ("sma", b"\nW01, 2N f        82kg \r", "82", "kg"),
        ("mt_sics", b"S S         82 kg \r\n", "82", "kg"),
        ("health_o_meter", b"\x1bR\x1bW82.3\x1bNm\x1bE", "82.3", "kg"),
    ],
)
def test_it_is_a_weight(driver: str, frame: bytes, value: str, unit: str) -> None:
    assert numbers(decoded(driver, frame)) == [("body_weight", value, unit)]


TM = ("TM2657", "2411121014", "RA", "M", "E00", "S127", "M 97", "D 76", "P 78")


@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        ({}, ()),
        ({9: "i 2", 10: "m1"}, ("irregular_pulse", "body_movement")),
        ({9: "i 0", 10: "m0", 11: "h     "}, ()),
        ({4: "E12"}, "measurement_failed"),
        ({4: "E12", 5: "S   ", 6: "M   ", 7: "D   ", 8: "P   "}, "measurement_failed"),
        ({5: "S   "}, "bad_number"),
        ({7: "D000"}, "bad_number"),
        ({6: "M   ", 8: "P   "}, ()),
        ({8: "P7 8"}, "bad_number"),
        ({9: "X 1"}, "bad_field"),
        ({9: "i 1", 10: "i 2"}, "duplicate_field"),
        ({1: "2413121014"}, "invalid_timestamp"),
        ({2: "RX"}, "bad_frame"),
        ({4: "E0"}, "bad_frame"),
        ({5: "M 97", 6: "S127"}, "bad_field"),
    ],
)
def test_a_record_of_the_waiting_room(changed: dict[int, str], answer: str | tuple[str, ...]) -> None:
    fields = dict(enumerate(TM)) | changed
    body = b"".join(fields[at].encode() + b"\x1e" for at in sorted(fields))
    event = decoded("and_tm", b"\x16\x16\x0100\x02" + body + b"\x03" + bytes([reduce(xor, body)]))
    told = event.flags if isinstance(event, Sample) else event.code if isinstance(event, Notice) else event.reason
    assert told == answer


def test_an_id_that_looks_like_the_start_of_a_packet_is_an_id() -> None:
    event = decoded("health_o_meter", b"\x1bR\x1bI123456786R\x1bW82.3\x1bNm\x1bE")
    assert isinstance(event, Sample)
    assert (event.device_user, event.flags) == ("123456786R", ())


def test_a_bmi_without_a_point_is_one() -> None:
    event = decoded("health_o_meter", b"\x1bR\x1bW82.3\x1bH180.0\x1bB25\x1bNm\x1bE")
    assert numbers(event)[1:] == [("body_height", "180.0", "cm"), ("bmi", "25", "kg/m2")]


@pytest.mark.parametrize("height", [b"180.0", b"\x7f?!", b""])
def test_a_height_that_cannot_be_trusted_is_left_out(height: bytes) -> None:
    frame = b"\x1bR\x1bW82.3\x1bH" + height + b"\x1bB25.4\x1bT15.5\x1bNm\x1bE"
    event = decoded("health_o_meter", frame, Quirks(trust_height=False))
    assert numbers(event) == [("body_weight", "82.3", "kg")]
    assert isinstance(event, Sample)
    assert list(event.modifiers) == ["tare"]
