"""Who attends the room's devices: one attendant a device, the radio that some of them share, and their accounts.

A reload exchanges some of them in three steps, and the others notice nothing:

1. `prepare` builds what is new: what cannot be built fails before anything is touched.
2. `retire` stops who is gone or changed; what they had settled is kept, what they had counted stays counted.
3. `adopt` puts the new ones in their places, in one step of the loop; `start` lets them run.

A device that stays under its id keeps its account and what its intake remembers of repeats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from drivers import registry
from gateway.account import Fate
from gateway.clock import Clock
from gateway.control import Dialog
from gateway.intake import Intake
from gateway.outbox import Outbox
from gateway.parts import Parts
from gateway.payload import Origin
from gateway.ranges import Ranges
from gateway.settings import Device
from gateway.standing import OnChange, OnEvent, Standing
from gateway.store import DatabaseError, Store
from gateway.supervisor import Supervisor

if TYPE_CHECKING:
    from drivers.links.radio import Radio
    from gateway.advert_supervisor import AdvertSupervisor
    from gateway.ble_supervisor import BleSupervisor
    from gateway.pairing import Pairing

    Attendant = Supervisor | BleSupervisor | AdvertSupervisor

_log = logging.getLogger(__name__)

REMEMBERED = 8  # how many of a device's last readings are looked at for repeats after a start
RETIRE_S = 30.0  # a link by radio is ended with the device's help; who takes longer is stuck
_RADIO = "radio"


@dataclass(frozen=True, slots=True)
class House:
    """What readings of all devices are made by: who we are, the ranges, and what the devices' clocks show."""

    origin: Origin
    ranges: Ranges
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Roster:
    """The devices that are to be attended, and by whom: `added` and `restarted` by attendants who do not run yet."""

    devices: dict[str, Device]
    house: House
    radio: Radio | None
    new: dict[str, Attendant] = field(default_factory=dict)
    intakes: dict[str, Intake] = field(default_factory=dict)  # of those who were not there before
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    exchanged: tuple[str, ...] = ()  # of `restarted`: another device under the same name

    @property
    def strangers(self) -> tuple[Attendant, ...]:
        """Those of hardware that was not there under this name before: an earlier one's tests are not theirs."""
        return tuple(one for id_, one in self.new.items() if id_ in self.intakes or id_ in self.exchanged)

    @property
    def added(self) -> tuple[str, ...]:
        """Those who were not there before."""
        return tuple(self.intakes)


class Attendants:
    """The room's devices, attended. `standings`, `by_id` are always of now; `gone`: accounts of the removed ones."""

    def __init__(
        self, parts: Parts, outbox: Outbox, clock: Clock, on_change: OnChange, on_event: OnEvent, *, demo: bool
    ) -> None:
        self.standings: dict[str, Standing] = {}
        self.gone: dict[str, Standing] = {}
        self.radio: Radio | None = None
        self.by_id: dict[str, Attendant] = {}
        self._parts = parts
        self._outbox = outbox
        self._clock = clock
        self._on_change = on_change
        self._on_event = on_event
        self._demo = demo
        self._devices: dict[str, Device] = {}
        self._intakes: dict[str, Intake] = {}
        self._house: House | None = None
        self._pairing: Pairing | None = None

    # ---- before anything is touched ------------------------------------------------------------------------------

    def prepare(self, devices: Sequence[Device], house: House) -> Roster:
        """Build who is to attend these devices, as far as nobody does yet."""
        wanted = {device.id: device for device in devices}
        removed = tuple(id_ for id_ in self._devices if id_ not in wanted)
        restarted = tuple(id_ for id_, device in wanted.items() if self._must_restart(device, house))
        added = [device for id_, device in wanted.items() if id_ not in self._devices]
        exchanged = tuple(id_ for id_ in restarted if wanted[id_].address != self._devices[id_].address)
        radio = self._radio_for(devices)
        roster = Roster(wanted, house, radio, removed=removed, restarted=restarted, exchanged=exchanged)
        for device in added:
            roster.intakes[device.id] = Intake(device, house.origin, house.ranges, self._clock, house.zone)
        for id_ in (*restarted, *roster.added):
            intake = roster.intakes.get(id_) or self._intakes[id_]
            roster.new[id_] = self._attendant(wanted[id_], intake, house, roster.radio)
        return roster

    async def remember(self, roster: Roster) -> None:
        """Read what was kept of the new devices before, to know repeats by; an unreadable disk hinders nobody."""
        with suppress(DatabaseError):  # the outbox shows its own trouble; reading does not wait for it
            for id_, intake in roster.intakes.items():
                for kept in await self._outbox.ask(_last_payloads(id_)):
                    try:
                        roster.new[id_].standing.last_reading(intake.remember(kept))
                    except (ValueError, KeyError, TypeError, ArithmeticError):
                        _log.warning("%s: a kept reading cannot be read again: repeats of it will not be found", id_)

    def busy_with(self, roster: Roster) -> str | None:
        """Answer who of those that would be stopped is paired or certified now: what is measured there is a test."""
        address = None if self._pairing is None else self._pairing.busy_with
        for id_ in (*roster.removed, *roster.restarted):
            if address is not None and self._devices[id_].address == address:
                return f"{id_} is being paired"
            if self.by_id[id_].trials.is_taken:
                return f"{id_} is being certified"
        return None

    # ---- the exchange --------------------------------------------------------------------------------------------

    def let_go(self, roster: Roster) -> None:
        """Let nobody certify or pair who is to be stopped: a test that began there would not be known to who follows.

        To be called in the step of the loop that found none of them busy.
        """
        for id_ in (*roster.removed, *roster.restarted):
            self.by_id[id_].trials.is_taken = True

    async def retire(self, roster: Roster) -> None:
        """Stop who is gone or changed; what they had settled is handed to the outbox. Raises TimeoutError."""
        names = [_part(id_) for id_ in (*roster.removed, *roster.restarted)]
        async with asyncio.timeout(RETIRE_S):
            await self._parts.stop(*names)
            if roster.radio is None:
                await self._parts.stop(_RADIO)
            else:
                await roster.radio.attend({d.address for d in roster.devices.values() if d.address is not None})

    def adopt(self, roster: Roster) -> None:
        """Put the new ones in their places; they do not run yet."""
        for id_ in roster.removed:
            self.gone[id_] = self.standings.pop(id_)
        for id_, attendant in roster.new.items():
            earlier = self.standings.get(id_) or self.gone.pop(id_, None)
            if earlier is not None:
                attendant.standing.succeed(earlier)
        house, self._house, self._devices = roster.house, roster.house, roster.devices
        self._intakes = {id_: roster.intakes.get(id_) or self._intakes[id_] for id_ in roster.devices}
        for id_, device in roster.devices.items():
            self._intakes[id_].change(device, house.origin, house.ranges, house.zone)
        before = dict(self.by_id)
        for id_ in set(roster.restarted).difference(roster.exchanged):
            roster.new[id_].trials.succeed(before[id_].trials)
        self.by_id.clear()
        self.by_id.update({id_: roster.new.get(id_) or before[id_] for id_ in roster.devices})
        self.standings.clear()
        self.standings.update({id_: attendant.standing for id_, attendant in self.by_id.items()})
        self._share(roster.radio, {id_: one for id_, one in before.items() if id_ not in roster.exchanged})

    def start(self, roster: Roster) -> None:
        """Let the new ones run."""
        for id_, attendant in roster.new.items():
            self._parts.start(_part(id_), attendant.run())
        if self.radio is not None and _RADIO not in self._parts.names:
            from gateway.ble_supervisor import attend_radio

            self._parts.start(_RADIO, attend_radio(self.radio))

    # ---- what the others call ------------------------------------------------------------------------------------

    def became(self, fates: Sequence[Fate]) -> None:
        """Hear what became of what was handed to the outbox; of a device that is gone since, too."""
        for fate in fates:
            (self.standings.get(fate.device) or self.gone[fate.device]).became(fate)

    async def pair(self, question: dict[str, Any], dialog: Dialog) -> None:
        """Go through a pairing, where there is a radio."""
        if self._pairing is None:
            words = "the configuration has no Bluetooth device: add it, systemctl reload vitals-gateway, and pair then"
            await dialog.tell(error=words)
        else:
            await self._pairing.converse(question, dialog)

    # ---- building ------------------------------------------------------------------------------------------------

    def _must_restart(self, device: Device, house: House) -> bool:
        """Whether another attendant must take over; `stored` and what is true of the whole house is for the intake."""
        before = self._devices.get(device.id)
        if before is None or self._house is None:
            return False
        sets_clocks = device.address is not None and not registry.is_only_heard(device.model.driver)
        return replace(before, stored=device.stored) != device or (sets_clocks and house.zone != self._house.zone)

    def _radio_for(self, devices: Sequence[Device]) -> Radio | None:
        """Answer the radio, where a device needs one: bleak costs 20 MB, which serial devices should not pay."""
        addresses = {device.address for device in devices if device.address is not None}
        if not addresses or self.radio is not None:
            return self.radio if addresses else None
        from drivers.links.radio import Radio

        return Radio(addresses, self._radio_changed)

    def _attendant(self, device: Device, intake: Intake, house: House, radio: Radio | None) -> Attendant:
        outbox, clock, on_change, on_event = self._outbox, self._clock, self._on_change, self._on_event
        if device.address is None or radio is None:
            return Supervisor(
                device,
                device.port or "",
                intake,
                outbox,
                clock,
                demo=self._demo,
                on_change=on_change,
                on_event=on_event,
            )
        if registry.is_only_heard(device.model.driver):
            from gateway.advert_supervisor import AdvertSupervisor

            return AdvertSupervisor(
                device,
                device.address,
                intake,
                outbox,
                clock,
                radio,
                demo=self._demo,
                on_change=on_change,
                on_event=on_event,
            )
        from gateway.ble_supervisor import BleSupervisor

        return BleSupervisor(
            device,
            device.address,
            intake,
            outbox,
            clock,
            radio,
            zone=house.zone,
            demo=self._demo,
            on_change=on_change,
            on_event=on_event,
        )

    def _share(self, radio: Radio | None, before: Mapping[str, Attendant]) -> None:
        """Let whoever pairs find the devices that share the radio; who was paired just now is still known for it."""
        if radio is None:
            self.radio = self._pairing = None
            return
        from gateway.advert_supervisor import AdvertSupervisor
        from gateway.ble_supervisor import BleSupervisor
        from gateway.pairing import Pairing

        if radio is not self.radio or self._pairing is None:
            self.radio, self._pairing = radio, Pairing(radio)
        for id_, attendant in self.by_id.items():
            earlier = before.get(id_)
            if isinstance(attendant, BleSupervisor) and isinstance(earlier, BleSupervisor):
                attendant.succeed(earlier)
        attendants = self.by_id.values()
        self._pairing.supervisors = {a.address: a for a in attendants if isinstance(a, BleSupervisor)}
        self._pairing.only_heard = {a.address for a in attendants if isinstance(a, AdvertSupervisor)}

    def _radio_changed(self) -> None:
        for attendant in self.by_id.values():
            if not isinstance(attendant, Supervisor):
                attendant.radio_changed()


def _part(device: str) -> str:
    return f"device {device}"


def _last_payloads(device: str) -> Callable[[Store], list[bytes]]:
    return lambda store: store.last_payloads(device, REMEMBERED)
