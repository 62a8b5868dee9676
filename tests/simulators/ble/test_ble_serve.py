"""`simulate` for a device with a radio, and what a real radio's weaknesses do on the air."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakScanner

from simulators import catalogue
from simulators.ble.serve import ble_models
from simulators.serve import serve

PATIENCE_S = 10.0


async def test_a_gateway_finds_it_by_what_was_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, close_bleak: Any
) -> None:
    serving = asyncio.create_task(serve("and-ut-201ble", ["body_temperature=37.2"], every_s=3600))
    try:
        printed = ""
        async with asyncio.timeout(PATIENCE_S):
            while printed.count("\n") < 2:
                assert not serving.done(), serving
                await asyncio.sleep(0.005)
                printed += capsys.readouterr().out
        environment, device = printed.splitlines()
        monkeypatch.setenv(*environment.split("=", 1))
        address, name = device.split(" ", 1)
        found = await BleakScanner.find_device_by_address(address, PATIENCE_S)
        assert found is not None
        assert (found.address, found.name) == ("C8:1E:8E:00:02:01", name)
        await close_bleak()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": "and-ua-651bl"}, "and-ua-651ble"),
        ({"settings": ["weight=3"]}, "systolic"),
        ({"settings": ["body_temperature=37"]}, "systolic"),
        ({"settings": ["systolic=high"]}, "no number"),
        ({"settings": ["systolic=nan"]}, "no number"),
        ({"settings": ["systolic=120.5"]}, "whole"),
        ({"settings": ["systolic=99999"]}, "too many digits"),
        ({"model": "detecto-icon", "settings": ["body_weight=70.003"]}, "in steps"),
        ({"model": "beurer-bf720", "settings": ["body_weight=-1"]}, "from 0 to 300"),
        ({"model": "renpho-es-wbe28", "settings": ["body_fat=20"]}, "body_weight"),
        ({"faults": ["explode"]}, "hang_up"),
        ({"faults": ["drop"]}, "hang_up"),
        ({"story": Path("story.txt")}, "no story"),
        ({"address": "C8:1E:8E:00:00"}, "random static"),
        ({"address": "00:1E:8E:00:00:01"}, "C0 to FF"),
        ({"dongle": "nonsense"}, "usb:0"),
        ({"model": "mt-sics-scale", "dongle": "usb:0"}, "--dongle"),
        ({"model": "mt-sics-scale", "address": "C8:1E:8E:00:00:01"}, "--address"),
        ({"model": "mt-sics-scale", "every_s": 3.0}, "--every"),
    ],
)
async def test_bad_usage_is_told_before_anything_is_printed(
    capsys: pytest.CaptureFixture[str], arguments: Any, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        await serve(**{"model": "and-ua-651ble", **arguments})
    assert capsys.readouterr().out == ""


async def test_a_dongle_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-dongle"):
        await serve("and-ua-651ble", dongle=f"serial:{tmp_path}/no-dongle")


@pytest.mark.parametrize("model", ble_models())
async def test_each_can_be_made_and_heard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, close_bleak: Any, model: str
) -> None:
    serving = asyncio.create_task(serve(model, every_s=3600))
    try:
        printed = ""
        async with asyncio.timeout(PATIENCE_S):
            while printed.count("\n") < 2:
                assert not serving.done(), serving
                await asyncio.sleep(0.005)
                printed += capsys.readouterr().out
        environment, device = printed.splitlines()
        monkeypatch.setenv(*environment.split("=", 1))
        found = await BleakScanner.find_device_by_address(device.split(" ", 1)[0], PATIENCE_S)
        assert found is not None
        await close_bleak()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_what_a_byte_cannot_keep_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for setting in ("systolic=251", "systolic=24", "pulse_rate=-1"):
        with pytest.raises(ValueError, match="from 0 to 250"):
            await serve("omron-hem-7142t2", [setting])
    assert capsys.readouterr().out == ""


def test_the_catalogue_names_those_that_can_be_made() -> None:
    assert ble_models() == catalogue.BLE_MODELS
    assert not set(ble_models()) & set(catalogue.models())
