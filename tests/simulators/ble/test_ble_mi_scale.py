"""Xiaomi's scales: literal bytes that others published, and what is on the air."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import pytest

from simulators.ble.mi_scale import OVERLOAD, MiScale, Unit, counts, first, second
from simulators.ports.air import Air

AT = datetime.fromisoformat("2022-02-14T16:41:58")
LEGACY = 31  # bytes of an advertisement (Core Specification, vol. 6, part B, 2.3.1)


def test_frames_that_others_published() -> None:
    # theengs/decoder, tests/BLE/test_ble.cpp
    assert first(counts(Decimal("61.75"), "kg"), AT, stable=True) == bytes.fromhex("223e30e607020e10293a")
    assert first(12350, AT, stable=True, removed=True) == bytes.fromhex("a23e30e607020e10293a")
    assert first(13170, AT, unit="lb", stable=True) == bytes.fromhex("237233e607020e10293a")
    assert first(1910, AT, stable=True, thing=True) == bytes.fromhex("627607e607020e10293a")
    assert first(1910, AT, stable=True, thing=True, removed=True) == bytes.fromhex("e27607e607020e10293a")
    assert second(14490, AT, stable=True) == bytes.fromhex("0224e607020e10293a00009a38")
    assert second(14490, AT, stable=True, impedance=503) == bytes.fromhex("0226e607020e10293af7019a38")
    assert second(14490, AT, stable=True, removed=True) == bytes.fromhex("02a4e607020e10293a00009a38")
    assert second(14065, AT, unit="lb", stable=True, impedance=503) == bytes.fromhex("0326e607020e10293af701f136")
    assert second(1230, AT, unit="lb", stable=True, thing=True) == bytes.fromhex("0724e607020e10293a0000ce04")
    # custom-components/ble_monitor#292: nobody on it; its clock was never set
    unset = datetime.fromisoformat("1970-01-01T10:26:10")
    assert first(0, unset, stable=False) == bytes.fromhex("020000b20701010a1a0a")
    assert first(17430, unset, stable=False) == bytes.fromhex("021644b20701010a1a0a")


@pytest.mark.parametrize(
    ("kg", "unit", "sent"),
    [("72.45", "kg", 14490), ("72.46", "kg", 14490), ("91.2", "lb", 20110), ("50", "catty", 10000)],
)
def test_a_weight_is_rounded_to_its_display(kg: str, unit: Unit, sent: int) -> None:
    assert counts(Decimal(kg), unit) == sent < OVERLOAD


@pytest.mark.parametrize("generation", [1, 2])
async def test_the_marker_stands_in_the_packet_of_the_weight(generation: Literal[1, 2]) -> None:
    scale = MiScale(Air().radio("scale"), "C8:1E:8E:00:06:01", generation=generation, beat_s=0.0)
    async with scale:
        await scale.stand(Decimal("72.45"))
        packet = bytes(scale._device.advertising_data)
    assert len(packet) <= LEGACY
    assert b"\x06\xff\xff\xffSIM" in packet
    assert (14490).to_bytes(2, "little") in packet
