"""Kept rows that go out again: asked for by a consumer on B/in/replay or by an operator, over the real Mosquitto."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from datetime import UTC
from typing import Any
from uuid import UUID, uuid4

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from gateway import replays as replays_module
from gateway import requests as requests_module
from gateway.broker import Inbox
from gateway.clock import Clock
from gateway.payload import Origin
from gateway.requests import Requests
from gateway.store import Mark
from simulators.broker import OwnBroker
from simulators.chart import Chart

BASE = "vitals/v1/northside/exam-3"
ASK, ANSWERS = f"{BASE}/in/replay", f"{BASE}/replay"
PATIENCE_S = 25.0

NewSender = Callable[..., Any]
Paused = Callable[[OwnBroker], AbstractContextManager[None]]
BrokerAndChart = Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]


class Consumer:
    """Sees a gap and asks; `answers` are what came on B/replay."""

    def __init__(self, port: int) -> None:
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._subscribed = asyncio.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="consumer", protocol=MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(ANSWERS, qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_subscribe(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._subscribed.set)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self.answers.put_nowait, json.loads(message.payload))

    async def ready(self) -> None:
        await asyncio.wait_for(self._subscribed.wait(), PATIENCE_S)

    def say(self, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(ASK, payload, qos=1, retain=retain)

    def ask(self, stream: UUID, first: object, last: object, word: object = None) -> None:
        self.say(json.dumps({"stream": str(stream), "from": first, "to": last, "request": word}).encode())

    async def answer(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.answers.get(), PATIENCE_S)

    async def close(self) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


@asynccontextmanager
async def _consumer(port: int) -> AsyncIterator[Consumer]:
    consumer = Consumer(port)
    try:
        await consumer.ready()
        yield consumer
    finally:
        await consumer.close()


async def listening(new_sender: NewSender, port: int, protocol: int = 5) -> tuple[Any, Requests]:
    """A sender that takes requests, as service.py joins them; connected and subscribed."""
    sender = new_sender(port, protocol=protocol, start=False)
    origin = Origin("northside", "exam-3", "0.1.0", sender.outbox.stream)
    requests = Requests(origin, sender.outbox, sender.publisher, Clock(), UTC, can_mark=protocol == 5)
    heard = asyncio.Event()

    def refused(reason: str | None) -> None:
        requests.listening(reason)
        heard.set()

    sender.publisher._inbox = Inbox(ASK, requests.take, refused)
    sender.start()
    if protocol == 5:
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
    else:
        await sender.until(lambda state: state.connected_to is not None)
    return sender, requests


def replayed(chart: Chart) -> list[int]:
    return [(d.payload or {})["sequence"] for d in chart.deliveries if d.replayed]


async def test_a_consumer_gets_exactly_what_it_misses_marked_and_with_the_same_bytes(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        sender, _ = await listening(new_sender, broker.port)
        await sender.keep(20)
        await sender.until_depth(0)
        await chart.wait_for(lambda chart: len(chart.deliveries) == 20, PATIENCE_S)
        consumer.ask(sender.outbox.stream, 5, 9, "gap-1")
        accepted, done = await consumer.answer(), await consumer.answer()
        assert (accepted["state"], accepted["rows"], accepted["gone"], accepted["request"]) == (
            "accepted",
            5,
            [],
            "gap-1",
        )
        assert (done["state"], done["said"], done["from"], done["to"]) == ("done", {"success": 5}, 5, 9)
        assert replayed(chart) == [5, 6, 7, 8, 9]
        bodies = {d.body for d in chart.deliveries if not d.replayed}
        assert all(d.body in bodies for d in chart.deliveries)
        assert sender.state.delivered == 20
        assert await sender.depth() == (0, 0)
        found = await sender.outbox.ask(lambda store: store.rows("SELECT sequence, times, reason FROM replay"))
        assert found == [(number, 1, "success") for number in range(5, 10)]


async def test_what_is_gone_and_what_was_never_given_is_said(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        sender, _ = await listening(new_sender, broker.port)
        await sender.keep(6)
        await sender.until_depth(0)
        await sender.outbox.ask(lambda store: store._db.execute("DELETE FROM reading WHERE sequence IN (1, 2, 4)"))
        consumer.ask(sender.outbox.stream, 1, 9)
        accepted, done = await consumer.answer(), await consumer.answer()
        assert (accepted["rows"], accepted["gone"], accepted["never"]) == (3, [[1, 2], [4, 4]], [7, 9])
        assert done["said"] == {"success": 3}
        await chart.wait_for(lambda chart: replayed(chart) == [3, 5, 6], PATIENCE_S)
        consumer.ask(sender.outbox.stream, 1, 2)  # nothing of it is there: said, and done at once
        accepted, done = await consumer.answer(), await consumer.answer()
        assert (accepted["rows"], accepted["gone"], done["said"]) == (0, [[1, 2]], {})


async def test_what_waits_goes_out_by_itself_and_unmarked(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, _chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(3)
        sender.outbox.mark(Mark(2, "delivered", "success"))
        clock = Clock()
        origin = Origin("northside", "exam-3", "0.1.0", sender.outbox.stream)
        requests = Requests(origin, sender.outbox, sender.publisher, clock, UTC, can_mark=True)
        answer = await requests.resend({"from": 1, "to": 3})
        assert (answer["sent_again"], answer["waiting"], answer["connected"]) == (1, ((1, 1), (3, 3)), False)


BAD: list[tuple[bytes, str]] = [
    (b"", "malformed"),
    (b"{", "malformed"),
    (b"[" * 2000, "malformed"),
    (b"\xff\xfe", "malformed"),
    (b"null", "malformed"),
    (b'{"stream": 1, "from": 1, "to": 2}', "malformed"),
    (b'{"stream": "%b", "from": true, "to": 2}', "malformed"),
    (b'{"stream": "%b", "from": 0, "to": 2}', "malformed"),
    (b'{"stream": "%b", "from": 3, "to": 2}', "malformed"),
    (b'{"stream": "%b", "from": 1, "to": 1e3}', "malformed"),
    (b'{"stream": "%b", "from": 1, "to": 99999999999999999999}', "malformed"),
    (b'{"stream": "%b", "from": 1, "to": 2, "request": "\\u001b[2J"}', "malformed"),
    (b'{"stream": "%b", "from": 1, "to": 2, "request": "' + b"x" * 65 + b'"}', "malformed"),
    (b'{"stream": "%b", "from": 1, "to": 1001}', "range_too_long"),
    (b'{"stream": "%b", "from": 1, "to": 2, "more": "' + b"x" * 3000 + b'"}', "oversized"),
    (b'{"stream": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "from": 1, "to": 2}', "other_stream"),
]


async def test_a_request_that_is_none_is_refused_counted_and_answered(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "REQUESTS", 100)
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        sender, requests = await listening(new_sender, broker.port)
        await sender.keep(2)
        await sender.until_depth(0)
        for payload, reason in BAD:
            consumer.say(payload.replace(b"%b", str(sender.outbox.stream).encode()))
            answer = await consumer.answer()
            assert (answer["state"], answer["reason"]) == ("refused", reason), payload
        assert requests.counts.total() == len(BAD)
        consumer.ask(sender.outbox.stream, 1, 2)
        assert (await consumer.answer())["state"] == "accepted"
        await chart.wait_for(lambda chart: replayed(chart) == [1, 2], PATIENCE_S)


async def test_requests_without_end_are_counted_and_not_answered(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        sender, requests = await listening(new_sender, broker.port)
        await sender.keep(2)
        await sender.until_depth(0)
        for _ in range(500):
            consumer.say(b"no request")
        answers = [await consumer.answer() for _ in range(requests_module.REQUESTS + 1)]
        assert [answer["reason"] for answer in answers] == ["malformed"] * requests_module.REQUESTS + [
            "too_many_requests"
        ]
        await sender.keep(1)  # the room goes on
        await sender.until_depth(0)
        async with asyncio.timeout(PATIENCE_S):
            while requests.counts.total() < 501:  # what was thrown away is told with the next that was not
                consumer.say(b"one more")
                await asyncio.sleep(0.01)
        assert consumer.answers.empty()
        assert not replayed(chart)


async def test_one_request_at_a_time(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_module, "PER_S", 20.0)
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        sender, _ = await listening(new_sender, broker.port)
        await sender.keep(30)
        await sender.until_depth(0)
        consumer.ask(sender.outbox.stream, 1, 30, "first")
        consumer.ask(sender.outbox.stream, 1, 30, "second")
        answers = [await consumer.answer() for _ in range(3)]
        # The second may be refused while the disk is still asked for the first: each answer names its request.
        (second,) = [answer for answer in answers if answer["request"] == "second"]
        assert (second["state"], second["reason"]) == ("refused", "busy")
        assert [answer["state"] for answer in answers if answer["request"] == "first"] == ["accepted", "done"]
        assert replayed(chart) == list(range(1, 31))


async def test_a_retained_request_is_nobodys(new_sender: NewSender, broker_and_chart: BrokerAndChart) -> None:
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        consumer.say(b'{"retained": "before we came"}', retain=True)
        sender, requests = await listening(new_sender, broker.port)
        consumer.say(b'{"retained": "while we listen"}', retain=True)
        await sender.keep(1)
        await sender.until_depth(0)
        consumer.ask(sender.outbox.stream, 1, 1)
        assert (await consumer.answer())["state"] == "accepted"
        assert requests.counts == {"accepted": 1}
        await chart.wait_for(lambda chart: replayed(chart) == [1], PATIENCE_S)


async def test_fresh_rows_overtake_those_that_go_out_again(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_module, "PER_S", 50.0)
    async with broker_and_chart() as (broker, chart):
        sender, requests = await listening(new_sender, broker.port)
        await sender.keep(200)
        await sender.until_depth(0)
        await requests.resend({"from": 1, "to": 200})
        await chart.wait_for(lambda chart: len(replayed(chart)) >= 5, PATIENCE_S)
        await sender.keep(100)
        await sender.until_depth(0)
        await chart.wait_for(lambda chart: len(chart.readings) == 300, PATIENCE_S)
        assert len(replayed(chart)) < 200
        fresh = [(d.payload or {})["sequence"] for d in chart.deliveries if not d.replayed]
        assert fresh == list(range(1, 301))
        await chart.wait_for(lambda chart: replayed(chart) == list(range(1, 201)), PATIENCE_S)
        assert sender.state.delivered == 300


async def test_a_connection_that_ends_costs_no_row_of_a_request(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, paused: Paused
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender, requests = await listening(new_sender, broker.port)
        await sender.keep(40)
        await sender.until_depth(0)
        with paused(broker):
            await requests.resend({"from": 1, "to": 40})
            async with asyncio.timeout(PATIENCE_S):
                while len(sender.publisher.replays._out) < replays_module.WINDOW:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            sender.cut()
            await sender.until(lambda state: state.connected_to is None)
        await chart.wait_for(lambda chart: set(replayed(chart)) == set(range(1, 41)), PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while requests.members()["left"]:  # noqa: ASYNC110 - a count sets no Event
                await asyncio.sleep(0.01)
        assert sender.publisher.replays.said == {"success": 40}
        assert sender.state.delivered == 40


async def test_what_waited_for_the_broker_goes_out_before_what_goes_out_again(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port, start=False)
        await sender.keep(3)
        for sequence in (1, 2, 3):
            sender.outbox.mark(Mark(sequence, "delivered", "success"))
        await sender.keep(500)
        origin = Origin("northside", "exam-3", "0.1.0", sender.outbox.stream)
        requests = Requests(origin, sender.outbox, sender.publisher, Clock(), UTC, can_mark=True)
        await requests.resend({"from": 1, "to": 3})
        sender.start()
        await chart.wait_for(lambda chart: len(chart.deliveries) == 503, PATIENCE_S)
        assert [(d.payload or {})["sequence"] for d in chart.deliveries] == [*range(4, 504), 1, 2, 3]


async def test_3_1_1_cannot_mark_and_refuses_unless_told(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart), _consumer(broker.port) as consumer:
        sender, requests = await listening(new_sender, broker.port, protocol=4)
        await sender.keep(2)
        await sender.until_depth(0)
        assert "cannot mark" in str((await requests.resend({"from": 1, "to": 2}))["error"])
        consumer.ask(sender.outbox.stream, 1, 2)
        assert (await requests.resend({"from": 1, "to": 2, "unmarked": True}))["sent_again"] == 2
        await chart.wait_for(lambda chart: len(chart.deliveries) == 4, PATIENCE_S)
        assert not replayed(chart)
        assert not requests.counts  # nothing listens there
        assert consumer.answers.empty()


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"from": 2, "to": 1},
        {"from": 0, "to": 1},
        {"from": "1", "to": "2"},
        {"ids": []},
        {"ids": ["x"]},
        {"ids": ["1"] * 1001},
        {"since": "yesterday"},
        {"since": 5},
    ],
)
async def test_what_cannot_be_resent_is_said(new_sender: NewSender, question: dict[str, object]) -> None:
    sender = new_sender(1, start=False)
    origin = Origin("northside", "exam-3", "0.1.0", sender.outbox.stream)
    requests = Requests(origin, sender.outbox, sender.publisher, Clock(), UTC, can_mark=True)
    assert list(await requests.resend(question)) == ["error"]


async def test_by_id_and_by_time(new_sender: NewSender, broker_and_chart: BrokerAndChart) -> None:
    async with broker_and_chart() as (broker, chart):
        sender, requests = await listening(new_sender, broker.port)
        ids = await sender.keep(3)
        await sender.until_depth(0)
        nobody = str(uuid4())
        answer = await requests.resend({"ids": [ids[2], ids[0], nobody]})
        assert (answer["sent_again"], answer["unknown"]) == (2, [nobody])
        await chart.wait_for(lambda chart: replayed(chart) == [1, 3], PATIENCE_S)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
        async with asyncio.timeout(PATIENCE_S):
            while sender.publisher.replays.is_busy("operator"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await requests.resend({"since": since}))["sent_again"] == 3
        assert (await requests.resend({"since": since}))["error"]  # one is under way


async def test_a_row_whose_bytes_are_not_those_that_were_kept_never_goes_out_again(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    async with broker_and_chart() as (broker, chart):
        sender, requests = await listening(new_sender, broker.port)
        await sender.keep(3)
        await sender.until_depth(0)
        await sender.outbox.ask(
            lambda store: store._db.execute("UPDATE reading SET payload = x'7B7D' WHERE sequence = 2").rowcount
        )
        await requests.resend({"from": 1, "to": 3})
        await chart.wait_for(lambda chart: len(replayed(chart)) == 2, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while sender.publisher.replays.is_busy("operator"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert replayed(chart) == [1, 3]
        assert requests.members()["said"] == {"success": 2, "gone": 1}
