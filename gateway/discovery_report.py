"""What was discovered, as lines of YAML: all that was found as comments, and entries for `devices:`. Pure.

1. What is printed can be pasted: it is YAML, and the entries pass `vitals-gateway check`.
2. An entry that is not ready stands there as a comment: take `# ` away from its lines once it is decided.
3. Text of devices is made printable and bounded. Nothing that was measured is shown.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.candidates import of_frames
from drivers.models import DeviceModel
from gateway.discovery_bluetooth import Overheard, RadioFinding
from gateway.discovery_entries import Entry, at_line, of_port, of_radio, with_name
from gateway.discovery_serial import PortFinding, written
from gateway.problems import shown
from gateway.terminal import printable

_WIDTH = 112


@dataclass(slots=True)
class Discovery:
    """What is known so far. `service`: what was learned of a running one, in words; `used`: its ids -> models."""

    models: Mapping[str, DeviceModel]
    ports: list[PortFinding] = field(default_factory=list)
    air: Overheard | None = None
    service: str = ""
    used: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def entries(self) -> list[Entry]:
        """Answer the entries for `devices:`, ports first; what the running service has is not among them."""
        taken = set(self.used)
        found = [of_port(port, self.models, taken) for port in self.ports if port.state == "recognized"]
        kinds: set[str] = {
            row.kind for model in self.used.values() if (row := self.models.get(model)) and row.link == "ble"
        }
        heard = self.air.strongest_first if self.air is not None else []
        new = [device for device in heard if device.candidates.models and device.device is None]
        return found + [of_radio(device, self.models, taken, kinds) for device in new]

    # ---- as text ---------------------------------------------------------------------------------------------------

    def lines(self, *, everybody: bool) -> Iterator[str]:
        """Answer the YAML; `everybody`: Bluetooth devices that are none of a room's, too."""
        yield f"# Found by vitals-gateway discover{', interrupted' if self.interrupted else ''}. None of it is certain:"
        yield "# compare each entry with the type plate, and weigh or measure something known before a patient does."
        if self.service:
            yield from _comment(self.service)
        yield "#"
        yield from self._port_lines()
        yield from self._air_lines(everybody=everybody)
        entries = self.entries()
        if any(entry.ready for entry in entries):
            yield "devices:"
        elif entries:
            yield "# devices:"
        else:
            yield "# No device was recognized: there is nothing to paste."
        for entry in entries:
            yield from _entry_lines(entry)

    def _port_lines(self) -> Iterator[str]:
        if not self.ports:
            yield "# No serial port was looked at."
        for port in self.ports:
            facts = port.facts
            yield f"# {_whole(port.name)}" + ("" if port.name == facts.device else f" ({_whole(facts.device)})")
            for name in (facts.by_path, facts.by_id):
                if name and name != port.name:
                    yield f"#     {_whole(name)}"
            hardware = [facts.driver] if facts.driver else []
            if facts.usb is not None:
                words = (f'"{shown(word)}"' for word in (facts.usb.maker, facts.usb.product) if word)
                serial = f'serial number "{shown(facts.usb.serial)}"' if facts.usb.serial else ""
                hardware += [f"USB {shown(facts.usb.id)}", *words, serial]
            if hardware:
                yield f"#     {', '.join(word for word in hardware if word)}"
            yield from _comment(_state(port), "    ")
        yield "#"

    def _air_lines(self, *, everybody: bool) -> Iterator[str]:
        if self.air is None:
            return
        if self.air.trouble is not None:
            yield from _comment(f"Bluetooth: {self.air.trouble}")
        heard = self.air.strongest_first
        if self.air.trouble is not None and not heard:
            yield "#"
            return
        told = [found for found in heard if everybody or found.is_medical]
        yield f"# Bluetooth: {len(heard)} in range, {sum(found.is_medical for found in heard)} of them medical"
        for found in told:
            yield from _comment(_sighting(found), "    ")
        yield "#"

    # ---- as data ---------------------------------------------------------------------------------------------------

    def members(self, *, everybody: bool) -> dict[str, Any]:
        """Answer the same for programs."""
        told = [f for f in self.air.strongest_first if everybody or f.is_medical] if self.air is not None else []
        return {
            "interrupted": self.interrupted,
            "service": self.service or None,
            "serial": [self._port_members(port) for port in self.ports],
            "bluetooth": None
            if self.air is None
            else {"trouble": self.air.trouble, "devices": [_radio_members(found) for found in told]},
            "entries": [
                {"id": e.id, "model": e.model, e.key: e.where, "ready": e.ready, "models": e.models, "notes": e.notes}
                for e in self.entries()
            ],
        }

    def _port_members(self, port: PortFinding) -> dict[str, Any]:
        facts, usb = port.facts, port.facts.usb
        drivers = {verdict.driver for verdict in port.verdicts}
        return {
            "port": port.name,
            "device": facts.device,
            "by_path": facts.by_path or None,
            "by_id": facts.by_id or None,
            "driver": facts.driver or None,
            "usb": usb and {name: shown(getattr(usb, name)) for name in ("id", "maker", "product", "serial")},
            "holders": [{"pid": holder.pid, "name": shown(holder.name)} for holder in facts.holders],
            "allowed": facts.allowed,
            "state": port.state,
            "detail": port.detail or None,
            "known_as": port.device,
            "asked": port.asked,
            "line": None if port.line is None or port.is_pty else written(port.line),
            "bytes": port.seen,
            "protocols": [{"driver": verdict.driver, "frames": verdict.frames} for verdict in port.verdicts],
            "models": of_frames(drivers, self.models).models,
        }


def _radio_members(found: RadioFinding) -> dict[str, Any]:
    heard = found.heard
    return {
        "address": heard.address,
        "changes": heard.is_private,
        "bonded": heard.bonded,
        "rssi": heard.rssi,
        "name": shown(heard.name),
        "services": heard.services,
        "simulated": heard.is_simulated,
        "known_as": found.device,
        "models": found.candidates.models,
        "why": found.candidates.why if found.candidates.models else None,
    }


def _state(port: PortFinding) -> str:
    who = ", ".join(f"{shown(holder.name)} (process {holder.pid})" for holder in port.facts.holders)
    if port.state == "ours":
        return f"not opened: it is {port.device} of the running service. {port.detail}".rstrip()
    if port.state == "held":
        return f"not opened: held by {who}. Stop that program, then look again"
    if port.state == "console":
        return "not opened: it is the kernel's console. Take console=… out of the kernel's command line to use it"
    if port.state == "failed":
        return port.detail
    if port.state == "silent":
        asked = f" It was asked as {port.asked}." if port.asked else ""
        return (
            f"silent.{asked} Step on the scale, measure, switch its output on; is the cable a null-modem one? Some"
            " devices only answer: --port PATH --ask MODEL asks as that model does"
        )
    if port.state == "unreadable":
        return (
            f"{port.seen} bytes came that no protocol explains, at no setting of the catalogue: is it in the catalogue?"
        )
    if port.state == "recognized":
        return f"speaks {' or '.join(verdict.driver for verdict in port.verdicts)}{at_line(port)}"
    return "was not listened to yet"


def _sighting(found: RadioFinding) -> str:
    heard, models = found.heard, found.candidates.models
    told = [f"{heard.rssi} dBm", f"{heard.address}{with_name(heard.name)}", " ".join(heard.services) or "no service"]
    told.append("bonded" if heard.bonded else "not bonded")
    if heard.is_private:
        told.append("its address changes: pair it first")
    if heard.is_simulated:
        told.append("a simulator")
    if found.device is not None:
        told.append(f"the running service has it as {found.device}")
    told.append(f"{models[0]}{f' or {len(models) - 1} others' if models[1:] else ''}" if models else "no model of ours")
    return ", ".join(told)


def _entry_lines(entry: Entry) -> Iterator[str]:
    """An entry that is not ready is a comment as a whole, notes too: it is YAML again when the first `# ` is gone."""
    mark = "" if entry.ready else "# "
    for note in entry.notes:
        for line in _comment(note):
            yield f"{mark}  {line}"
    yield f"{mark}  - id: {entry.id}"
    yield f"{mark}    model: {entry.model if entry.model[:1].isalpha() else json.dumps(entry.model)}"
    yield f"{mark}    {entry.key}: {json.dumps(entry.where)}"
    for line in entry.more:
        yield f"{mark}    {line}"


def _comment(text: str, inner: str = "") -> Iterator[str]:
    for line in textwrap.wrap(printable(text), _WIDTH, break_on_hyphens=False, subsequent_indent="  "):
        yield f"# {inner}{line}"


def _whole(path: str) -> str:
    """A path for a comment: printable, and whole, since it is to be copied."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)
