"""Two rooms that have one Bluetooth device in their YAML: both show it, until one of them lets it go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulators.broker import own_broker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

CUFF = '{id: cuff, model: and-ua-651ble, address: "C8:1E:8E:00:00:01"}'
CLAIM = "vitals/v1/northside/claim/c81e8e000001"


def claimed_by(*rooms: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["devices"]["cuff"]["also_claimed_by"] == list(rooms)


async def test_both_rooms_show_that_the_other_claims_the_device(
    gateway: Any, chart: Chart, tmp_path: Path, new_port: Callable[[str], PtyPort]
) -> None:
    port = new_port("scale")
    folder = tmp_path / "next"
    folder.mkdir()
    other = type(gateway)(folder, gateway.broker_port, room="exam-4")
    gateway.devices.append(CUFF)
    other.devices.append(CUFF.replace("id: cuff", "id: cuff").replace("C8:1E", "c8:1e"))
    other.add_device("scale", "and-standard-scale", port.path)
    try:
        await gateway.start()
        await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
        await other.start()
        await gateway.until(claimed_by("exam-4"))
        await other.until(claimed_by("exam-3"))
        topic = "vitals/v1/northside/exam-3/device/cuff"
        await chart.wait_for(lambda chart: _last(chart, topic).get("also_claimed_by") == ["exam-4"], timeout=20)
        assert await other.stop() == 0
        await gateway.until(claimed_by("exam-4"))  # it is still in that room's YAML
        other.devices.remove(CUFF.replace("C8:1E", "c8:1e"))
        await other.start()
        await gateway.until(claimed_by())
        await chart.wait_for(lambda chart: _last(chart, topic).get("also_claimed_by") == [], timeout=20)
        log = (gateway.folder / "gateway.log").read_text()
        assert "room exam-4 has it in its configuration, too" in log
        assert await gateway.stop() == 0
    finally:
        if other.process is not None and other.process.returncode is None:
            await other.kill()


async def test_where_the_right_to_look_is_missing_it_says_so_and_goes_on(
    gateway: Any, new_port: Callable[[str], PtyPort]
) -> None:
    rules = gateway.folder / "acl"
    rules.write_text("topic write vitals/v1/northside/exam-3/#\ntopic read vitals/v1/northside/exam-3/in/#\n")
    port = new_port("scale")
    gateway.devices.append(CUFF)
    gateway.add_device("scale", "and-standard-scale", port.path)
    async with own_broker(config=(f"acl_file {rules}",)) as broker:
        gateway.broker_port = broker.port
        await gateway.start()
        status = await gateway.until(lambda status: status["broker"]["blocked"] != {})
        assert f"{CLAIM}/exam-3" in status["broker"]["blocked"]
        assert status["devices"]["cuff"]["also_claimed_by"] == []
        port.write(b"ST,+0083.700 kg\r\n")
        await gateway.until(lambda status: status["devices"]["scale"]["readings"] == 1)
        assert await gateway.stop() == 0


def _last(chart: Chart, topic: str) -> Any:
    return next((state.payload or {} for state in reversed(chart.states) if state.topic == topic), {})
