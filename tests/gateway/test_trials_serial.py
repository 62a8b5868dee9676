"""A scale on a serial port while somebody certifies it: real bytes on a pty that is taken for a real port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from drivers.links import serial_port
from drivers.links.serial_port import SerialPort
from drivers.models import LineSettings
from gateway import trials
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.settings import Device
from gateway.supervisor import Supervisor
from simulators.ports.pty import PtyPort

ZERO, PATIENCE_S = "ST,+0000.000 kg\r\n", 20.0


class Scale:
    """The scale, its supervisor, and where its weights went."""

    def __init__(self, folder: Path) -> None:
        row = load_model("and-standard-scale")
        self.port = PtyPort(folder / "scale")
        device = Device("scale", "and-standard-scale", row, LineSettings(), port=str(self.port.path))
        self.rows: list[dict[str, Any]] = []
        self.outbox = Outbox(
            folder / "outbox.db", lambda rows: self.rows.extend(json.loads(row.payload) for row in rows)
        )
        self.clock = Clock([lambda: True])
        self.clock.refresh()
        self.intake = Intake(device, Origin("northside", "exam-3", "0", None), load_ranges(), self.clock)
        self.supervisor = Supervisor(
            device,
            str(self.port.path),
            self.intake,
            self.outbox,
            self.clock,
            demo=False,
            on_change=lambda _: None,
            on_event=lambda *_: None,
        )

    def says(self, *frames: str) -> None:
        said = "".join(frames).encode()
        assert self.port.write(said) == len(said)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.005)

    async def has(self, kg: float) -> tuple[str, str]:
        """Wait for the weight; answer its mode and disposition."""
        await self.until(lambda: any(row["vitals"][0]["value"] == kg for row in self.rows))
        (found,) = [row for row in self.rows if row["vitals"][0]["value"] == kg]
        return found["mode"], found["disposition"]

    def is_free(self) -> bool:
        """Whether a trial could begin now."""
        return self.supervisor.is_at_rest

    def is_in_test(self) -> bool:
        """Whether its state says so."""
        return self.supervisor.standing.status.test_until is not None

    @property
    def activity_is_at_rest(self) -> bool:
        return self.supervisor.trials.is_at_rest

    async def heard(self, frames: int) -> None:
        await self.until(lambda: self.supervisor.standing.status.counts.frames >= frames)


def stable(kg: float) -> str:
    return f"ST,{kg:+09.3f} kg\r\n"


def unstable(kg: float) -> str:
    return f"US,{kg:+09.3f} kg\r\n"


@pytest.fixture
async def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scale]:
    monkeypatch.setattr(serial_port, "_is_pty", lambda _node: False)
    made = Scale(tmp_path)
    running = asyncio.create_task(made.supervisor.run())
    await made.until(lambda: made.supervisor._listening is not None)
    yield made
    running.cancel()
    await asyncio.wait([running])
    await made.outbox.close()
    made.port.close()


async def test_no_trial_begins_while_a_patient_is_on_the_scale(scale: Scale) -> None:
    assert not scale.is_free(), "a stream may have been joined in its middle"
    scale.says(ZERO)
    await scale.until(scale.is_free)
    scale.says(unstable(60.0))
    await scale.heard(2)
    assert not scale.is_free()
    scale.says(stable(83.7))
    assert await scale.has(83.7) == ("real", "usable")
    assert not scale.is_free(), "and still is"
    scale.says(ZERO)
    await scale.until(scale.is_free)


async def test_what_begins_in_a_trial_is_a_tests_and_then_it_is_the_patients_again(
    scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "LATE_S", 0.0)
    scale.says(ZERO)
    await scale.until(scale.is_free)
    scale.supervisor.trials.open(60)
    assert scale.is_in_test()
    scale.says(stable(20.0), ZERO)
    assert await scale.has(20.0) == ("test", "usable")
    scale.says(unstable(30.0))
    await scale.heard(4)
    scale.supervisor.trials.end()
    assert not scale.is_in_test()
    scale.says(stable(40.0))
    assert await scale.has(40.0) == ("test", "usable"), "it began in the trial"
    scale.says(stable(50.0))
    assert await scale.has(50.0) == ("real", "hold"), "nobody stepped off: it may be either's"
    scale.says(ZERO, stable(83.7))
    assert await scale.has(83.7) == ("real", "usable")


async def test_bytes_that_lie_in_the_port_are_of_before_the_trial(scale: Scale) -> None:
    """What a patient's weighing said is not taken for a test's, however late we look."""
    scale.says(ZERO)
    await scale.until(scale.is_free)
    port, patience = cast("SerialPort", scale.supervisor._listening), time.monotonic() + PATIENCE_S
    scale.says(stable(83.7))
    while not port.has_bytes:  # in this step of the loop nobody reads; the kernel brings them by itself
        assert time.monotonic() < patience
    assert scale.activity_is_at_rest
    assert not scale.is_free()
    assert await scale.has(83.7) == ("real", "usable")


async def test_what_comes_right_after_the_end_is_held(scale: Scale) -> None:
    scale.says(ZERO)
    await scale.until(scale.is_free)
    scale.supervisor.trials.open(60)
    scale.says(stable(20.0), ZERO)
    assert await scale.has(20.0) == ("test", "usable")
    scale.supervisor.trials.end()
    scale.says(stable(83.7), ZERO)
    assert await scale.has(83.7) == ("real", "hold")
    assert scale.rows[-1]["reasons"] == ["test_overlap"]


async def test_an_adapter_that_is_pulled_out_in_a_trial_hides_no_test(scale: Scale) -> None:
    """What its driver still says when the port is gone was captured in the trial."""
    scale.says(ZERO)
    await scale.until(scale.is_free)
    scale.supervisor.trials.open(60)
    scale.port.unplug()
    await scale.until(lambda: scale.supervisor.standing.status.reason == "unplugged")
    assert not scale.is_free(), "a port that is not there may come back in the middle of a weighing"
    scale.port.replug()
    await scale.until(lambda: scale.supervisor._listening is not None)
    scale.says(ZERO, stable(20.0))
    assert await scale.has(20.0) == ("test", "usable")
