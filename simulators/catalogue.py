"""The simulated devices: model id, as in config/devices, to what makes one from a seed.

Those with a radio stand here by name alone: ble/serve.py makes them, and needs bumble for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from simulators.serial.adam_print import AdamStation
from simulators.serial.and_scale import FORMAT_2, STANDARD, AndScale
from simulators.serial.and_tm import AndTm
from simulators.serial.and_ua767 import and_ua767
from simulators.serial.detecto_solo import DetectoSolo
from simulators.serial.device import SerialDevice
from simulators.serial.dinamap import DinamapMonitor
from simulators.serial.health_o_meter import HealthOMeterScale
from simulators.serial.health_o_meter_binary import BabyScale, ChairScale
from simulators.serial.masimo import MasimoOximeter
from simulators.serial.mt_sics import MtSicsScale
from simulators.serial.nci import NciScale
from simulators.serial.nellcor import NellcorOximeter
from simulators.serial.nonin_ascii import NoninOximeter
from simulators.serial.nonin_df2 import NoninXpod
from simulators.serial.ohaus import OhausScale
from simulators.serial.omron_hbp9020 import omron_hbp9020
from simulators.serial.omron_hbp9030 import omron_hbp9030
from simulators.serial.rice_lake import RiceLakeScale
from simulators.serial.sma import SmaScale
from simulators.serial.st_gs import StGsIndicator
from simulators.serial.suntech import SuntechModule
from simulators.serial.suretemp import SureTempModule
from simulators.serial.taidoc import TaidocMeter
from simulators.serial.tanita import TanitaScale
from simulators.serial.terumo import terumo
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
    "health-o-meter-2595kl": lambda seed: ChairScale(seed=seed),
    "health-o-meter-2595kl-before-4215": lambda seed: ChairScale(early=True, seed=seed),
    "health-o-meter-522kl": lambda seed: BabyScale(seed=seed),
    "health-o-meter-553kl": lambda seed: BabyScale(holds=True, soh=True, seed=seed),
    "and-standard-scale": partial(AndScale, STANDARD),
    "and-hv-wp-format2": partial(AndScale, FORMAT_2),
    "mt-sics-scale": MtSicsScale,
    "detecto-apex": partial(SmaScale, ""),
    "detecto-758c": partial(SmaScale, "W01,"),
    "detecto-solo": DetectoSolo,
    "rice-lake-350-10-print": partial(RiceLakeScale, "rice-lake-350-10-print"),
    "rice-lake-550-10-print": partial(RiceLakeScale, "rice-lake-550-10-print"),
    "rice-lake-140-10-7-esc": partial(RiceLakeScale, "rice-lake-140-10-7-esc"),
    "rice-lake-150-10-esc": partial(RiceLakeScale, "rice-lake-150-10-esc"),
    "tanita-sc-240": partial(TanitaScale, "tanita-sc-240"),
    "tanita-sc-330": partial(TanitaScale, "tanita-sc-330"),
    "tanita-pw-650ma": partial(TanitaScale, "tanita-pw-650ma"),
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
    "suntech-advantage-oem": SuntechModule,
    "and-ua-767pc": and_ua767,
    "omron-hbp-9030": omron_hbp9030,
    "omron-hbp-9020": omron_hbp9020,
    "terumo-br-500": terumo,
    "masimo-rad-8": lambda seed: MasimoOximeter(seed=seed),
    "masimo-radical-7": lambda seed: MasimoOximeter(radical=True, seed=seed),
    "nonin-avant-9600": lambda seed: NoninOximeter(seed=seed),
    "nonin-9847": lambda seed: NoninOximeter(clock=True, seed=seed),
    "nonin-xpod": NoninXpod,
    "suretemp-plus-module": SureTempModule,
    "fora-d40": partial(TaidocMeter, "D40"),
    "fora-ir42": partial(TaidocMeter, "IR42"),
}


BLE_MODELS = (
    "and-ua-651ble",
    "and-ut-201ble",
    "choicemmed-plx",
    "masimo-mightysat",
    "polar-h7",
    "polar-h10",
    "and-uc-352ble",
    "beurer-bf720",
    "renpho-es-wbe28",
    "detecto-icon",
    "omron-hem-7142t2",
    "omron-hem-7144t2",
    "omron-hem-7155t",
    "omron-hem-7600t",
    "fora-d40-ble",
    "fora-ir42-ble",
    "xiaomi-mi-scale",
    "xiaomi-mi-scale-2",
    "omron-hem-9200t",
    "omron-bp5150",
    "omron-bp5250",
    "omron-bp7000",
    "omron-evolv",
    "omron-x4-smart",
    "omron-x2-smart-plus",
    "omron-mc-6810t2",
    "beurer-bm48",
    "beurer-bm59",
    "beurer-bm85",
    "beurer-elite900",
    "beurer-bm57",
    "beurer-ft95",
    "fora-ir20",
    "grx-td-1241",
    "soehnle-connect-300",
    "soehnle-connect-400",
    "sanitas-sbm69",
)


def models() -> tuple[str, ...]:
    """The ids of all models with a serial port that can be simulated."""
    return tuple(_MODELS)


def make(model: str, seed: int = 0) -> SerialDevice:
    """A new device of this model, which has a serial port; ValueError names the nearest ids if there is none."""
    factory = _MODELS.get(model)
    if factory is None:
        known = [*_MODELS, *BLE_MODELS]
        near = difflib.get_close_matches(model, known, n=3)
        advice = f"did you mean: {', '.join(near)}?" if near else "`vitals-gateway models` lists them"
        raise ValueError(f"no simulator for model {model!r} ({advice})")
    return factory(seed)
