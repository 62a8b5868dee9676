"""What the broker never takes, sent again on request: it stops nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Any

from gateway.clock import Clock
from gateway.payload import Origin
from gateway.requests import Requests

PATIENCE_S = 25.0


async def test_a_row_over_which_the_broker_hangs_up_is_sent_again_once(new_sender: Any, scripted: Any) -> None:
    sender = new_sender(scripted.port)
    await sender.keep(3)
    await sender.until_depth(0)
    scripted.disconnect = lambda message: 0x95 if message.sequence == 2 else None
    origin = Origin("northside", "exam-3", "0.1.0", sender.outbox.stream)
    requests = Requests(origin, sender.outbox, sender.publisher, Clock(), UTC, can_mark=True)
    await requests.resend({"from": 2, "to": 2})
    async with asyncio.timeout(PATIENCE_S):
        while requests.members()["left"]:  # noqa: ASYNC110 - a count sets no Event
            await asyncio.sleep(0.01)
    assert sender.publisher.replays.said == {"hung_up_0x95": 1}
    await sender.keep(1)
    await sender.until_depth(0)
    assert (sender.state.delivered, sender.state.parked) == (4, 0)
    assert [message.sequence for message in scripted.seen].count(2) == 2


async def test_a_topic_that_is_refused_is_said_and_not_tried_for_ever(new_sender: Any, scripted: Any) -> None:
    sender = new_sender(scripted.port)
    await sender.keep(3)
    await sender.until_depth(0)
    scripted.puback = lambda _message: 0x87
    origin = Origin("northside", "exam-3", "0.1.0", sender.outbox.stream)
    requests = Requests(origin, sender.outbox, sender.publisher, Clock(), UTC, can_mark=True)
    await requests.resend({"from": 1, "to": 3})
    async with asyncio.timeout(PATIENCE_S):
        while requests.members()["left"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sender.publisher.replays.said == {"not_authorized": 3}
    assert sender.state.delivered == 3
    assert not sender.state.blocked, "fresh rows find out by themselves"
