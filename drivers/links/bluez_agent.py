"""The pairing agent: what bluetoothd asks before a device bonds.

1. Unattended, the agent can neither show nor ask for anything (NoInputNoOutput: Just Works), and agrees for the devices
   of the configuration alone.
2. While a person pairs one device, it can do both for that device (KeyboardDisplay), by asking the person. Every other
   device is answered as before.
3. Only bluetoothd itself is answered. A question that it takes back is asked no longer.

Sources: bluez doc/org.bluez.Agent.rst, org.bluez.AgentManager.rst. Which of the questions comes follows from
what the two sides can do: Core Specification, vol. 3, part H, 2.3.5.1.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dbus_fast import Message

_log = logging.getLogger(__name__)

PATH = "/vitals_gateway/agent"
_INTERFACE = "org.bluez.Agent1"
_DEVICE = re.compile(r"/dev((?:_[0-9A-F]{2}){6})$")
PASSKEY_DIGITS = 6  # Core Specification, vol. 3, part H, 2.3.5.3
PASSKEY_LIMIT = 10**PASSKEY_DIGITS - 1


class Person(Protocol):
    """Somebody who stands before the device that is being paired. Each question raises ConnectionError if they left."""

    async def passkey(self) -> int | None:
        """Answer the digits that the device shows; None if there are none."""
        ...

    async def show(self, passkey: int) -> None:
        """Show the digits that are to be entered at the device."""
        ...

    async def agrees(self, passkey: int) -> bool:
        """Answer whether the device shows these digits, too."""
        ...


class Agent:
    """Answers bluetoothd's questions. `send` puts an answer on the bus that took a while."""

    def __init__(self, may_bond: Callable[[str], bool], send: Callable[[Message], None]) -> None:
        """`may_bond` says whether the device with this address may bond."""
        self._may_bond = may_bond
        self._send = send
        self._attended: tuple[str, Person] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def capability(self) -> str:
        """What it can do, in bluetoothd's word."""
        return "NoInputNoOutput" if self._attended is None else "KeyboardDisplay"

    @property
    def attended(self) -> bool:
        """Whether a person is there."""
        return self._attended is not None

    def attend(self, address: str, person: Person) -> None:
        """Ask `person` about the device with this address."""
        self._attended = (address, person)

    def leave(self) -> None:
        """The person is gone."""
        self._attended = None
        self._take_back()

    def answer(self, message: Message, daemon: str) -> Message | bool:
        """Answer a call, or True: the answer comes later."""
        if message.sender != daemon or message.interface != _INTERFACE:
            return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "for bluetoothd alone")
        if message.member in ("Release", "Cancel"):
            self._take_back()
            return Message.new_method_return(message)
        found = _DEVICE.search(str(message.body[0])) if message.body else None
        address = found[1][1:].replace("_", ":") if found else ""
        if self._attended is not None and address == self._attended[0]:
            question = _question(message, self._attended[1])
            if question is not None:
                task = asyncio.ensure_future(self._ask(message, question))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
                return True
        if message.member in ("RequestAuthorization", "AuthorizeService") or (
            message.member == "RequestConfirmation" and not self.attended
        ):
            if self._may_bond(address):
                return Message.new_method_return(message)
            _log.warning("a device that is not in the configuration wants to bond: refused")
        return _rejected(message)

    async def _ask(self, message: Message, question: Coroutine[Any, Any, tuple[str, list[Any]] | None]) -> None:
        try:
            answer = await question
        except asyncio.CancelledError:
            self._send(Message.new_error(message, "org.bluez.Error.Canceled", "nobody is asked any longer"))
            raise
        except ConnectionError:
            answer = None  # they have left: bluetoothd must not wait for them
        self._send(_rejected(message) if answer is None else Message.new_method_return(message, *answer))

    def _take_back(self) -> None:
        for task in self._asking:
            task.cancel()


def _question(message: Message, person: Person) -> Coroutine[Any, Any, tuple[str, list[Any]] | None] | None:
    """Answer the question that the person is asked; None if it is none for a person."""
    if message.member == "RequestPasskey":
        return _passkey(person)
    if message.member == "DisplayPasskey":  # (device, passkey, digits that were entered so far)
        return _show(person, message.body[1] if message.body[2] == 0 else None)
    if message.member == "RequestConfirmation":
        return _agrees(person, message.body[1])
    return None


async def _passkey(person: Person) -> tuple[str, list[Any]] | None:
    passkey = await person.passkey()
    return None if passkey is None or not 0 <= passkey <= PASSKEY_LIMIT else ("u", [passkey])


async def _show(person: Person, passkey: int | None) -> tuple[str, list[Any]]:
    if passkey is not None:
        await person.show(passkey)
    return "", []


async def _agrees(person: Person, passkey: int) -> tuple[str, list[Any]] | None:
    return ("", []) if await person.agrees(passkey) else None


def _rejected(message: Message) -> Message:
    return Message.new_error(message, "org.bluez.Error.Rejected", "not a device of this gateway")
