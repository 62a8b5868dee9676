"""`vitals-gateway pair`: a person, the running service, a device on the simulated air, bluetoothd's questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.commands.pair import pair
from gateway.control import ControlError
from simulators.ble.faults import BleFault

CUFF, NEIGHBOR = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02"


class Person:
    """Reads what the command says, and answers it."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.answers: Callable[[str], str] = lambda _: ""

    def say(self, line: str) -> None:
        self.read.append(line)
        self._loop.call_soon_threadsafe(self.heard.set)

    def ask(self, prompt: str) -> str:
        self.say(prompt)
        return self.answers(prompt)

    async def reads(self, words: str) -> None:
        async with asyncio.timeout(30):
            while not any(words in line for line in self.read):
                self.heard.clear()
                await self.heard.wait()


def pairing(exam_room: Any, person: Person, address: str = CUFF, model: str | None = None, anew: bool = False) -> Any:
    path = exam_room.folder / "control.sock"
    call = asyncio.to_thread(pair, path, address, model, anew=anew, say=person.say, ask=person.ask)
    return asyncio.create_task(call)


async def test_a_cuff_is_paired_and_read_once_as_a_test(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    person = Person()
    task = pairing(exam_room, person, CUFF.lower(), "and-ua-651ble")
    await person.reads('Let the cuff show "Pr"')
    await exam_room.cuff.pairing_mode()
    await person.reads("Paired")
    await person.reads("Take a measurement")
    await exam_room.cuff.measure(128, 82, 66)
    assert await asyncio.wait_for(task, 30)
    assert any("serial 'SIM-000001'" in line for line in person.read), "who it is"
    assert "  systolic 128 mm[Hg]: is that what it shows?" in person.read
    assert exam_room.cuff.peripheral.bonded
    reading = await exam_room.arrives(128)
    assert reading["mode"] == "test"
    await exam_room.until(lambda devices: devices["cuff"]["state"] == "online")


async def test_what_is_held_is_read_and_its_values_are_not_shown(exam_room: Any) -> None:
    exam_room.synced = False
    await exam_room.start()
    await exam_room.listening()
    person = Person()
    task = pairing(exam_room, person)
    await person.reads("pairing mode")
    await exam_room.cuff.measure(128, 82, 66)
    assert await asyncio.wait_for(task, 30)
    assert "It reads; this one is held for staff." in person.read
    assert "  systolic" in person.read
    assert not any("128" in line for line in person.read)


async def test_a_refusal_is_said_in_words_and_waited_over(exam_room: Any) -> None:
    exam_room.cuff.inject(BleFault.REFUSE_PAIRING)
    await exam_room.start()
    await exam_room.listening()
    person = Person()
    task = pairing(exam_room, person)
    await person.reads("pairing mode")
    await exam_room.cuff.measure(128, 82, 66)
    await person.reads("The device did not pair. It was not in pairing mode, or is bonded to another host")
    await exam_room.cuff.advertise()
    assert await asyncio.wait_for(task, 30)


async def test_the_digits_that_a_device_shows_are_asked_for(exam_room: Any) -> None:
    peripheral = exam_room.cuff.peripheral
    peripheral._shows_passkey = True
    await exam_room.start()
    await exam_room.listening()
    person = Person()
    person.answers = lambda _: f"{peripheral.shown_passkey:06}"
    task = pairing(exam_room, person)
    await person.reads("pairing mode")
    await exam_room.cuff.measure(128, 82, 66)
    assert await asyncio.wait_for(task, 30)
    assert "The device shows digits. Enter them: " in person.read


async def test_wrong_digits_are_a_refusal(exam_room: Any) -> None:
    peripheral = exam_room.cuff.peripheral
    peripheral._shows_passkey = True
    await exam_room.start()
    await exam_room.listening()
    person = Person()
    wrong = iter(["12345a", "1234567"])
    person.answers = lambda _: next(wrong, f"{peripheral.shown_passkey:06}")
    task = pairing(exam_room, person)
    await person.reads("pairing mode")
    await exam_room.cuff.measure(128, 82, 66)
    await person.reads("the digits were wrong")
    while not task.done():
        if not peripheral.advertising and peripheral.connection is None:
            await exam_room.cuff.advertise()
        await asyncio.wait([task], timeout=0.1)
    assert task.result()


async def test_an_old_bond_goes_only_when_the_person_says_so(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    await exam_room.cuff.measure(120, 80, 60)
    await exam_room.arrives(120)
    exam_room.cuff.inject(BleFault.LOSE_BOND)
    person = Person()
    task = pairing(exam_room, person, anew=True)
    await person.reads("The old bond is removed")
    await exam_room.cuff.measure(128, 82, 66)
    assert await asyncio.wait_for(task, 30)
    assert exam_room.room.bluez.calls.count("Adapter1.RemoveDevice") == 1
    assert (await exam_room.arrives(128))["mode"] == "test"


async def test_one_device_at_a_time_and_only_of_the_configuration(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    with pytest.raises(ControlError, match=f"no device of the configuration has this address .*{CUFF}"):
        await pairing(exam_room, Person(), NEIGHBOR)
    with pytest.raises(ControlError, match="is a and-ua-651ble in the configuration"):
        await pairing(exam_room, Person(), CUFF, "and-ut-201ble")
    first = Person()
    task = pairing(exam_room, first)
    await first.reads("pairing mode")
    with pytest.raises(ControlError, match="another device is being paired now"):
        await pairing(exam_room, Person())
    await exam_room.cuff.measure(128, 82, 66)
    assert await asyncio.wait_for(task, 30)


async def test_one_who_hangs_up_leaves_everything_as_it_was(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    reader, writer = await asyncio.open_unix_connection(exam_room.folder / "control.sock")
    writer.write(b'{"command": "pair", "address": "%s"}\n' % CUFF.encode())
    assert b"waiting" in await reader.readline()
    calls = exam_room.room.bluez.calls
    registered = calls.count("AgentManager1.RegisterAgent")
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(30):
        while calls.count("AgentManager1.RegisterAgent") == registered:  # noqa: ASYNC110 - a list sets no Event
            await asyncio.sleep(0.01)
    await exam_room.cuff.measure(128, 82, 66)
    await exam_room.arrives(128)
    assert exam_room.service._attendants.by_id["cuff"]._attended.observer is None


async def test_without_a_service_or_a_bluetooth_device_it_says_so(exam_room: Any) -> None:
    with pytest.raises(ControlError, match="no service answers"):
        await pairing(exam_room, Person())
