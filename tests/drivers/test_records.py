"""A record that comes again is no second reading; two that differ are two."""

from __future__ import annotations

import json
from pathlib import Path

from drivers import registry
from drivers.contract import Notice, Sample
from gateway.catalogue import load_model
from simulators.serial.and_tm import AndTm

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "vectors" / "and_tm.jsonl").read_text().splitlines()]
FRAMES = {row["id"]: bytes.fromhex(row["bytes_hex"]) for row in ROWS}
FIRST, SECOND = FRAMES["tm2655-capture-1"], FRAMES["tm2655-capture-2"]


def told(*frames: bytes) -> list[str]:
    driver = registry.driver(load_model("and-tm-2655p"))
    events = [event for n, frame in enumerate(frames) for event in driver.feed(frame, 60.0 * n).events]
    return ["reading" if isinstance(e, Sample) else e.code if isinstance(e, Notice) else e.reason for e in events]


def test_the_same_record_is_a_repeat_however_much_later() -> None:
    assert told(FIRST, FIRST, SECOND, FIRST) == ["reading", "repeat", "reading", "repeat"]


def test_equal_pressures_at_another_time_are_another_reading() -> None:
    monitor = AndTm()
    frames = []
    for _ in range(2):
        monitor.attach()
        frames.append(monitor.advance(61.0))
    assert frames[0][20:] != frames[1][20:]
    assert told(*frames) == ["reading", "reading"]


def test_print_is_a_repeat_and_an_error_is_none() -> None:
    monitor = AndTm(long_record=True)
    monitor.attach()
    first = monitor.advance(31.0)
    monitor.press("print")
    again = monitor.advance(1.0)
    assert again == first
    monitor.attach()
    monitor.advance(5.0)
    monitor.detach()
    assert told(first, again, monitor.advance(1.0)) == ["reading", "repeat", "measurement_failed"]
