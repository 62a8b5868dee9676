"""`certify`, the service's side: a reload in the midst of it, and what is on disk of the trials that are open."""

from __future__ import annotations

import asyncio
from contextlib import suppress
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
from gateway.trial_file import TrialFile
from gateway.trials import Trials
from gateway.walk import Attendant

SCALE, CUFF = load_model("and-standard-scale"), load_model("and-ua-651ble")


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


def _attendant(device: Device, clock: Clock) -> Attendant:
    standing = Standing(device, clock, lambda _: None, cast(Any, None))
    trials = Trials(clock, Activity(), standing.in_test, is_pressure=False)
    return cast(Attendant, SimpleNamespace(standing=standing, trials=trials, is_at_rest=True))


def _certify(folder: Path, clock: Clock, attendants: dict[str, Attendant]) -> Certify:
    settings = SimpleNamespace(
        outbox=SimpleNamespace(path=folder / "outbox.db"),
        config_hash="0",
        timezone="UTC",
        broker=SimpleNamespace(protocol=5),
        left_out=(),
    )
    publisher = SimpleNamespace(listen=lambda _: None, state=SimpleNamespace(connected_to=None, blocked={}))
    origin, outbox = Origin("northside", "exam-3", "0", UUID(int=1)), SimpleNamespace(stream=None)
    return Certify(origin, cast(Any, settings), clock, cast(Any, outbox), cast(Any, publisher), attendants)


@pytest.mark.parametrize("asked", ["one", "two"])
@pytest.mark.parametrize("gone", ["one", "two"])
async def test_the_report_says_of_each_device_what_came_of_it(tmp_path: Path, asked: str, gone: str) -> None:
    clock = Clock([lambda: True])
    names = ("one", "two")
    attendants = {
        name: _attendant(Device(name, "and-standard-scale", SCALE, SCALE.line, port="p"), clock) for name in names
    }
    certify = _certify(tmp_path, clock, attendants)
    person = Asked({asked: lambda: attendants.pop(gone)})
    await certify.converse({}, person)
    assert person.told[-1]["done"] is True
    devices = {device["id"]: device for device in person.told[-1]["report"]["devices"]}
    was_reached = (asked, gone) != ("one", "two")
    assert devices["one"]["result"] == "skipped"
    assert (devices["two"]["result"] if "two" in devices else None) == ("skipped" if was_reached else "failed")


async def test_each_trial_that_is_open_is_on_disk(tmp_path: Path) -> None:
    """Side by side, and of devices that were certified before: the process may be killed at any moment."""
    clock, names = Clock([lambda: True]), ("one", "two")
    attendants = {
        name: _attendant(Device(name, "and-ua-651ble", CUFF, CUFF.line, address=f"C8:1E:8E:00:00:0{place}"), clock)
        for place, name in enumerate(names)
    }
    for attendant in attendants.values():
        attendant.trials.open(5.0)
        attendant.trials.end()
    certify = _certify(tmp_path, clock, attendants)
    conversing = asyncio.create_task(certify.converse({"unattended": True}, Asked({})))
    async with asyncio.timeout(20):
        while not all(attendant.trials.is_open for attendant in attendants.values()):  # noqa: ASYNC110 - told by nobody
            await asyncio.sleep(0.01)
    on_disk = TrialFile(tmp_path / "outbox.db").load(clock)
    assert [[trial.is_sure for trial in trials] for trials in on_disk.values()] == [[True, False]] * 2
    conversing.cancel()
    with suppress(asyncio.CancelledError):
        await conversing
    await certify.saved()
    on_disk = TrialFile(tmp_path / "outbox.db").load(clock)
    assert [[trial.is_sure for trial in trials] for trials in on_disk.values()] == [[True, True]] * 2
