"""Attendants are exchanged by a reload, and somebody certifies or pairs one of them in the midst of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from drivers.links.radio import Radio
from gateway import ble_supervisor
from gateway.attendants import Attendants, House
from gateway.ble_supervisor import BleSupervisor
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.outbox import Outbox
from gateway.parts import Parts
from gateway.payload import Origin
from gateway.settings import Device
from gateway.trials import Taken

ADDRESS = "C8:1E:8E:00:00:01"
MODEL = load_model("and-ua-651ble")
HOUSE = House(Origin("northside", "exam-3", "0", UUID(int=1)), load_ranges(), ZoneInfo("America/Chicago"))
CUFF = Device("cuff", "and-ua-651ble", MODEL, MODEL.line, address=ADDRESS)


class Disk:
    """The outbox's place: nothing was kept."""

    async def ask(self, _work: object) -> list[bytes]:
        return []


class Asked:
    """Somebody who pairs and says nothing."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    async def tell(self, **members: Any) -> None:
        self.told.append(members)

    async def ask(self, **members: Any) -> dict[str, Any]:
        raise AssertionError(members)


@pytest.fixture
async def attendants(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Attendants]:
    """One cuff is attended; its link takes its time to end."""

    async def attend(self: BleSupervisor) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def attended(_self: Radio, _address: str, _person: object) -> AsyncIterator[None]:
        yield

    async def attend_radio(_radio: Radio) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(BleSupervisor, "run", attend)
    monkeypatch.setattr(Radio, "attended", attended)
    monkeypatch.setattr(ble_supervisor, "attend_radio", attend_radio)
    parts = Parts()
    attendants = Attendants(
        parts, cast(Outbox, Disk()), Clock([lambda: True]), lambda _: None, lambda *_: None, demo=False
    )
    roster = attendants.prepare([CUFF], HOUSE)
    attendants.adopt(roster)
    attendants.start(roster)
    await asyncio.sleep(0)
    yield attendants
    await parts.stop(*parts.names)


async def test_who_pairs_while_its_attendant_goes_does_not_make_tests_of_all_that_comes_after(
    attendants: Attendants,
) -> None:
    roster = attendants.prepare([replace(CUFF, user=2)], HOUSE)
    assert roster.restarted == ("cuff",)
    assert attendants.busy_with(roster) is None
    attendants.let_go(roster)
    retiring = asyncio.create_task(attendants.retire(roster))
    await asyncio.sleep(0.01)
    asked = Asked()
    pairing = asyncio.create_task(attendants.pair({"address": ADDRESS}, cast(Any, asked)))
    await retiring
    attendants.adopt(roster)
    attendants.start(roster)
    pairing.cancel()
    with suppress(asyncio.CancelledError):
        await pairing
    now = attendants.by_id["cuff"]
    assert isinstance(now, BleSupervisor)
    assert now._attended.observed[1] < float("inf"), f"all is a test's for ever; told: {asked.told}"


async def test_who_certifies_while_its_attendant_goes_is_told_that_it_is_busy(attendants: Attendants) -> None:
    roster = attendants.prepare([replace(CUFF, user=2)], HOUSE)
    assert attendants.busy_with(roster) is None
    attendants.let_go(roster)
    retiring = asyncio.create_task(attendants.retire(roster))
    await asyncio.sleep(0.01)
    with pytest.raises(Taken), attendants.by_id["cuff"].trials.taken(lambda *_: None):
        pass
    await retiring
    attendants.adopt(roster)
    with attendants.by_id["cuff"].trials.taken(lambda *_: None):
        pass


async def test_another_cuff_under_the_same_id_inherits_no_test(attendants: Attendants) -> None:
    """What the spare one keeps in its memory, from another room, may be a patient's."""
    earlier = attendants.by_id["cuff"]
    assert isinstance(earlier, BleSupervisor)
    earlier.trials.open(300.0)
    earlier.trials.end()
    earlier._attended.observed = (0.0, 10.0)
    roster = attendants.prepare([replace(CUFF, address="C8:1E:8E:00:00:02")], HOUSE)
    await attendants.retire(roster)
    attendants.adopt(roster)
    later = attendants.by_id["cuff"]
    assert isinstance(later, BleSupervisor)
    assert not later.trials.past
    assert later._attended.observed[1] == float("-inf")
