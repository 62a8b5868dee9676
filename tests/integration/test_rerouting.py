"""Another way to the broker while the service runs: nothing is lost on the way from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest

from gateway import pace, publisher
from gateway.broker import Address, Login
from simulators.broker import OwnBroker, free_port
from simulators.chart import Chart

PATIENCE_S = 25.0

NewSender = Callable[..., Any]
BrokerAndChart = Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]


def reroute(sender: Any, *ports: int, protocol: int = 5) -> None:
    addresses = [Address("127.0.0.1", port, tls=False) for port in ports]
    sender.publisher.reroute(addresses, Login("northside-exam-3", protocol))


def sequences(chart: Chart) -> list[int]:
    return [(delivery.payload or {})["sequence"] for delivery in chart.deliveries]


@pytest.mark.parametrize("protocol", [5, 4])
async def test_under_load_each_row_goes_to_one_of_the_two(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (first, here), broker_and_chart() as (second, there):
        sender = new_sender(first.port, protocol=protocol)
        await sender.keep(1000)
        await here.wait_for(lambda here: len(here.deliveries) > 20, PATIENCE_S)
        reroute(sender, second.port, protocol=protocol)
        for _ in range(20):
            await sender.keep(10)
        await sender.until_depth(0)
        await there.wait_for(lambda there: sequences(there)[-1:] == [1200], PATIENCE_S)
        assert sequences(here) + sequences(there) == list(range(1, 1201))
        assert [(state.payload or {})["state"] for state in here.states] == ["offline"], "we say that we are gone"
        assert sender.state.connected_to == f"127.0.0.1:{second.port}"


async def test_a_broker_that_acknowledges_nothing_is_left_without_a_word(
    new_sender: NewSender, scripted: Any, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "LEAVE_S", 0.1)
    scripted.silent = True
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(scripted.port)
        await sender.keep(30)
        await sender.until_in_flight(30)
        reroute(sender, broker.port)
        await sender.until_depth(0)
        await chart.wait_for(lambda chart: sequences(chart) == list(range(1, 31)), PATIENCE_S)
        assert scripted.farewells == [False], "its will speaks for us"


async def test_who_waits_for_a_broker_that_is_away_does_not_wait_on(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RETRY_FIRST_S", "RETRY_CAP_S"):
        monkeypatch.setattr(pace, name, 1000.0)
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(free_port(), free_port())
        await sender.keep(3)
        await sender.until(lambda state: "refuses connections" in (state.trouble or ""))
        reroute(sender, broker.port)
        await chart.wait_for(lambda chart: sequences(chart) == [1, 2, 3], PATIENCE_S)


async def test_a_broker_that_does_not_answer_is_not_waited_for(
    new_sender: NewSender,
    broker_and_chart: BrokerAndChart,
    paused: Callable[[OwnBroker], AbstractContextManager[None]],
) -> None:
    async with broker_and_chart() as (hangs, _), broker_and_chart() as (broker, chart):
        with paused(hangs):
            sender = new_sender(hangs.port)
            await sender.keep(3)
            reroute(sender, broker.port)
            await chart.wait_for(lambda chart: sequences(chart) == [1, 2, 3], PATIENCE_S)


async def test_the_last_of_many_ways_is_taken_and_a_stop_is_not_kept_waiting(
    new_sender: NewSender, scripted: Any, broker_and_chart: BrokerAndChart
) -> None:
    scripted.silent = True
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        await sender.until(lambda state: state.connected_to is not None)
        for port in (free_port(), scripted.port, broker.port):
            reroute(sender, port)
        await sender.keep(3)
        await chart.wait_for(lambda chart: sequences(chart) == [1, 2, 3], PATIENCE_S)
        reroute(sender, scripted.port)
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{scripted.port}")
        await sender.keep(3)
        await sender.until_in_flight(3)
        reroute(sender, broker.port)
        await sender.stop(0.1)
        assert await sender.depth() == (3, 0)


async def test_what_goes_out_again_bears_its_mark_or_stays(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    """MQTT 3.1.1 has no mark: a chart would take the row for one that it did not have."""
    async with broker_and_chart() as (first, here), broker_and_chart() as (second, there):
        sender = new_sender(first.port)
        await sender.keep(40)
        await sender.until_depth(0)
        done: list[Any] = []
        sender.publisher.replays.start("operator", range(1, 41), done.append)
        await here.wait_for(lambda here: len(here.deliveries) > 45, PATIENCE_S)
        reroute(sender, second.port, protocol=4)
        await sender.until(lambda _state: bool(done))
        assert done[0].said.total() == 40
        assert done[0].said["no_mark"] > 0
        assert not there.deliveries
