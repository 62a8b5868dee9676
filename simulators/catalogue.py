"""The simulated devices: model id, as in config/devices, to what makes one from a seed."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from simulators.serial.adam_print import AdamStation
from simulators.serial.and_scale import FORMAT_2, STANDARD, AndScale
from simulators.serial.and_tm import AndTm
from simulators.serial.device import SerialDevice
from simulators.serial.dinamap import DinamapMonitor
from simulators.serial.health_o_meter import HealthOMeterScale
from simulators.serial.mt_sics import MtSicsScale
from simulators.serial.nci import NciScale
from simulators.serial.nellcor import NellcorOximeter
from simulators.serial.ohaus import OhausScale
from simulators.serial.sma import SmaScale
from simulators.serial.st_gs import StGsIndicator
from simulators.serial.toledo_continuous import CARDINAL_SHORT, OHAUS, ToledoIndicator
from simulators.serial.toledo_continuous import USUAL as TOLEDO

_MODELS: dict[str, Callable[[int], SerialDevice]] = {
    "health-o-meter-498kl": partial(HealthOMeterScale, "health-o-meter-498kl"),
    "health-o-meter-500kl": partial(HealthOMeterScale, "health-o-meter-500kl"),
    "health-o-meter-597kl": partial(HealthOMeterScale, "health-o-meter-597kl"),
    "health-o-meter-597kl-3.1.12": partial(HealthOMeterScale, "health-o-meter-597kl-3.1.12"),
    "health-o-meter-600kl": partial(HealthOMeterScale, "health-o-meter-600kl"),
    "health-o-meter-600kl-3.2.02": partial(HealthOMeterScale, "health-o-meter-600kl-3.2.02"),
    "health-o-meter-1100kl-e": partial(HealthOMeterScale, "health-o-meter-1100kl-e"),
    "health-o-meter-1100kl-l": partial(HealthOMeterScale, "health-o-meter-1100kl-l"),
    "health-o-meter-2210kl-am": partial(HealthOMeterScale, "health-o-meter-2210kl-am"),
    "and-standard-scale": partial(AndScale, STANDARD),
    "and-hv-wp-format2": partial(AndScale, FORMAT_2),
    "mt-sics-scale": MtSicsScale,
    "detecto-apex": partial(SmaScale, ""),
    "detecto-758c": partial(SmaScale, "W01,"),
    "adam-mdw-300l": NciScale,
    "adam-muw-300l": AdamStation,
    "cardinal-225-toledo": partial(ToledoIndicator, CARDINAL_SHORT),
    "ohaus-defender-5000-toledo": partial(ToledoIndicator, OHAUS),
    "ohaus-format1": lambda seed: OhausScale(seed=seed),
    "ohaus-format2": lambda seed: OhausScale(long=False, seed=seed),
    "toledo-continuous": partial(ToledoIndicator, TOLEDO),
    "triner-ts-700": StGsIndicator,
    "and-tm-2655p": lambda seed: AndTm(seed=seed),
    "and-tm-2657p": lambda seed: AndTm(long_record=True, seed=seed),
    "ge-dinamap-pro": DinamapMonitor,
    "ge-carescape-v100": DinamapMonitor,
    "nellcor-n-560": partial(NellcorOximeter, "N-560"),
    "nellcor-npb-290": partial(NellcorOximeter, "NPB-290"),
}


def models() -> tuple[str, ...]:
    """The ids of all models that can be simulated."""
    return tuple(_MODELS)


def make(model: str, seed: int = 0) -> SerialDevice:
    """A new device of this model; ValueError names the nearest ids if there is none."""
    factory = _MODELS.get(model)
    if factory is None:
        near = difflib.get_close_matches(model, _MODELS, n=3) or list(_MODELS)
        raise ValueError(f"no simulator for model {model!r} (did you mean: {', '.join(near)}?)")
    return factory(seed)
