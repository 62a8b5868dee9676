"""`vitals-gateway discover`, at work: the running service is asked first, then ports and air are listened to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.errors import LinkLost
from drivers.links import serial_ports
from gateway import control, discovery_bluetooth, discovery_serial
from gateway.discovery_bluetooth import Overheard
from gateway.discovery_report import Discovery
from gateway.discovery_serial import PortFinding

Tell = Callable[[str], None]
Work = Coroutine[Any, Any, None]


async def ask_service(found: Discovery, tell: Tell) -> Mapping[str, Any]:
    """Ask the running service what it has, note it in `found`, and answer its devices by id; none where none runs."""
    path = control.default_path()
    try:
        answer = await asyncio.to_thread(control.ask, path, "status")
    except control.ControlError as error:
        if path.exists():
            found.service = f"The running service was not asked: {error}"
            tell(found.service)
        return {}
    devices = answer.get("devices")
    known: Mapping[str, Any] = devices if isinstance(devices, dict) else {}
    found.used = {name: str(device.get("model")) for name, device in known.items()}
    found.service = f"The service runs, and goes on. It has: {', '.join(known)}"
    return known


def ports(
    found: Discovery,
    named: Sequence[str],
    devices: Mapping[str, Any],
    *,
    seconds: float,
    ask: str | None,
    tell: Tell,
) -> list[Work]:
    """Find the ports, or those that are named, and answer what listens to each that may be opened."""
    if os.geteuid():
        tell("not root: who holds a port is not seen of other users' programs, and ports may not open")
    known = serial_ports.ports()
    facts = [(serial_ports.port(path, known), path) for path in named] if named else [(one, one.name) for one in known]
    ours = {_real(str(device["port"])): name for name, device in devices.items() if device.get("port")}
    for one, name in facts:
        device = ours.get(_real(one.device))
        told = devices[device] if device is not None else {}
        detail = ": ".join(str(told[key]) for key in ("state", "reason") if told.get(key))
        # A name that somebody gave stays, unless it is the bare one and there is a better.
        found.ports.append(PortFinding(one, one.name if name == one.device else name, device=device, detail=detail))
    if not found.ports:
        tell("no serial port: is an adapter plugged in? see: lsusb")
    settings = discovery_serial.lines(found.models) if ask is None else [found.models[ask].line]
    asked = None if ask is None else (ask, found.models[ask])
    return [
        discovery_serial.listen(port, settings, seconds, tell, asked)
        for port in found.ports
        if not discovery_serial.is_left_alone(port)
    ]


def air(found: Discovery, devices: Mapping[str, Any], *, seconds: float, tell: Tell) -> Work:
    """Answer what listens to who is in range."""
    found.air = overheard = Overheard()
    known = {str(device["address"]).upper(): name for name, device in devices.items() if device.get("address")}

    async def hear() -> None:
        try:
            await discovery_bluetooth.listen(overheard, found.models, known, seconds, tell)
        except LinkLost as error:
            overheard.trouble = str(error)
            tell(f"Bluetooth: {error}")

    return hear()


def could_look(found: Discovery) -> bool:
    """Answer whether anything could be looked at. No port at all is an answer; one that does not open is none."""
    heard = found.air is not None and (found.air.trouble is None or bool(found.air.devices))
    return heard or any(port.state != "failed" for port in found.ports) or (found.air is None and not found.ports)


def _real(path: str) -> str:
    return str(Path(path).resolve())
