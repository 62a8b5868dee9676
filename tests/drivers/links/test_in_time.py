"""A call that is given a time: what ends it, and what becomes of what it answers too late."""

from __future__ import annotations

import asyncio

import pytest

from drivers.links import calls
from drivers.links.calls import in_time

PATIENCE_S = 15.0


async def forever() -> None:
    await asyncio.Event().wait()


async def answer(what: str) -> str:
    return what


async def test_in_time_answers_what_the_call_answers() -> None:
    assert await in_time(answer("yes"), 5.0) == "yes"


async def test_in_time_raises_what_the_call_raises() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await in_time(fail(), 5.0)


async def test_in_time_ends_with_its_limit_or_with_the_link() -> None:
    with pytest.raises(TimeoutError):
        await in_time(forever(), 0.01)
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, gone.set_result, None)
    with pytest.raises(TimeoutError):
        await in_time(forever(), 60.0, gone)
    assert not calls._abandoned


async def test_a_call_that_was_cancelled_from_within_is_no_cancellation_of_ours() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(TimeoutError):
        await in_time(cancelled(), 5.0)


async def test_a_call_that_cannot_be_cancelled_is_left_behind_and_what_it_answers_late_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "ABANDON_S", 0.02)
    go_on, given_back = asyncio.Event(), []

    async def stubborn() -> str:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async def give_back(what: str) -> None:
        given_back.append(what)

    with pytest.raises(TimeoutError):
        await in_time(stubborn(), 0.01, too_late=give_back)
    assert calls._abandoned
    go_on.set()
    async with asyncio.timeout(PATIENCE_S):
        while calls._abandoned:  # noqa: ASYNC110 - what is left behind tells nobody
            await asyncio.sleep(0)
    assert given_back == ["late"]


async def test_what_was_answered_in_the_moment_of_a_cancellation_is_given_back() -> None:
    given_back = []

    async def give_back(what: str) -> None:
        given_back.append(what)

    async def answer_and_cancel() -> str:
        outer.cancel()
        return "late"

    outer: asyncio.Task[str] = asyncio.create_task(in_time(answer_and_cancel(), 5.0, too_late=give_back))
    await asyncio.wait([outer])
    assert outer.cancelled()
    assert given_back == ["late"]
