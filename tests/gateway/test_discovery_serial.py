"""Listening on real ptys: nothing is sent, a wrong setting is left, and only what a person named is asked.

A pty takes a speed and does nothing with it, and knows no parity: here a device looks which speed was set, and says
garbage at another than its own, as a line would. Real framing errors are tried by nobody here.
"""

from __future__ import annotations

import asyncio
import json
import os
import termios
import tty
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from drivers.errors import LinkFault, LinkLost
from drivers.links import serial_port
from drivers.links.serial_port import SerialPort
from drivers.links.serial_ports import Holder, PortFacts
from drivers.models import LineSettings
from gateway import discovery_serial
from gateway.catalogue import load_model, model_names
from gateway.discovery_serial import PortFinding, asks, is_left_alone, lines, listen, written
from simulators.serial.rice_lake import RiceLakeScale

VECTORS = Path(__file__).parents[1] / "vectors"
MODELS = {name: load_model(name) for name in model_names()}
POLLED = "rice-lake-140-10-7-esc"
FAST, SLOW = LineSettings(baud=9600), LineSettings(baud=2400)
PATIENCE_S = 20.0


def frame(driver: str) -> bytes:
    for line in (VECTORS / f"{driver}.jsonl").read_text(encoding="utf-8").splitlines():
        vector = json.loads(line)
        if vector["expected"]["ok"] and vector["direction"] == "device->host":
            return bytes.fromhex(vector["bytes_hex"])
    raise AssertionError(driver)


class Line:
    """A device at a pty: `says(speed)` is what arrives there at this speed; `sent` is what it was sent."""

    def __init__(self, says: Callable[[int], bytes] = lambda _: b"", answers: Callable[[bytes], bytes] = bytes) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self.sent = b""
        self.speeds: list[int] = []
        self._says, self._answers = says, answers
        self._task = asyncio.create_task(self._speak())

    @property
    def finding(self) -> PortFinding:
        return PortFinding(PortFacts(self.path), self.path)

    async def _speak(self) -> None:
        while True:
            speed = {termios.B2400: 2400, termios.B9600: 9600}.get(termios.tcgetattr(self._slave)[4], 0)
            if speed and speed not in self.speeds[-1:]:
                self.speeds.append(speed)
            try:
                self.sent += (heard := os.read(self.master, 4096))
                os.write(self.master, self._answers(heard))
            except BlockingIOError:
                pass  # nothing was sent
            try:
                os.write(self.master, self._says(speed))
            except BlockingIOError:
                pass  # nobody reads
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
async def line() -> AsyncIterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(says: Callable[[int], bytes] = lambda _: b"", answers: Callable[[bytes], bytes] = lambda _: b"") -> Line:
        made.append(Line(says, answers))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def a_real_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ptys of this test take part in having a speed."""
    monkeypatch.setattr(serial_port, "_is_pty", lambda _: False)
    monkeypatch.setattr(discovery_serial, "TURN_S", 0.2)


async def test_a_device_that_speaks_is_recognized_and_sent_nothing(line: Callable[..., Line]) -> None:
    device, told = line(lambda _: frame("tanita")), list[str]()
    finding = device.finding
    await asyncio.wait_for(listen(finding, [FAST], PATIENCE_S, told.append), PATIENCE_S)
    assert (finding.state, [v.driver for v in finding.verdicts]) == ("recognized", ["tanita"])
    assert finding.is_pty
    assert told == [f"{device.path}: tanita"]
    assert device.sent == b""


async def test_a_wrong_setting_is_left_for_the_next(line: Callable[..., Line], a_real_line: None) -> None:
    said = frame("health_o_meter_binary")
    device, told = line(lambda speed: said if speed == 2400 else b"\x00\xf8\x80" if speed else b""), list[str]()
    finding = device.finding
    await asyncio.wait_for(listen(finding, [FAST, SLOW], PATIENCE_S, told.append), PATIENCE_S)
    assert (finding.state, finding.line) == ("recognized", SLOW)
    assert [verdict.driver for verdict in finding.verdicts] == ["health_o_meter_binary"]
    assert "at 9600 8N1: the next setting" in told[0]
    assert told[-1].endswith("health_o_meter_binary, at 2400 8N1")
    assert device.speeds[-2:] == [9600, 2400]


async def test_settings_go_round_until_the_time_is_over(line: Callable[..., Line], a_real_line: None) -> None:
    device, told = line(lambda speed: b"login: " if speed else b""), list[str]()
    finding = device.finding
    await listen(finding, [FAST, SLOW], 3.0, told.append)
    assert finding.state == "unreadable"
    assert finding.seen
    assert device.speeds.count(9600) > 1, "the first came again"
    assert "bytes came that no protocol explains" in told[-1]


async def test_while_nothing_comes_the_setting_stays(line: Callable[..., Line], a_real_line: None) -> None:
    device, told = line(), list[str]()
    finding = device.finding
    await listen(finding, [FAST, SLOW], 0.6, told.append)
    assert (finding.state, finding.seen) == ("silent", 0)
    assert 2400 not in device.speeds
    assert told == [f"{device.path}: silent"]
    assert device.sent == b""


async def test_one_result_is_enough_when_its_turn_is_over(
    line: Callable[..., Line], a_real_line: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = iter([frame("terumo")])
    device = line(lambda speed: next(once, b"") if speed == 9600 else b"")
    finding = device.finding
    await asyncio.wait_for(listen(finding, [FAST, SLOW], PATIENCE_S, list[str]().append), PATIENCE_S)
    assert [(v.driver, v.frames) for v in finding.verdicts] == [("terumo", 1)]


async def test_a_silent_device_is_asked_as_the_model_that_a_person_named(
    line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_serial, "SILENT_FIRST_S", 0.2)
    scale = RiceLakeScale(POLLED)
    scale.step_on(80.0)
    scale.advance(10.0)
    device = line(answers=scale.receive)
    finding = device.finding
    row = MODELS[POLLED]
    work = listen(finding, [row.line], PATIENCE_S, list[str]().append, (POLLED, row))
    await asyncio.wait_for(work, PATIENCE_S)
    assert finding.asked == POLLED
    assert "rice_lake_esc" in {verdict.driver for verdict in finding.verdicts}
    assert set(device.sent.split(b"\x1bE")) == {b"\x1bR", b""}, "its one request, and nothing else"


async def test_a_device_that_speaks_by_itself_is_not_asked(
    line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_serial, "SILENT_FIRST_S", 0.3)
    device = line(lambda _: b"hello\r\n")
    finding = device.finding
    row = MODELS[POLLED]
    await listen(finding, [row.line], 1.0, list[str]().append, (POLLED, row))
    assert (finding.state, finding.asked) == ("unreadable", None)
    assert device.sent == b""


async def test_a_port_that_does_not_open_is_told_in_words(tmp_path: Path) -> None:
    told = list[str]()
    finding = PortFinding(PortFacts(str(tmp_path / "none")), "none")
    await listen(finding, [FAST], 1.0, told.append)
    assert finding.state == "failed"
    assert "is not there" in finding.detail
    assert told == [finding.detail]


async def test_a_port_that_is_denied_is_a_matter_of_who_types(monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(path: str, line: LineSettings) -> SerialPort:
        raise LinkLost(LinkFault.PORT_DENIED, "the service's words")

    monkeypatch.setattr(SerialPort, "open", denied)
    finding = PortFinding(PortFacts("/dev/ttyUSB0"), "/dev/ttyUSB0")
    await listen(finding, [FAST], 1.0, lambda _: None)
    assert (finding.state, finding.detail) == ("failed", "/dev/ttyUSB0 may not be opened: be root, or use sudo")


async def test_a_port_that_goes_away_is_told_in_words() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    finding = PortFinding(PortFacts(path), path)
    listening = asyncio.create_task(listen(finding, [FAST], PATIENCE_S, lambda _: None))
    async with asyncio.timeout(PATIENCE_S):
        while not is_open(path):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)
        os.close(slave)
        os.close(master)
        await listening
    assert (finding.state, "went away" in finding.detail) == ("failed", True)


def is_open(path: str) -> bool:
    """Whether this process has the port open a second time."""
    names = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            names.append(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
        except OSError:
            continue
    return names.count(path) > 1


@pytest.mark.parametrize(
    ("facts", "device", "state"),
    [
        (PortFacts("/dev/ttyUSB0", holders=(Holder(1, "minicom"),)), None, "held"),
        (PortFacts("/dev/ttyUSB0", holders=(Holder(1, "python3"),)), "scale", "ours"),
        (PortFacts("/dev/ttyUSB0"), "scale", "ours"),
        (PortFacts("/dev/ttyS0", is_console=True), None, "console"),
        (PortFacts("/dev/ttyUSB0"), None, "waiting"),
    ],
)
def test_a_port_that_somebody_has_is_left_alone(facts: PortFacts, device: str | None, state: str) -> None:
    finding = PortFinding(facts, facts.name, device=device)
    assert is_left_alone(finding) == (state != "waiting")
    assert finding.state == state


def test_the_settings_of_the_catalogue_the_most_frequent_first() -> None:
    assert list(map(written, lines(MODELS)))[:2] == ["9600 8N1", "2400 8N1"]
    assert set(lines(MODELS)) == {row.line for row in MODELS.values() if row.link == "serial"}


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.link == "serial"])
def test_only_a_model_that_is_polled_is_asked(name: str) -> None:
    polled = {"dinamap", "mt_sics", "rice_lake_esc", "sma", "nci", "suntech", "suretemp", "taidoc"}
    assert asks(MODELS[name]) == (MODELS[name].driver in polled)
