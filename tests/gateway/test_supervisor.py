"""What a device said is kept, whatever happens in the same moment."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from drivers import registry
from drivers.contract import Driver, Measurement, Sample, Step
from drivers.errors import LinkFault, LinkLost
from drivers.links.serial_port import SerialPort
from drivers.models import LineSettings
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.rows import Row
from gateway.settings import Device
from gateway.supervisor import Supervisor
from simulators.ports.pty import PtyPort


class _AnswersAndAsksAtOnce:
    """A polled driver whose settled reading and next request fall into one step."""

    def tick(self, now: float) -> Step:
        sample = Sample((Measurement("body_weight", Decimal("83.7"), "kg"),), raw=b"S S 83.7 kg", at=now)
        return Step((sample,), b"S\r\n", now + 1)

    def feed(self, data: bytes, now: float) -> Step:
        return Step()

    def close(self, now: float) -> Step:
        return Step()


class _PulledOutWhenWritten:
    """A port that is gone in the moment of the write. A real one cannot be pulled out to the instruction."""

    is_pty = True

    @classmethod
    async def open(cls, path: str, line: LineSettings) -> _PulledOutWhenWritten:
        return cls()

    def write(self, data: bytes) -> None:
        raise LinkLost(LinkFault.UNPLUGGED, f"gone before {len(data)} bytes")

    def close(self) -> None:
        return None


async def test_a_reading_is_kept_though_the_request_beside_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "driver", lambda _model: cast("Driver", _AnswersAndAsksAtOnce()))
    monkeypatch.setattr(SerialPort, "open", _PulledOutWhenWritten.open)
    model = load_model("mt-sics-scale")
    device = Device("scale", "mt-sics-scale", model, model.line, port="/dev/none")
    outbox = Outbox(tmp_path / "outbox.db", lambda _rows: None)
    clock = Clock()
    intake = Intake(device, Origin("northside", "exam-3", "0", outbox.stream), load_ranges(), clock)
    gone = asyncio.Event()

    def note(_device: str) -> None:
        if supervisor.standing.status.reason == "unplugged":
            gone.set()

    supervisor = Supervisor(
        device, "/dev/none", intake, outbox, clock, demo=False, on_change=note, on_event=lambda *_: None
    )
    task = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(gone.wait(), 10)
    task.cancel()
    assert supervisor.standing.status.counts.samples >= 1
    assert (await outbox.state()).depth == supervisor.standing.status.counts.samples
    await outbox.close()


async def test_what_lies_in_the_port_when_it_is_closed_is_read(tmp_path: Path) -> None:
    """A reload or a stop comes between two bytes, as anything does."""
    port = PtyPort(tmp_path / "scale-port")
    model = load_model("and-standard-scale")
    device = Device("scale", "and-standard-scale", model, model.line, port=str(port.path))
    rows: list[Row] = []
    outbox = Outbox(tmp_path / "outbox.db", rows.extend)
    clock, opened = Clock(), asyncio.Event()
    intake = Intake(device, Origin("northside", "exam-3", "0", outbox.stream), load_ranges(), clock)
    attendant = Supervisor(
        device,
        str(port.path),
        intake,
        outbox,
        clock,
        demo=False,
        on_change=lambda _device: opened.set(),
        on_event=lambda *_: None,
    )
    attending = asyncio.create_task(attendant.run())
    await asyncio.wait_for(opened.wait(), 20)
    await asyncio.sleep(0)  # it waits for bytes now
    frame = b"ST,+0083.700 kg\r\n"
    assert port.write(frame * 100) == len(frame) * 100
    attending.cancel()
    await asyncio.wait([attending])
    await asyncio.wait_for(outbox.close(), 20)
    port.close()
    counts = attendant.standing.status.counts
    assert (counts.frames, counts.samples) == (100, 1)
    await asyncio.sleep(0)
    assert len(rows) == 1
