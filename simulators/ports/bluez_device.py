"""One device as bluetoothd sees it: connecting, bonding, and what is told of it on the bus. Its GATT is bluez_gatt's.

What the real ones do (seen with kernel 6.12 and bluetoothd 5.66 and 5.82), and this does too:

1. A bonding that the host did not ask for itself, but that a read, a write or StartNotify caused, needs an agent's
   consent. Without it, or where the device refuses, the link ends and the call that caused it is never answered.
2. A device that has lost its bond is told by Connect: le-connection-abort-by-local, however often it is tried. Only
   RemoveDevice and a new pairing help.
3. A device that tells its identity when it bonds goes by it from then on: Address changes, the path does not
   (src/device.c, device_update_addr).
4. GATT objects of a bonded device stay on the bus when the link is gone; those of others go with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from bumble import hci
from bumble.att import ATT_Error, ErrorCode
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device
from bumble.keys import MemoryKeyStore
from dbus_fast import Variant

from simulators.ports.bluez_gatt import RemoteGatt
from simulators.ports.bluez_objects import DEVICE, BluezError, ObjectTree, Unanswered

T = TypeVar("T")

_CONNECT_S = 40.0
_CANCEL_S = 0.1
_SETTLE_S = 0.02  # a link that is lost in this time fails the Connect, not what comes after
_LAST_ANSWER_S = 0.05  # an answer that was under way when the link was lost
_AUTHENTICATION_FAILURE = 0x05
_REMOTE_USER = 0x13
_WANTS_ENCRYPTION = (ErrorCode.INSUFFICIENT_AUTHENTICATION, ErrorCode.INSUFFICIENT_ENCRYPTION)
_ABORTED = ("Failed", "le-connection-abort-by-local")
_CANCELLED = ("Failed", "br-connection-canceled")
_NOT_AUTHENTICATED = ("AuthenticationFailed", "Authentication Failed")
_UNLIKELY = ("Failed", "Operation failed with ATT error: 0x0e")


class LinkGone(Exception):
    """bumble gave an operation up because the link is gone."""


class RemoteDevice:
    """A device that was seen or is bonded. Raises BluezError and Unanswered as bluetoothd answers."""

    def __init__(
        self,
        address: hci.Address,
        path: str,
        tree: ObjectTree,
        central: Device,
        keys: MemoryKeyStore,
        connecting: asyncio.Lock,
        consent: Callable[[str], Awaitable[bool]],
        late_s: Callable[[], float],
    ) -> None:
        """`connecting`: one at a time on one radio. `consent` asks the agent, by the device's path.

        `late_s`: how long after it has said that all services are resolved their characteristics come.
        """
        self.path = path
        self.address = address
        self.on_air = address  # a private one, where it is bonded and has told its identity
        self._tree = tree
        self._central = central
        self._keys = keys
        self._connecting = connecting
        self._consent = consent
        self._late_s = late_s
        self._attempt: asyncio.Task[None] | None = None
        self._resolving: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self.gatt = RemoteGatt(path, tree)

    @property
    def connected(self) -> bool:
        """Whether there is a link."""
        return self._connection is not None

    @property
    def bonded(self) -> bool:
        """Whether keys are kept for it."""
        return str(self.address) in self._keys.all_keys

    def show(self, adapter: str, told: Mapping[str, Variant]) -> None:
        """Put it on the bus, with what it told of itself."""
        address = self.address.to_string(False)
        bonded = Variant("b", self.bonded)
        known = {
            "Address": Variant("s", address),
            "AddressType": Variant("s", "public" if self.address.is_public else "random"),
            "Alias": Variant("s", address.replace(":", "-")),
            "Paired": bonded,
            "Bonded": bonded,
            "UUIDs": Variant("as", []),
            "Adapter": Variant("o", adapter),
        }
        for name in ("Trusted", "Blocked", "Connected", "ServicesResolved", "LegacyPairing"):
            known[name] = Variant("b", False)
        self._tree.add(self.path, {DEVICE: {**known, **told}})

    def heard(self, adapter: str, told: Mapping[str, Variant]) -> None:
        """Tell of an advertisement."""
        if self.path in self._tree:
            self._tree.change(self.path, DEVICE, **told)
        else:
            self.show(adapter, told)

    async def connect(self) -> None:
        """Connect, and encrypt if it is bonded; back before its services are known. Nothing to do if connected."""
        if self._connection is not None:
            return
        if self._attempt is not None:
            raise BluezError("InProgress", "Operation already in progress")
        self._attempt = asyncio.ensure_future(self._connect())
        try:
            await asyncio.wait({self._attempt})
            if self._attempt.cancelled():
                raise BluezError(*_CANCELLED)
            self._attempt.result()
        finally:
            self._attempt.cancel()
            self._attempt = None

    async def disconnect(self) -> None:
        """End the link or the attempt at one."""
        if self._attempt is None and self._connection is None:
            raise BluezError("NotConnected", "Not Connected")
        await self.drop()

    async def drop(self, reason: int = _REMOTE_USER) -> None:
        """End whatever there is, without a word."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait({self._attempt})
        await self._hang_up(reason)
        # Not before: bumble does not expect an answer to a request that was given up on a living link.
        if self._resolving is not None:
            self._resolving.cancel()
            await asyncio.wait({self._resolving})

    async def pair(self, *, with_agent: bool) -> None:
        """Bond because a client asked for it."""
        if self.bonded:
            raise BluezError("AlreadyExists", "Already Exists")
        await self.connect()
        if not with_agent:
            await self.drop()
            raise BluezError(*_NOT_AUTHENTICATED)
        await self._bond(_REMOTE_USER)

    async def att(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do an ATT operation; where the device wants encryption, bond and do it again.

        ATT_Error as the device answers, BluezError where the link is lost, Unanswered where bonding came to nothing.
        """
        connection = self._connection
        if connection is None:
            raise BluezError("Failed", "Not connected")
        gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def lost(reason: int) -> None:
            if not gone.done():
                gone.set_result(reason)

        connection.on(connection.EVENT_DISCONNECTION, lost)
        job = asyncio.ensure_future(self._secured(operation))
        try:
            either: set[asyncio.Future[Any]] = {job, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                await asyncio.wait({job}, timeout=_LAST_ANSWER_S)
            if not job.done() or job.cancelled():
                raise BluezError(*_UNLIKELY)
            return job.result()
        finally:
            job.cancel()
            connection.remove_listener(connection.EVENT_DISCONNECTION, lost)

    async def forget_client(self, client: str) -> None:
        """A client left the bus: its notifications end."""
        for path in self.gatt.notifying(client):
            try:
                await self.att(partial(self.gatt.stop_notify, path, client))
            except (BaseBumbleError, BluezError, Unanswered):
                pass  # the link is lost, which ends them too

    async def _secured(self, operation: Callable[[], Awaitable[T]]) -> T:
        try:
            return await operation()
        except ATT_Error as error:
            if error.error_code not in _WANTS_ENCRYPTION:
                raise
        if not await self._consent(self.path):
            await self.drop()
            raise Unanswered
        try:
            await self._bond(_AUTHENTICATION_FAILURE)
        except BluezError as error:
            raise Unanswered from error
        return await operation()

    async def _connect(self) -> None:
        async with self._connecting:
            connection = await self._link()
        self._connection = connection
        connection.on(connection.EVENT_DISCONNECTION, lambda _reason: self._gone())
        self._tree.change(self.path, DEVICE, Connected=Variant("b", True))
        if self.bonded:
            try:
                await _finished(connection.encrypt())
            except (BaseBumbleError, LinkGone) as error:
                await self._hang_up(_AUTHENTICATION_FAILURE)
                raise BluezError(*_ABORTED) from error
        await asyncio.sleep(_SETTLE_S)
        if self._connection is None:
            raise BluezError(*_CANCELLED)
        self._resolving = asyncio.ensure_future(self._resolve(connection))

    async def _link(self) -> Connection:
        """Answer the link. A given-up attempt is ended first: bumble takes a link that comes later for a defect."""
        attempt = asyncio.ensure_future(self._central.connect_le(self.on_air, timeout=_CONNECT_S))
        try:
            await asyncio.wait({attempt})
            return attempt.result()
        except asyncio.CancelledError:
            await self._give_up(attempt)
            raise
        except (BaseBumbleError, TimeoutError) as error:
            raise BluezError(*_ABORTED) from error

    async def _give_up(self, attempt: asyncio.Future[Connection]) -> None:
        """Have the controller end the attempt; a link that was faster is ended, too."""
        while not attempt.done():
            try:
                await self._central.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
            except BaseBumbleError:
                pass  # not begun yet, or linked just now
            await asyncio.wait({attempt}, timeout=_CANCEL_S)
        if not attempt.cancelled() and attempt.exception() is None:
            with suppress(BaseBumbleError):  # the device was faster
                await attempt.result().disconnect()

    async def _resolve(self, connection: Connection) -> None:
        late_s = self._late_s()

        async def between() -> None:
            if late_s:
                self._tree.change(self.path, DEVICE, ServicesResolved=Variant("b", True))
                await asyncio.sleep(late_s)

        try:
            await self.gatt.resolve(connection, between)
        except (BaseBumbleError, TimeoutError):
            return  # the link is lost, and that is told elsewhere
        if not late_s:
            self._tree.change(self.path, DEVICE, ServicesResolved=Variant("b", True))

    async def _bond(self, reason_if_not: int) -> None:
        connection = self._connection
        if connection is None:
            raise BluezError(*_NOT_AUTHENTICATED)
        try:
            await _finished(connection.pair())
        except (BaseBumbleError, LinkGone) as error:
            await self._hang_up(reason_if_not)
            raise BluezError(*_NOT_AUTHENTICATED) from error
        changed = {"Paired": Variant("b", True), "Bonded": Variant("b", True)}
        if connection.peer_address != self.address:
            self.address = connection.peer_address
            changed["Address"] = Variant("s", self.address.to_string(False))
        self._tree.change(self.path, DEVICE, **changed)

    async def _hang_up(self, reason: int) -> None:
        connection = self._connection
        if connection is not None:
            try:
                await _finished(connection.disconnect(reason))
            except (BaseBumbleError, LinkGone):
                pass  # the other side was faster

    def _gone(self) -> None:
        self._connection = None
        paired = self._tree.properties(self.path, DEVICE).get("Paired")
        self.gatt.close(bonded=paired is not None and paired.value)
        no = Variant("b", False)
        self._tree.change(self.path, DEVICE, ServicesResolved=no, Connected=no)


async def _finished(operation: Coroutine[Any, Any, T]) -> T:
    """bumble cancels what is under way when the link is lost; that is not the end of whoever waits for it."""
    task = asyncio.ensure_future(operation)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    if task.cancelled():
        raise LinkGone
    return task.result()
