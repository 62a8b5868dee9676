"""Who advertises in range, as far as it may be a device for a room: heard, matched, never connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from drivers import registry
from drivers.candidates import Candidates, of_advertisement
from drivers.links import nearby
from drivers.links.bluetooth import Advertised
from drivers.models import DeviceModel

DEVICES_LIMIT = 1000  # a busy house has some dozens; private addresses change, so it could grow without end

Tell = Callable[[str], None]


@dataclass(slots=True)
class RadioFinding:
    """What one device said of itself so far. `rssi`: the strongest, dBm. `device`: the running service's id of it."""

    heard: Advertised
    candidates: Candidates
    device: str | None = None

    @property
    def is_medical(self) -> bool:
        """Whether the catalogue knows it, or a service of it."""
        known = {uuid for name in (*registry.ble_names(), *registry.vendor_names()) for uuid in registry.services(name)}
        return bool(self.candidates.models) or bool(known.intersection(self.heard.services))


@dataclass(slots=True)
class Overheard:
    """All that was heard, by address. `trouble`: why nothing is heard (any more), in words."""

    devices: dict[str, RadioFinding] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def strongest_first(self) -> list[RadioFinding]:
        """The devices by signal."""
        return sorted(self.devices.values(), key=lambda found: (-found.heard.rssi, found.heard.address))


async def listen(
    overheard: Overheard,
    models: Mapping[str, DeviceModel],
    known: Mapping[str, str],
    seconds: float,
    tell: Tell,
) -> None:
    """Hear for so long who is in range. `known`: address -> the running service's id. Raises LinkLost."""

    def heard(said: Advertised) -> None:
        before = overheard.devices.get(said.address)
        if before is None and len(overheard.devices) >= DEVICES_LIMIT:
            return
        whole = said if before is None else _with(before.heard, said)
        if before is not None and whole == before.heard:
            return
        candidates = of_advertisement(
            models, name=whole.name, services=whole.services, service_data=whole.service_data, makers=whole.makers
        )
        if before is not None and before.candidates.why == "read":
            candidates = before.candidates  # it says other things, too
        overheard.devices[said.address] = found = RadioFinding(whole, candidates, known.get(said.address))
        if found.is_medical and (before is None or before.candidates != candidates):
            tell(f"{whole.address}: {_told(found)}, {whole.rssi} dBm")

    await nearby.listen(seconds, heard)


def _told(found: RadioFinding) -> str:
    models = found.candidates.models
    if not models:
        return f"a device with service {', '.join(found.heard.services)}"
    return models[0] if len(models) == 1 else f"one of {len(models)} models ({models[0]}, …)"


def _with(before: Advertised, said: Advertised) -> Advertised:
    """What both packets of a device say; its signal is the strongest."""
    return Advertised(
        said.address,
        said.is_private,
        said.bonded,
        max(before.rssi, said.rssi),
        said.name or before.name,
        tuple(dict.fromkeys((*before.services, *said.services))),
        {**before.service_data, **said.service_data},
        tuple(dict.fromkeys((*before.makers, *said.makers))),
        before.is_simulated or said.is_simulated,
    )
