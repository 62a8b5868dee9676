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
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.choicemmed import ChoicemmedOximeter
from simulators.ble.faults import ble_fault_named
from simulators.ble.masimo_mightysat import MightySat
from simulators.ble.mi_scale import HEAVIEST_KG, MiScale
from simulators.ble.open_device import OpenDevice
from simulators.ble.polar import PolarStrap
from simulators.ble.profiles import HEALTH_THERMOMETER, float32, sfloat
from simulators.ble.sig_device import SigDevice
from simulators.ble.sig_models import MODELS as SIG_MODELS
from simulators.ble.sig_models import SigModel
from simulators.patient import Patient
from simulators.ports.air import open_dongle
from simulators.ports.room import Room
from simulators.story import setting

EVERY_S = 60.0
_STOP_S = 1.0  # a command to the controller is answered first; a dongle that was pulled out answers none

_CUFF, _THERMOMETER = ("systolic", "diastolic", "pulse_rate"), ("body_temperature",)
_Device = AndDevice | OpenDevice | SigDevice | MiScale
_Maker = Callable[..., _Device]


def _sig(number: int, model: SigModel) -> tuple[_Maker, str, tuple[str, ...]]:
    kinds = _THERMOMETER if model.service == HEALTH_THERMOMETER else _CUFF
    return partial(SigDevice, model=model), f"C8:1E:8E:01:{number:02X}:01", kinds


_MODELS: Mapping[str, tuple[_Maker, str, tuple[str, ...]]] = {
    "and-ua-651ble": (AndUa651ble, "C8:1E:8E:00:00:01", _CUFF),
    "and-ut-201ble": (AndUt201ble, "C8:1E:8E:00:02:01", _THERMOMETER),
    "choicemmed-plx": (ChoicemmedOximeter, "C8:1E:8E:00:03:01", ("oxygen_saturation", "pulse_rate")),
    "masimo-mightysat": (MightySat, "C8:1E:8E:00:04:01", ("oxygen_saturation", "pulse_rate")),
    "polar-h7": (partial(PolarStrap, model="H7"), "C8:1E:8E:00:05:01", ("heart_rate",)),
    "polar-h10": (partial(PolarStrap, model="H10"), "C8:1E:8E:00:05:02", ("heart_rate",)),
    "xiaomi-mi-scale": (partial(MiScale, generation=1), "C8:1E:8E:00:06:01", ("body_weight",)),
    "xiaomi-mi-scale-2": (partial(MiScale, generation=2), "C8:1E:8E:00:06:02", ("body_weight",)),
    **{name: _sig(number, model) for number, (name, model) in enumerate(SIG_MODELS.items())},
}
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
    `settings` are KIND=VALUE (mmHg, /min, °C, kg); what is not set is a patient's, from `seed`. `faults` happen each
    time. ValueError for bad usage, in words for who typed it; RuntimeError or OSError if bus or dongle cannot be had.
    """
    make, usual_address, kinds = _MODELS[model]
    given = dict(_value(text, kinds) for text in settings)
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
        device: _Device = make(radio, at, standing=standing)
        await stack.enter_async_context(device)
        name = device.name if isinstance(device, MiScale) else device.peripheral.name
        sys.stdout.write(f"{device.address} {name}\n")
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
    stopped: asyncio.Event,
    device: _Device,
    patient: Patient,
    given: Mapping[str, Decimal],
    every_s: float,
) -> None:
    while not stopped.is_set():
        await _measure(device, patient, given)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stopped.wait()
        patient.advance(every_s)


async def _measure(device: _Device, patient: Patient, given: Mapping[str, Decimal]) -> None:
    vitals = patient.vitals
    pressure = (
        int(given.get("systolic", round(vitals.systolic))),
        int(given.get("diastolic", round(vitals.diastolic))),
        int(given.get("pulse_rate", round(vitals.pulse))),
    )
    temperature = given.get("body_temperature", Decimal(f"{vitals.temperature_c:.1f}"))
    if isinstance(device, AndUa651ble):
        await device.measure(*pressure)
    elif isinstance(device, AndUt201ble):
        await device.measure(temperature)
    elif isinstance(device, SigDevice):
        await (device.temperature(temperature) if device.is_thermometer else device.pressure(*pressure))
    elif isinstance(device, ChoicemmedOximeter | MightySat):
        await device.measure(
            int(given.get("oxygen_saturation", round(vitals.spo2))), int(given.get("pulse_rate", round(vitals.pulse)))
        )
    elif isinstance(device, MiScale):
        weight = given.get("body_weight", Decimal(f"{vitals.weight_kg:.1f}"))
        await device.measure(min(weight, HEAVIEST_KG), impedance=500)
    elif isinstance(device, PolarStrap):
        await device.measure(int(given.get("heart_rate", round(vitals.pulse))))


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
        if not 0 < number <= HEAVIEST_KG:
            raise ValueError(f"{text!r}: more than 0, and no more than {HEAVIEST_KG} kg")
        return kind, number
    try:
        (float32 if kind == "body_temperature" else sfloat)(number)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if kind != "body_temperature" and number != number.to_integral_value():
        raise ValueError(f"{text!r}: this device has whole numbers")
    return kind, number
