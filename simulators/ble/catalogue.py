"""The models with a radio that can be simulated: how each is made, what it measures, and how it is made to measure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_uc_352ble import AndUc352ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.beurer_bf import BeurerBf
from simulators.ble.choicemmed import ChoicemmedOximeter
from simulators.ble.detecto_icon import DetectoIcon
from simulators.ble.masimo_mightysat import MightySat
from simulators.ble.mi_scale import MiScale
from simulators.ble.omron_cuff import OmronCuff
from simulators.ble.polar import PolarStrap
from simulators.ble.profiles import HEALTH_THERMOMETER
from simulators.ble.renpho_es_wbe28 import RenphoEsWbe28
from simulators.ble.sig_device import SigDevice
from simulators.ble.sig_models import MODELS as SIG_MODELS
from simulators.ble.sig_models import SigModel
from simulators.ble.taidoc_meter import TaidocBleMeter
from simulators.patient import Vitals

WEIGHT_STEP = Decimal("0.05")  # each of the scales can say it

Values = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class BleModel:
    """`make(radio, address, …)` makes one, whose usual address is `address`; `measure(device, values)` by `kinds`.

    Values are in mmHg, /min, °C, % and kg; a Detecto's weight in pounds. `bytewise`: it keeps each number in a byte.
    """

    make: Callable[..., Any]
    address: str
    kinds: tuple[str, ...]
    measure: Callable[[Any, Values], Awaitable[object]]
    bytewise: bool = False


def values(kinds: tuple[str, ...], vitals: Vitals) -> dict[str, Decimal]:
    """What a patient's vitals are on a device that measures `kinds`."""
    return {kind: _ON_DISPLAY[kind](vitals) for kind in kinds}


_ON_DISPLAY: Mapping[str, Callable[[Vitals], Decimal]] = {
    "systolic": lambda vitals: Decimal(round(vitals.systolic)),
    "diastolic": lambda vitals: Decimal(round(vitals.diastolic)),
    "pulse_rate": lambda vitals: Decimal(round(vitals.pulse)),
    "heart_rate": lambda vitals: Decimal(round(vitals.pulse)),
    "oxygen_saturation": lambda vitals: Decimal(round(vitals.spo2)),
    "body_temperature": lambda vitals: Decimal(f"{vitals.temperature_c:.1f}"),
    "body_weight": lambda vitals: round(Decimal(vitals.weight_kg) / WEIGHT_STEP) * WEIGHT_STEP,
}


async def _whole_numbers(kinds: tuple[str, ...], device: Any, of: Values) -> None:
    await device.measure(*(int(of[kind]) for kind in kinds))


async def _as_given(kind: str, device: Any, of: Values) -> None:
    await device.measure(of[kind])


async def _tenths(device: Any, of: Values) -> None:
    await device.measure_temperature(round(10 * of["body_temperature"]))


async def _pressure(device: Any, of: Values) -> None:
    await device.pressure(*(int(of[kind]) for kind in _CUFF))


async def _broadcast(device: Any, of: Values) -> None:
    await device.measure(of["body_weight"], impedance=500)


async def _temperature(device: Any, of: Values) -> None:
    await device.temperature(of["body_temperature"])


_CUFF, _THERMOMETER, _SCALE = ("systolic", "diastolic", "pulse_rate"), ("body_temperature",), ("body_weight",)
_OXIMETER, _STRAP = ("oxygen_saturation", "pulse_rate"), ("heart_rate",)


def _of(make: Callable[..., Any], address: str, kinds: tuple[str, ...], *, bytewise: bool = False) -> BleModel:
    whole = kinds in (_CUFF, _OXIMETER, _STRAP)
    return BleModel(
        make, address, kinds, partial(_whole_numbers, kinds) if whole else partial(_as_given, kinds[0]), bytewise
    )


def _sig(number: int, model: SigModel) -> BleModel:
    make, address = partial(SigDevice, model=model), f"C8:1E:8E:01:{number:02X}:01"
    if model.service == HEALTH_THERMOMETER:
        return BleModel(make, address, _THERMOMETER, _temperature)
    return BleModel(make, address, _CUFF, _pressure)


MODELS: Mapping[str, BleModel] = {
    "and-ua-651ble": _of(AndUa651ble, "C8:1E:8E:00:00:01", _CUFF),
    "and-ut-201ble": _of(AndUt201ble, "C8:1E:8E:00:02:01", _THERMOMETER),
    "choicemmed-plx": _of(ChoicemmedOximeter, "C8:1E:8E:00:03:01", _OXIMETER),
    "masimo-mightysat": _of(MightySat, "C8:1E:8E:00:04:01", _OXIMETER),
    "polar-h7": _of(partial(PolarStrap, model="H7"), "C8:1E:8E:00:05:01", _STRAP),
    "polar-h10": _of(partial(PolarStrap, model="H10"), "C8:1E:8E:00:05:02", _STRAP),
    "and-uc-352ble": _of(AndUc352ble, "C8:1E:8E:00:06:01", _SCALE),
    "beurer-bf720": _of(BeurerBf, "C8:1E:8E:00:07:01", _SCALE),
    "renpho-es-wbe28": _of(RenphoEsWbe28, "C8:1E:8E:00:08:01", _SCALE),
    "detecto-icon": _of(DetectoIcon, "C8:1E:8E:00:09:01", _SCALE),
    "omron-hem-7142t2": _of(partial(OmronCuff, "HEM-7142T2"), "C8:1E:8E:00:0A:01", _CUFF, bytewise=True),
    "omron-hem-7144t2": _of(partial(OmronCuff, "HEM-7144T2"), "C8:1E:8E:00:0A:02", _CUFF, bytewise=True),
    "omron-hem-7155t": _of(partial(OmronCuff, "HEM-7155T"), "C8:1E:8E:00:0A:03", _CUFF, bytewise=True),
    "omron-hem-7600t": _of(partial(OmronCuff, "HEM-7600T"), "C8:1E:8E:00:0A:04", _CUFF, bytewise=True),
    "fora-d40-ble": _of(partial(TaidocBleMeter, "D40"), "C8:1E:8E:00:0B:01", _CUFF, bytewise=True),
    "fora-ir42-ble": BleModel(
        partial(TaidocBleMeter, "IR42"), "C8:1E:8E:00:0B:02", _THERMOMETER, _tenths, bytewise=True
    ),
    "xiaomi-mi-scale": BleModel(partial(MiScale, generation=1), "C8:1E:8E:00:0C:01", _SCALE, _broadcast),
    "xiaomi-mi-scale-2": BleModel(partial(MiScale, generation=2), "C8:1E:8E:00:0C:02", _SCALE, _broadcast),
    **{name: _sig(number, model) for number, (name, model) in enumerate(SIG_MODELS.items())},
}
