"""Driver name -> the module that speaks its protocol; a module is imported when a device needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Protocol, cast

from drivers.ble.session import VendorConversation
from drivers.contract import CharacteristicCodec, Codec, Driver
from drivers.models import DeviceModel, Quirks

_SERIAL = {
    "adam_print": "drivers.serial.adam_print",
    "and_scale": "drivers.serial.and_scale",
    "and_tm": "drivers.serial.and_tm",
    "and_ua767": "drivers.serial.and_ua767",
    "detecto_csv": "drivers.serial.detecto_csv",
    "dinamap": "drivers.serial.dinamap",
    "health_o_meter": "drivers.serial.health_o_meter",
    "health_o_meter_binary": "drivers.serial.health_o_meter_binary",
    "masimo_ascii1": "drivers.serial.masimo_ascii1",
    "mt_sics": "drivers.serial.mt_sics",
    "nci": "drivers.serial.nci",
    "nellcor": "drivers.serial.nellcor",
    "nonin_ascii": "drivers.serial.nonin_ascii",
    "nonin_df2": "drivers.serial.nonin_df2",
    "ohaus": "drivers.serial.ohaus",
    "omron_hbp9020": "drivers.serial.omron_hbp9020",
    "omron_hbp9030": "drivers.serial.omron_hbp9030",
    "rice_lake_esc": "drivers.serial.rice_lake_esc",
    "rice_lake_print": "drivers.serial.rice_lake_print",
    "sma": "drivers.serial.sma",
    "st_gs": "drivers.serial.st_gs",
    "suntech": "drivers.serial.suntech",
    "suretemp": "drivers.serial.suretemp",
    "taidoc": "drivers.serial.taidoc",
    "tanita": "drivers.serial.tanita",
    "terumo": "drivers.serial.terumo",
    "toledo_continuous": "drivers.serial.toledo_continuous",
}
_BLE = {
    "ble_blood_pressure": "drivers.ble.blood_pressure",
    "ble_body_composition": "drivers.ble.body_composition",
    "ble_heart_rate": "drivers.ble.heart_rate",
    "ble_pulse_oximeter": "drivers.ble.pulse_oximeter",
    "ble_thermometer": "drivers.ble.thermometer",
    "ble_weight_scale": "drivers.ble.weight_scale",
    "xiaomi_scale": "drivers.ble.xiaomi_scale",
}
# Questions and answers of a vendor's own: a module has a codec of what is read, and the conversation that reads it.
_VENDOR = {
    "omron_eeprom": "drivers.ble.omron_eeprom",
    "taidoc_ble": "drivers.ble.taidoc",
}


class _SerialModule(Protocol):
    def codec(self, quirks: Quirks, /) -> Codec: ...

    def driver(self, model: DeviceModel, /) -> Driver: ...


class _BleModule(Protocol):
    RECORDS: tuple[str, ...]

    def characteristics(self, quirks: Quirks, /) -> Mapping[str, CharacteristicCodec]: ...


class _VendorModule(Protocol):
    def codec(self, quirks: Quirks, /) -> Codec: ...

    def conversation(self, model: DeviceModel, has: Collection[str], /) -> VendorConversation: ...


class _Announced(Protocol):
    SERVICES: tuple[str, ...]


class _Advertised(Protocol):
    def advertisements(self, quirks: Quirks, /) -> Mapping[str, CharacteristicCodec]: ...


class _Companions(Protocol):
    CODECS: Mapping[str, CharacteristicCodec]


def names() -> tuple[str, ...]:
    """Answer the names of all drivers, sorted."""
    return tuple(sorted(_SERIAL | _BLE | _VENDOR))


def serial_names() -> tuple[str, ...]:
    """Answer the names of the drivers that read a serial line, sorted."""
    return tuple(sorted(_SERIAL))


def ble_names() -> tuple[str, ...]:
    """Answer the names of the drivers that read Bluetooth characteristics, sorted."""
    return tuple(sorted(_BLE))


def vendor_names() -> tuple[str, ...]:
    """Answer the names of the drivers that speak a vendor's own protocol by Bluetooth, sorted."""
    return tuple(sorted(_VENDOR))


def codec(name: str, quirks: Quirks) -> Codec:
    """Answer a fresh codec of the serial or vendor's driver `name`. Raises KeyError for a name that is neither."""
    if name in _VENDOR:
        return _vendor_module(name).codec(quirks)
    return _serial_module(name).codec(quirks)


def driver(model: DeviceModel) -> Driver:
    """Answer a fresh driver for one serial device of `model`. Raises KeyError if its driver is no serial driver."""
    return _serial_module(model.driver).driver(model)


def characteristics(name: str, quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer what the BLE driver `name` reads, its own first, then what goes with every profile. Raises KeyError.

    The keys are UUIDs, as four upper-case hex digits. A vendor's driver reads nothing by itself: its conversation does.
    """
    if name in _VENDOR:
        return {}
    own = cast("_BleModule", import_module(_BLE[name])).characteristics(quirks)
    companions = cast("_Companions", import_module("drivers.ble.companions")).CODECS
    return {**own, **{uuid: codec for uuid, codec in companions.items() if uuid not in own}}


def advertisements(name: str, quirks: Quirks) -> Mapping[str, CharacteristicCodec]:
    """Answer what the BLE driver `name` reads of advertisements: service data's UUID -> codec. Raises KeyError."""
    if name in _VENDOR:
        return {}
    module = import_module(_BLE[name])
    return cast("_Advertised", module).advertisements(quirks) if hasattr(module, "advertisements") else {}


def services(name: str) -> tuple[str, ...]:
    """Answer the services by which a device of the Bluetooth driver `name` can be told when it advertises.

    Four upper-case hex digits, or the whole UUID in lower case where it is a vendor's. Raises KeyError.
    """
    module = _VENDOR[name] if name in _VENDOR else _BLE[name]
    return cast("_Announced", import_module(module)).SERVICES


def is_only_heard(name: str) -> bool:
    """Answer whether the BLE driver `name` reads advertisements alone: nothing is ever connected. Raises KeyError."""
    return not records(name) and bool(advertisements(name, Quirks()))


def records(name: str) -> tuple[str, ...]:
    """Answer the characteristics that bring the measurements of the BLE driver `name`. Raises KeyError."""
    if name in _VENDOR:
        return ()
    return cast("_BleModule", import_module(_BLE[name])).RECORDS


def streams(name: str) -> tuple[str, ...]:
    """Answer which of the records of the BLE driver `name` say what is measured now, over and over. Raises KeyError."""
    if name in _VENDOR:
        return ()
    return cast("tuple[str, ...]", getattr(import_module(_BLE[name]), "STREAMS", ()))


def conversation(model: DeviceModel, has: Collection[str]) -> VendorConversation:
    """Answer what is said to a device of this model whose driver is a vendor's own; of any other: nothing."""
    return _vendor_module(model.driver).conversation(model, has) if model.driver in _VENDOR else _silence()


def _silence() -> VendorConversation:
    yield from ()


def _vendor_module(name: str) -> _VendorModule:
    return cast("_VendorModule", import_module(_VENDOR[name]))


def _serial_module(name: str) -> _SerialModule:
    return cast("_SerialModule", import_module(_SERIAL[name]))
