"""A reload takes devices from the configuration while somebody certifies others of the room."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from gateway.activity import Activity
from gateway.catalogue import load_model
from gateway.certify import Certify
from gateway.clock import Clock
from gateway.payload import Origin
from gateway.settings import Device
from gateway.standing import Standing
from gateway.trials import Trials
from gateway.walk import Attendant

MODEL = load_model("and-standard-scale")


class Asked:
    """A person who skips each device; `when` is called as they are asked for one."""

    def __init__(self, when: dict[str, Any]) -> None:
        self.told: list[dict[str, Any]] = []
        self._when = when

    async def tell(self, **members: Any) -> None:
        self.told.append(members)

    async def ask(self, **members: Any) -> dict[str, Any]:
        self._when.get(members["device"], lambda: None)()
        return {"ready": False}


def _attendant(name: str, clock: Clock) -> Attendant:
    standing = Standing(
        Device(name, "and-standard-scale", MODEL, MODEL.line, port="p"), clock, lambda _: None, cast(Any, None)
    )
    trials = Trials(clock, Activity(), standing.in_test, is_pressure=False)
    return cast(Attendant, SimpleNamespace(standing=standing, trials=trials, is_at_rest=True))


@pytest.mark.parametrize("asked", ["one", "two"])
@pytest.mark.parametrize("gone", ["one", "two"])
async def test_the_report_says_of_each_device_what_came_of_it(tmp_path: Path, asked: str, gone: str) -> None:
    clock = Clock([lambda: True])
    attendants = {name: _attendant(name, clock) for name in ("one", "two")}
    settings = SimpleNamespace(
        outbox=SimpleNamespace(path=tmp_path / "outbox.db"),
        config_hash="0",
        timezone="UTC",
        broker=SimpleNamespace(protocol=5),
    )
    publisher = SimpleNamespace(listen=lambda _: None, state=SimpleNamespace(connected_to=None, blocked={}))
    certify = Certify(
        Origin("northside", "exam-3", "0", UUID(int=1)),
        cast(Any, settings),
        clock,
        cast(Any, SimpleNamespace(stream=None)),
        cast(Any, publisher),
        attendants,
    )
    person = Asked({asked: lambda: attendants.pop(gone)})
    await certify.converse({}, person)
    assert person.told[-1]["done"] is True
    devices = {device["id"]: device for device in person.told[-1]["report"]["devices"]}
    was_reached = (asked, gone) != ("one", "two")
    assert devices["one"]["result"] == "skipped"
    assert (devices["two"]["result"] if "two" in devices else None) == ("skipped" if was_reached else "failed")
