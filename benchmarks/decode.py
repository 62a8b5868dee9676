"""What decoding costs, driver by driver: the frames of tests/vectors/ that a device sends, each driver's own."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.goals import Facts
from benchmarks.stage import Stage
from benchmarks.tables import show, spread
from drivers import registry
from drivers.contract import CharacteristicCodec
from drivers.models import Quirks

VECTORS = Path(__file__).parents[1] / "tests" / "vectors"
REPEATS = 7
AT_LEAST_S = 0.05


def frames(name: str) -> list[tuple[str, bytes]]:
    """Answer what the vectors of a driver say that a device sends: (characteristic, or "" on a wire; bytes)."""
    file = VECTORS / f"{name}.jsonl"
    if not file.exists():
        file = VECTORS / "ble" / f"{name}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if file.parent != VECTORS:
        return [(row["characteristic"].removeprefix("0x"), bytes.fromhex(row["hex"])) for row in rows]
    return [("", bytes.fromhex(row["bytes_hex"])) for row in rows if row["direction"] == "device->host"]


def per_frame_us(decode: Callable[[], object], count: int, at_least_s: float) -> list[float]:
    """Answer microseconds a frame, REPEATS times; `decode` decodes `count` frames."""
    rounds, took = 1, 0.0
    while took < at_least_s:
        rounds *= 2
        took = _time(decode, rounds)
    return [_time(decode, rounds) * 1e6 / rounds / count for _ in range(REPEATS)]


async def main(stage: Stage) -> Facts:
    """Measure and print; the slowest first."""
    costs, left_out = [], []
    for name in registry.names():
        fed = name in registry.serial_names() or name in registry.vendor_names()
        codecs = {} if fed else {**registry.characteristics(name, Quirks()), **_heard(name)}
        said = [(where, data) for where, data in frames(name) if where in codecs or (fed and "record" not in where)]
        if not said:
            left_out.append(name)
            continue
        decode = _serial(name, said) if fed else _ble(codecs, said)
        size = statistics.mean(len(data) for _, data in said)
        costs.append((name, size, per_frame_us(decode, len(said), AT_LEAST_S * min(1.0, stage.size.part * 10))))
    costs.sort(key=lambda cost: -statistics.median(cost[2]))
    show(
        "Decoding",
        ("driver", "bytes a frame", "µs a frame"),
        [(name, f"{size:.0f}", spread(us, 1)) for name, size, us in costs],
        f"The slowest is {costs[0][0]}. Medians of {REPEATS}; pauses between the frames are left out. Without"
        f" {', '.join(left_out) or 'none'}, whose vectors are not what goes through the air.",
    )
    return {}


def _time(decode: Callable[[], object], rounds: int) -> float:
    began = time.thread_time()
    for _ in range(rounds):
        decode()
    return time.thread_time() - began


def _serial(name: str, said: Iterable[tuple[str, bytes]]) -> Callable[[], None]:
    codec, pieces = registry.codec(name, Quirks()), [data for _, data in said]

    def decode() -> None:
        for piece in pieces:
            codec.feed(piece)
            codec.flush()

    return decode


def _heard(name: str) -> Mapping[str, CharacteristicCodec]:
    """Answer what the driver reads of advertisements, if it does."""
    return registry.advertisements(name, Quirks()) if registry.is_only_heard(name) else {}


def _ble(codecs: Mapping[str, CharacteristicCodec], said: Iterable[tuple[str, bytes]]) -> Callable[[], None]:
    values = [(codecs[characteristic], data) for characteristic, data in said]

    def decode() -> None:
        for codec, value in values:
            codec(value)

    return decode
