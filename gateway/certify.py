"""`vitals-gateway certify`, the service's side: each device of a room is measured with once, and followed.

1. What is measured meanwhile is a test's and reaches no chart; whose it is at the edges, trials.py says. That a trial
   begins is on disk before it does, where the device has a memory that says when it measured.
2. A patient's reading that comes meanwhile goes its way, and proves nothing: another is waited for.
3. Passed is what is usable, committed and acknowledged with success, and what the person saw on the display. MQTT 3.1.1
   acknowledges what it throws away: there it must come back, too.
4. What is held is not passed: a room whose readings are all held is none to be signed off.
5. However it ends (done, late, Ctrl-C, the client or the service gone), the device is `real` again at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from drivers.contract import Notice
from gateway import certificate, settings
from gateway.certificate import Finding
from gateway.clock import Clock
from gateway.following import Following
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.publisher import Publisher
from gateway.settings import Settings
from gateway.standing import DeviceStatus
from gateway.trial_file import TrialFile
from gateway.trials import LONGEST_S, Trial
from gateway.walk import Asked, Attendant, NotSaved, Walk

_log = logging.getLogger(__name__)

LEAST_S = 5.0
REST_LOOK_S = 0.1
_WITH_STAMPS = frozenset({"stamped", "kept"})
_RECONFIGURED = ("reconfigured", "a reload has changed it, or taken it away, meanwhile", "certify it once more")
_T = TypeVar("_T")


class Certify:
    """Certifies devices, as dialogs of the control socket."""

    def __init__(
        self,
        origin: Origin,
        settings: Settings,
        clock: Clock,
        outbox: Outbox,
        publisher: Publisher,
        attendants: Mapping[str, Attendant],
    ) -> None:
        """`attendants` is always of now."""
        self._origin = origin
        self._clock = clock
        self._outbox = outbox
        self._publisher = publisher
        self._attendants = attendants
        self._following = Following(origin, outbox, publisher, puback_tells=True)
        self._file = TrialFile(settings.outbox.path)
        self._saving: set[asyncio.Task[None]] = set()
        self._walks: dict[str, Walk] = {}
        self._planned: dict[str, Trial] = {}  # by device: on its way to the disk, not open yet
        self._known = dict(self._file.load(clock))  # trials by hardware, of devices that are gone since, too
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Go by other settings from now on. MQTT 5: its PUBACK says whether it was let in."""
        self._config_hash = settings.config_hash
        self._left_out = {device.id: device for device in settings.left_out}
        self._zone = ZoneInfo(settings.timezone)
        self._following.puback_tells = settings.broker.protocol == 5

    def remember(self, attendants: Iterable[Attendant]) -> None:
        """Let new attendants know of their devices' earlier trials."""
        for attendant in attendants:
            attendant.trials.past.extend(self._known.get(_hardware(attendant.standing.device), ()))

    def told(self, device: settings.Device, notice: Notice) -> None:
        """Take note of what a device told that is not a reading."""
        if device.id in self._walks:
            self._walks[device.id].notice = notice

    async def saved(self) -> None:
        """Wait until the ends of trials are on disk."""
        if self._saving:
            await asyncio.wait(self._saving)

    async def converse(self, question: dict[str, Any], dialog: Asked) -> None:
        """Go through the devices with whoever is at the other end of `dialog`. Raises ConnectionError."""
        within_s, attended = question.get("within_s", LONGEST_S), question.get("unattended") is not True
        known = [*self._attendants, *self._left_out]
        names = list(dict.fromkeys(question.get("devices") or known))
        if not isinstance(within_s, int | float) or not LEAST_S <= within_s <= LONGEST_S:
            await dialog.tell(error=f"a device has {LEAST_S:.0f} to {LONGEST_S:.0f} seconds")
            return
        unknown = [str(name) for name in names if name not in known]
        if unknown:
            await dialog.tell(error=f"the configuration has no device {', '.join(unknown)}: it has {', '.join(known)}")
            return
        _log.info("certify: %s", ", ".join(names))
        since = self._clock.now().utc
        left_out = [self._left_out[name] for name in names if name in self._left_out]
        for device in left_out:
            await dialog.tell(step="ended", device=device.id, text=f"It is left out: {device.problem}", result="failed")
        with self._following.listening():
            asked = [self._attendants[name].standing.device for name in names if name in self._attendants]
            walks = [self._walk(device, dialog, within_s, attended=attended) for device in asked]
            if attended:
                findings = [await walk for walk in walks]
            else:
                findings = await _side_by_side(walks)
        values = question.get("values") is True
        if values:
            _log.warning("values were asked for by `certify`")
        devices = []
        for finding, status in findings:
            attendant = self._attendants.get(finding.device.id)
            if finding.result == "passed" and (attendant is None or attendant.standing.device != finding.device):
                finding.ended("failed", *_RECONFIGURED)
            _log.info("certify: %s %s (%s)", finding.device.id, finding.result, finding.reason or finding.proof)
            devices.append(certificate.members(finding, status.identity, status.battery, values=values))
        stream = self._outbox.stream
        gateway = {
            "id": self._origin.gateway_id,
            "version": self._origin.version,
            "config_hash": self._config_hash,
            "stream": None if stream is None else str(stream),
            "clock": self._clock.quality.value,
            "broker": self._publisher.state.connected_to,
        }
        devices += map(certificate.missing, left_out)
        report = certificate.report(
            devices, gateway=gateway, since=since, until=self._clock.now().utc, attended=attended
        )
        await dialog.tell(done=True, report=report)

    # ---- trials ----------------------------------------------------------------------------------------------------

    async def _walk(
        self, device: settings.Device, dialog: Asked, within_s: float, *, attended: bool
    ) -> tuple[Finding, DeviceStatus]:
        """Certify one device; answer how it stood then, too: a reload may exchange it, or take it away."""
        name, attendant = device.id, self._attendants.get(device.id)
        if attendant is None:
            return Finding(device).ended("failed", *_RECONFIGURED), DeviceStatus()
        opening = partial(self._open, attendant)
        walk = Walk(attendant, self._following, opening, dialog, within_s, attended=attended)
        self._walks.setdefault(name, walk)
        try:
            return await walk.go(), attendant.standing.status
        finally:
            if self._walks.get(name) is walk:
                del self._walks[name]
            if attendant.standing.device.model.memory in _WITH_STAMPS:
                self._closed()

    async def _open(self, attendant: Attendant, for_s: float) -> str:
        """Open a trial once the device is at rest; answer until when, on the room's clock. Raises NotSaved."""
        trials, name = attendant.trials, attendant.standing.device.id
        try:
            while True:
                while not attendant.is_at_rest:  # noqa: ASYNC110 - it is told by silence
                    await asyncio.sleep(REST_LOOK_S)
                if attendant.standing.device.model.memory in _WITH_STAMPS:
                    self._planned[name] = trials.planned(for_s)
                    try:
                        await self._file.save(self._all_trials())
                    except OSError as error:
                        raise NotSaved from error
                if attendant.is_at_rest:
                    until = trials.open(for_s)
                    return f"{until.astimezone(self._zone):%H:%M:%S}"
        finally:
            self._planned.pop(name, None)

    def _closed(self) -> None:
        """Have it on disk that trials have ended."""
        task = asyncio.ensure_future(self._save())
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def _save(self) -> None:
        try:
            await self._file.save(self._all_trials())
        except OSError:
            _log.warning("the end of a test is not on disk: after a restart, what was measured in it is held")

    def _all_trials(self) -> dict[str, Sequence[Trial]]:
        """Answer past, open and planned ones of all devices: whoever saves, saves the others' too."""
        for name, attendant in self._attendants.items():
            device = attendant.standing.device
            if device.model.memory not in _WITH_STAMPS:
                continue
            more = [trial for trial in (attendant.trials.running, self._planned.get(name)) if trial is not None]
            self._known[_hardware(device)] = [*attendant.trials.past, *more]
        return dict(self._known)


async def _side_by_side(walks: Sequence[Awaitable[_T]]) -> list[_T]:
    """Wait for all; none goes on when one fails (whoever asked is gone)."""
    tasks = [asyncio.ensure_future(walk) for walk in walks]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _hardware(device: settings.Device) -> str:
    return device.address or device.id
