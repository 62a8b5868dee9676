"""States of devices: the last one that is told when the service stops."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from gateway import health as module
from gateway.catalogue import load_model
from gateway.clock import Clock
from gateway.health import Health
from gateway.in_force import InForce
from gateway.payload import Origin
from gateway.settings import Device
from gateway.standing import Standing

SCALE = load_model("and-standard-scale")


async def test_what_the_disk_says_while_we_stop_brings_no_device_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is slow leaves time for it: the retained "online" would outlive us."""
    monkeypatch.setattr(module, "DELAY_S", 0.0)
    monkeypatch.setattr(module, "STATE_LEAST_S", 0.0)
    told: list[str] = []
    publisher = SimpleNamespace(publish_state=lambda _, payload: told.append(json.loads(payload)["reason"]))
    clock = Clock([lambda: True])
    health = Health(Origin("northside", "exam-3", "0", UUID(int=1)), InForce("0"), clock, cast(Any, None))
    scale = Device("scale", "and-standard-scale", SCALE, SCALE.line, port="p")
    standing = Standing(scale, clock, health.device_changed, lambda *_: None)
    health.attach(cast(Any, publisher), {"scale": standing}, {})
    standing.samples(1)
    async with asyncio.timeout(20):
        while told != [None]:  # noqa: ASYNC110 - told by nobody
            await asyncio.sleep(0.001)
    health.stop()
    health.device_changed("scale")  # its reading is on disk now
    await asyncio.sleep(0.05)
    assert told == [None, "gateway_stopped"]
