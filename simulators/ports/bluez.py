"""A stand-in for bluetoothd: org.bluez on a private bus, with a bumble central on the simulated air behind it.

    bleak, unmodified ── dbus-daemon ── Bluez ── bumble host and controller ── Air ── a simulated device

1. GATT and pairing are done for real; only the words on the bus are imitated.
2. It fails when it is told to (`fail`, `power`, `unplug`, `go_deaf`, `resolve_early`, `hang`, `die`), and where
   bluetoothd fails by itself: pairing without an agent, a lost bond, two discoveries of one client. See
   bluez_device.py, bluez_agents.py.
3. Each advertisement is told as a change of RSSI, also of a bonded device. After 5.86 (bluez e004414a1) bluetoothd does
   so only while a filter names RSSI or Pathloss; without one it tells of changes of 8 dBm or more.
4. Service data stays as it was last heard, whatever is advertised after it. Who is bonded and has told its identity is
   known by it from then on, whatever private address it advertises with: its object keeps its path and changes its
   Address, as bluetoothd's does.
5. Not imitated: RSSI that changes, separate scan responses, CCCDs that last over a bonded reconnection, the removal of
   devices that were not heard for 30 s, a controller that filters duplicates. AcquireNotify is not offered; bleak
   does without.

Source of names and errors: bluez, doc/org.bluez.*.rst and src/. Of behaviour: kernel 6.12 with bluetoothd
5.66 and 5.82.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from bumble import hci
from bumble.att import ATT_Error
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from simulators.ports.air import Air
from simulators.ports.bluez_adapter import Adapter, Cure, path_of
from simulators.ports.bluez_agents import Agents
from simulators.ports.bluez_calls import Answer, Calls, as_bluez
from simulators.ports.bluez_objects import AGENT, AGENT_MANAGER, BluezError, ObjectTree, Unanswered
from simulators.ports.bluez_pairing import AgentDelegate

ADDRESS = "C0:11:22:33:44:55"
_ROOT = "/org/bluez"
_UNSAID_LIMIT = 100  # signals; what the kernel keeps for a daemon that stands still is bounded, too
_DBUS = "org.freedesktop.DBus"
_LEFT_THE_BUS = f"type='signal',sender='{_DBUS}',interface='{_DBUS}',member='NameOwnerChanged',arg2=''"


class Bluez:
    """bluetoothd and the adapter it serves. `calls`: what clients called, as `Device1.Connect`, oldest first."""

    def __init__(self, bus_address: str, air: Air) -> None:
        self.calls: list[str] = []
        self._bus_address = bus_address
        self._air = air
        self._bus: MessageBus | None = None
        self._told_to_fail: defaultdict[str, deque[tuple[BluezError | Unanswered, bool]]] = defaultdict(deque)
        self._serving: set[asyncio.Task[None]] = set()
        self._agents = Agents()
        self._running = asyncio.Event()  # not set: it hangs
        self._running.set()
        self._unsaid: list[Message] = []  # what it will say when it hangs no longer
        self._tree = ObjectTree(self._emit)

    async def __aenter__(self) -> Self:
        self._radio = self._air.radio("adapter")
        address = hci.Address(ADDRESS, hci.Address.RANDOM_DEVICE_ADDRESS)
        self._central = Device.with_hci("gateway", address, self._radio.source, self._radio.sink)
        keys = MemoryKeyStore()
        self._central.keystore = keys
        self._central.pairing_config_factory = self._pairing_config
        self._adapter = Adapter(self._tree, self._central, keys, self._consent)
        self._calls = Calls(self._tree, self._adapter, self._agents)
        await self._central.power_on()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()
        await self._central.power_off()
        await self._radio.close()

    @property
    def discovering(self) -> bool:
        """Whether it scans for anyone."""
        return self._adapter.discovering

    def fail(self, call: str, error: BluezError | Unanswered, *, times: int = 1, done: bool = False) -> None:
        """Let the next `times` calls of `call` (as `Device1.Connect`) fail; `done`: after doing what was asked.

        ValueError if there is no such call.
        """
        if call not in self._calls.names:
            raise ValueError(f"nobody can call {call!r} ({', '.join(sorted(self._calls.names))})")
        self._told_to_fail[call].extend([(error, done)] * times)

    async def start(self) -> None:
        """The daemon comes up, with the adapter and the bonds that were there before; nothing if it runs."""
        if self._bus is not None:
            return
        bus = await MessageBus(bus_address=self._bus_address).connect()
        self._bus = bus
        bus.add_message_handler(self._on_message)
        await bus.call(Message(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", signature="s", body=[_LEFT_THE_BUS]))
        self._tree.add(_ROOT, {AGENT_MANAGER: {}})
        self._adapter.plug()
        await bus.request_name("org.bluez")

    async def die(self) -> None:
        """The daemon is killed: its name leaves the bus without a word, links end, calls are never answered."""
        bus, self._bus = self._bus, None
        if bus is None:
            return
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        await self._adapter.silence()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._agents.clear()
        self._tree.clear()
        self.resume()

    async def power(self, on: bool) -> None:
        """Switch the adapter's power, as rfkill or a user does."""
        await self._adapter.power(on)

    async def unplug(self) -> None:
        """Pull the adapter out."""
        await self._adapter.unplug()

    def plug(self) -> None:
        """Put the adapter in again."""
        self._adapter.plug()

    def go_deaf(self, until: Cure) -> None:
        """Report no device any more, though it is said to be discovering; see Cure. Links and connecting go on."""
        self._adapter.deaf = until

    def resolve_early(self, late_s: float) -> None:
        """Say from now on that services are resolved `late_s` before their characteristics are there; 0: no more."""
        self._adapter.late_s = late_s

    def hang(self) -> None:
        """Stand still as after SIGSTOP: the name is owned, nothing is answered or told. Links stay, as the kernel's."""
        self._running.clear()

    def resume(self) -> None:
        """Go on as after SIGCONT: say and serve all that was waiting, whether anybody still waits for it or not."""
        self._running.set()
        unsaid, self._unsaid = self._unsaid, []
        for message in unsaid:
            self._emit(message)

    def _emit(self, message: Message) -> None:
        if not self._running.is_set():
            if message.message_type is not MessageType.SIGNAL or len(self._unsaid) < _UNSAID_LIMIT:
                self._unsaid.append(message)
        elif self._bus is not None and self._bus.connected:
            self._bus.send(message)

    def _on_message(self, message: Message) -> bool:
        if message.message_type is MessageType.SIGNAL:
            if message.member == "NameOwnerChanged" and message.sender == _DBUS and not message.body[2]:
                self._run(partial(self._calls.forget_client, message.body[0]))
            return False
        if message.message_type is not MessageType.METHOD_CALL or message.destination is None:
            return False
        call = f"{(message.interface or '').rpartition('.')[2]}.{message.member}"
        self.calls.append(call)
        self._run(partial(self._serve, call, message))
        return True

    def _run(self, act: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._when_running(act))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _when_running(self, act: Callable[[], Awaitable[None]]) -> None:
        await self._running.wait()
        await act()

    async def _serve(self, call: str, message: Message) -> None:
        try:
            signature, body = await self._answer(call, message) or ("", [])
            reply = Message.new_method_return(message, signature, body)
        except Unanswered:
            return
        except BluezError as error:
            reply = Message.new_error(message, error.name, str(error))
        except ATT_Error as error:
            translated = as_bluez(error.error_code)
            reply = Message.new_error(message, translated.name, str(translated))
        except (BaseBumbleError, TimeoutError) as error:
            reply = Message.new_error(message, "org.bluez.Error.Failed", type(error).__name__)
        self._emit(reply)

    async def _answer(self, call: str, message: Message) -> Answer:
        failures = self._told_to_fail[call]
        if not failures:
            return await self._calls.answer(message)
        error, done = failures.popleft()
        if done:
            await self._calls.answer(message)
        raise error

    async def _consent(self, device_path: str) -> bool:
        """Ask the agent for a Just Works bonding that nobody called Pair for."""
        return await self._ask_agent(device_path, "RequestAuthorization", "", []) is not None

    def _pairing_config(self, connection: Connection) -> PairingConfig:
        device_path = path_of(connection.peer_address)
        delegate = AgentDelegate(self._agents.capability, partial(self._ask_agent, device_path))
        return PairingConfig(delegate=delegate)

    async def _ask_agent(self, device_path: str, member: str, signature: str, body: list[Any]) -> list[Any] | None:
        """Answer what the default agent answers; None where it says no, or there is none."""
        if self._agents.default is None or self._bus is None:
            return None
        client, path = self._agents.default
        question = Message(client, path, AGENT, member, signature=f"o{signature}", body=[device_path, *body])
        reply = await self._bus.call(question)
        await self._running.wait()
        return None if reply is None or reply.message_type is not MessageType.METHOD_RETURN else reply.body
