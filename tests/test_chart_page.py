"""docs/chart.md: its examples are what the code makes of the frames that stand beside them, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from drivers.contract import ClockReading, Identity, Sample
from gateway import payload
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.fence import Evidence
from gateway.inspect import decoded
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.reading import Mode, Reading
from gateway.requests import REQUEST_LIMIT, parse
from gateway.settings import Device

PAGE = (Path(__file__).parents[1] / "docs" / "chart.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = [block for block in BLOCKS if '"vitals.reading/1"' in block]
FRAMES = re.findall(r"`([0-9a-f]{30,})`", PAGE)

ORIGIN = Origin("northside", "exam-3", "0.1.0", UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7"))
WALL = datetime.fromisoformat("2026-11-22T13:05:10.412Z").timestamp()
ARRIVED = 102.0  # monotonic
ZONE = ZoneInfo("America/Chicago")


def intake(name: str, model: str, *, address: str | None = None) -> Intake:
    clock = Clock([lambda: True], monotonic=lambda: ARRIVED, wall=lambda: WALL)
    clock.refresh()
    row = load_model(model)
    device = Device(name, model, row, row.line, address=address)
    reading_id = UUID("27442546-8e6b-41fd-a4da-509bfebd0e27")
    return Intake(device, ORIGIN, load_ranges(), clock, ZONE, lambda: reading_id)


def of_a_scale(frame: bytes) -> Reading:
    (sample,) = decoded(frame, model="health-o-meter-1100kl-l", driver=None)
    assert isinstance(sample, Sample)
    return intake("scale", "health-o-meter-1100kl-l").reading(sample, Mode.REAL)


def of_a_cuff(frame: bytes) -> Reading:
    (sample,) = decoded(frame, model="and-ua-651ble", driver=None, characteristic="2A35")
    assert isinstance(sample, Sample)
    shown = datetime(2026, 11, 22, 7, 5, 10)  # noqa: DTZ001 - a device's clock has no zone
    made = intake("cuff", "and-ua-651ble", address="C8:1E:8E:00:00:01")
    return made.record(sample, Mode.REAL, Evidence(ClockReading(shown, ARRIVED, 0.5)), Identity(), ARRIVED).reading


@pytest.mark.parametrize(
    ("number", "make", "sequence", "leaf"), [(0, of_a_scale, 412, "reading"), (1, of_a_cuff, 413, "quarantine")]
)
def test_an_example_is_what_the_code_makes_of_its_frame(
    number: int, make: Callable[[bytes], Reading], sequence: int, leaf: str, must_fit: Callable[[bytes], Any]
) -> None:
    reading = make(bytes.fromhex(FRAMES[number]))
    made = payload.encode(reading, ORIGIN, sequence)
    assert "".join(line.strip() for line in EXAMPLES[number].splitlines()) == made.decode()
    assert payload.topic(reading, ORIGIN) == f"vitals/v1/northside/exam-3/{leaf}"
    must_fit(made)


def test_the_frames_are_published_ones() -> None:
    vectors = "".join(file.read_text() for file in (Path(__file__).parent / "vectors").rglob("*.jsonl"))
    assert len(FRAMES) == len(EXAMPLES) == 2
    assert all(f'"{frame}"' in vectors for frame in FRAMES)


def test_each_request_on_the_page_is_taken() -> None:
    requests = [block for block in BLOCKS if block not in EXAMPLES]
    assert requests
    for block in requests:
        assert parse(block.encode()[:REQUEST_LIMIT]).word == json.loads(block)["request"]
