"""The models that sig_device.py makes: what it says there of each, by their ids in config/devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulators.ble import profiles
from simulators.ble.profiles import TemperatureType

ClockKind = Literal["current_time", "date_time", "none"]


@dataclass(frozen=True, slots=True)
class SigModel:
    """What tells one model from another; the laws of sig_device.py say what each means."""

    maker: str
    model: str
    name: str
    service: int = profiles.BLOOD_PRESSURE
    clock: ClockKind = "current_time"
    omron: bool = False
    bonds: bool = False
    sends_all: bool = False
    beurer: bool = False
    rest_s: float = 0.0
    site: TemperatureType | None = None


def _omron(model: str, service: int = profiles.BLOOD_PRESSURE) -> SigModel:
    return SigModel("OMRON HEALTHCARE", model, "BLESmart", service, omron=True, bonds=True)


def _beurer(model: str) -> SigModel:
    return SigModel("Beurer", model, f"Beurer {model}", clock="none", sends_all=True, beurer=True, rest_s=0.1)


_THERMOMETER = profiles.HEALTH_THERMOMETER
MODELS = {
    "omron-hem-9200t": _omron("HEM-9200T"),
    "omron-bp5150": _omron("BP5150"),
    "omron-bp5250": _omron("BP5250"),
    "omron-bp7000": _omron("BP7000"),
    "omron-evolv": _omron("EVOLV"),
    "omron-x4-smart": _omron("X4 Smart"),
    "omron-x2-smart-plus": _omron("X2 Smart+"),
    "omron-mc-6810t2": _omron("MC-6810T2", _THERMOMETER),
    "beurer-bm48": _beurer("BM48"),
    "beurer-bm59": _beurer("BM59"),
    "beurer-bm85": _beurer("BM85"),
    "beurer-elite900": _beurer("ELITE900"),
    "beurer-bm57": SigModel("Beurer", "BM57", "BM57", sends_all=True, rest_s=0.1),
    "beurer-ft95": SigModel("Beurer", "FT95", "FT95", _THERMOMETER),
    "fora-ir20": SigModel("FORA", "IR20", "FORA IR20", _THERMOMETER, "none", site=TemperatureType.NOT_SAID),
    "grx-td-1241": SigModel("TaiDoc", "TD-1241", "TD1241", _THERMOMETER),
    "soehnle-connect-300": SigModel("Soehnle", "Connect 300", "Systo MC 300", sends_all=True),
    "soehnle-connect-400": SigModel("Soehnle", "Connect 400", "Systo MC 400", sends_all=True),
    "sanitas-sbm69": SigModel("Sanitas", "SBM69", "SBM69", bonds=True, sends_all=True),
}
