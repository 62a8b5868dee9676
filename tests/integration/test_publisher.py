"""Outbox and publisher against the real Mosquitto: nothing lost, nothing early, nothing in the wrong order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import publisher as publisher_module
from simulators.broker import OwnBroker, free_port, own_broker
from simulators.chart import Chart

BASE = "vitals/v1/northside/exam-3"
READING, QUARANTINE, STATE = f"{BASE}/reading", f"{BASE}/quarantine", f"{BASE}/gateway"
UNBOUNDED = "max_queued_messages 0"  # for the chart's session; Mosquitto drops what is more than 1,000 otherwise
PATIENCE_S = 25.0

NewSender = Callable[..., Any]


@asynccontextmanager
async def broker_and_chart(*config: str, topic_filter: str = f"{BASE}/#") -> AsyncIterator[tuple[OwnBroker, Chart]]:
    async with (
        own_broker(server="mosquitto", config=(UNBOUNDED, *config)) as broker,
        Chart(broker.host, broker.port, topic_filter) as chart,
    ):
        yield broker, chart


def sequences(chart: Chart) -> list[int]:
    return [(delivery.payload or {})["sequence"] for delivery in chart.deliveries]


def pause(broker: OwnBroker) -> None:
    """The broker's process stands still: connections stay open and nothing is answered."""
    assert broker._process is not None
    broker._process.send_signal(signal.SIGSTOP)


def resume(broker: OwnBroker) -> None:
    assert broker._process is not None
    broker._process.send_signal(signal.SIGCONT)


def reload(broker: OwnBroker) -> None:
    """mosquitto(8): SIGHUP reads the configuration's files again."""
    assert broker._process is not None
    broker._process.send_signal(signal.SIGHUP)


# ---- at least once, oldest first -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_row_is_delivered_at_its_puback_and_not_before(new_sender: NewSender, protocol: int) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol)
        await sender.until(lambda state: state.connected_to is not None)
        pause(broker)
        try:
            await sender.keep(3)
            await sender.until_in_flight(3)
            assert await sender.depth() == (3, 0)
            assert sender.state.delivered == 0
        finally:
            resume(broker)
        await sender.drained()
        await chart.wait_for(lambda chart: len(chart.deliveries) == 3, PATIENCE_S)
        assert sequences(chart) == [1, 2, 3]
        assert sender.state.delivered == 3


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_backlog_goes_out_oldest_first_and_once_while_new_readings_come(
    new_sender: NewSender, protocol: int
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol, start=False)
        idents = await sender.keep(1000)
        sender.start()
        for _ in range(20):
            idents += await sender.keep(10)
        await chart.wait_for(lambda chart: len(chart.readings) == 1200, PATIENCE_S)
        await sender.drained()
        assert sequences(chart) == list(range(1, 1201))
        assert [(delivery.payload or {})["id"] for delivery in chart.deliveries] == idents
        assert sender.state.delivered == 1200


async def test_readings_kept_while_the_broker_is_away_go_out_before_those_kept_after(new_sender: NewSender) -> None:
    async with broker_and_chart() as (broker, chart):
        port = broker.port
        sender = new_sender(port)
        await sender.keep(1)
        await sender.drained()
        await broker.kill()
        await sender.until(lambda state: state.connected_to is None)
        await sender.keep(publisher_module.READ_AHEAD * 3)  # more than is held in memory
        await broker.start()
        await sender.until(lambda state: state.connected_to is not None)
        await sender.keep(50)
        await chart.wait_for(lambda chart: len(chart.readings) == 651, PATIENCE_S)
        assert chart.gaps == {}


async def test_a_broker_killed_under_load_costs_no_reading(new_sender: NewSender) -> None:
    # The broker forwards a message before it acknowledges it, when no window of the chart's holds it back.
    async with broker_and_chart("max_inflight_messages 0") as (broker, chart):
        sender = new_sender(broker.port)
        idents: list[str] = []
        for kill in range(3):
            for _ in range(20):
                idents += await sender.keep(10)
            goal = 60 * (kill + 1)
            await chart.wait_for(lambda chart, goal=goal: len(chart.readings) >= goal, PATIENCE_S)  # type: ignore[misc]
            await broker.kill()
            idents += await sender.keep(10)
            await broker.start()
        await chart.wait_for(lambda chart: set(chart.readings) == set(idents), PATIENCE_S)
        await sender.drained()
        assert chart.gaps == {}
        assert sorted({*sequences(chart)}) == list(range(1, 631))


async def test_a_cut_connection_costs_no_reading_and_what_was_acknowledged_is_not_sent_again(
    new_sender: NewSender,
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        await sender.keep(20)
        await sender.drained()
        pause(broker)
        await sender.keep(20)
        await sender.until_in_flight(20)
        sender.cut()
        await sender.until(lambda state: state.connected_to is None)
        resume(broker)
        await chart.wait_for(lambda chart: len(chart.readings) == 40, PATIENCE_S)
        await sender.drained()
        assert chart.gaps == {}
        assert {sequence for _, sequence in chart.disordered} <= set(range(21, 41))
        assert sequences(chart)[:20] == list(range(1, 21))
        assert sequences(chart)[20:].count(20) == 0


async def test_rows_that_cannot_be_read_back_go_out_when_they_can(new_sender: NewSender) -> None:
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


async def test_a_receive_maximum_of_one_is_kept(new_sender: NewSender) -> None:
    async with broker_and_chart("max_inflight_messages 1") as (broker, chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(300)
        sender.start()
        await sender.until(lambda state: state.connected_to is not None)
        assert sender.publisher._connection.receive_maximum == 1
        sender.publisher.publish_state(STATE, b'{"state":"online"}')
        await chart.wait_for(lambda chart: len(chart.readings) == 300, PATIENCE_S)
        assert sequences(chart) == list(range(1, 301))


async def test_two_brokers_are_tried_in_turn(new_sender: NewSender) -> None:
    async with broker_and_chart() as (first, first_chart), broker_and_chart() as (second, second_chart):
        sender = new_sender(first.port, second.port)
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{first.port}")
        await sender.keep(5)
        await sender.drained()
        await first.kill()
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{second.port}")
        await sender.keep(5)
        await sender.drained()
        await first.start()
        await second.kill()
        await sender.until(lambda state: state.connected_to == f"127.0.0.1:{first.port}")
        await sender.keep(5)
        await first_chart.wait_for(lambda chart: len(chart.readings) == 10, PATIENCE_S)
        assert (sequences(first_chart), sequences(second_chart)) == ([*range(1, 6), *range(11, 16)], [*range(6, 11)])


# ---- refused is not away ---------------------------------------------------------------------------------------------


async def test_where_nobody_subscribed_readings_wait_and_then_go_out_in_order(new_sender: NewSender) -> None:
    async with own_broker(server="mosquitto") as broker:
        sender = new_sender(broker.port)
        await sender.keep(120)
        await sender.until(lambda state: state.blocked == {READING: "no_matching_subscribers"})
        assert await sender.depth() == (120, 0)
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await chart.wait_for(lambda chart: len(chart.readings) == 120, PATIENCE_S)
            await sender.drained()
            assert (sender.state.blocked, sender.state.delivered) == ({}, 120)
            assert chart.gaps == {}


async def test_a_new_reading_is_reason_to_look_for_a_subscriber_at_once(
    new_sender: NewSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = {0x10: ("no_matching_subscribers", 3600.0)}
    monkeypatch.setattr(publisher_module, "_BLOCKED", {**publisher_module._BLOCKED, **never})
    async with own_broker(server="mosquitto") as broker:
        sender = new_sender(broker.port)
        await sender.keep(5)
        await sender.until(lambda state: state.blocked != {})
        await sender.until_in_flight(0)
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await sender.keep(1)
            await chart.wait_for(lambda chart: len(chart.readings) == 6, PATIENCE_S)
            assert sequences(chart) == [1, 2, 3, 4, 5, 6]


async def test_a_topic_that_is_not_authorized_is_shown_and_the_others_go_on(
    new_sender: NewSender, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic read {BASE}/#\ntopic write {READING}\n")
    rules.chmod(0o600)
    async with broker_and_chart(f"acl_file {rules}") as (broker, chart):
        sender = new_sender(broker.port)
        for _ in range(100):
            await sender.keep(1)
            await sender.keep(1, "quarantine")
        await chart.wait_for(lambda chart: len(chart.readings) == 100, PATIENCE_S)
        await sender.until(lambda state: state.blocked == {QUARANTINE: "not_authorized"})
        assert await sender.depth() == (100, 0)
        with rules.open("a") as file:
            file.write(f"topic write {QUARANTINE}\n")
        reload(broker)
        await chart.wait_for(lambda chart: len(chart.readings) == 200, PATIENCE_S)
        await sender.drained()
        assert sequences(chart) == [*range(1, 201, 2), *range(2, 201, 2)]
        assert sender.state.blocked == {}


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param("max_packet_size 2000", id="advertised"),
        pytest.param("message_size_limit 2000", id="answered with 0x95"),
    ],
)
async def test_a_reading_too_large_for_the_broker_is_parked_and_blocks_nothing(
    new_sender: NewSender, limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker_and_chart(limit) as (broker, chart):
        sender = new_sender(broker.port, start=False)
        for _ in range(3):
            await sender.keep(20)
            await sender.keep(1, size=5000)
        sender.start()
        await chart.wait_for(lambda chart: len(chart.readings) == 60, PATIENCE_S)
        await sender.until(lambda state: state.parked == 3)
        assert await sender.depth() == (0, 3)
        assert sequences(chart) == [n for n in range(1, 64) if n % 21]
        assert "sequence 21 (packet_too_large): parked" in caplog.text


async def test_parked_rows_at_the_head_of_a_blocked_topic_do_not_hide_those_behind(new_sender: NewSender) -> None:
    async with own_broker(server="mosquitto", config=("max_packet_size 2000",)) as broker:
        sender = new_sender(broker.port, start=False)
        await sender.keep(1)
        sender.start()
        await sender.until(lambda state: state.blocked != {})
        await sender.keep(2, size=5000)
        await sender.keep(2)
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await chart.wait_for(lambda chart: len(chart.readings) == 3, PATIENCE_S)
            await sender.drained()
            assert (sequences(chart), await sender.depth()) == ([1, 4, 5], (0, 2))


async def test_a_wrong_password_is_said_in_words_and_heals(
    new_sender: NewSender, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    await _set_password(passwords, "right")
    async with own_broker(server="mosquitto", config=("allow_anonymous false", f"password_file {passwords}")) as broker:
        sender = new_sender(broker.port, password="wrong")
        await sender.until(lambda state: "does not let us in" in (state.trouble or ""))
        assert "check broker.username, the password file" in sender.state.trouble
        assert caplog.text.count("does not let us in") == 1  # with forty tries a minute
        await _set_password(passwords, "wrong")
        reload(broker)
        await sender.until(lambda state: state.connected_to is not None)
        assert sender.state.trouble is None
        assert "wrong" not in caplog.text


async def _set_password(file: Path, password: str) -> None:
    """mosquitto_passwd(1); -c writes the file anew."""
    process = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", file, "exam-3", password)
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    file.chmod(0o600)


# ---- states and events -----------------------------------------------------------------------------------------------


def told(chart: Chart, topic: str = STATE) -> list[bytes]:
    return [delivery.body for delivery in chart.states if delivery.topic == topic]


ONLINE, AGAIN = b'{"state":"online"}', b'{"state":"online","again":true}'
OFFLINE_LOST, OFFLINE_STOPPED = (
    b'{"state":"offline","reason":"connection_lost"}',
    b'{"state":"offline","reason":"stopped"}',
)


@pytest.mark.parametrize("protocol", [5, 4])
async def test_the_will_speaks_when_the_connection_is_cut(new_sender: NewSender, protocol: int) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, protocol=protocol)
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        sender.cut()
        await chart.wait_for(lambda chart: told(chart) == [ONLINE, OFFLINE_LOST, ONLINE], PATIENCE_S)
        assert all(delivery.retained for delivery in chart.states)


@pytest.mark.parametrize("protocol", [5, 4])
async def test_the_will_is_silent_when_the_gateway_said_farewell(new_sender: NewSender, protocol: int) -> None:
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


async def test_with_a_long_backlog_the_farewell_is_said_all_the_same(new_sender: NewSender) -> None:
    async with broker_and_chart("max_inflight_messages 1") as (broker, chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(5000)
        sender.start()
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: len(chart.readings) >= 10, PATIENCE_S)
        await sender.stop(grace_s=0.5)
        assert (await sender.depth())[0] > 0
        await chart.wait_for(lambda chart: told(chart) == [ONLINE, OFFLINE_STOPPED], PATIENCE_S)


async def test_stopping_ends_though_the_broker_hangs_and_then_the_will_speaks(new_sender: NewSender) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        pause(broker)
        try:
            await sender.keep(200)
            await sender.until_in_flight(50)
            await sender.stop(grace_s=0.2)
            assert await sender.depth() == (200, 0)
        finally:
            resume(broker)
        await chart.wait_for(lambda chart: told(chart)[-1] == OFFLINE_LOST, PATIENCE_S)


async def test_stopping_ends_while_no_broker_is_there(new_sender: NewSender) -> None:
    sender = new_sender(free_port())
    await sender.until(lambda state: "is the broker running" in (state.trouble or ""))
    await sender.stop()


async def test_stopping_ends_while_a_connection_is_being_opened(new_sender: NewSender) -> None:
    async with own_broker(server="mosquitto") as broker:
        pause(broker)  # the kernel accepts for it
        try:
            sender = new_sender(broker.port)
            await asyncio.sleep(0)  # `run` has begun, and waits
            await sender.stop()
        finally:
            resume(broker)


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
) -> None:
    gone = f"{BASE}/device/gone"
    async with broker_and_chart("max_inflight_messages 1") as (broker, chart):
        sender = new_sender(broker.port)
        await sender.until(lambda state: state.connected_to is not None)
        cleared: list[str] = []
        pause(broker)
        try:
            sender.publisher.publish_state(gone, ONLINE)  # fills the window: what follows waits
            sender.publisher.clear_state(gone, cleared.append)
        finally:
            resume(broker)
        await chart.wait_for(lambda chart: told(chart, gone) == [ONLINE, b""], PATIENCE_S)
        sender.publisher.publish_state(STATE, ONLINE)
        await chart.wait_for(lambda chart: told(chart) == [ONLINE], PATIENCE_S)
        assert cleared == [gone]


async def test_a_state_that_is_refused_is_shown_until_it_is_taken(new_sender: NewSender, tmp_path: Path) -> None:
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


async def test_events_wait_for_the_broker_in_bounded_numbers_the_newest_of_them(new_sender: NewSender) -> None:
    limit = publisher_module.EVENTS_LIMIT
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, start=False)
        for number in range(limit + 50):
            sender.publisher.publish_event(f"{BASE}/event", b'{"code":"low_battery","n":%d}' % number)
        assert sender.state.events_dropped == 50
        sender.start()
        await chart.wait_for(lambda chart: len(chart.events) == limit, PATIENCE_S)
        assert [(delivery.payload or {})["n"] for delivery in chart.events] == list(range(50, limit + 50))
        assert not any(delivery.retained for delivery in chart.events)
