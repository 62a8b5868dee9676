"""The answer to `status` where a kept reading cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.glance import Glance


@pytest.mark.parametrize("kept", [b'{"id": 1', b'{"id": 1}', b"[]", b"\xff"])
async def test_a_row_that_cannot_be_read_costs_no_more_than_its_place(kept: bytes) -> None:
    """Rows of older schemas bear no checksum that would show it."""

    async def status() -> dict[str, Any]:
        return {"devices": {"scale": {}}}

    async def ask(work: Callable[[Any], object]) -> object:
        return work(SimpleNamespace(last_payloads=lambda *_: [kept]))

    glance = Glance(cast(Any, SimpleNamespace(status=status)), cast(Any, SimpleNamespace(ask=ask)))
    assert await glance.answer({"values": True}) == {"devices": {"scale": {"last_reading": None}}}
