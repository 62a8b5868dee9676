"""What becomes of a consumer's requests while the disk does not answer; all else is in tests/integration."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC
from typing import Any
from uuid import UUID

import pytest

from gateway.clock import Clock
from gateway.payload import Origin
from gateway.replays import Replays
from gateway.requests import Requests
from gateway.selection import Selection

STREAM = UUID(int=1)


class Silent:
    """An outbox whose disk does not answer yet."""

    stream = STREAM

    def __init__(self) -> None:
        self.asked: list[Callable[[Any], None]] = []

    def fetch(self, _work: object, then: Callable[[Any], None]) -> None:
        self.asked.append(then)


class Sender:
    def __init__(self, outbox: Any) -> None:
        self.replays = Replays(outbox, lambda: None)
        self.answers: list[tuple[str, str | None]] = []

    def publish_event(self, _topic: str, payload: bytes) -> None:
        told = json.loads(payload)
        self.answers.append((told["state"], told["reason"]))


def test_a_disk_that_does_not_answer_is_asked_for_one_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that waits there is tried every second: a consumer that asks for hours would keep the disk from readings."""
    monkeypatch.setattr("gateway.requests.REQUESTS", 1000)
    outbox: Any = Silent()
    sender: Any = Sender(outbox)
    origin = Origin("northside", "exam-3", "0", STREAM)
    requests = Requests(origin, outbox, sender, Clock([]), UTC, can_mark=True)
    question = json.dumps({"stream": str(STREAM), "from": 1, "to": 9}).encode()
    for _ in range(500):
        requests.take(question, 0)
    assert len(outbox.asked) == 1
    assert requests.counts == {"accepted": 1, "busy": 499}
    outbox.asked[0](Selection(()))
    assert sender.answers[-2:] == [("accepted", None), ("done", None)]
    requests.take(question, 0)
    assert len(outbox.asked) == 2, "and the next one is taken"
