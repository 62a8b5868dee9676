"""Who else of the site has a device of ours in its configuration: two gateways that claim one Bluetooth device.

1. Each gateway says, retained, which radio addresses its YAML names: vitals/v1/{site}/claim/{address}/{room}.
2. Another room's claim is shown at the device, in both rooms; it holds nothing and stops nothing. A cuff that is bonded
   to one of the two shows itself at the other (`bond_lost`, `pairing_refused`).
3. What others publish there is believed only as far as a room's name goes. Without the right to read there, nothing is
   known, and that is shown.

A serial port's own number is its adapter's, not the device's: no claim is made of it.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from gateway.broker import Watch
from gateway.payload import Origin, to_bytes
from gateway.settings import Device

_log = logging.getLogger(__name__)

ROOMS_LIMIT = 10  # that are shown for one device
_ROOM = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Claims:
    """The claims of one gateway, and what it hears of others'. `on_change` is called with a device's id."""

    def __init__(self, origin: Origin, devices: Iterable[Device], on_change: Callable[[str], None]) -> None:
        self.refused: str | None = None  # why the broker does not let us look
        self._origin = origin
        self._on_change = on_change
        self._devices = _by_level(devices)
        self._others: defaultdict[str, set[str]] = defaultdict(set)  # by the address's level

    def change(self, devices: Iterable[Device]) -> None:
        """Have these devices from now on; of an address that is gone nothing is known any more."""
        self._devices = _by_level(devices)
        self._others = defaultdict(
            set, {level: rooms for level, rooms in self._others.items() if level in self._devices}
        )

    @property
    def states(self) -> dict[str, bytes]:
        """Our own claims, by topic; retained."""
        return {
            f"{self._base}/{level}/{self._origin.room}": to_bytes(
                {
                    "schema": "vitals.claim/1",
                    "gateway": {"id": self._origin.gateway_id, "version": self._origin.version},
                    "site": self._origin.site,
                    "room": self._origin.room,
                    "device": {"id": device.id, "model": device.model_name, "hardware": device.address},
                }
            )
            for level, device in self._devices.items()
        }

    @property
    def watch(self) -> Watch | None:
        """What is to be subscribed; None without a Bluetooth device."""
        filters = tuple(f"{self._base}/{level}/+" for level in self._devices)
        return Watch(filters, self._take, self._on_refused) if filters else None

    def others(self, device: str) -> tuple[str, ...]:
        """Answer the rooms that claim this device, too."""
        rooms = (self._others[level] for level, one in self._devices.items() if one.id == device)
        return tuple(sorted(next(rooms, ()))[:ROOMS_LIMIT])

    @property
    def _base(self) -> str:
        return f"vitals/v1/{self._origin.site}/claim"

    def _take(self, topic: str, payload: bytes) -> None:
        level, _, room = topic.removeprefix(f"{self._base}/").partition("/")
        device = self._devices.get(level)
        if device is None or room == self._origin.room or not _ROOM.fullmatch(room):
            return
        rooms = self._others[level]
        known = room in rooms
        if payload and not known and len(rooms) < 10 * ROOMS_LIMIT:
            rooms.add(room)
            _log.warning("%s: room %s has it in its configuration, too: one of the two is wrong", device.id, room)
        elif not payload and known:
            rooms.discard(room)
            _log.info("%s: room %s claims it no longer", device.id, room)
        else:
            return
        self._on_change(device.id)

    def _on_refused(self, refused: str | None) -> None:
        if refused is not None and refused != self.refused:
            words = "the broker does not let us look on %s/# (%s): two rooms with one device stay unseen"
            _log.warning(words, self._base, refused)
        self.refused = refused


def _by_level(devices: Iterable[Device]) -> dict[str, Device]:
    return {_level(device.address): device for device in devices if device.address is not None}


def _level(address: str) -> str:
    return address.replace(":", "").lower()
