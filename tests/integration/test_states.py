"""States, events, the will and the farewell, against the real Mosquitto."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gateway.announcements import EVENTS_LIMIT
from simulators.broker import OwnBroker, free_port, own_broker
from simulators.chart import Chart

BASE = "vitals/v1/northside/exam-3"
READING, QUARANTINE, STATE = f"{BASE}/reading", f"{BASE}/quarantine", f"{BASE}/gateway"
PATIENCE_S = 25.0

NewSender = Callable[..., Any]
BrokerAndChart = Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]
Paused = Callable[[OwnBroker], AbstractContextManager[None]]
Reload = Callable[[OwnBroker], None]


def told(chart: Chart, topic: str = STATE) -> list[bytes]:
    return [delivery.body for delivery in chart.states if delivery.topic == topic]


ONLINE, AGAIN = b'{"state":"online"}', b'{"state":"online","again":true}'
OFFLINE_LOST, OFFLINE_STOPPED = (
    b'{"state":"offline","reason":"connection_lost"}',
    b'{"state":"offline","reason":"stopped"}',
)


@pytest.mark.parametrize("protocol", [5, 4])
async def test_the_will_speaks_when_the_connection_is_cut(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol)
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        sender.cut()
        await chart.wait_for(lambda chart: told(chart) == [ONLINE, OFFLINE_LOST, ONLINE], PATIENCE_S)
        assert all(delivery.retained for delivery in chart.states)


@pytest.mark.parametrize("protocol", [5, 4])
async def test_the_will_is_silent_when_the_gateway_said_farewell(
    new_sender: NewSender, protocol: int, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol)
        sender.publisher.publish_state(STATE, ONLINE)
        await sender.keep(10)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        await sender.stop()
        # Its successor of the same client id is let in when the broker is through with it, will and all.
        successor = new_sender(broker.port, name="successor", protocol=protocol)
        successor.publisher.publish_state(STATE, AGAIN)
        await chart.wait_for(lambda chart: AGAIN in told(chart), PATIENCE_S)
        assert told(chart) == [ONLINE, OFFLINE_STOPPED, AGAIN]
        assert len(chart.readings) == 10


async def test_with_a_long_backlog_the_farewell_is_said_all_the_same(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart("max_inflight_messages 1") as (broker, chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(5000)
        sender.start()
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: len(chart.readings) >= 10, PATIENCE_S)
        await sender.stop(grace_s=0.5)
        assert (await sender.depth())[0] > 0
        await chart.wait_for(lambda chart: told(chart) == [ONLINE, OFFLINE_STOPPED], PATIENCE_S)


async def test_stopping_ends_though_the_broker_hangs_and_then_the_will_speaks(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, paused: Paused
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        with paused(broker):
            await sender.keep(200)
            await sender.until_in_flight(20)
            await sender.stop(grace_s=0.2)
            assert await sender.depth() == (200, 0)
        await chart.wait_for(lambda chart: told(chart)[-1] == OFFLINE_LOST, PATIENCE_S)


@pytest.mark.parametrize("silent", [False, True])
async def test_disconnect_is_said_only_to_a_broker_that_took_the_farewell(
    new_sender: NewSender, scripted: Any, silent: bool
) -> None:
    """After a DISCONNECT the broker publishes no will: "online" would stand there for ever."""
    sender = new_sender(scripted.port)
    await sender.until(lambda state: state.connected_to is not None)
    connection = sender.publisher._connection
    scripted.silent = silent
    await sender.keep(100)  # more than the window holds
    if not silent:
        await sender.until_depth(0)
    await asyncio.wait_for(sender.publisher.stop(sender.farewell, 0.2 if silent else PATIENCE_S), PATIENCE_S)
    assert silent or connection.ended.done()  # said, not only promised: the process may end now
    await sender.stop()
    async with asyncio.timeout(PATIENCE_S):
        while not scripted.farewells:  # noqa: ASYNC110 - a list sets no Event
            await asyncio.sleep(0.005)
    assert scripted.farewells == [not silent]
    assert [message.topic for message in scripted.seen].count(STATE) == (0 if silent else 1)


async def test_stopping_ends_while_no_broker_is_there(new_sender: NewSender) -> None:
    sender = new_sender(free_port())
    await sender.until(lambda state: "is the broker running" in (state.trouble or ""))
    await sender.stop()


async def test_stopping_ends_while_a_connection_is_being_opened(new_sender: NewSender, paused: Paused) -> None:
    async with own_broker(server="mosquitto") as broker:
        with paused(broker):
            sender = new_sender(broker.port)
            await asyncio.sleep(0)  # `run` has begun, and waits
            await sender.stop()


async def test_states_are_told_again_to_a_broker_that_forgot_them(new_sender: NewSender) -> None:
    async with own_broker(server="mosquitto") as broker:
        sender = new_sender(broker.port)
        sender.publisher.publish_state(STATE, ONLINE)
        sender.publisher.publish_state(f"{BASE}/device/cuff", b'{"state":"unknown"}')
        sender.publisher.publish_state(f"{BASE}/device/cuff", b'{"state":"online"}')
        await sender.until(lambda state: state.connected_to is not None)
        await broker.kill()
        await sender.until(lambda state: state.connected_to is None)
        sender.publisher.publish_state(STATE, AGAIN)
        await broker.start()
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await chart.wait_for(lambda chart: len({delivery.topic for delivery in chart.states}) == 2, PATIENCE_S)
            assert set(told(chart)) == {AGAIN}
            assert set(told(chart, f"{BASE}/device/cuff")) == {b'{"state":"online"}'}


async def test_a_state_of_a_device_that_is_no_more_is_cleared_at_the_broker(new_sender: NewSender) -> None:
    gone = f"{BASE}/device/gone"
    async with own_broker(server="mosquitto") as broker:
        sender = new_sender(broker.port)
        sender.publisher.publish_state(gone, ONLINE)
        sender.publisher.publish_state(STATE, ONLINE)
        await sender.until(lambda state: state.connected_to is not None)
        cleared: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        sender.publisher.clear_state(gone, cleared.set_result)
        assert await asyncio.wait_for(cleared, PATIENCE_S) == gone
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
            assert told(chart, gone) == []


async def test_a_state_is_cleared_when_the_broker_says_so_not_when_it_takes_an_earlier_one(
    new_sender: NewSender,
    broker_and_chart: BrokerAndChart,
    paused: Paused,
) -> None:
    gone = f"{BASE}/device/gone"
    async with broker_and_chart("max_inflight_messages 1") as (broker, chart):
        sender = new_sender(broker.port)
        await sender.until(lambda state: state.connected_to is not None)
        cleared: list[str] = []
        with paused(broker):
            sender.publisher.publish_state(gone, ONLINE)  # fills the window: what follows waits
            sender.publisher.clear_state(gone, cleared.append)
        await chart.wait_for(lambda chart: told(chart, gone) == [ONLINE, b""], PATIENCE_S)
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        assert cleared == [gone]


async def test_a_state_that_is_refused_is_shown_until_it_is_taken(
    new_sender: NewSender, tmp_path: Path, broker_and_chart: BrokerAndChart, reload: Reload
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic read {BASE}/#\n")
    rules.chmod(0o600)
    async with broker_and_chart(f"acl_file {rules}") as (broker, chart):
        sender = new_sender(broker.port)
        sender.publisher.publish_state(STATE, ONLINE)
        await sender.until(lambda state: state.blocked == {STATE: "not_authorized"})
        rules.write_text(f"topic readwrite {BASE}/#\n")
        reload(broker)
        async with asyncio.timeout(PATIENCE_S):
            while not told(chart):  # Mosquitto has no answer to SIGHUP
                sender.publisher.publish_state(STATE, ONLINE)
                await asyncio.sleep(0.02)
        await sender.until(lambda state: state.blocked == {})


async def test_events_wait_for_the_broker_in_bounded_numbers_the_newest_of_them(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    limit = EVENTS_LIMIT
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, start=False)
        for number in range(limit + 50):
            sender.publisher.publish_event(f"{BASE}/event", b'{"code":"low_battery","n":%d}' % number)
        assert sender.state.events_dropped == 50
        sender.start()
        await chart.wait_for(lambda chart: len(chart.events) == limit, PATIENCE_S)
        assert [(delivery.payload or {})["n"] for delivery in chart.events] == list(range(50, limit + 50))
        assert not any(delivery.retained for delivery in chart.events)
