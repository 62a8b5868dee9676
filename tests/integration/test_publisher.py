"""Outbox and publisher against the real Mosquitto: nothing lost, nothing early, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gateway.backlog import READ_AHEAD
from simulators.broker import OwnBroker, own_broker
from simulators.chart import Chart

BASE = "vitals/v1/northside/exam-3"
READING, QUARANTINE, STATE = f"{BASE}/reading", f"{BASE}/quarantine", f"{BASE}/gateway"
PATIENCE_S = 25.0

NewSender = Callable[..., Any]
BrokerAndChart = Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]
Paused = Callable[[OwnBroker], AbstractContextManager[None]]
Reload = Callable[[OwnBroker], None]


def sequences(chart: Chart) -> list[int]:
    return [(delivery.payload or {})["sequence"] for delivery in chart.deliveries]


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_row_is_delivered_at_its_puback_and_not_before(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart, paused: Paused
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol)
        await sender.until(lambda state: state.connected_to is not None)
        with paused(broker):
            await sender.keep(3)
            await sender.until_in_flight(3)
            assert await sender.depth() == (3, 0)
            assert sender.state.delivered == 0
        await sender.until_depth(0)
        await chart.wait_for(lambda chart: len(chart.deliveries) == 3, PATIENCE_S)
        assert sequences(chart) == [1, 2, 3]
        assert sender.state.delivered == 3


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_backlog_goes_out_oldest_first_and_once_while_new_readings_come(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol, start=False)
        idents = await sender.keep(1000)
        sender.start()
        for _ in range(20):
            idents += await sender.keep(10)
        await chart.wait_for(lambda chart: len(chart.readings) == 1200, PATIENCE_S)
        await sender.until_depth(0)
        assert sequences(chart) == list(range(1, 1201))
        assert [(delivery.payload or {})["id"] for delivery in chart.deliveries] == idents
        assert sender.state.delivered == 1200


async def test_readings_kept_while_the_broker_is_away_go_out_before_those_kept_after(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        port = broker.port
        sender = new_sender(port)
        await sender.keep(1)
        await sender.until_depth(0)
        await broker.kill()
        await sender.until(lambda state: state.connected_to is None)
        await sender.keep(READ_AHEAD * 3)  # more than is held in memory
        await broker.start()
        await sender.until(lambda state: state.connected_to is not None)
        await sender.keep(50)
        await chart.wait_for(lambda chart: len(chart.readings) == 651, PATIENCE_S)
        assert chart.gaps == {}


async def test_a_broker_restarted_under_load_costs_no_reading(new_sender: NewSender, tmp_path: Path) -> None:
    async with (
        own_broker(server="mosquitto", config=("max_queued_messages 100000",), persistence_dir=tmp_path) as broker,
        Chart(broker.host, broker.port, f"{BASE}/#") as chart,
    ):
        sender = new_sender(broker.port)
        idents: list[str] = []
        for restart in range(3):
            for _ in range(20):
                idents += await sender.keep(10)
            goal = 60 * (restart + 1)
            await until_filed(chart, goal)
            await broker.stop()
            idents += await sender.keep(10)
            await broker.start()
        await chart.wait_for(lambda chart: set(chart.readings) == set(idents), PATIENCE_S)
        await sender.until_depth(0)
        assert chart.gaps == {}
        assert sorted({*sequences(chart)}) == list(range(1, 631))


async def test_a_broker_killed_under_load_gets_all_that_it_did_not_acknowledge(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, paused: Paused
) -> None:
    """What it acknowledged and then lost is beyond us: it stays in the outbox for keep_days, to be sent again."""
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        for kill in range(3):
            for _ in range(20):
                await sender.keep(10)
            await until_filed(chart, 60 * (kill + 1))
            with paused(broker):
                await sender.keep(20)
                await sender.until_in_flight(20)
                await broker.kill()
            await sender.until(lambda state: state.connected_to is None)
            await sender.keep(10)
            waiting = {row.sequence for row in await sender.outbox.ask(lambda store: store.waiting(0, 1000, ()))}
            assert len(waiting) >= 30
            await broker.start()
            await chart.wait_for(lambda chart, waiting=waiting: waiting <= {*sequences(chart)}, PATIENCE_S)  # type: ignore[misc]
        await sender.until_depth(0)
        idents_by_sequence: dict[int, set[str]] = {}
        for delivery in chart.deliveries:
            payload = delivery.payload or {}
            idents_by_sequence.setdefault(payload["sequence"], set()).add(payload["id"])
        assert all(len(idents) == 1 for idents in idents_by_sequence.values())


async def until_filed(chart: Chart, count: int) -> None:
    await chart.wait_for(lambda chart: len(chart.readings) >= count, PATIENCE_S)


async def test_a_cut_connection_costs_no_reading_and_what_was_acknowledged_is_not_sent_again(
    new_sender: NewSender,
    broker_and_chart: BrokerAndChart,
    paused: Paused,
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        await sender.keep(20)
        await sender.until_depth(0)
        with paused(broker):
            await sender.keep(20)
            await sender.until_in_flight(20)
            sender.cut()
            await sender.until(lambda state: state.connected_to is None)
        await chart.wait_for(lambda chart: len(chart.readings) == 40, PATIENCE_S)
        await sender.until_depth(0)
        assert chart.gaps == {}
        assert sequences(chart)[:20] == list(range(1, 21))


async def test_rows_that_cannot_be_read_back_go_out_when_they_can(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(500)
        await sender.outbox.ask(lambda store: store._db.set_progress_handler(lambda: 1, 1))  # every query fails
        sender.start()
        await sender.until(lambda state: state.connected_to is not None)
        assert (await sender.outbox.state()).trouble == "interrupted"
        await sender.outbox.ask(lambda store: store._db.set_progress_handler(None, 0))
        await chart.wait_for(lambda chart: len(chart.readings) == 500, PATIENCE_S)
        assert sequences(chart) == list(range(1, 501))


async def test_a_receive_maximum_of_one_is_kept(new_sender: NewSender, broker_and_chart: BrokerAndChart) -> None:
    async with broker_and_chart("max_inflight_messages 1") as (broker, chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(300)
        sender.start()
        await sender.until(lambda state: state.connected_to is not None)
        assert sender.publisher._connection.receive_maximum == 1
        sender.publisher.publish_state(STATE, b'{"state":"online"}')
        await chart.wait_for(lambda chart: len(chart.readings) == 300, PATIENCE_S)
        assert sequences(chart) == list(range(1, 301))


async def test_two_brokers_are_tried_in_turn(new_sender: NewSender, broker_and_chart: BrokerAndChart) -> None:
    async with broker_and_chart() as (first, first_chart), broker_and_chart() as (second, second_chart):
        sender = new_sender(first.port, second.port)
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{first.port}")
        await sender.keep(5)
        await sender.until_depth(0)
        await first.kill()
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{second.port}")
        await sender.keep(5)
        await sender.until_depth(0)
        await first.start()
        await second.kill()
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{first.port}")
        await sender.keep(5)
        await first_chart.wait_for(lambda chart: len(chart.readings) == 10, PATIENCE_S)
        assert (sequences(first_chart), sequences(second_chart)) == ([*range(1, 6), *range(11, 16)], [*range(6, 11)])
