"""When a topic that was refused is offered again."""

from __future__ import annotations

import asyncio

import pytest

from gateway import refusals as module
from gateway.refusals import Refusals

TOPIC = "vitals/v1/northside/exam-3/reading"
NOBODY, DENIED = 0x10, 0x87


class Due(Refusals):
    """Refusals, and an event that is set when one is due."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        super().__init__(self.told.set)


@pytest.fixture
async def refusals() -> Due:
    return Due()


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REASONS", {code: (why, 0.0) for code, (why, _) in module._REASONS.items()})


async def test_what_is_refused_is_due_once_when_it_has_rested(refusals: Due, no_rest: None) -> None:
    assert refusals.block(TOPIC, DENIED)
    assert refusals.take_due() is None
    await asyncio.wait_for(refusals.told.wait(), 10)
    assert refusals.take_due() == TOPIC
    assert refusals.take_due() is None
    assert refusals.reasons == {TOPIC: "not_authorized"}


async def test_it_is_news_only_when_the_reason_is_new(refusals: Due) -> None:
    assert [refusals.block(TOPIC, code) for code in (DENIED, DENIED, 0x97, 0x9B, 0x9B)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert refusals.reasons == {TOPIC: "reason_code_0x9b"}
    assert refusals.block(TOPIC, 0x80, "hung_up_0x82")
    assert refusals.reasons == {TOPIC: "hung_up_0x82"}


async def test_a_new_reading_makes_a_topic_due_only_where_nobody_was_and_no_probe_is_out(refusals: Due) -> None:
    refusals.block(TOPIC, DENIED)
    refusals.reading_came(TOPIC)
    refusals.reading_came("another topic")
    assert refusals.take_due() is None
    refusals.block(TOPIC, NOBODY)
    refusals.reading_came(TOPIC)
    assert refusals.take_due() == TOPIC
    refusals.reading_came(TOPIC)
    assert refusals.take_due() is None


async def test_a_new_connection_looks_for_subscribers_and_not_for_rights(refusals: Due) -> None:
    """A broker that hangs up after each refusal would otherwise be asked, and hang up, with each connection."""
    refusals.block(TOPIC, DENIED)
    refusals.connected()
    assert refusals.take_due() is None
    refusals.block(TOPIC, NOBODY)
    refusals.connected()
    assert refusals.take_due() == TOPIC


async def test_a_probe_that_told_nothing_is_made_anew(refusals: Due, no_rest: None) -> None:
    refusals.block(TOPIC, DENIED)
    for gone in (refusals.connected, lambda: refusals.probe_gone(TOPIC)):
        await asyncio.wait_for(refusals.told.wait(), 10)
        assert refusals.take_due() == TOPIC
        gone()
        assert refusals.take_due() == TOPIC
        refusals.told.clear()
        refusals.block(TOPIC, DENIED)


async def test_a_free_topic_is_forgotten(refusals: Due) -> None:
    refusals.block(TOPIC, NOBODY)
    assert TOPIC in refusals
    refusals.free(TOPIC)
    refusals.reading_came(TOPIC)
    refusals.probe_gone(TOPIC)
    refusals.connected()
    assert (TOPIC in refusals, list(refusals), refusals.reasons, refusals.take_due()) == (False, [], {}, None)
