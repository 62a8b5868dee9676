"""Waiting for what one characteristic says next, while others say something, too."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.errors import LinkFault, LinkLost
from drivers.links.gatt import GattLink, Value

ONE, OTHER = "49123040-aee8-11e1-a74d-0002a5d5c51b", "4d0bf320-aee8-11e1-a0d9-0002a5d5c51b"


class Client:
    """A connected client of bleak: what it is told to write, and whom it tells."""

    def __init__(self, **properties: list[str]) -> None:
        self.services = SimpleNamespace(
            characteristics={
                n: SimpleNamespace(uuid=uuid, handle=n, properties=properties.get(name, ["notify"]))
                for n, (name, uuid) in enumerate({"one": ONE, "other": OTHER}.items())
            },
            get_service=lambda _uuid: None,
        )
        self.tell: dict[str, Any] = {}
        self.written: list[tuple[str, bytes, bool]] = []

    async def start_notify(self, found: Any, take: Any) -> None:
        self.tell[found.uuid] = lambda data: take(found, bytearray(data))

    async def write_gatt_char(self, found: Any, value: bytes, *, response: bool) -> None:
        self.written.append((found.uuid, value, response))


@pytest.fixture
async def client() -> Client:
    return Client(one=["write", "write-without-response"], other=["write-without-response"])


@pytest.fixture
async def link(client: Client) -> GattLink:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    made = GattLink(client, gone, is_real=False)  # type: ignore[arg-type]
    for characteristic in (ONE, OTHER):
        await made.subscribe(characteristic)
    return made


async def test_what_others_say_stays(client: Client, link: GattLink) -> None:
    client.tell[OTHER](b"1")
    client.tell[ONE](b"2")
    client.tell[OTHER](b"3")
    heard = await link.hear(ONE, 1.0)
    assert heard is not None
    assert heard.data == b"2"
    assert [value.data for value in link.take_values()] == [b"1", b"3"]


async def test_what_comes_while_it_waits_is_answered_and_nothing_else(client: Client, link: GattLink) -> None:
    waiting = asyncio.ensure_future(link.hear(ONE, 30.0))
    await asyncio.sleep(0)
    client.tell[OTHER](b"1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    client.tell[ONE](b"2")
    heard: Value | None = await waiting
    assert heard is not None
    assert (heard.characteristic, heard.data) == (ONE, b"2")


async def test_none_in_time_and_none_at_all(client: Client, link: GattLink) -> None:
    client.tell[OTHER](b"1")
    assert await link.hear(ONE, 0.0) is None
    assert await link.hear(ONE, 0.01) is None


async def test_what_came_before_the_link_was_lost_is_answered_first(client: Client, link: GattLink) -> None:
    client.tell[ONE](b"2")
    link.lost()
    assert (await link.hear(ONE, 30.0)) is not None
    with pytest.raises(LinkLost) as lost:
        await link.hear(ONE, 30.0)
    assert lost.value.fault is LinkFault.LINK_LOST


async def test_a_link_that_is_lost_ends_the_waiting(link: GattLink) -> None:
    waiting = asyncio.ensure_future(link.hear(ONE, 30.0))
    await asyncio.sleep(0)
    link.lost()
    with pytest.raises(LinkLost):
        await waiting


async def test_it_writes_with_response_where_there_is_one(client: Client, link: GattLink) -> None:
    await link.write(ONE, b"1")
    await link.write(OTHER, b"2")
    assert client.written == [(ONE, b"1", True), (OTHER, b"2", False)]
