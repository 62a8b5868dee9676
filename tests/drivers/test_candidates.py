"""Which models may be behind an advertisement or a protocol: all of them, the better evidence first, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from drivers import registry
from drivers.candidates import best_first, of_advertisement, of_frames
from drivers.contract import Rejected
from drivers.models import DeviceModel, Quirks
from gateway.catalogue import load_model, model_names

MODELS = {name: load_model(name) for name in model_names()}
VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.mark.parametrize(
    ("name", "services", "model"),
    [
        ("A&D_UA-651BLE_0123AB", ("1810",), "and-ua-651ble"),
        ("a&d_ua-651ble_0123AB", ("1810",), "and-ua-651ble"),
        ("A&D_UC-352BLE_0123AB", ("181D",), "and-uc-352ble"),
        ("A&D_UT201BLE_0123AB", (), "and-ut-201ble"),
        ("Polar H10 ABCDEFGH", ("180D",), "polar-h10"),
        ("Polar H7 391BB014", ("180D",), "polar-h7"),
        ("BLESmart_00000116ABCDEF", ("1809",), "omron-mc-6810t2"),
    ],
)
def test_a_name_of_a_row_is_that_row(name: str, services: tuple[str, ...], model: str) -> None:
    found = of_advertisement(MODELS, name=name, services=services)
    assert (found.models, found.why) == ((model,), "named")


def test_an_omron_cuff_is_one_of_all_omron_cuffs() -> None:
    cuffs = {name for name, row in MODELS.items() if row.maker == "Omron" and row.link == "ble"} - {"omron-mc-6810t2"}
    for said in ({"name": "BLEsmart_00000264"}, {"makers": (0x020E,)}, {"name": "BLEsmart_1", "services": ("FE4A",)}):
        found = of_advertisement(MODELS, **{"services": ("1810",), **said})  # type: ignore[arg-type]
        assert (set(found.models), found.why) == (cuffs, "named")


def test_a_makers_number_names_its_scales() -> None:
    found = of_advertisement(MODELS, name="BF720", services=("181D",), makers=(0x0611,))
    assert found.why == "named"
    assert {MODELS[model].maker for model in found.models} == {"Beurer"}


@pytest.mark.parametrize("service", ["1810", "1809", "181D", "181B", "1822"])
def test_a_service_alone_is_told_as_no_more(service: str) -> None:
    found = of_advertisement(MODELS, name="Something else", services=(service,))
    assert found.models
    assert found.why == "service"
    assert all(service in registry.services(MODELS[model].driver) for model in found.models)
    assert not any(MODELS[model].advertised.names for model in found.models), "its name is another"
    without_name = of_advertisement(MODELS, services=(service,))
    assert set(without_name.models) >= set(found.models)


def test_a_weight_in_an_advertisement_is_read_by_the_scale_that_says_it() -> None:
    read = set()
    for line in (VECTORS / "ble" / "xiaomi_scale.jsonl").read_text(encoding="utf-8").splitlines():
        vector = json.loads(line)
        service, data = vector["service"][-4:], bytes.fromhex(vector["hex"])
        found = of_advertisement(MODELS, service_data={service: data}, services=(service,))
        if not isinstance(registry.advertisements("xiaomi_scale", Quirks())[service](data), Rejected):
            assert found.models == ("xiaomi-mi-scale" if service == "181D" else "xiaomi-mi-scale-2",)
            assert found.why == "read"
            read.add(service)
    assert read == {"181D", "181B"}
    assert of_advertisement(MODELS, service_data={"181D": b"\x00"}).why == "service"


def test_a_service_whose_rows_all_have_another_name_is_no_model() -> None:
    assert of_advertisement(MODELS, name="Some strap", services=("180D",)).models == ()


def test_what_is_nobodys_is_nothing() -> None:
    assert of_advertisement(MODELS, name="[TV] Samsung", services=("FEAF",), makers=(0x0075,)).models == ()
    assert of_advertisement(MODELS).models == ()


def test_the_models_of_a_protocol_come_with_the_better_evidence_first() -> None:
    found = of_frames({"masimo_ascii1"}, MODELS)
    assert set(found.models) == {name for name, row in MODELS.items() if row.driver == "masimo_ascii1"}
    assert found.why == "read"


def test_evidence_then_how_much_is_asked_for_then_the_name() -> None:
    row = MODELS["health-o-meter-500kl"]
    rows: dict[str, DeviceModel] = {
        "derived": replace(row, evidence=("derived",)),
        "b": replace(row, evidence=("manual",)),
        "a": replace(row, evidence=("manual",)),
        "careful": replace(row, evidence=("manual",), settling=replace(row.settling, frames=9)),
        "seen": replace(row, evidence=("derived", "capture")),
    }
    assert best_first(rows, rows) == ("seen", "careful", "a", "b", "derived")


@pytest.mark.parametrize("driver", registry.ble_names() + registry.vendor_names())
def test_a_bluetooth_driver_says_its_services(driver: str) -> None:
    for service in registry.services(driver):
        assert service == (service.upper() if len(service) == 4 else service.lower())
    assert registry.services(driver)


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.link == "ble"])
def test_a_row_is_among_what_it_advertises(name: str) -> None:
    row = MODELS[name]
    begin = next(iter(row.advertised.names), "")
    services = row.advertised.services or registry.services(row.driver)
    found = of_advertisement(MODELS, name=begin, services=services[:1])
    assert name in found.models or registry.is_only_heard(row.driver)
