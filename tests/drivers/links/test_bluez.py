"""bluetoothd comes and goes, adapters too, and the agent agrees for our devices alone: on a real, private bus."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from drivers.errors import LinkFault, LinkLost
from drivers.links import bluez as bluez_module
from drivers.links.bluez import Bluez, radio_is_real
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ports.bluez_objects import OBJECT_MANAGER, BluezError, Unanswered
from simulators.ports.room import Room

CUFF, NEIGHBORS = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02"
AGENT = "org.bluez.Agent1"
PATIENCE_S = 10.0

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
StartBluez = Callable[..., Bluez]


def path_of(address: str, adapter: str = "hci0") -> str:
    return f"/org/bluez/{adapter}/dev_{address.replace(':', '_')}"


def fault(bluez: Bluez) -> LinkFault | None:
    return None if bluez.trouble is None else bluez.trouble.fault


@pytest.fixture
async def bluez(room: Room, start_bluez: StartBluez, eventually: Eventually) -> Bluez:
    """One that has found its daemon."""
    started = start_bluez(CUFF)
    await eventually(lambda: started.trouble is None)
    return started


async def ask_agent(room: Room, member: str, *body: str | int, signature: str = "o") -> Message:
    """What bluetoothd would be answered."""
    assert room.bluez._bus is not None
    assert room.bluez._agents.default is not None
    client, path = room.bluez._agents.default
    message = Message(client, path, AGENT, member, signature=signature if body else "", body=list(body))
    reply = await room.bluez._bus.call(message)
    assert reply is not None
    return reply


# ---- the agent -------------------------------------------------------------------------------------------------------


async def test_an_agent_is_registered_and_is_the_one_that_is_asked(room: Room, bluez: Bluez) -> None:
    assert room.bluez._agents.default is not None
    assert "AgentManager1.RequestDefaultAgent" in room.bluez.calls


@pytest.mark.parametrize("question", ["RequestAuthorization", "RequestConfirmation", "AuthorizeService"])
@pytest.mark.parametrize(
    ("path", "agrees"),
    [
        (path_of(CUFF), True),
        (path_of(CUFF, "hci1"), True),
        (path_of(NEIGHBORS), False),
        (path_of(CUFF) + "/service0001", False),
        ("/", False),
    ],
)
async def test_it_agrees_for_the_devices_of_the_configuration_alone(
    room: Room, bluez: Bluez, question: str, path: str, agrees: bool
) -> None:
    reply = await ask_agent(room, question, path)
    assert (reply.message_type is MessageType.METHOD_RETURN) is agrees
    assert agrees or reply.error_name == "org.bluez.Error.Rejected"


@pytest.mark.parametrize("question", ["RequestPinCode", "RequestPasskey"])
async def test_it_knows_no_secret(room: Room, bluez: Bluez, question: str) -> None:
    reply = await ask_agent(room, question, path_of(CUFF))
    assert reply.error_name == "org.bluez.Error.Rejected"


@pytest.mark.parametrize("word", ["Release", "Cancel"])
async def test_it_takes_note_of_what_needs_no_answer(room: Room, bluez: Bluez, word: str) -> None:
    assert (await ask_agent(room, word)).message_type is MessageType.METHOD_RETURN


# ---- a person stands before the device -------------------------------------------------------------------------------


class Person:
    """Says 123456 to whoever asks, and yes to nothing else."""

    def __init__(self) -> None:
        self.shown: list[int] = []
        self.asked = asyncio.Event()
        self.answers = True

    async def passkey(self) -> int | None:
        self.asked.set()
        if not self.answers:
            await asyncio.Event().wait()
        return 123456

    async def show(self, passkey: int) -> None:
        self.shown.append(passkey)

    async def agrees(self, passkey: int) -> bool:
        return passkey == 123456


async def test_a_person_is_asked_about_the_device_that_is_paired(room: Room, bluez: Bluez) -> None:
    person = Person()
    async with bluez.attended(CUFF, person):
        assert room.bluez._agents.capability == "KeyboardDisplay"
        assert (await ask_agent(room, "RequestPasskey", path_of(CUFF))).body == [123456]
        same, other = [
            await ask_agent(room, "RequestConfirmation", path_of(CUFF), n, signature="ou") for n in (123456, 1)
        ]
        assert same.message_type is MessageType.METHOD_RETURN
        assert other.error_name == "org.bluez.Error.Rejected"
        for entered in (0, 1, 2):  # of the digits that are being entered the first word is enough
            shown = await ask_agent(room, "DisplayPasskey", path_of(CUFF), 42, entered, signature="ouq")
            assert shown.message_type is MessageType.METHOD_RETURN
        assert person.shown == [42]
    assert room.bluez._agents.capability == "NoInputNoOutput"
    assert (await ask_agent(room, "RequestPasskey", path_of(CUFF))).error_name == "org.bluez.Error.Rejected"


@pytest.mark.parametrize(
    "question", ["RequestPasskey", "RequestConfirmation", "DisplayPasskey", "RequestAuthorization"]
)
async def test_the_person_is_asked_about_no_other_device(room: Room, bluez: Bluez, question: str) -> None:
    person = Person()
    more: dict[str, tuple[str, list[int]]] = {"RequestConfirmation": ("u", [123456]), "DisplayPasskey": ("uq", [42, 0])}
    signature, numbers = more.get(question, ("", []))
    async with bluez.attended(CUFF, person):
        reply = await ask_agent(room, question, path_of(NEIGHBORS), *numbers, signature=f"o{signature}")
    assert reply.error_name == "org.bluez.Error.Rejected"
    assert person.shown == []
    assert not person.asked.is_set()


async def test_a_question_that_is_taken_back_is_asked_no_longer(room: Room, bluez: Bluez) -> None:
    person = Person()
    person.answers = False
    async with bluez.attended(CUFF, person):
        asking = asyncio.create_task(ask_agent(room, "RequestPasskey", path_of(CUFF)))
        await asyncio.wait_for(person.asked.wait(), PATIENCE_S)
        await ask_agent(room, "Cancel")
        reply = await asyncio.wait_for(asking, PATIENCE_S)
    assert reply.error_name == "org.bluez.Error.Canceled"
    assert not bluez._agent._asking


async def test_who_has_left_is_not_waited_for(room: Room, bluez: Bluez) -> None:
    class Left(Person):
        async def passkey(self) -> int | None:
            raise ConnectionResetError

    async with bluez.attended(CUFF, Left()):
        reply = await asyncio.wait_for(ask_agent(room, "RequestPasskey", path_of(CUFF)), PATIENCE_S)
    assert reply.error_name == "org.bluez.Error.Rejected"


@pytest.mark.parametrize("gone", [EOFError, ConnectionResetError])
async def test_a_bus_that_is_gone_is_a_lost_link_for_who_pairs(
    bluez: Bluez, monkeypatch: pytest.MonkeyPatch, gone: type[Exception]
) -> None:
    async def call(_bus: MessageBus, _message: Message) -> Message:
        raise gone

    with monkeypatch.context() as patch:
        patch.setattr(MessageBus, "call", call)
        with pytest.raises(LinkLost):
            await bluez.forget(CUFF)
        with pytest.raises(LinkLost):
            async with bluez.attended(CUFF, Person()):
                pass


async def test_it_answers_nobody_but_bluetoothd(room: Room, bluez: Bluez) -> None:
    assert room.bluez._agents.default is not None
    client, path = room.bluez._agents.default
    stranger = await MessageBus(bus_address=room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()
    question = Message(client, path, AGENT, "RequestAuthorization", signature="o", body=[path_of(CUFF)])
    reply = await stranger.call(question)
    stranger.disconnect()
    await stranger.wait_for_disconnect()  # type: ignore[no-untyped-call]
    assert reply is not None
    assert reply.error_name == "org.freedesktop.DBus.Error.AccessDenied"


@pytest.mark.parametrize(("address", "bonds"), [(CUFF, True), (NEIGHBORS, False)])
async def test_a_bonding_that_we_did_not_ask_for(
    room: Room, bluez: Bluez, eventually: Eventually, address: str, bonds: bool
) -> None:
    """Subscribing makes the device ask for it."""
    async with AndUa651ble(room.air.radio("cuff"), address, advertising_interval_ms=20) as cuff:
        await cuff.measure(120, 80, 60)
        found = await BleakScanner.find_device_by_address(address, PATIENCE_S)
        assert found is not None
        gone = asyncio.Event()
        client = BleakClient(found, disconnected_callback=lambda _client: gone.set())
        await client.connect()
        subscribing = asyncio.create_task(
            client.start_notify("00002a35-0000-1000-8000-00805f9b34fb", lambda _sender, _value: None)
        )
        await asyncio.wait_for(gone.wait(), PATIENCE_S)
        subscribing.cancel()
        await asyncio.wait([subscribing])
        await client.disconnect()
        assert cuff.peripheral.bonded is bonds
        assert len(cuff.memory) == (not bonds)


# ---- daemon and adapter ----------------------------------------------------------------------------------------------


async def test_a_daemon_that_dies_and_comes_back(room: Room, bluez: Bluez, eventually: Eventually) -> None:
    epoch = bluez.epoch
    await room.bluez.die()
    await eventually(lambda: fault(bluez) is LinkFault.NO_BLUETOOTH)
    assert [bluez.adapter] == [None]
    assert bluez.epoch > epoch
    await room.bluez.start()
    await eventually(lambda: bluez.trouble is None)
    assert bluez.adapter == "hci0"
    assert await room.bluez._consent(path_of(CUFF))
    assert not await room.bluez._consent(path_of(NEIGHBORS))


async def test_an_adapter_that_is_pulled_out_and_put_in_again(room: Room, bluez: Bluez, eventually: Eventually) -> None:
    epoch = bluez.epoch
    await room.bluez.unplug()
    await eventually(lambda: fault(bluez) is LinkFault.NO_ADAPTER)
    assert bluez.epoch > epoch
    room.bluez.plug()
    await eventually(lambda: bluez.trouble is None)


async def test_an_adapter_that_is_switched_off_and_on(room: Room, bluez: Bluez, eventually: Eventually) -> None:
    epoch = bluez.epoch
    await room.bluez.power(on=False)
    await eventually(lambda: fault(bluez) is LinkFault.ADAPTER_OFF)
    assert bluez.epoch > epoch
    await room.bluez.power(on=True)
    await eventually(lambda: bluez.trouble is None)


@pytest.mark.parametrize("what", ["power", "plug", "daemon"])
async def test_what_is_back_at_once_was_gone_all_the_same(
    room: Room, start_bluez: StartBluez, eventually: Eventually, what: str
) -> None:
    """Whatever was going on by then has ended: whoever counts epochs begins anew."""
    troubles: list[LinkFault | None] = []
    found: Bluez = start_bluez(CUFF, on_change=lambda: troubles.append(fault(found)))
    await eventually(lambda: found.trouble is None)
    epoch, told = found.epoch, len(troubles)
    if what == "power":
        await room.bluez.power(on=False)
        await room.bluez.power(on=True)
    elif what == "plug":
        await room.bluez.unplug()
        room.bluez.plug()
    else:
        await room.bluez.die()
        await room.bluez.start()
    await eventually(lambda: found.epoch > epoch and found.trouble is None)
    assert any(trouble is not None for trouble in troubles[told:])


async def test_an_adapter_that_is_off_when_the_daemon_is_found(
    room: Room, start_bluez: StartBluez, eventually: Eventually
) -> None:
    await room.bluez.power(on=False)
    bluez = start_bluez(CUFF)
    await eventually(lambda: fault(bluez) is LinkFault.ADAPTER_OFF)


async def test_what_changes_while_the_daemon_is_asked_is_not_taken_for_old(
    room: Room, start_bluez: StartBluez, eventually: Eventually
) -> None:
    """bluetoothd shows its adapters without power first, and switches them on while others ask."""
    handlers = room.bluez._calls._handlers
    answer = handlers[(OBJECT_MANAGER, "GetManagedObjects")]
    await room.bluez.power(on=False)

    async def answer_late(message: Message) -> Any:
        handlers[(OBJECT_MANAGER, "GetManagedObjects")] = answer
        said = copy.deepcopy(await answer(message))
        await room.bluez.power(on=True)
        return said

    handlers[(OBJECT_MANAGER, "GetManagedObjects")] = answer_late
    bluez = start_bluez(CUFF)
    await eventually(lambda: bluez.trouble is None)


@pytest.mark.parametrize(
    "call", ["AgentManager1.RegisterAgent", "AgentManager1.RequestDefaultAgent", "ObjectManager.GetManagedObjects"]
)
@pytest.mark.parametrize("failure", [BluezError("Failed", "not now"), Unanswered()], ids=["error", "unanswered"])
async def test_a_daemon_that_does_not_answer_yet_is_asked_again(
    room: Room,
    start_bluez: StartBluez,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: str,
    failure: BluezError | Unanswered,
) -> None:
    monkeypatch.setattr(bluez_module, "CALL_S", 0.1)
    room.bluez.fail(call, failure, times=3)
    bluez = start_bluez(CUFF)
    await eventually(lambda: room.bluez.calls.count(call) == 2)
    assert bluez.trouble is not None
    await eventually(lambda: bluez.trouble is None)
    assert await room.bluez._consent(path_of(CUFF))
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_a_bus_that_does_not_say_who_owns_the_name_is_asked_again(
    room: Room, start_bluez: StartBluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, fails = Bluez._call, [True, True]

    async def unanswered(self: Bluez, message: Message) -> list[Any]:
        if message.member in ("NameHasOwner", "GetNameOwner") and fails:
            fails.pop()
            raise LinkLost(LinkFault.NO_BLUETOOTH, f"{message.member} is not answered")
        return await call(self, message)

    monkeypatch.setattr(Bluez, "_call", unanswered)
    bluez = start_bluez(CUFF)
    await eventually(lambda: bluez.trouble is None)
    assert not fails


async def test_nobody_else_tells_who_owns_the_name(room: Room, bluez: Bluez, eventually: Eventually) -> None:
    epoch = bluez.epoch
    stranger = await MessageBus(bus_address=room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()
    assert bluez._bus is not None
    lie = Message.new_signal(
        "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "sss", ["org.bluez", ":1.1", ""]
    )
    lie.destination = bluez._bus.unique_name
    await stranger.send(lie)
    await stranger.call(  # the bus keeps the order: when this is answered, the lie was delivered
        Message(bluez._bus.unique_name, "/", "org.freedesktop.DBus.Peer", "Ping")
    )
    stranger.disconnect()
    await stranger.wait_for_disconnect()  # type: ignore[no-untyped-call]
    assert (bluez.trouble, bluez.epoch) == (None, epoch)


# ---- the bus ---------------------------------------------------------------------------------------------------------


async def test_no_bus_at_all_and_then_there_is_one(
    start_bluez: StartBluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    connect = MessageBus.connect

    async def count(self: MessageBus) -> MessageBus:
        nonlocal tries
        tries += 1
        return await connect(self)

    monkeypatch.setattr(MessageBus, "connect", count)
    later = Room()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", later.environment["DBUS_SYSTEM_BUS_ADDRESS"])
    bluez = start_bluez(CUFF)
    await eventually(lambda: tries >= 3)
    assert fault(bluez) is LinkFault.NO_BLUETOOTH
    async with later:
        await eventually(lambda: bluez.trouble is None)
    await eventually(lambda: fault(bluez) is LinkFault.NO_BLUETOOTH)


@pytest.mark.parametrize("address", ["unix:path=/nowhere/at/all", "nonsense", "tcp:host=127.0.0.1,port=1"])
async def test_a_bus_that_is_not_there_is_no_end(
    start_bluez: StartBluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    changes = 0

    def count() -> None:
        nonlocal changes
        changes += 1

    bluez = start_bluez(CUFF, on_change=count)
    await eventually(lambda: changes >= 3)
    assert fault(bluez) is LinkFault.NO_BLUETOOTH


async def test_a_bus_that_accepts_and_says_nothing_is_given_up_with_its_socket(
    start_bluez: StartBluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bluez_module, "CALL_S", 0.05)
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda _reader, writer: accepted.append(writer), tmp_path / "bus")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    start_bluez(CUFF)
    await eventually(lambda: len(accepted) >= 2)
    ours = len(os.listdir("/proc/self/fd")) - len(accepted)  # noqa: PTH208
    await eventually(lambda: len(accepted) >= 6)
    assert len(os.listdir("/proc/self/fd")) - len(accepted) <= ours + 1  # noqa: PTH208 - one may be on its way
    server.close()
    for writer in accepted:
        writer.close()


async def test_a_bus_that_stands_still_and_goes_on(
    room: Room, start_bluez: StartBluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluez_module, "CALL_S", 0.05)
    os.kill(room._dbus.pid, signal.SIGSTOP)
    changes: list[None] = []
    try:
        bluez = start_bluez(CUFF, on_change=lambda: changes.append(None))
        await eventually(lambda: len(changes) >= 2)
        assert fault(bluez) is LinkFault.NO_BLUETOOTH
    finally:
        os.kill(room._dbus.pid, signal.SIGCONT)
    await eventually(lambda: bluez.trouble is None)


async def test_stopping_leaves_the_bus(room: Room, eventually: Eventually) -> None:
    bluez = Bluez(lambda _address: True, lambda: None)
    running = asyncio.create_task(bluez.run())
    await eventually(lambda: bluez.trouble is None)
    bus = bluez._bus
    assert bus is not None
    running.cancel()
    await asyncio.wait([running], timeout=PATIENCE_S)
    assert running.cancelled()
    await eventually(lambda: not bus.connected)
    await eventually(lambda: room.bluez._agents.default is None)


# ---- its power -------------------------------------------------------------------------------------------------------


def watch_power(room: Room, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    switched: list[bool] = []
    power = room.bluez._adapter.power

    async def watched(on: bool) -> None:
        switched.append(on)
        await power(on)

    monkeypatch.setattr(room.bluez._adapter, "power", watched)
    return switched


async def test_the_power_is_cycled(
    room: Room, bluez: Bluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = watch_power(room, monkeypatch)
    await bluez.power_cycle()
    await eventually(lambda: bluez.trouble is None)
    assert switched == [False, True]


async def test_an_adapter_that_is_not_ready_to_go_on_again_is_asked_again(
    room: Room, bluez: Bluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = watch_power(room, monkeypatch)
    cycling = asyncio.create_task(bluez.power_cycle())
    await eventually(lambda: switched == [False])
    room.bluez.fail("Properties.Set", BluezError("Busy"))
    await cycling
    await eventually(lambda: bluez.trouble is None)
    assert switched == [False, True]


async def test_an_adapter_that_we_switched_off_is_on_again_whatever_stops_us(
    room: Room, bluez: Bluez, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluez_module, "POWER_OFF_S", 60.0)
    cycling = asyncio.create_task(bluez.power_cycle())
    await eventually(lambda: fault(bluez) is LinkFault.ADAPTER_OFF)
    cycling.cancel()
    await asyncio.wait([cycling], timeout=PATIENCE_S)
    assert cycling.cancelled()
    await eventually(lambda: bluez.trouble is None)


async def test_a_power_that_is_not_to_be_had(room: Room, bluez: Bluez) -> None:
    room.bluez.fail("Properties.Set", BluezError("org.freedesktop.DBus.Error.AccessDenied"), times=9)
    with pytest.raises(LinkLost):
        await bluez.power_cycle()
    assert bluez.trouble is None


# ---- real or not -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As Linux shows three radios: hci0 on a Pi's UART, hci1 on USB, hci2 by hci_vhci."""
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    shown = tmp_path / "sys/class/bluetooth"
    shown.mkdir(parents=True)
    for name, path in {
        "hci0": "platform/soc/fe201000.serial/tty/ttyAMA0/hci0",
        "hci1": "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/bluetooth/hci1",
        "hci2": "virtual/bluetooth/hci2",
    }.items():
        device = tmp_path / "sys/devices" / path
        device.mkdir(parents=True)
        (shown / name).symlink_to(device)
    monkeypatch.setattr(bluez_module, "_RADIOS", shown)
    bus = tmp_path / "run/dbus/system_bus_socket"
    bus.parent.mkdir(parents=True)
    bus.touch()
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to(tmp_path / "run")
    monkeypatch.setattr(bluez_module, "_SYSTEM_BUS", bus)
    return tmp_path


@pytest.mark.parametrize(
    ("adapter", "real"), [("hci0", True), ("hci1", True), ("hci2", False), ("hci9", False), (None, False)]
)
def test_a_radio_of_this_machine_is_real(sysfs: Path, adapter: str | None, real: bool) -> None:
    assert radio_is_real(adapter) is real


@pytest.mark.parametrize(
    ("address", "real"),
    [
        ("unix:path={root}/run/dbus/system_bus_socket", True),
        ("unix:path={root}/var/run/dbus/system_bus_socket", True),
        ("unix:path={root}/run/dbus/system_bus_socket,guid=0123456789abcdef", True),
        ("", True),
        ("unix:path={root}/private/bus", False),
        ("unix:path={root}/private/bus;unix:path={root}/run/dbus/system_bus_socket", False),
        ("unix:path={root}/run/dbus/system_bus_socket;unix:path={root}/private/bus", False),
        ("unix:abstract=/run/dbus/system_bus_socket", False),
        ("tcp:host=127.0.0.1,port=1", False),
        ("nonsense", False),
    ],
)
def test_only_the_machines_own_bus_leads_to_a_real_radio(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch, address: str, real: bool
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address.format(root=sysfs))
    assert radio_is_real("hci1") is real


def test_where_linux_shows_no_radios_none_is_real(tmp_path: Path, sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluez_module, "_RADIOS", tmp_path / "nothing")
    assert radio_is_real("hci0") is False


async def test_a_simulated_room_is_not_real(room: Room, bluez: Bluez) -> None:
    assert radio_is_real(bluez.adapter) is False
