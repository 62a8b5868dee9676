"""One simulated Bluetooth device until stopped: what `vitals-gateway simulate` does for a model with a radio."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from decimal import Decimal, InvalidOperation
from functools import partial

from simulators.ble.and_device import AndDevice
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_uc_352ble import AndUc352ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.beurer_bf import BeurerBf
from simulators.ble.choicemmed import ChoicemmedOximeter
from simulators.ble.detecto_icon import DetectoIcon
from simulators.ble.faults import ble_fault_named
from simulators.ble.masimo_mightysat import MightySat
from simulators.ble.omron_cuff import OmronCuff
from simulators.ble.open_device import OpenDevice
from simulators.ble.polar import PolarStrap
from simulators.ble.profiles import float32, sfloat
from simulators.ble.renpho_es_wbe28 import RenphoEsWbe28
from simulators.ble.scale import Scale
from simulators.ble.taidoc_meter import TaidocBleMeter
from simulators.patient import Patient
from simulators.ports.air import open_dongle
from simulators.ports.room import Room
from simulators.story import setting

EVERY_S = 60.0
_STOP_S = 1.0  # a command to the controller is answered first; a dongle that was pulled out answers none

_WEIGHT_STEP = Decimal("0.05")  # each of the scales can say it

_Device = AndDevice | Scale | OpenDevice | OmronCuff | TaidocBleMeter
_CUFF, _THERMOMETER, _SCALE = ("systolic", "diastolic", "pulse_rate"), ("body_temperature",), ("body_weight",)
_OXIMETER, _STRAP = ("oxygen_saturation", "pulse_rate"), ("heart_rate",)
_MODELS: Mapping[str, tuple[Callable[..., _Device], str, tuple[str, ...]]] = {
    "and-ua-651ble": (AndUa651ble, "C8:1E:8E:00:00:01", _CUFF),
    "and-ut-201ble": (AndUt201ble, "C8:1E:8E:00:02:01", _THERMOMETER),
    "choicemmed-plx": (ChoicemmedOximeter, "C8:1E:8E:00:03:01", _OXIMETER),
    "masimo-mightysat": (MightySat, "C8:1E:8E:00:04:01", _OXIMETER),
    "polar-h7": (partial(PolarStrap, model="H7"), "C8:1E:8E:00:05:01", _STRAP),
    "polar-h10": (partial(PolarStrap, model="H10"), "C8:1E:8E:00:05:02", _STRAP),
    "and-uc-352ble": (AndUc352ble, "C8:1E:8E:00:06:01", _SCALE),
    "beurer-bf720": (BeurerBf, "C8:1E:8E:00:07:01", _SCALE),
    "renpho-es-wbe28": (RenphoEsWbe28, "C8:1E:8E:00:08:01", _SCALE),
    "detecto-icon": (DetectoIcon, "C8:1E:8E:00:09:01", _SCALE),
    "omron-hem-7142t2": (partial(OmronCuff, "HEM-7142T2"), "C8:1E:8E:00:0A:01", _CUFF),
    "omron-hem-7144t2": (partial(OmronCuff, "HEM-7144T2"), "C8:1E:8E:00:0A:02", _CUFF),
    "omron-hem-7155t": (partial(OmronCuff, "HEM-7155T"), "C8:1E:8E:00:0A:03", _CUFF),
    "omron-hem-7600t": (partial(OmronCuff, "HEM-7600T"), "C8:1E:8E:00:0A:04", _CUFF),
    "fora-d40-ble": (partial(TaidocBleMeter, "D40"), "C8:1E:8E:00:0B:01", _CUFF),
    "fora-ir42-ble": (partial(TaidocBleMeter, "IR42"), "C8:1E:8E:00:0B:02", _THERMOMETER),
}
_OF_A_BYTE = ("omron", "fora")  # what these keep of a cuff's number is a byte
_HIGHEST, _LOWEST_SYSTOLIC = 250, 25
_RANDOM_STATIC = re.compile(r"[C-F][0-9A-F](:[0-9A-F]{2}){5}")  # its two highest bits are ones (Core, vol. 6, B, 1.3.2)


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
    `settings` are KIND=VALUE (mmHg, /min, °C, kg; a Detecto's pounds); what is not set is a patient's, from `seed`.
    `faults` happen each time.
    ValueError for bad usage, in words for who typed it; RuntimeError or OSError if bus or dongle cannot be had.
    """
    make, usual_address, kinds = _MODELS[model]
    given = dict(_value(text, kinds) for text in settings)
    if model.startswith(_OF_A_BYTE) and any(
        not (_LOWEST_SYSTOLIC if kind == "systolic" else 0) <= number <= _HIGHEST for kind, number in given.items()
    ):
        raise ValueError(f"this device keeps numbers from 0 to {_HIGHEST}, a systolic from {_LOWEST_SYSTOLIC}")
    standing = [ble_fault_named(name) for name in faults]
    at = (address or usual_address).upper()
    if not _RANDOM_STATIC.fullmatch(at):
        raise ValueError(f"{address!r} is no random static address, as in {usual_address}: the first byte is C0 to FF")
    async with AsyncExitStack() as stack:
        if dongle is None:
            room = await stack.enter_async_context(Room())
            radio = room.air.radio(model)
            for name, value in room.environment.items():
                sys.stdout.write(f"{name}={value}\n")
        else:
            radio = await open_dongle(dongle)
        device = make(radio, at, standing=standing)
        await stack.enter_async_context(device)
        sys.stdout.write(f"{device.address} {device.peripheral.name}\n")
        sys.stdout.flush()
        # Beside this task: bumble waits by asyncio.wait_for, which in Python 3.11 may swallow a cancellation.
        stopped = asyncio.Event()
        measuring = asyncio.ensure_future(_measure_until(stopped, device, Patient(seed), given, every_s))
        try:
            await asyncio.wait({measuring})
            measuring.result()
        finally:
            stopped.set()
            await asyncio.wait({measuring}, timeout=_STOP_S)
            measuring.cancel()
            await asyncio.wait({measuring})


async def _measure_until(
    stopped: asyncio.Event, device: _Device, patient: Patient, given: Mapping[str, Decimal], every_s: float
) -> None:
    while not stopped.is_set():
        await _measure(device, patient, given)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stopped.wait()
        patient.advance(every_s)


async def _measure(device: _Device, patient: Patient, given: Mapping[str, Decimal]) -> None:
    vitals = patient.vitals
    pulse = int(given.get("pulse_rate", round(vitals.pulse)))
    temperature = given.get("body_temperature", Decimal(f"{vitals.temperature_c:.1f}"))
    pressure = (
        int(given.get("systolic", round(vitals.systolic))),
        int(given.get("diastolic", round(vitals.diastolic))),
        pulse,
    )
    if isinstance(device, AndUt201ble):
        await device.measure(temperature)
    elif isinstance(device, TaidocBleMeter) and device.is_thermometer:
        await device.measure_temperature(round(10 * temperature))
    elif isinstance(device, AndUa651ble | OmronCuff | TaidocBleMeter):
        await device.measure(*pressure)
    elif isinstance(device, ChoicemmedOximeter | MightySat):
        await device.measure(int(given.get("oxygen_saturation", round(vitals.spo2))), pulse)
    elif isinstance(device, PolarStrap):
        await device.measure(int(given.get("heart_rate", round(vitals.pulse))))
    elif isinstance(device, AndUc352ble | BeurerBf | RenphoEsWbe28 | DetectoIcon):
        weight = round(Decimal(vitals.weight_kg) / _WEIGHT_STEP) * _WEIGHT_STEP
        await device.measure(given.get("body_weight", weight))


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
        if number < 0 or number > 300 or number % _WEIGHT_STEP:
            raise ValueError(f"{text!r}: a weight from 0 to 300, in steps of {_WEIGHT_STEP}")
        return kind, number
    try:
        (float32 if kind == "body_temperature" else sfloat)(number)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if kind != "body_temperature" and number != number.to_integral_value():
        raise ValueError(f"{text!r}: this device has whole numbers")
    return kind, number
