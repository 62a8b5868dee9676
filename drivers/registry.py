"""Driver name -> the module that speaks its protocol; a module is imported when a device needs it."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from drivers.contract import Codec, Driver
from drivers.models import DeviceModel, Quirks

_MODULES = {
    "and_scale": "drivers.serial.and_scale",
    "health_o_meter": "drivers.serial.health_o_meter",
    "mt_sics": "drivers.serial.mt_sics",
}


class _DriverModule(Protocol):
    def codec(self, quirks: Quirks, /) -> Codec: ...

    def driver(self, model: DeviceModel, /) -> Driver: ...


def names() -> tuple[str, ...]:
    """Answer the names of all drivers, sorted."""
    return tuple(sorted(_MODULES))


def codec(name: str, quirks: Quirks) -> Codec:
    """Answer a fresh codec of the driver `name`. Raises KeyError for a name that is not in the table."""
    return _module(name).codec(quirks)


def driver(model: DeviceModel) -> Driver:
    """Answer a fresh driver for one device of `model`. Raises KeyError if its driver is not in the table."""
    return _module(model.driver).driver(model)


def _module(name: str) -> _DriverModule:
    return cast("_DriverModule", import_module(_MODULES[name]))
