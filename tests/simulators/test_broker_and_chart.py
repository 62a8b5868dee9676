from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulators.broker import OwnBroker, Server, free_port, own_broker
from simulators.chart import Chart, Delivery, line

BASE = "vitals/v1/northside/exam-3"
PATIENCE_S = 20.0


def reading(ident: str, sequence: int, revision: int = 1, **more: object) -> dict[str, Any]:
    return {
        "id": ident,
        "revision": revision,
        "state": "final",
        "stream": "7c9e6679",
        "sequence": sequence,
        "disposition": "usable",
        "mode": "real",
        "room": "exam-3",
        "device": {"id": "scale", "model": "health-o-meter-500kl"},
        "taken_at": "2026-11-22T13:05:09.000Z",
        "status": "valid",
        "vitals": [{"kind": "body_weight", "value": 83.70, "unit": "kg", "status": "valid", "reasons": []}],
        "flags": [],
        "reasons": [],
        **more,
    }


async def publish(
    broker: OwnBroker, topic: str, payload: dict[str, Any] | bytes, *, retain: bool = False, replayed: bool = False
) -> None:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if replayed:
        properties.UserProperty = ("replayed", "1")
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    message = client.publish(topic, body, qos=1, retain=retain, properties=properties)
    await asyncio.to_thread(message.wait_for_publish, PATIENCE_S)
    client.disconnect()
    await asyncio.to_thread(client.loop_stop)
    assert message.is_published()


@pytest.fixture
async def broker() -> AsyncIterator[OwnBroker]:
    async with own_broker() as running:
        yield running


@pytest.fixture
async def chart(broker: OwnBroker) -> AsyncIterator[Chart]:
    async with Chart(broker.host, broker.port, "vitals/v1/#", client_id="chart") as subscribed:
        yield subscribed


def assert_nobody_answers(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("server", ["mosquitto", "iotcore"])
async def test_either_broker_carries_a_reading_and_is_gone_afterwards(server: Server) -> None:
    if server == "iotcore":
        pytest.importorskip("iotcore")
    async with own_broker(server=server) as broker:
        assert broker.server == server
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await publish(broker, f"{BASE}/reading", reading("a", 1))
            await chart.wait_for(lambda chart: "a" in chart.readings, PATIENCE_S)
    assert_nobody_answers(broker.port)


async def test_a_killed_broker_comes_back_on_its_port_with_what_it_kept(tmp_path: Path) -> None:
    keep = ["autosave_interval 1", "autosave_on_changes true"]
    async with own_broker(port=free_port(), config=keep, persistence_dir=tmp_path) as broker:
        port = broker.port
        await publish(broker, f"{BASE}/gateway", {"state": "online"}, retain=True)
        while not (tmp_path / "mosquitto.db").exists():  # noqa: ASYNC110 - a file sets no Event
            await asyncio.sleep(0.01)
        await broker.kill()
        assert_nobody_answers(port)
        await broker.start()
        assert broker.port == port
        async with Chart(broker.host, port, "vitals/v1/#") as chart:
            await chart.wait_for(lambda chart: len(chart.states) == 1, PATIENCE_S)
        assert chart.states[0].retained


async def test_a_broker_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"mosquitto did not start .*no_such_option"):
        async with own_broker(config=["no_such_option 1"]):
            pass


async def test_a_chart_that_finds_no_broker_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.chart._CONNECT_S", 0.2)
    with pytest.raises(TimeoutError, match="is the broker up"):
        await Chart("127.0.0.1", free_port(), "vitals/v1/#").start()


async def test_readings_events_and_states_are_kept_apart(broker: OwnBroker, chart: Chart) -> None:
    await publish(broker, f"{BASE}/reading", reading("a", 1))
    await publish(broker, f"{BASE}/quarantine", reading("b", 2))
    await publish(broker, f"{BASE}/test/reading", reading("c", 3), replayed=True)
    await publish(broker, f"{BASE}/event", {"code": "low_battery"})
    await publish(broker, f"{BASE}/device/scale", {"state": "online"}, retain=True)
    await publish(broker, f"{BASE}/device/old", b"", retain=True)
    await publish(broker, f"{BASE}/reading", b"not json")
    await publish(broker, f"{BASE}/reading", {"id": 7})
    await publish(broker, f"{BASE}/elsewhere", {"id": 7})
    await chart.wait_for(lambda chart: len(chart.unreadable) == 3, PATIENCE_S)
    assert [delivery.topic.removeprefix(BASE) for delivery in chart.deliveries] == [
        "/reading",
        "/quarantine",
        "/test/reading",
    ]
    assert [delivery.replayed for delivery in chart.deliveries] == [False, False, True]
    assert [state.retained for state in chart.states] == [True, True]
    assert chart.states[1].payload is None
    assert [event.payload for event in chart.events] == [{"code": "low_battery"}]
    assert [payload["id"] for payload in chart.inbox] == ["a", "b", "c"]


async def test_the_broker_keeps_for_a_chart_that_is_away(broker: OwnBroker, chart: Chart) -> None:
    await chart.stop()
    await publish(broker, f"{BASE}/reading", reading("a", 1))
    await chart.start()
    await chart.wait_for(lambda chart: "a" in chart.readings, PATIENCE_S)


async def test_waiting_in_vain_tells_what_came(chart: Chart) -> None:
    with pytest.raises(TimeoutError, match="came: 0 readings"):
        await chart.wait_for(lambda _: False, 0.05)


def books(*payloads: dict[str, Any]) -> Chart:
    chart = Chart("127.0.0.1", 1, "vitals/v1/#")
    for payload in payloads:
        chart.take(Delivery(f"{BASE}/reading", b"{}", payload, retained=False, replayed=False))
    return chart


def test_a_gap_is_seen_and_closes() -> None:
    chart = books(reading("a", 3), reading("b", 4), reading("c", 7))
    assert chart.gaps == {"7c9e6679": (5, 6)}
    assert chart.disordered == []
    for ident, sequence in [("d", 6), ("e", 5)]:
        chart.take(Delivery("v/1/s/r/reading", b"{}", reading(ident, sequence), retained=False, replayed=True))
    assert chart.gaps == {}
    assert chart.disordered == [("7c9e6679", 6), ("7c9e6679", 5)]


def test_streams_are_counted_apart() -> None:
    assert books(reading("a", 3), reading("b", 9, stream="other")).gaps == {}


def test_the_highest_revision_is_kept_and_a_repeat_changes_nothing() -> None:
    chart = books(reading("a", 1), reading("a", 3, revision=2), reading("a", 1), reading("b", 2))
    assert chart.readings["a"]["revision"] == 2
    chart.take(Delivery(f"{BASE}/reading", b"{}", reading("b", 5, revision=3), retained=False, replayed=False))
    chart.take(Delivery(f"{BASE}/reading", b"{}", reading("b", 4, revision=2), retained=False, replayed=True))
    assert chart.readings["b"]["revision"] == 3
    assert chart.duplicates == [("a", 1)]
    assert len(chart.deliveries) == 6
    assert chart.gaps == {}


def test_a_line_for_people() -> None:
    assert line(reading("a", 1)) == "13:05:09Z  exam-3  scale (health-o-meter-500kl)  body weight 83.7 kg"


def test_a_line_tells_why_not_to_believe_it() -> None:
    vital = {"kind": "body_weight", "value": None, "unit": "kg", "absent": "error", "status": "invalid"}
    held = reading("a", 1, disposition="hold", mode="demo", taken_at=None, status="invalid", vitals=[vital])
    held["reasons"] = ["unit_conflict"]
    assert line(held) == (
        "at an unknown time  exam-3  scale (health-o-meter-500kl)  body weight none (error) (?)"
        "  [demo]  [HELD: unit_conflict]"
    )
    doubtful = reading("a", 1, revision=2, state="corrected", status="questionable", flags=["net"])
    doubtful["vitals"][0] |= {"status": "questionable", "reasons": ["above_model_range"]}
    assert line(doubtful).endswith(
        "body weight 83.7 kg (?)  [revision 2, corrected]  [questionable: above_model_range]  [net]"
    )


def test_a_line_cannot_command_a_terminal() -> None:
    assert "\x1b" not in line(reading("a", 1, room="\x1b[2J"))
