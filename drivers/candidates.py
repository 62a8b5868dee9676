"""Which models of the catalogue may be what was heard: of the frames on a serial line, or of an advertisement.

1. More than one answer is usual: a protocol has many models, and a service many makers. All are told, those first whose
   row rests on the better evidence, then those that ask for more equal frames: nobody here chooses.
2. `read`: what it says was read by the model's own driver. `named`: its name or its maker's number is the model's.
   `service`: it has a service that the model's driver speaks, and no more is known: it may be of a model that is in no
   catalogue.
3. A name that a row has, and that the device has not, rules the row out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from drivers import registry
from drivers.contract import Rejected
from drivers.models import DeviceModel, Evidence

Why = Literal["read", "named", "service"]

_EVIDENCE: tuple[Evidence, ...] = ("hardware", "capture", "independent-test", "manual", "derived")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Names of models, best first, and what they rest on. Empty: nothing that the catalogue knows."""

    models: tuple[str, ...] = ()
    why: Why = "service"


def best_first(names: Iterable[str], models: Mapping[str, DeviceModel]) -> tuple[str, ...]:
    """Answer the names sorted by their rows' evidence, then by how much they ask for."""

    def order(name: str) -> tuple[int, int, str]:
        row = models[name]
        return min(map(_EVIDENCE.index, row.evidence), default=len(_EVIDENCE)), -row.settling.frames, name

    return tuple(sorted(names, key=order))


def of_frames(drivers: Collection[str], models: Mapping[str, DeviceModel]) -> Candidates:
    """Answer the models whose serial driver is one of these."""
    return Candidates(best_first((name for name, row in models.items() if row.driver in drivers), models), "read")


def of_advertisement(
    models: Mapping[str, DeviceModel],
    *,
    name: str = "",
    services: Collection[str] = (),
    service_data: Mapping[str, bytes] | None = None,
    makers: Collection[int] = (),
) -> Candidates:
    """Answer the Bluetooth models that a device may be which advertises this; of whatever it says, nothing is kept."""
    rows = {model: row for model, row in models.items() if row.link == "ble"}
    said = service_data or {}
    if read := [model for model, row in rows.items() if _reads(row, said)]:
        return Candidates(best_first(read, models), "read")
    heard = {*services, *said}
    connected = {model: row for model, row in rows.items() if not registry.is_only_heard(row.driver)}
    offered = [model for model, row in connected.items() if heard.intersection(_services(row))]
    if named := [model for model, row in connected.items() if _is_named(row, name, makers)]:
        kinds = {models[model].kind for model in offered}
        fitting = [model for model in named if not kinds or models[model].kind in kinds]
        return Candidates(best_first(fitting or named, models), "named")
    unnamed = [model for model in offered if not (name and rows[model].advertised.names)]
    return Candidates(best_first(unnamed, models), "service")


def _services(row: DeviceModel) -> tuple[str, ...]:
    return row.advertised.services or registry.services(row.driver)


def _reads(row: DeviceModel, said: Mapping[str, bytes]) -> bool:
    """Whether a driver that only hears can read it; what others say beside is no proof of their model."""
    if not registry.is_only_heard(row.driver):
        return False
    codecs = registry.advertisements(row.driver, row.quirks)
    return any(
        service in codecs and not isinstance(codecs[service](data), Rejected)
        for service, data in said.items()
        if service in _services(row)
    )


def _is_named(row: DeviceModel, name: str, makers: Collection[int]) -> bool:
    known = row.advertised
    if name and known.names:
        return any(name.casefold().startswith(begin.casefold()) for begin in known.names)
    return known.company is not None and known.company in makers
