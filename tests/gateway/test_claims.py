"""What others publish under the claims is believed only as far as a room's name goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue import load_model
from gateway.claims import ROOMS_LIMIT, Claims
from gateway.payload import Origin
from gateway.settings import Device

ORIGIN = Origin("northside", "exam-3", "0.1.0", UUID(int=1))
BASE = "vitals/v1/northside/claim/c81e8e000001"


def claims(changed: list[str]) -> Claims:
    cuff, scale = load_model("and-ua-651ble"), load_model("and-standard-scale")
    devices = [
        Device("cuff", "and-ua-651ble", cuff, cuff.line, address="C8:1E:8E:00:00:01"),
        Device("scale", "and-standard-scale", scale, scale.line, port="/dev/ttyS0"),
    ]
    return Claims(ORIGIN, devices, changed.append)


def test_a_claim_is_made_of_each_radio_address_and_of_no_port(must_fit: Callable[[bytes], Any]) -> None:
    made = claims([])
    ((topic, payload),) = made.states.items()
    assert topic == f"{BASE}/exam-3"
    assert must_fit(payload)["device"] == {"id": "cuff", "model": "and-ua-651ble", "hardware": "C8:1E:8E:00:00:01"}
    assert made.watch is not None
    assert made.watch.filters == (f"{BASE}/+",)


def test_another_rooms_claim_is_told_once_and_taken_back() -> None:
    changed: list[str] = []
    made = claims(changed)
    assert made.watch is not None
    for payload in (b"{}", b"{}", b"anything"):
        made.watch.take(f"{BASE}/exam-4", payload)
    assert (made.others("cuff"), changed) == (("exam-4",), ["cuff"])
    made.watch.take(f"{BASE}/exam-3", b"{}")
    assert made.others("cuff") == ("exam-4",), "our own is none"
    made.watch.take(f"{BASE}/exam-4", b"")
    assert (made.others("cuff"), changed) == ((), ["cuff", "cuff"])


def test_of_a_device_that_went_nothing_is_known_when_it_comes_back_and_of_one_that_stayed_all() -> None:
    """What was retained of it meanwhile comes with the subscription; whoever took theirs back is not heard of."""
    made = claims([])
    cuff = next(iter(made._devices.values()))
    assert made.watch is not None
    made.watch.take(f"{BASE}/exam-4", b"{}")
    made.change([replace(cuff, id="other-name")])
    assert made.others("other-name") == ("exam-4",)
    made.change([])
    assert not made.states
    assert made.others("other-name") == ()
    made.change([cuff])
    assert made.others("cuff") == ()


@pytest.mark.parametrize("room", ["", "exam 4", "exam-4/more", "../exam", "x" * 65, "\x1b[31mexam", "+"])
def test_what_is_no_rooms_name_is_nobody(room: str) -> None:
    made = claims([])
    assert made.watch is not None
    made.watch.take(f"{BASE}/{room}", b"{}")
    assert made.others("cuff") == ()


@given(st.lists(st.tuples(st.text(max_size=80), st.binary(max_size=4)), max_size=30))
def test_any_topic_is_survived(said: list[tuple[str, bytes]]) -> None:
    made = claims([])
    assert made.watch is not None
    for topic, payload in said:
        made.watch.take(topic, payload)
        made.watch.take(f"{BASE}/{topic}", payload)


def test_rooms_without_end_are_bounded() -> None:
    made = claims([])
    assert made.watch is not None
    for number in range(1000):
        made.watch.take(f"{BASE}/room-{number}", b"{}")
    assert len(made.others("cuff")) == ROOMS_LIMIT
