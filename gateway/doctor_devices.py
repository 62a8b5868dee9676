"""What `doctor` says of Bluetooth and of each device: as the service sees them, or what the machine shows."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers import registry
from drivers.errors import LinkFault, LinkLost
from gateway import machine, programs
from gateway.accounts import service_account
from gateway.findings import Finding, found, good
from gateway.settings import Device, Settings

if TYPE_CHECKING:
    from drivers.links.bluez_look import Bluetooth

BUS_S = 5.0
LEAST_BLUEZ = (5, 66)  # Debian 12's, with which the radio was tried
LOW_BATTERY = 20  # per cent
_FIRMWARE = re.compile(r"bluetooth:? hci\d+: .*(firmware|patch).*(failed|not found)", re.IGNORECASE)
_PORTS = {LinkFault.PORT_ABSENT, LinkFault.PORT_DENIED, LinkFault.PORT_BUSY, LinkFault.NOT_A_PORT}


def bluetooth(status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Say how the radio is: bluetoothd, its adapter, switches, firmware, whether anything is heard."""
    blocked = machine.blocked_radios()
    if blocked:
        yield found("radio_blocked", ", ".join(blocked))
    missing = [line for line in programs.kernel_log() if _FIRMWARE.search(line)]
    if missing:
        yield found("firmware_missing", missing[-1])
    try:
        seen = _look()
    except LinkLost as error:
        yield found("no_bluetooth", str(error))
        return
    bluez = _bluez_version()
    if bluez is not None and bluez < LEAST_BLUEZ:
        yield found("bluez_old", f"BlueZ {'.'.join(map(str, bluez))}")
    words = f"BlueZ {'.'.join(map(str, bluez))}" if bluez is not None else "bluetoothd answers"
    if not seen.powered:
        yield found("no_adapter", f"{words}, and has no adapter")
    elif not any(seen.powered.values()):
        yield found("adapter_off", f"{words}; {', '.join(sorted(seen.powered))} without power")
    else:
        told = {} if status is None else status["devices"]
        if any(device["reason"] == LinkFault.RADIO_DEAF for device in told.values()):
            yield found("radio_deaf", f"{words}; nothing at all is heard")
        elif not blocked:
            yield good("bluetooth", f"{words}; {', '.join(name for name, on in sorted(seen.powered.items()) if on)}")


def devices(settings: Settings, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Say how each device is."""
    bonded = _bonded(settings)
    for device in settings.devices:
        told = None if status is None else status["devices"].get(device.id)
        if told is not None:
            yield from _told(device, told)
        elif device.port is not None:
            yield from _port(device.id, Path(device.port))
        if device.address is not None and bonded is not None:
            yield from _bond(device, is_bonded=bonded.get(device.address, False), told=told)


def _told(device: Device, told: Mapping[str, Any]) -> Iterator[Finding]:
    last = f"last heard {told['last_seen']}" if told["last_seen"] else "not heard since the service started"
    counts = f"{told['readings']} readings, {told['held']} held"
    why = f" ({told['last_held_reason']})" if told["last_held_reason"] else ""
    power = f", battery {told['battery']} %" if told["battery"] is not None else ""
    words = f"{last}; {counts}{why}{power}"
    if told["state"] == "online":
        yield good(f"device {device.id}", words)
    else:
        code = _code(told)
        reason = f"{told['reason']}: {told['detail']}" if told["detail"] else str(told["reason"])
        if code == told["reason"]:  # it stands before it
            reason = str(told["detail"])
        if told["reason"] == LinkFault.PORT_BUSY and device.port is not None:
            reason += _who(Path(device.port))
        yield found(code, f"{reason}; {words}", of=device.id)
    if told["battery"] is not None and told["battery"] <= LOW_BATTERY:
        yield found("battery_low", f"{told['battery']} %", of=device.id)
    if told["also_claimed_by"]:
        yield found(
            "claimed_twice", f"also in the configuration of: {', '.join(told['also_claimed_by'])}", of=device.id
        )


def _code(told: Mapping[str, Any]) -> str:
    if told["reason"] in _PORTS:
        return str(told["reason"])
    return "device_offline" if told["state"] == "offline" else "device_not_heard"


def _port(name: str, path: Path) -> Iterator[Finding]:
    """Look at a port from outside; it is not opened."""
    account = service_account()
    try:
        is_port = stat.S_ISCHR(path.stat().st_mode)
        allowed = account is None or account.may(path, os.R_OK | os.W_OK)
        holders = machine.holders(path) if is_port and allowed else []
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        yield found("port_absent" if absent else "port_denied", f"{path}: {error.strerror}", of=name)
        return
    if not is_port:
        yield found("not_a_port", str(path), of=name)
    elif not allowed:
        yield found("port_denied", f"{path}: its mode and group do not let the service in", of=name)
    elif holders:
        yield found("port_busy", f"{path} is open in {', '.join(holders)}", of=name)
    else:
        yield good(f"device {name}", f"{path} is there; whether the device speaks, only the service can tell")


def _who(path: Path) -> str:
    try:
        holders = machine.holders(path)
    except OSError:
        return ""
    return f" It is open in {', '.join(holders)}." if holders else ""


def _bond(device: Device, *, is_bonded: bool, told: Mapping[str, Any] | None) -> Iterator[Finding]:
    needs = "bond" in device.model.session.steps and not registry.is_only_heard(device.model.driver)
    if needs and not is_bonded:
        yield found("not_bonded", f"bluetoothd knows no bond with {device.address}", of=device.id)
    elif told is None:
        bond = "bonded" if is_bonded else "it needs no bond" if not needs else ""
        yield good(f"device {device.id}", f"{bond}; whether it is in reach, only the service can tell")


def _bonded(settings: Settings) -> Mapping[str, bool] | None:
    """Answer which addresses are bonded; None where nobody knows: that is told of Bluetooth."""
    if all(device.address is None for device in settings.devices):
        return None
    try:
        return _look().bonded
    except LinkLost:
        return None


def _look() -> Bluetooth:
    from drivers.links import bluez_look

    return asyncio.run(bluez_look.look(BUS_S))


def _bluez_version() -> tuple[int, ...] | None:
    """Ask the program: bluetoothd itself tells its version to nobody (bluez/bluez issue 619)."""
    found_in = re.search(r"(\d+)\.(\d+)", programs.said("bluetoothctl", "--version") or "")
    return None if found_in is None else (int(found_in[1]), int(found_in[2]))
