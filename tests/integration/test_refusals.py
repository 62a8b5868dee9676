"""Refused is not away: what blocks one topic, what is parked, what goes on; the real Mosquitto, and one that obeys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gateway import publisher as publisher_module
from gateway import refusals
from gateway.store import Row, Store
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


async def test_where_nobody_subscribed_readings_wait_and_then_go_out_in_order(new_sender: NewSender) -> None:
    async with own_broker(server="mosquitto") as broker:
        sender = new_sender(broker.port)
        await sender.keep(120)
        await sender.until(lambda state: state.blocked == {READING: "no_matching_subscribers"})
        assert await sender.depth() == (120, 0)
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await chart.wait_for(lambda chart: len(chart.readings) == 120, PATIENCE_S)
            await sender.until_depth(0)
            assert (sender.state.blocked, sender.state.delivered) == ({}, 120)
            assert chart.gaps == {}


async def test_a_new_reading_is_reason_to_look_for_a_subscriber_at_once(
    new_sender: NewSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = {0x10: ("no_matching_subscribers", 3600.0)}
    monkeypatch.setattr(refusals, "_REASONS", {**refusals._REASONS, **never})
    async with own_broker(server="mosquitto") as broker:
        sender = new_sender(broker.port)
        await sender.keep(5)
        await sender.until(lambda state: state.blocked != {} and not sender.rows_in_flight)
        async with Chart(broker.host, broker.port, f"{BASE}/#") as chart:
            await sender.keep(1)
            await chart.wait_for(lambda chart: len(chart.readings) == 6, PATIENCE_S)
            assert sequences(chart) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "queue",
    [
        pytest.param("max_queued_messages 1000", id="the connection stays"),
        # Mosquitto 2.0.11 (Debian 12) takes 0 for "none" in handle__publish, and hangs up after each refusal.
        pytest.param("max_queued_messages 0", id="the broker hangs up after each refusal"),
    ],
)
async def test_a_topic_that_is_not_authorized_is_shown_and_the_others_go_on(
    new_sender: NewSender, tmp_path: Path, queue: str, broker_and_chart: BrokerAndChart, reload: Reload
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic read {BASE}/#\ntopic write {READING}\n")
    rules.chmod(0o600)
    async with broker_and_chart(f"acl_file {rules}", queue) as (broker, chart):
        sender = new_sender(broker.port)
        for _ in range(100):
            await sender.keep(1)
            await sender.keep(1, "quarantine")
        await chart.wait_for(lambda chart: len(chart.readings) == 100, PATIENCE_S)
        await sender.until(lambda state: state.blocked == {QUARANTINE: "not_authorized"})
        await sender.until_depth(100)
        with rules.open("a") as file:
            file.write(f"topic write {QUARANTINE}\n")
        reload(broker)
        await chart.wait_for(lambda chart: len(chart.readings) == 200, PATIENCE_S)
        await sender.until_depth(0)
        assert chart.gaps == {}
        order = list(dict.fromkeys(sequences(chart)))
        assert order == [*range(1, 201, 2), *range(2, 201, 2)]
        assert sender.state.blocked == {}


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        pytest.param("max_packet_size 2000", "packet_too_large", id="advertised"),
        # Mosquitto answers with a PUBACK of 0x95, a code that no PUBACK may bear (mqtt-v5.0, 3.4.2.1): paho hangs up.
        pytest.param("message_size_limit 2000", "hung_up_0x82", id="told too late"),
    ],
)
async def test_a_reading_too_large_for_the_broker_is_parked_and_blocks_nothing(
    new_sender: NewSender, limit: str, reason: str, caplog: pytest.LogCaptureFixture, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart(limit) as (broker, chart):
        sender = new_sender(broker.port, start=False)
        for _ in range(3):
            await sender.keep(20)
            await sender.keep(1, size=5000)
        await sender.keep(20)
        sender.start()
        await chart.wait_for(lambda chart: len(chart.readings) == 80, PATIENCE_S)
        await sender.until_depth(0, 3)
        assert sender.state.parked == 3
        assert sorted({*sequences(chart)}) == [n for n in range(1, 84) if n not in (21, 42, 63)]
        assert chart.disordered == []
        assert [f"sequence {n} ({reason}): parked" in caplog.text for n in (21, 42, 63)] == [True, True, True]
        assert not sender.publisher._poison.suspected


async def test_a_wrong_password_is_said_in_words_and_heals(
    new_sender: NewSender, tmp_path: Path, caplog: pytest.LogCaptureFixture, reload: Reload
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
    await asyncio.to_thread(file.chmod, 0o600)


# ---- codes that Mosquitto never sends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x80, "unspecified_error"),
        (0x83, "implementation_specific_error"),
        (0x97, "quota_exceeded"),
    ],
)
async def test_a_topic_refused_for_now_is_offered_again(
    new_sender: NewSender, scripted: Any, code: int, reason: str
) -> None:
    open_again: list[bool] = []
    scripted.puback = lambda message: 0 if open_again or message.topic != READING else code
    sender = new_sender(scripted.port)
    await sender.keep(30)
    await sender.keep(30, "quarantine")
    await sender.until(lambda state: state.blocked == {READING: reason})
    await sender.until_depth(30)
    open_again.append(True)
    await sender.until_depth(0)
    assert [message.sequence for message in scripted.taken] == [*range(31, 61), *range(1, 31)]
    assert sender.state.blocked == {}


@pytest.mark.parametrize(
    ("code", "reason"), [(0x90, "topic_name_invalid"), (0x95, "packet_too_large"), (0x99, "payload_format_invalid")]
)
async def test_what_the_broker_will_never_take_is_parked(
    new_sender: NewSender, scripted: Any, code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.puback = lambda message: code if message.sequence == 7 else 0
    sender = new_sender(scripted.port)
    await sender.keep(30)
    await sender.until_depth(0, 1)
    if code != 0x95:  # no PUBACK may bear it: paho hangs up, and the reading is found as any other poison
        assert f"sequence 7 ({reason}): parked" in caplog.text
        assert scripted.connects == 1
    assert {message.sequence for message in scripted.taken} == {n for n in range(1, 31) if n != 7}


async def test_a_probe_that_is_parked_does_not_hide_those_behind(new_sender: NewSender, scripted: Any) -> None:
    codes = {1: [0x97, 0x90], 2: [0x97, 0x99], 3: [0x97], 4: [0x97], 5: [0x97]}
    scripted.puback = lambda message: codes[message.sequence].pop(0) if codes.get(message.sequence) else 0
    sender = new_sender(scripted.port, start=False)
    await sender.keep(5)
    sender.start()
    await sender.until_depth(0, 2)
    assert {message.sequence for message in scripted.taken} == {3, 4, 5}
    assert scripted.connects == 1


async def test_a_probe_that_was_read_for_a_connection_that_is_gone_is_sent_on_the_next(
    new_sender: NewSender, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    oldest_waiting = Store.oldest_waiting

    def slow(store: Store, topic: str) -> list[Row]:
        reached.set()
        assert go_on.wait(PATIENCE_S)
        return oldest_waiting(store, topic)

    monkeypatch.setattr(Store, "oldest_waiting", slow)
    scripted.puback = lambda _message: 0 if go_on.is_set() else 0x97
    sender = new_sender(scripted.port)
    await sender.keep(5)
    assert await asyncio.to_thread(reached.wait, PATIENCE_S)
    sender.cut()
    await sender.until(lambda _state: scripted.connects == 2)
    await sender.until(lambda state: state.connected_to is not None)
    go_on.set()
    await sender.until_depth(0)
    assert sorted(message.sequence for message in scripted.taken) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("code", [0x81, 0x82, 0x90, 0x95, 0x99])
async def test_a_broker_that_hangs_up_over_a_reading_gets_the_others(
    new_sender: NewSender, scripted: Any, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    poison = (7, 40)
    scripted.disconnect = lambda message: (
        code if message.topic == READING and message.sequence in poison and scripted.seen else None
    )
    sender = new_sender(scripted.port, start=False)
    sender.publisher.publish_state(STATE, b'{"state":"online","sequence":0}')
    await sender.keep(100)
    sender.start()
    await sender.until_depth(0, 2)
    taken = [message.sequence for message in scripted.taken if message.topic == READING]
    assert list(dict.fromkeys(taken)) == [n for n in range(1, 101) if n not in poison]
    for sequence in poison:
        assert f"sequence {sequence} (hung_up_{code:#04x}): parked" in caplog.text
    await sender.keep(100)  # and then the window is as wide as before
    await sender.until_depth(0, 2)
    assert scripted.most_in_flight > 1
    assert not sender.publisher._poison.suspected


async def test_a_connection_lost_for_no_reason_parks_nothing(new_sender: NewSender, scripted: Any) -> None:
    """A network that fails whenever a certain reading is on its way proves nothing against the reading."""
    lost: list[int] = []

    def hang_up(message: Any) -> int | None:
        if message.sequence == 7 and len(lost) < 5:
            lost.append(7)
            return 0x8B  # server shutting down
        return None

    scripted.disconnect = hang_up
    sender = new_sender(scripted.port)
    await sender.keep(30)
    await sender.until_depth(0, 0)
    assert len(lost) == 5


async def test_a_broker_that_hangs_up_over_every_reading_of_a_topic_does_not_get_them_all_parked(
    new_sender: NewSender, scripted: Any
) -> None:
    """A PUBACK with a code of the broker's own making: paho cannot read it, and hangs up (0x82)."""
    open_again: list[bool] = []
    scripted.puback = lambda message: 0 if open_again or message.topic != READING else 0xC7
    sender = new_sender(scripted.port)
    await sender.keep(30)
    await sender.keep(30, "quarantine")
    await sender.until(lambda state: state.blocked == {READING: "hung_up_0x82"})
    await sender.until_depth(27, 3)
    open_again.append(True)
    await sender.until_depth(0, 3)
    assert {message.sequence for message in scripted.taken} == set(range(4, 61))


@pytest.mark.parametrize("receive_maximum", [1, 3, None])
async def test_the_brokers_receive_maximum_is_kept_by_probes_too(
    new_sender: NewSender, scripted: Any, receive_maximum: int | None
) -> None:
    """To send one more is a protocol error (mqtt-v5.0, 3.3.4): the broker would hang up."""
    scripted.receive_maximum = receive_maximum
    codes = [0x97, 0x10, 0x87] * 10
    scripted.puback = lambda message: codes.pop() if message.topic != STATE and message.sequence % 2 and codes else 0
    sender = new_sender(scripted.port, start=False)
    for number in range(40):
        await sender.keep(2, "reading" if number % 2 else "quarantine")
    sender.start()
    while codes:
        sender.publisher.publish_state(STATE, b'{"state":"online"}')
        await asyncio.sleep(0.005)
    await sender.until_depth(0)
    assert scripted.connects == 1
    assert 1 <= scripted.most_in_flight <= (receive_maximum or publisher_module.WINDOW)
    assert sorted(message.sequence for message in scripted.taken if message.topic != STATE) == list(range(1, 81))
