"""Tanita's messages: units in three places, tares, clocks, status, and what is not read."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model
from simulators.serial.tanita import TanitaScale


def message(items: str, end: str = "\r\n") -> bytes:
    summed = f"{{0,16,{items},".encode("ascii")
    return summed + f"CS,{sum(summed) & 0xFF:02X}{end}".encode("ascii")


def decoded(frame: bytes) -> Event:
    codec = registry.codec("tanita", Quirks())
    (event,) = codec.feed(frame) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ('~0,1,MO,"HD-351BT",Wk,83.7', "83.7kg"),
        ('~0,1,MO,"HD-351BT",Wp,184.5', "184.5[lb_av]"),
        ('~0,1,MO,"HD-351BT",Ws,12.05.4', "173.4[lb_av]"),
        ('~0,1,~1,1,~2,1,MO,"WB-3000",Hf,5-07.5,Wp,184.5,MI,28.5', "184.5[lb_av] 28.5kg/m2"),
        ('~0,1,MO,"SC-240",Hm,0.0,Wk,83.7,FW,0.0,MI,0.0', "83.7kg"),
        ('~0,1,MO,"SC-240",Hm,170,Wk,83.7', "83.7kg 170cm"),
        ('~0,2,~1,2,MO,"BC-601",Wk,83.7', "83.7kg"),
    ],
)
def test_it_is_a_weight(items: str, said: str) -> None:
    event = decoded(message(items))
    assert isinstance(event, Sample)
    assert " ".join(f"{m.value:f}{m.unit}" for m in event.measurements) == said


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ("~0,1,Wk,0.0", "zero_weight"),
        ("~0,1,Wk,-2.0,Pt,2.0", "negative_weight"),
        ("~0,1,St,1,Wk,83.7", "measurement_failed"),
        ("~0,3,~1,3,Hm,73.0,Wk,206.2", "unknown_units"),
        ("~0,2,~1,3,Hm,73.0,Wk,93.5", "unknown_units"),
        ("Wk,83.7", "unknown_units"),
        ("~0,1,MI,28.5", "missing_weight"),
        ("~0,1,Wk,83.7,Wp,184.5", "contradiction"),
        ("~0,1,Wk,83.7,Wk,83.7", "duplicate_field"),
        ("~0,1,Wk,83.7,Pt", "bad_field"),
        ("~0,1,Wk,83.7,weight,1", "bad_field"),
        ("~0,1, Wk, 83.7", "bad_field"),
        ("~0,1,Wk,83,7", "bad_field"),
        ("~0,1,Wk,1083.7", "bad_number"),
        ("~0,1,Wk,----", "bad_number"),
        ("~0,1,Ws,12.14.0", "bad_number"),
        ("~0,1,Ws,12.5.4", "bad_number"),
        ("~0,1,Wk,83.7,Hm,-1.0", "bad_number"),
    ],
)
def test_it_is_none(items: str, told: str) -> None:
    event = decoded(message(items))
    assert isinstance(event, Notice | Rejected)
    assert (event.code if isinstance(event, Notice) else event.reason) == told


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (message("~0,1,Wk,83.7").replace(b"83.7", b"83.8"), "checksum"),
        (message("~0,1,Wk,83.7").replace(b"CS,8B", b"CS,8b"), "bad_frame"),
        (message("~0,1,Wk,83.7", "]\r\n"), "bad_frame"),
        (b'{0,16,~0,1,MO,"BD-815",Wg,3972\r\n', "bad_frame"),  # the BD-815U, which has no check sum
        (b"Rg,3868\r\n", "bad_frame"),  # and its RECALL key
    ],
)
def test_what_does_not_check_is_refused(frame: bytes, reason: str) -> None:
    assert decoded(frame) == Rejected(reason, frame)


@pytest.mark.parametrize(
    ("items", "flags", "tare"),
    [
        ("~0,1,Wk,58.1,Pt,0.0,Ta,0.0", (), None),
        ("~0,1,Wk,58.1,Pt,2.0,Ta,0.0", ("net",), "2.0"),
        ("~0,1,Wk,58.1,Pa,10.5,Pb,0.0,Pt,2.0,Ta,1.0", ("net",), "13.5"),
        ("~0,1,Wp,158.1,Pt,2.0", ("net",), None),
    ],
)
def test_tares_are_told(items: str, flags: tuple[str, ...], tare: str | None) -> None:
    event = decoded(message(items))
    assert isinstance(event, Sample)
    assert event.flags == ("stable_by_protocol", *flags)
    assert (f"{event.modifiers['tare'].value:f}" if event.modifiers else None) == tare


@pytest.mark.parametrize(
    ("items", "time", "user"),
    [
        ('Da,"30/04/2020",TI,"20:02",ID,"0000012345"', "2020-04-30T20:02:00", "0000012345"),
        ('DT,"2026/06/03",TI,"15:22",ID,"0000000000000000"', "2026-06-03T15:22:00", None),
        ('DT,"12/01/2016",Ti,"23:48:53",ID,"          "', "2016-01-12T23:48:53", None),
        ('Da,"00/00/0000",TI,"00:00",ID,""', None, None),
        ('Da,"30/04/2020"', None, None),
    ],
)
def test_clock_and_id(items: str, time: str | None, user: str | None) -> None:
    event = decoded(message(f"~0,1,{items},Wk,83.7"))
    assert isinstance(event, Sample)
    assert (event.device_time and event.device_time.isoformat(), event.device_user) == (time, user)


@pytest.mark.parametrize(("name", "junk"), [("tanita-pw-650ma", b""), ("tanita-wb-3000", b"\xff")])
def test_two_equal_weighings_within_a_minute_are_two_and_the_junk_is_none(name: str, junk: bytes) -> None:
    """A clock that has minutes only would make one record of them."""
    scale, driver = TanitaScale(name), registry.driver(load_model(name))
    events = list(driver.tick(0.0).events)
    for second in range(1, 31):
        if second in (5, 15):
            scale.step_on(83.7)
        if second in (10, 20):
            scale.step_off()
        said = scale.advance(1.0)
        events += (driver.feed(said, float(second)) if said else driver.tick(float(second))).events
    samples = [event for event in events if isinstance(event, Sample)]
    assert [format(sample.measurements[0].value, "f") for sample in samples] == ["83.7", "83.7"]
    assert all("possible_repeat" not in sample.flags for sample in samples)
    assert [event.raw for event in events if isinstance(event, Rejected)] == ([junk] * 2 if junk else [])
