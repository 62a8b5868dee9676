"""Bluetooth devices come into the configuration and go while the real process runs: radio, claims, links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from paho.mqtt.publish import single

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.broker import OwnBroker
from simulators.chart import Chart, Delivery
from simulators.ports.pty import PtyPort
from simulators.ports.room import Room

CUFF, THERMOMETER = "C8:1E:8E:00:00:01", "C8:1E:8E:00:02:01"
CUFF_LINE = f'{{id: cuff, model: and-ua-651ble, address: "{CUFF}"}}'
THERMOMETER_LINE = f'{{id: thermometer, model: and-ut-201ble, address: "{THERMOMETER}"}}'
CLAIM = "vitals/v1/northside/claim/c81e8e000001"


@pytest.fixture
async def cuff(room: Room) -> AsyncIterator[AndUa651ble]:
    async with AndUa651ble(room.air.radio("cuff"), CUFF, pace_s=0.03, advertising_interval_ms=20) as cuff:
        yield cuff


@pytest.fixture
async def thermometer(room: Room) -> AsyncIterator[AndUt201ble]:
    async with AndUt201ble(room.air.radio("thermometer"), THERMOMETER, advertising_interval_ms=20) as thermometer:
        yield thermometer


def values(chart: Chart, kind: str) -> list[float]:
    return [
        float(vital["value"])
        for delivery in chart.deliveries
        for vital in (delivery.payload or {})["vitals"]
        if vital["kind"] == kind
    ]


def said_on(chart: Chart, topic: str) -> list[bytes]:
    told: list[Delivery] = [*chart.states, *chart.unreadable, *chart.events]
    return [delivery.body for delivery in told if delivery.topic == topic]


async def test_the_first_comes_others_join_and_the_last_goes(
    gateway: Any,
    broker: OwnBroker,
    chart: Chart,
    cuff: AndUa651ble,
    thermometer: AndUt201ble,
    new_port: Callable[[str], PtyPort],
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await gateway.until(lambda status: status["broker"]["connected_to"] is not None)

    gateway.devices.append(CUFF_LINE)  # the first: there was no radio so far
    assert (await gateway.reload())["changed"] == ["device cuff: added"]
    await gateway.device("cuff", "unknown", "not_heard_yet")
    claim = f"{CLAIM}/exam-3"
    await chart.wait_for(lambda chart: bool(said_on(chart, claim)), timeout=20)
    await asyncio.to_thread(single, f"{CLAIM}/exam-9", "{}", 1, True, broker.host, broker.port)
    await gateway.until(lambda status: status["devices"]["cuff"]["also_claimed_by"] == ["exam-9"])
    for systolic in range(100, 120):
        await cuff.measure(systolic, 70, 60)
    await gateway.until(lambda status: status["devices"]["cuff"]["readings"] >= 3)

    gateway.devices.append(THERMOMETER_LINE)  # while the cuff is telling what it has
    assert (await gateway.reload())["changed"] == ["device thermometer: added"]
    status = await gateway.until(lambda status: status["devices"]["cuff"]["readings"] == 20)
    assert status["devices"]["cuff"]["counts"]["repeats"] == 0, "its link was cut"
    await thermometer.measure(Decimal("36.6"))
    await chart.wait_for(lambda chart: values(chart, "body_temperature") == [36.6], timeout=30)

    gateway.devices.remove(CUFF_LINE)
    assert (await gateway.reload())["changed"] == ["device cuff: removed"]
    await chart.wait_for(lambda chart: said_on(chart, claim)[-1] == b"", timeout=20)
    await chart.wait_for(lambda chart: said_on(chart, "vitals/v1/northside/exam-3/device/cuff")[-1] == b"", timeout=20)
    await cuff.measure(150, 90, 60)
    await thermometer.measure(Decimal("37.7"))
    await chart.wait_for(lambda chart: values(chart, "body_temperature") == [36.6, 37.7], timeout=30)
    assert (len(cuff.memory), cuff.peripheral.connection) == (1, None), "nobody may connect to it any more"

    gateway.devices.remove(THERMOMETER_LINE)  # the last: no radio any more
    assert (await gateway.reload())["changed"] == ["device thermometer: removed"]
    gateway.devices.append(CUFF_LINE)
    assert (await gateway.reload())["changed"] == ["device cuff: added"]
    await gateway.device("cuff", "unknown", "not_heard_yet")
    await gateway.until(lambda status: status["devices"]["cuff"]["also_claimed_by"] == ["exam-9"])
    if not cuff.peripheral.advertising:
        await cuff.advertise()
    await chart.wait_for(lambda chart: 150.0 in values(chart, "systolic"), timeout=30)
    status = await gateway.status()
    assert status["account"]["unbalanced"] == []
    assert await gateway.stop() == 0
    assert sorted(values(chart, "systolic")) == [*range(100, 120), 150]
    assert broker._log_path.read_text().count("as northside.exam-3 ") == 1
    assert not chart.gaps


async def test_a_cuff_that_changes_in_its_transfer_tells_all_and_nothing_twice(
    gateway: Any, chart: Chart, cuff: AndUa651ble
) -> None:
    gateway.devices.append(CUFF_LINE)
    await gateway.start()
    await gateway.device("cuff", "unknown", "not_heard_yet")
    for systolic in range(100, 130):
        await cuff.measure(systolic, 70, 60)
    await gateway.until(lambda status: status["devices"]["cuff"]["readings"] >= 5)
    gateway.more = "metrics: {textfile: gateway.prom}"
    gateway.zone = "Europe/Berlin"  # what its clock shows: it is connected anew
    assert (await gateway.reload())["changed"] == ["timezone: Europe/Berlin", "metrics: started anew"]
    if cuff.memory and not cuff.peripheral.advertising and cuff.peripheral.connection is None:
        await cuff.advertise()
    await gateway.until(lambda status: status["devices"]["cuff"]["readings"] == 30)
    await chart.wait_for(lambda chart: len(chart.deliveries) == 30, timeout=20)
    assert sorted(values(chart, "systolic")) == list(range(100, 130))
    assert (await gateway.status())["account"]["unbalanced"] == []


async def test_a_device_that_is_being_paired_is_not_taken_away(gateway: Any, cuff: AndUa651ble) -> None:
    """What the person who pairs measures is a test for as long as the pairing lasts: somebody must know of it."""
    gateway.devices.append(CUFF_LINE)
    await gateway.start()
    await gateway.device("cuff", "unknown", "not_heard_yet")
    reader, writer = await asyncio.open_unix_connection(gateway.folder / "control.sock")
    writer.write(f'{{"command": "pair", "address": "{CUFF}"}}\n'.encode())
    assert b"waiting" in await asyncio.wait_for(reader.readline(), 20)
    gateway.zone = "Europe/Berlin"
    answer = await gateway.reload()
    assert answer["problems"] == ["device cuff is being paired now: reload when that is done"]
    assert (await gateway.status())["gateway"]["config"]["in_force"] == "previous"
    writer.close()
    async with asyncio.timeout(20):
        while (await gateway.reload())["problems"]:  # noqa: ASYNC110 - the service's Event is in another process
            await asyncio.sleep(0.02)
    assert (await gateway.status())["gateway"]["config"]["in_force"] == "file"
