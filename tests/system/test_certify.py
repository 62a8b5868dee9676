"""`vitals-gateway certify`: the acceptance test of a room. The real process and command, the real broker."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.cli import _parser
from gateway.commands.certify import certify, lines
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.clock import DeviceClock
from simulators.ble.mi_scale import MiScale
from simulators.broker import own_broker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort
from simulators.ports.room import Room

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]
CUFF, THERMOMETER, MI = "C8:1E:8E:00:00:01", "C8:1E:8E:00:02:01", "C8:1E:8E:00:06:01"
B = "vitals/v1/northside/exam-3"
PATIENCE_S = 40.0


@dataclass
class Client:
    """The command as a process, and what it has said so far."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    is_silent: bool = False

    async def listen(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.said.append(line.decode().rstrip())
            self.more.set()
        self.is_silent = True
        self.more.set()

    async def says(self, words: str) -> str:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := [line for line in self.said if words in line]):
                assert not self.is_silent, self.said
                self.more.clear()
                await self.more.wait()
        return found[0]

    async def ends(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            text = (await self.process.stdout.read()).decode()
            return await self.process.wait(), text


Run = Callable[..., Awaitable[Client]]


@pytest.fixture
async def run(gateway: Any) -> AsyncIterator[Run]:
    """Start `vitals-gateway certify --unattended` with these arguments."""
    listening: list[asyncio.Task[None]] = []
    clients: list[Client] = []

    async def start(*arguments: str) -> Client:
        await gateway.until(lambda _status: True)
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("vitals-gateway"),
            "certify",
            "--unattended",
            *arguments,
            env={**os.environ, "RUNTIME_DIRECTORY": str(gateway.folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        client = Client(process)
        clients.append(client)
        listening.append(asyncio.create_task(client.listen()))
        return client

    yield start
    for client in clients:
        if client.process.returncode is None:
            client.process.kill()
            await client.process.wait()
    for task in listening:
        await task


@dataclass
class Scale:
    """A scale on a pty. Nobody is on it before and after."""

    port: PtyPort
    say: Say

    async def weigh(self, kg: float) -> None:
        await self.say(self.port, f"ST,{kg:+09.3f} kg\r\nST,+0000.000 kg\r\n".encode())


@pytest.fixture
async def scale(gateway: Any, new_port: NewPort, say: Say) -> Scale:
    made = Scale(new_port("scale"), say)
    gateway.add_device("scale", "and-standard-scale", made.port.path)
    return made


async def heard_out(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not client.is_silent:
            client.more.clear()
            await client.more.wait()


async def in_test(gateway: Any, device: str, *, now: bool = True) -> Any:
    return await gateway.until(lambda status: bool(status["devices"][device]["test_until"]) is now)


def shown(chart: Chart, device: str) -> dict[str, Any]:
    """The device's retained state."""
    found = [state.payload for state in chart.states if state.topic == f"{B}/device/{device}"]
    return dict(found[-1] or {}) if found else {}


def weights(chart: Chart) -> dict[float, str]:
    """Where each weight went."""
    return {
        float((delivery.payload or {})["vitals"][0]["value"]): delivery.topic.removeprefix(f"{B}/")
        for delivery in chart.deliveries
    }


@asynccontextmanager
async def whole_room(gateway: Any, room: Room) -> AsyncIterator[tuple[AndUa651ble, AndUt201ble, MiScale]]:
    here, fast = ZoneInfo("America/Chicago"), dict[str, Any](advertising_interval_ms=20)
    async with AsyncExitStack() as stack:
        cuff = AndUa651ble(room.air.radio("cuff"), CUFF, clock=DeviceClock(here), **fast)
        thermometer = AndUt201ble(room.air.radio("thermometer"), THERMOMETER, clock=DeviceClock(here), **fast)
        heard = MiScale(room.air.radio("mi"), MI, beat_s=0.05, **fast)
        for device in (cuff, thermometer, heard):
            await stack.enter_async_context(device)
        gateway.devices += [
            f'{{id: cuff, model: and-ua-651ble, address: "{CUFF}"}}',
            f'{{id: thermometer, model: and-ut-201ble, address: "{THERMOMETER}"}}',
            f'{{id: mi, model: xiaomi-mi-scale, address: "{MI}"}}',
        ]
        yield cuff, thermometer, heard


async def until_it_is_taken(client: Client, name: str, measure: Callable[[int], Awaitable[object]]) -> None:
    """Measure as a person does who is told to take another: what is too near the beginning is nobody's."""
    await client.says(f"{name}: Until ")
    for turn in range(20):
        await measure(turn)
        async with asyncio.timeout(PATIENCE_S):
            before = len(client.said)
            while True:
                mine = [line for line in client.said[before:] if line.startswith(f"  {name}: ")]
                if any("Take another" in line for line in mine):
                    break
                if any(f"{name}: Read and kept" in line for line in client.said):
                    return
                client.more.clear()
                await client.more.wait()
        await asyncio.sleep(0.5)  # as long as a person takes; no test waits for it


async def test_a_whole_room_passes_unattended_and_none_of_it_reaches_the_chart(
    gateway: Any, chart: Chart, room: Room, scale: Scale, hands: Any, run: Run, tmp_path: Path
) -> None:
    async with whole_room(gateway, room) as (cuff, thermometer, heard):
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        client = await run("--json", "--report", str(tmp_path / "report.json"))
        async with asyncio.TaskGroup() as people:
            people.create_task(until_it_is_taken(client, "scale", lambda turn: scale.weigh(70.5 + turn)))
            people.create_task(until_it_is_taken(client, "cuff", lambda turn: cuff.measure(128 + turn, 82, 66)))
            people.create_task(
                until_it_is_taken(client, "thermometer", lambda turn: thermometer.measure(Decimal("36.8") + turn))
            )
            people.create_task(until_it_is_taken(client, "mi", lambda turn: heard.measure(Decimal("72.45") + turn)))
        status, text = await client.ends()
        report = json.loads(text)
        assert status == 0, text
        assert report["passed"]
        assert [device["result"] for device in report["devices"]] == ["passed"] * 4
        assert {device["proof"] for device in report["devices"]} == {"seen"}
        assert {device["reading"]["mode"] for device in report["devices"]} == {"test"}
        assert all(topic.startswith("test/") for topic in weights(chart).values())
        for device in report["devices"]:
            reading, kept = device["reading"], chart.readings[device["reading"]["id"]]
            assert (kept["sequence"], kept["device"]["id"]) == (reading["sequence"], device["id"])
            times = [reading[f"{step}_at"] for step in ("captured", "committed", "sent", "acknowledged")]
            assert None not in times
            assert "values" not in device
        told = {device["id"]: device["serial"] for device in report["devices"]}
        assert told["cuff"].startswith("SIM-")
        assert json.loads((tmp_path / "report.json").read_text()) == report
        assert not any(word in text for word in ("70.5", "128", "72.45")), "no values"
        await in_test(gateway, "cuff", now=False)
        assert await gateway.stop() == 0


async def test_the_state_says_until_when_and_the_client_is_killed(
    gateway: Any, chart: Chart, scale: Scale, run: Run
) -> None:
    """The device's retained state shows it; whatever becomes of the client, it is over at once."""
    await gateway.start()
    client = await run()
    await client.says("Until ")
    await chart.wait_for(lambda chart: shown(chart, "scale").get("test_until") is not None, PATIENCE_S)
    client.process.kill()
    await chart.wait_for(lambda chart: shown(chart, "scale").get("test_until") is None, PATIENCE_S)
    await in_test(gateway, "scale", now=False)
    assert await gateway.stop() == 0


async def test_one_certify_a_device(gateway: Any, chart: Chart, scale: Scale, run: Run) -> None:
    await gateway.start()
    first = await run("--device", "scale")
    await first.says("Until ")
    second = await run("--device", "scale")
    status, text = await second.ends()
    assert status == 1
    assert "somebody else certifies it now" in text
    third = await run("--device", "cough")
    assert (await third.ends())[0] == 1
    await heard_out(third)
    assert any("no device cough: it has scale" in line for line in third.said)
    await in_test(gateway, "scale")
    await scale.weigh(70.5)
    status, text = await first.ends()
    assert status == 0, text
    assert "proof         it was read, is on disk, the broker has acknowledged it, and it came back" in text
    assert await gateway.stop() == 0


async def test_a_reload_takes_no_device_from_who_certifies_it(gateway: Any, scale: Scale, run: Run) -> None:
    await gateway.start()
    client = await run("--device", "scale")
    await client.says("Until ")
    gateway.devices[0] = gateway.devices[0].replace("{id: scale,", "{id: scale, unit: kg,")
    refused = await gateway.reload()
    assert refused["problems"] == ["device scale is being certified now: reload when that is done"]
    await in_test(gateway, "scale")
    await scale.weigh(70.5)
    status, text = await client.ends()
    assert status == 0, text
    taken = await gateway.reload()
    assert (taken["problems"], len(taken["changed"])) == ([], 1)
    await in_test(gateway, "scale", now=False)
    assert await gateway.stop() == 0


async def test_who_never_speaks_has_failed_and_is_told_what_to_do(
    gateway: Any, chart: Chart, scale: Scale, run: Run
) -> None:
    gateway.add_device("gone", "and-standard-scale", gateway.folder / "no-port")
    await gateway.start()
    client = await run("--within", "5")
    status, text = await client.ends()
    assert status == 1
    assert "scale  FAILED: no reading came within 5 s: not_heard_yet" in text
    assert "step on it" in text
    assert "gone  FAILED: no reading came within 5 s: port_absent" in text
    assert "plug the adapter in" in text
    assert await gateway.stop() == 0


async def test_the_service_is_stopped_in_the_midst_of_it(gateway: Any, chart: Chart, scale: Scale, run: Run) -> None:
    await gateway.start()
    client = await run()
    await client.says("Until ")
    assert await gateway.stop() == 0
    status, _ = await client.ends()
    assert status == 1
    await heard_out(client)
    assert any("the service hung up: nothing is signed off" in line for line in client.said)
    assert shown(chart, "scale")["test_until"] is None
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await in_test(gateway, "scale", now=False)
    assert await gateway.stop() == 0


async def test_where_the_clock_is_not_right_a_cuff_is_held_and_has_not_passed(
    gateway: Any, chart: Chart, room: Room, hands: Any, run: Run
) -> None:
    hands.set(timedelta(0), synced=False)
    async with whole_room(gateway, room) as (cuff, _, _):
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        client = await run("--device", "cuff")
        await client.says("Until ")
        await cuff.measure(128, 82, 66)
        status, text = await client.ends()
        assert status == 1
        assert "cuff  FAILED: it arrived, but held: clock_unverifiable" in text
        assert "timedatectl" in text
        assert {delivery.topic for delivery in chart.deliveries} == {f"{B}/test/quarantine"}
        assert await gateway.stop() == 0


ACL = """\
topic write vitals/v1/northside/exam-3/reading
topic write vitals/v1/northside/exam-3/gateway
topic write vitals/v1/northside/exam-3/device/+
{more}
"""


@pytest.mark.parametrize(
    ("protocol", "more", "status", "words"),
    [
        (5, "", 1, "lacks, in the broker's access rules: topic write vitals/v1/northside/exam-3/test/#"),
        (5, "topic write vitals/v1/northside/exam-3/test/#", 0, "topic read vitals/v1/northside/exam-3/test/#"),
        ("3.1.1", "", 1, "a broker acknowledges what it throws away"),
        ("3.1.1", "topic vitals/v1/northside/exam-3/test/#", 0, "came back from the broker byte for byte"),
    ],
)
async def test_rights_that_are_missing_are_named(
    gateway: Any, scale: Scale, run: Run, tmp_path: Path, protocol: Any, more: str, status: int, words: str
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(ACL.format(more=more))
    async with own_broker(config=(f"acl_file {acl}",)) as broker:
        gateway.broker_port = broker.port
        gateway.broker_more = f", protocol: {protocol}"
        await gateway.start()
        client = await run()
        await client.says("Until ")
        await scale.weigh(70.5)
        ended, text = await client.ends()
        assert words in text
        assert ended == status, text
        assert await gateway.stop() == 0


async def test_a_broker_that_is_away_is_told_and_the_reading_waits(
    gateway: Any, broker: Any, chart: Chart, scale: Scale, run: Run
) -> None:
    await gateway.start()
    client = await run()
    await client.says("Until ")
    await broker.kill()
    await scale.weigh(70.5)
    status, text = await client.ends()
    assert status == 1
    assert "scale  FAILED: it is on disk and waits: no broker" in text
    assert "proof         it was read and is on disk" in text
    await broker.start()
    await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
    assert await gateway.stop() == 0


class Person:
    """Sits at a terminal: reads what is said, and answers each question with the next of `answers`."""

    def __init__(self, gateway: Any, *answers: str) -> None:
        self._path = gateway.folder / "control.sock"
        self._answers = list(answers)
        self.read: list[str] = []
        self._heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def say(self, line: str) -> None:
        self.read.append(line)
        self._loop.call_soon_threadsafe(self._heard.set)

    def ask(self, prompt: str) -> str:
        self.say(prompt)
        if not self._answers:
            raise EOFError
        return self._answers.pop(0)

    def goes_through(self, **question: Any) -> asyncio.Task[dict[str, Any]]:
        asked = {"command": "certify", "within_s": 30, **question}
        return asyncio.create_task(asyncio.to_thread(certify, self._path, asked, say=self.say, ask=self.ask))

    async def reads(self, words: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(words in line for line in self.read):
                self._heard.clear()
                await self._heard.wait()


@pytest.mark.parametrize(
    ("answers", "result", "display"),
    [
        (("y", "what?", "y"), "passed", "agrees"),
        (("y", "n"), "failed", "differs"),
        (("y",), "failed", "not_asked"),
    ],
)
async def test_a_person_compares_what_the_device_shows(
    gateway: Any, chart: Chart, scale: Scale, answers: tuple[str, ...], result: str, display: str
) -> None:
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    person = Person(gateway, *answers)
    going = person.goes_through(values=True)
    await person.reads("No patient may be on it")
    await person.reads("nothing that scale measures reaches the chart")
    await scale.weigh(83.7)
    report = await asyncio.wait_for(going, PATIENCE_S)
    assert "    body weight 83.700 kg" in person.read
    (device,) = report["devices"]
    assert (device["result"], device["display"]) == (result, display)
    assert device["values"] == ["body weight 83.700 kg"]
    assert report["passed"] is (result == "passed")
    assert ("do not use it" in "\n".join(lines(report))) is (display == "differs")
    await in_test(gateway, "scale", now=False)
    assert await gateway.stop() == 0
    log = (gateway.folder / "gateway.log").read_text()
    assert "83.7" not in log
    assert "values were asked for" in log


async def test_a_room_with_a_device_that_is_left_out_is_not_signed_off(
    gateway: Any, chart: Chart, scale: Scale, new_port: NewPort, run: Run
) -> None:
    """Nobody reads it, whatever the others do: with `run_others` the YAML may be wrong about it for months."""
    gateway.more = "on_device_error: run_others"
    gateway.add_device("bench", "and-standart-scale", new_port("bench").path)
    await gateway.start()
    client = await run()
    await client.says("scale: Until ")
    await scale.weigh(70.5)
    status, text = await client.ends()
    assert (status, "scale  PASSED" in text, "NOT PASSED" in text) == (1, True, True)
    assert "bench  FAILED: its entry in the YAML is wrong: it is left out" in text
    assert 'did you mean "and-standard-scale"?' in text
    status, text = await (await run("--device", "bench", "--json")).ends()
    (bench,) = json.loads(text)["devices"]
    assert (status, bench["result"], bench["reason"]) == (1, "failed", "misconfigured")
    assert await gateway.stop() == 0


async def test_who_is_skipped_is_not_signed_off_and_was_never_in_test(gateway: Any, chart: Chart, scale: Scale) -> None:
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    report = await asyncio.wait_for(Person(gateway, "n").goes_through(), PATIENCE_S)
    assert [device["result"] for device in report["devices"]] == ["skipped"]
    assert not report["passed"]
    assert "in test" not in (gateway.folder / "gateway.log").read_text()
    assert await gateway.stop() == 0


async def test_what_a_cuff_measured_in_a_test_that_was_killed_is_held_after_the_restart(
    gateway: Any, chart: Chart, room: Room, hands: Any, run: Run
) -> None:
    """Nobody noted when it ended: whose it is, a person must say."""
    async with whole_room(gateway, room) as (cuff, _, _):
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        client = await run("--device", "cuff")
        await client.says("Until ")
        await gateway.kill()
        assert (await client.ends())[0] == 1
        await cuff.measure(128, 82, 66)
        await cuff.peripheral.stop_advertising()
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        await cuff.advertise()
        await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=PATIENCE_S)
        (delivery,) = chart.deliveries
        assert delivery.payload is not None
        assert delivery.payload["reasons"] == ["test_overlap"]
        assert delivery.topic == f"{B}/test/quarantine", "quarantine, of a cuff that is not simulated"
        await in_test(gateway, "cuff", now=False)
        assert await gateway.stop() == 0


async def test_a_disk_that_takes_no_note_lets_no_test_begin(
    gateway: Any, chart: Chart, room: Room, hands: Any, run: Run
) -> None:
    (gateway.folder / "outbox.db.trials.new").mkdir()
    async with whole_room(gateway, room):
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        status, text = await (await run("--device", "cuff")).ends()
        assert status == 1
        assert "cuff  FAILED: that a test begins cannot be written to the disk" in text
        assert "in test" not in (gateway.folder / "gateway.log").read_text()
        assert await gateway.stop() == 0


async def test_who_pairs_a_device_and_who_certifies_it_keep_each_other_out(
    gateway: Any, chart: Chart, room: Room, hands: Any, run: Run
) -> None:
    async with whole_room(gateway, room):
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        client = await run("--device", "cuff")
        await client.says("Until ")

        async def pair(until: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], asyncio.StreamWriter]:
            reader, writer = await asyncio.open_unix_connection(gateway.folder / "control.sock")
            writer.write(json.dumps({"command": "pair", "address": CUFF}).encode() + b"\n")
            async with asyncio.timeout(PATIENCE_S):
                while not until(line := json.loads(await reader.readline())):
                    pass
            return line, writer

        line, writer = await pair(lambda _line: True)
        assert "somebody certifies this device now" in line["error"]
        writer.close()
        client.process.kill()
        await in_test(gateway, "cuff", now=False)
        _, writer = await pair(lambda line: line.get("step") == "waiting")
        status, text = await (await run("--device", "cuff")).ends()
        assert status == 1
        assert "somebody pairs it now" in text
        writer.close()
        assert await gateway.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "words"), [((), "or --unattended"), (("--unattended", "--within", "301"), "5 to 300")]
)
def test_without_a_terminal_it_asks_for_unattended(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    given = _parser().parse_args(["certify", *arguments])
    assert given.act(given) == 64
    assert words in capsys.readouterr().err
