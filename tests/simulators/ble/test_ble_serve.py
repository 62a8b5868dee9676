"""`simulate` for a device with a radio, and what a real radio's weaknesses do on the air."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bleak import BleakScanner

from simulators.ble.serve import ble_models, serve_ble

PATIENCE_S = 10.0


async def test_a_gateway_finds_it_by_what_was_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, close_bleak: Any
) -> None:
    serving = asyncio.create_task(serve_ble("and-ut-201ble", ["body_temperature=37.2"], every_s=3600))
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
        (("and-ua-651bl",), "and-ua-651ble"),
        (("and-ua-651ble", ["weight=3"]), "systolic"),
        (("and-ua-651ble", ["systolic=high"]), "no number"),
        (("and-ua-651ble", [], ["explode"]), "hang_up"),
    ],
)
async def test_bad_usage_is_told(arguments: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        await serve_ble(*arguments)


def test_the_models() -> None:
    assert ble_models() == ("and-ua-651ble", "and-ut-201ble")
