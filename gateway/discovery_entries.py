"""What was discovered, as entries for `devices:` in the YAML. Pure.

An entry that a person has to complete or to decide on is not `ready`: a unit is not guessed, nor which of two rooms a
cuff belongs to, nor a model of which nothing but its service is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from drivers.candidates import Candidates, of_frames
from drivers.models import Advertising, DeviceModel
from gateway.discovery_bluetooth import RadioFinding
from gateway.discovery_serial import PortFinding, written
from gateway.problems import shown

_IDS = {"blood_pressure": "cuff", "heart_rate": "strap"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One device of the YAML. `ready`: it can be used as it stands; else `notes` tell why it is only a comment."""

    id: str
    model: str
    key: str
    where: str
    ready: bool = True
    more: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


def of_port(port: PortFinding, models: Mapping[str, DeviceModel], taken: set[str]) -> Entry:
    """Answer the entry of a port that was recognized; `taken`: ids that are used, to which its own is added."""
    drivers = {verdict.driver for verdict in port.verdicts}
    candidates = of_frames(drivers, models)
    model = candidates.models[0]
    if port.asked is not None and models[port.asked].driver in drivers:  # a person named it
        model, drivers = port.asked, {models[port.asked].driver}
        candidates = Candidates((model,), candidates.why)
    row = models[model]
    frames = max(verdict.frames for verdict in port.verdicts)
    line = replace(row.line, flow_control="none")
    notes = [f"{frames} frames of {' or '.join(sorted(drivers))}{at_line(port)}", *_which(candidates, models)]
    more = []
    if port.line is not None and port.line != line and not port.is_pty:
        wire = {name: getattr(port.line, name) for name in ("baud", "data_bits", "parity", "stop_bits")}
        more.append(f"serial: {{{', '.join(f'{key}: {value}' for key, value in wire.items())}}}")
    if len(drivers) > 1:
        notes.append("several protocols have these frames: nobody can tell them apart here. Choose the model")
    return _entry(row, model, "port", port.name, taken, notes, more, candidates, ready=len(drivers) == 1)


def of_radio(found: RadioFinding, models: Mapping[str, DeviceModel], taken: set[str], kinds: set[str]) -> Entry:
    """Answer the entry of a device in range that may be a model; `kinds`: those that the room has one of."""
    heard, candidates = found.heard, found.candidates
    model = candidates.models[0]
    row = models[model]
    notes = [f"{heard.rssi} dBm{with_name(heard.name)}", *_which(candidates, models)]
    reasons = []
    if heard.is_private:
        reasons.append("its address changes every few minutes: pair it first, and write the address that it has then")
    if candidates.why == "service":
        reasons.append("only its service is known: it may be of a model that is not in the catalogue")
    neighbors = "a neighbor's patients must not be read"
    if row.kind in kinds:
        reasons.append(
            f"another of its kind is nearer, or the room has one. Is this one this room's? If not, {neighbors}"
        )
    else:
        notes.append(f"it was heard, not seen. Is it this room's? If not, {neighbors}")
    if not reasons:
        kinds.add(row.kind)
    notes += reasons
    return _entry(row, model, "address", heard.address, taken, notes, [], candidates, ready=not reasons)


def _entry(
    row: DeviceModel,
    model: str,
    key: str,
    where: str,
    taken: set[str],
    notes: Sequence[str],
    more: Sequence[str],
    candidates: Candidates,
    *,
    ready: bool,
) -> Entry:
    notes, more = list(notes), list(more)
    if row.unit == "pinned":
        ready = False
        more.append(
            "unit:    # kg or lb: what it is set to. Its frames do not say it, and a guess could be a wrong weight"
        )
        notes.append("complete the line unit, then take the first # of each line away")
    if "consent" in row.session.steps and row.session.consent is None:
        more += [
            "user: 1    # its number in the scale",
            f"consent_file: {model}-consent    # a file with its code alone",
        ]
    base = _IDS.get(row.kind, row.kind)
    name = base if base not in taken else next(n for i in range(2, 1000) if (n := f"{base}-{i}") not in taken)
    taken.add(name)
    return Entry(name, model, key, where, ready, tuple(more), tuple(notes), candidates.models)


def _which(candidates: Candidates, models: Mapping[str, DeviceModel]) -> Iterator[str]:
    """Say what else it may be, and whether that would make a difference."""
    first, *others = candidates.models
    if not others:
        return
    alike = {name for name in others if _as_read(models[name]) == _as_read(models[first])}
    yield f"one of {len(candidates.models)} models: what does the type plate say? Or: {', '.join(others)}"
    if len(alike) < len(others):
        yield "they differ in what makes a reading: with the wrong one a weight may be told too early, or held"


def _as_read(row: DeviceModel) -> DeviceModel:
    """A row without what is only said of it: two that are equal in the rest are read alike."""
    said: dict[str, Any] = {"maker": "", "model": "", "sources": (), "notes": (), "evidence": (), "pairing": ""}
    return replace(row, **said, advertised=Advertising())


def at_line(port: PortFinding) -> str:
    """Answer the setting at which a port was recognized, as the end of a phrase."""
    if port.is_pty:
        return " (a pty: its line setting cannot be told)"
    return "" if port.line is None else f" at {written(port.line)}"


def with_name(name: str) -> str:
    """Answer a device's name as the end of a phrase: printable, bounded."""
    return f' "{shown(name)}"' if name else ""
