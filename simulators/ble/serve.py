"""One simulated Bluetooth device until stopped: what `vitals-gateway simulate` does for a model with a radio."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from simulators.ble.catalogue import MODELS, WEIGHT_STEP, BleModel, values
from simulators.ble.faults import ble_fault_named
from simulators.ble.mi_scale import MiScale
from simulators.ble.profiles import float32, sfloat
from simulators.patient import Patient
from simulators.ports.air import open_dongle
from simulators.ports.room import Room
from simulators.story import setting

EVERY_S = 60.0
_STOP_S = 1.0  # a command to the controller is answered first; a dongle that was pulled out answers none
_HIGHEST, _LOWEST_SYSTOLIC = 250, 25
_RANDOM_STATIC = re.compile(r"[C-F][0-9A-F](:[0-9A-F]{2}){5}")  # its two highest bits are ones (Core, vol. 6, B, 1.3.2)


def ble_models() -> tuple[str, ...]:
    """The ids of all models with a radio that can be simulated."""
    return tuple(MODELS)


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
    `settings` are KIND=VALUE (mmHg, /min, °C, kg; a Detecto's pounds); what is not set is a patient's, from `seed`.
    `faults` happen each time.
    ValueError for bad usage, in words for who typed it; RuntimeError or OSError if bus or dongle cannot be had.
    """
    simulated = MODELS[model]
    given = dict(_value(text, simulated.kinds) for text in settings)
    if simulated.bytewise and any(
        not (_LOWEST_SYSTOLIC if kind == "systolic" else 0) <= number <= _HIGHEST for kind, number in given.items()
    ):
        raise ValueError(f"this device keeps numbers from 0 to {_HIGHEST}, a systolic from {_LOWEST_SYSTOLIC}")
    standing = [ble_fault_named(name) for name in faults]
    at = (address or simulated.address).upper()
    if not _RANDOM_STATIC.fullmatch(at):
        raise ValueError(
            f"{address!r} is no random static address, as in {simulated.address}: the first byte is C0 to FF"
        )
    async with AsyncExitStack() as stack:
        if dongle is None:
            room = await stack.enter_async_context(Room())
            radio = room.air.radio(model)
            for name, value in room.environment.items():
                sys.stdout.write(f"{name}={value}\n")
        else:
            radio = await open_dongle(dongle)
        device = simulated.make(radio, at, standing=standing)
        await stack.enter_async_context(device)
        name = device.name if isinstance(device, MiScale) else device.peripheral.name
        sys.stdout.write(f"{device.address} {name}\n")
        sys.stdout.flush()
        # Beside this task: bumble waits by asyncio.wait_for, which in Python 3.11 may swallow a cancellation.
        stopped = asyncio.Event()
        measuring = asyncio.ensure_future(_measure_until(stopped, simulated, device, Patient(seed), given, every_s))
        try:
            await asyncio.wait({measuring})
            measuring.result()
        finally:
            stopped.set()
            await asyncio.wait({measuring}, timeout=_STOP_S)
            measuring.cancel()
            await asyncio.wait({measuring})


async def _measure_until(
    stopped: asyncio.Event, model: BleModel, device: Any, patient: Patient, given: Mapping[str, Decimal], every_s: float
) -> None:
    while not stopped.is_set():
        await model.measure(device, {**values(model.kinds, patient.vitals), **given})
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stopped.wait()
        patient.advance(every_s)


def _value(text: str, kinds: Sequence[str]) -> tuple[str, Decimal]:
    kind, value, unit = setting(text)
    if kind not in kinds or unit:
        raise ValueError(f"{text!r}: this device has {', '.join(kinds)}, without a unit")
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise ValueError(f"{text!r}: {value!r} is no number")
    if kind == "body_weight":
        if number < 0 or number > 300 or number % WEIGHT_STEP:
            raise ValueError(f"{text!r}: a weight from 0 to 300, in steps of {WEIGHT_STEP}")
        return kind, number
    try:
        (float32 if kind == "body_temperature" else sfloat)(number)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if kind != "body_temperature" and number != number.to_integral_value():
        raise ValueError(f"{text!r}: this device has whole numbers")
    return kind, number
