"""Brokers that misbehave, several of them, and a second gateway of one name: what comes of the readings.

The real Mosquitto behind a wire that goes bad (simulators/proxy.py).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import failback, mqtt, pace
from gateway import publisher as publisher_module
from gateway.broker import SESSION_TAKEN_OVER, Address, Login
from simulators.broker import OwnBroker, own_broker
from simulators.chart import Chart
from simulators.proxy import Proxy

BASE = "vitals/v1/northside/exam-3"
READING, STATE = f"{BASE}/reading", f"{BASE}/gateway"
ONLINE = b'{"state":"online"}'
PATIENCE_S = 25.0

NewSender = Callable[..., Any]
BrokerAndChart = Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]
Reload = Callable[[OwnBroker], None]

both_protocols = pytest.mark.parametrize("protocol", [5, 4])


def sequences(chart: Chart) -> list[int]:
    return [(delivery.payload or {})["sequence"] for delivery in chart.deliveries]


async def filed(chart: Chart, count: int) -> None:
    await chart.wait_for(lambda chart: len(chart.readings) >= count, PATIENCE_S)


# ---- several brokers -------------------------------------------------------------------------------------------------


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LOOK_FIRST_S", 0.1)


@both_protocols
@pytest.mark.usefixtures("_looks_often")
async def test_back_to_the_first_broker_when_it_is_there_again_and_nothing_is_lost_or_doubled(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, subscribed = failback._answers, threading.Event()
    monkeypatch.setattr(failback, "_answers", lambda *asked: subscribed.is_set() and answers(*asked))
    one_in_flight = "max_inflight_messages 1"  # the word that we are gone has to wait for room, too
    async with (
        broker_and_chart() as (first, first_chart),
        broker_and_chart(one_in_flight) as (second, second_chart),
    ):
        await first_chart.stop()
        await first.kill()
        sender = new_sender(first.port, second.port, protocol=protocol)
        sender.publisher.publish_state(STATE, ONLINE)
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{second.port}")
        await sender.keep(100)
        await filed(second_chart, 100)
        await first.start()
        await first_chart.start()
        subscribed.set()  # with 3.1.1, what comes where nobody has subscribed is gone
        while sender.state.connected_to != f"127.0.0.1:{first.port}":  # under load: there is always something in flight
            await sender.keep(5)
        await sender.keep(10)
        await sender.until_depth(0)
        count = sender.state.delivered
        await first_chart.wait_for(lambda chart: count in sequences(chart), PATIENCE_S)
        assert sorted(sequences(first_chart) + sequences(second_chart)) == list(range(1, count + 1))
        # Who watches the second sees that we are gone from there; the first, that we are here.
        left = [delivery.body for delivery in second_chart.states]
        assert left == [ONLINE, b'{"state":"offline","reason":"connection_lost"}']
        assert {delivery.body for delivery in first_chart.states} == {ONLINE}


@pytest.mark.usefixtures("_looks_often")
async def test_a_first_broker_whose_certificate_is_not_believed_is_not_returned_to(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    answers = failback._answers

    def look(address: Address, login: Login) -> bool:
        looked.append(answers(Address(address.host, address.port, tls=True), login))
        return looked[-1]

    monkeypatch.setattr(failback, "_answers", look)
    async with broker_and_chart() as (first, _), broker_and_chart() as (second, chart):
        await first.kill()
        sender = new_sender(first.port, second.port)
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{second.port}")
        await first.start()
        async with asyncio.timeout(PATIENCE_S):
            while len(looked) < 4:  # noqa: ASYNC110 - a list sets no Event
                await asyncio.sleep(0.01)
        await sender.keep(5)
        await filed(chart, 5)
        assert (looked[:4], sender.state.connected_to) == ([False] * 4, f"127.0.0.1:{second.port}")


@pytest.mark.usefixtures("_looks_often")
async def test_stopping_on_the_way_back_ends_and_says_farewell(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broker_and_chart() as (first, _), broker_and_chart() as (second, chart):
        await first.kill()
        async with Proxy(second.port) as wire:
            sender = new_sender(first.port, wire.port)
            await sender.until(lambda state: state.connected_to is not None)
            await sender.keep(5)
            await sender.until_depth(0)
            wire.delay_s = 0.5
            await first.start()
            while not sender.publisher._moving:
                await sender.keep(1)
            await sender.stop(grace_s=10.0)
            await chart.wait_for(lambda chart: bool(chart.states), PATIENCE_S)
            assert chart.states[-1].body == sender.farewell.payload


# ---- two gateways of one name ----------------------------------------------------------------------------------------


@both_protocols
async def test_a_second_gateway_of_our_name_is_shown_as_what_it_is_and_both_get_their_readings_through(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "RIVAL_FIRST_S", 0.3)
    monkeypatch.setattr(pace, "RIVAL_CAP_S", 0.6)
    monkeypatch.setattr(pace, "RETRY_CAP_LATER_S", 0.6)
    async with broker_and_chart() as (broker, chart):
        one = new_sender(broker.port, protocol=protocol)
        await one.until(lambda state: state.connected_to is not None)
        other = new_sender(broker.port, protocol=protocol, name="other")
        idents: set[str] = set()
        words = [False, False]
        async with asyncio.timeout(PATIENCE_S * 2):
            while not all(words):
                for number, sender in enumerate((one, other)):
                    idents |= set(await sender.keep(2))
                    trouble = (sender.state.trouble or "") + (sender.state.rival or "")
                    words[number] |= "does another gateway use the name northside-exam-3?" in trouble
                await asyncio.sleep(0.01)
        assert "another gateway use" in one.state.rival
        await chart.wait_for(lambda chart: set(chart.readings) == idents, PATIENCE_S)
        await one.until_depth(0)
        await other.until_depth(0)
        assert chart.gaps == {}


async def test_a_name_that_nobody_else_uses_any_more_is_shown_no_longer(
    new_sender: NewSender, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "RIVAL_FIRST_S", 0.05)
    monkeypatch.setattr(pace, "RIVAL_CAP_S", 0.1)
    monkeypatch.setattr(publisher_module, "UNANSWERED_S", 0.2)
    monkeypatch.setattr(publisher_module, "QUIET_S", 0.1)
    scripted.disconnect = lambda _message: SESSION_TAKEN_OVER if scripted.connects < 3 else None
    sender = new_sender(scripted.port)
    seen: list[str] = []
    sender.publisher._on_change = lambda: seen.append(sender.state.rival or "")
    await sender.keep(1)
    await sender.until_depth(0)
    await sender.until(lambda state: state.connected_to is not None and state.rival is None)
    told = [f"another gateway uses the name northside-exam-3 (it took over {count} times)" for count in (1, 2)]
    assert [words for words in dict.fromkeys(seen) if words] == told


# ---- a wire that goes bad --------------------------------------------------------------------------------------------


@asynccontextmanager
async def behind_a_wire(broker_and_chart: BrokerAndChart, *config: str) -> AsyncIterator[tuple[Proxy, Chart]]:
    async with broker_and_chart(*config) as (broker, chart), Proxy(broker.port) as wire:
        yield wire, chart


@both_protocols
async def test_a_peer_that_vanished_is_left_and_what_was_in_flight_goes_out_again(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-open: both ends believe in a connection that is none. Nobody says anything, and nothing fails."""
    monkeypatch.setattr(publisher_module, "UNANSWERED_S", 0.5)
    async with behind_a_wire(broker_and_chart) as (wire, chart):
        sender = new_sender(wire.port, protocol=protocol)
        await sender.keep(10)
        await filed(chart, 10)
        await sender.until_depth(0)
        wire.deaf = True
        await sender.keep(70)
        await sender.until(lambda state: "acknowledges nothing" in (state.trouble or ""))
        assert await sender.depth() == (70, 0)
        wire.deaf = False
        await filed(chart, 80)
        await sender.until_depth(0)
        assert (sequences(chart), chart.duplicates) == (list(range(1, 81)), [])


@both_protocols
async def test_a_peer_that_vanished_while_nothing_was_sent_is_found_by_keepalive(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "KEEPALIVE_S", 1)
    async with behind_a_wire(broker_and_chart) as (wire, chart):
        sender = new_sender(wire.port, protocol=protocol)
        await sender.until(lambda state: state.connected_to is not None)
        wire.deaf = True
        await sender.until(lambda state: state.connected_to is None)
        assert "is lost (Keep alive timeout)" in sender.state.trouble
        wire.deaf = False
        await sender.keep(3)
        await filed(chart, 3)


@both_protocols
async def test_a_slow_puback_is_waited_for_and_nothing_is_sent_twice(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "UNANSWERED_S", 2.0)
    async with behind_a_wire(broker_and_chart) as (wire, chart):
        wire.delay_s = 0.3
        sender = new_sender(wire.port, protocol=protocol)
        await sender.keep(160)
        await filed(chart, 160)
        await sender.until_depth(0)
        assert (sequences(chart), wire.connections) == (list(range(1, 161)), 1)


@both_protocols
async def test_a_wire_that_is_cut_again_and_again_under_load_loses_nothing(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart
) -> None:
    async with behind_a_wire(broker_and_chart) as (wire, chart):
        sender = new_sender(wire.port, protocol=protocol)
        for number in range(5):
            await sender.keep(60)
            await sender.until(lambda state: state.connected_to is not None)
            await filed(chart, 60 * number + 1)
            await wire.cut()
        await filed(chart, 300)
        await sender.until_depth(0)
        assert chart.gaps == {}
        assert {ident for ident, _ in chart.duplicates} <= set(chart.readings)


# ---- what only the consumer can see ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        pytest.param((), True, id="stock"),
        pytest.param(("autosave_on_changes true", "autosave_interval 1"), False, id="as docs/it.md says"),
    ],
)
async def test_a_killed_broker_that_forgets_what_it_acknowledged_leaves_a_gap_that_is_seen_and_can_be_sent_again(
    new_sender: NewSender, tmp_path: Path, settings: tuple[str, ...], lost: bool
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    config = ("max_queued_messages 1000", *settings)
    async with own_broker(server="mosquitto", config=config, persistence_dir=folder) as broker:
        chart = Chart(broker.host, broker.port, f"{BASE}/#")
        await chart.start()
        sender = new_sender(broker.port)
        await sender.keep(10)
        await filed(chart, 10)
        await chart.stop()  # away, and its session stays
        await sender.keep(20)
        await sender.until_depth(0)  # acknowledged, every one
        await broker.kill()
        await broker.start()
        await chart.start()
        await sender.keep(10)
        await chart.wait_for(lambda chart: 40 in sequences(chart), PATIENCE_S)
        await sender.until_depth(0)
        await chart.stop()
        missing = tuple(range(11, 31)) if lost else ()
        assert chart.gaps == ({str(sender.outbox.stream): missing} if lost else {})
        assert sender.state.delivered == 40
        kept = await sender.outbox.ask(
            lambda store: store._db.execute("SELECT count(*) FROM delivery WHERE state = 'delivered'").fetchone()[0]
        )
        assert kept == 40  # they stay keep_days, and can be sent again


async def test_with_3_1_1_a_missing_right_is_acknowledged_and_the_gap_tells_the_consumer(
    new_sender: NewSender, tmp_path: Path, broker_and_chart: BrokerAndChart
) -> None:
    """MQTT 3.1.1, 3.3.5: there is no word for "not authorized". With 5 it is shown and nothing is lost."""
    rules = tmp_path / "acl"
    rules.write_text(f"topic read {BASE}/#\ntopic write {READING}\n")
    rules.chmod(0o600)
    async with broker_and_chart(f"acl_file {rules}") as (broker, chart):
        sender = new_sender(broker.port, protocol=4)
        await sender.keep(1)
        await sender.keep(3, "quarantine")
        await sender.keep(1)
        await sender.until_depth(0)
        await filed(chart, 2)
        assert chart.gaps == {str(sender.outbox.stream): (2, 3, 4)}
