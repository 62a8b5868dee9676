"""One simulated Bluetooth device until stopped: what `vitals-gateway simulate` does for a model with a radio."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal, InvalidOperation

from simulators.ble.and_device import AndDevice
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.faults import ble_fault_named
from simulators.patient import Patient
from simulators.ports.air import open_dongle
from simulators.ports.room import Room
from simulators.story import setting

EVERY_S = 60.0

_Maker = type[AndUa651ble] | type[AndUt201ble]
_MODELS: Mapping[str, tuple[_Maker, str]] = {
    "and-ua-651ble": (AndUa651ble, "C8:1E:8E:00:00:01"),
    "and-ut-201ble": (AndUt201ble, "C8:1E:8E:00:02:01"),
}
_KINDS = ("systolic", "diastolic", "pulse_rate", "body_temperature")


def ble_models() -> tuple[str, ...]:
    """The ids of all models with a radio that can be simulated."""
    return tuple(_MODELS)


async def serve_ble(
    model: str,
    settings: Sequence[str] = (),
    faults: Sequence[str] = (),
    *,
    address: str | None = None,
    dongle: str | None = None,
    every_s: float = EVERY_S,
    seed: int = 0,
) -> None:
    """Print how a gateway gets there, then measure now and every `every_s` seconds until cancelled.

    Without `dongle` it is on a simulated air: the first line is the environment for the gateway's process. `dongle` is
    a real controller, named as bumble names transports (`usb:0`). The last line is the device's address and name.
    `settings` are KIND=VALUE (mmHg, /min, °C); what is not set is a patient's, from `seed`. `faults` happen each time.
    ValueError for bad usage, in words for who typed it; RuntimeError or OSError if bus or dongle cannot be had.
    """
    made = _MODELS.get(model)
    if made is None:
        near = difflib.get_close_matches(model, _MODELS, n=3) or list(_MODELS)
        raise ValueError(f"no simulator for model {model!r} (did you mean: {', '.join(near)}?)")
    make, usual_address = made
    given = dict(_value(text) for text in settings)
    standing = [ble_fault_named(name) for name in faults]
    async with AsyncExitStack() as stack:
        if dongle is None:
            room = await stack.enter_async_context(Room())
            radio = room.air.radio(model)
            for name, value in room.environment.items():
                sys.stdout.write(f"{name}={value}\n")
        else:
            radio = await open_dongle(dongle)
        device = await stack.enter_async_context(make(radio, address or usual_address, standing=standing))
        sys.stdout.write(f"{device.address} {device.peripheral.name}\n")
        sys.stdout.flush()
        patient = Patient(seed)
        while True:
            await _measure(device, patient, given)
            await asyncio.sleep(every_s)
            patient.advance(every_s)


async def _measure(device: AndDevice, patient: Patient, given: Mapping[str, Decimal]) -> None:
    vitals = patient.vitals
    if isinstance(device, AndUa651ble):
        await device.measure(
            round(given.get("systolic", Decimal(vitals.systolic))),
            round(given.get("diastolic", Decimal(vitals.diastolic))),
            round(given.get("pulse_rate", Decimal(vitals.pulse))),
        )
    elif isinstance(device, AndUt201ble):
        await device.measure(given.get("body_temperature", Decimal(f"{vitals.temperature_c:.1f}")))


def _value(text: str) -> tuple[str, Decimal]:
    kind, value, unit = setting(text)
    if kind not in _KINDS or unit:
        raise ValueError(f"{text!r}: one of {', '.join(_KINDS)}, without a unit")
    try:
        return kind, Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{text!r}: {value!r} is no number") from None
